"""Links that act for one person: signed, unguessable, without anything in them that names somebody.

A link's token holds a reference (the message that carried it), the customer's id behind a mask, the channel
and what the link does; 128 bits of HMAC-SHA256 under one of our keys stand for all of it. What is in a token
does not have to be kept: a link works after its message was pruned, and whoever it was forwarded to acts for
the person whom it was made for.
"""

import hashlib
import hmac
from base64 import b32decode, b32encode, urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.vocabulary.words import Channel

PATH: Final = "/l/"
"""Where links are served, below the base address."""
_FORMAT = 1
_MINUTE = 60_000_000
_HEAD = 1 + 4
_BODY = 1 + 1 + 4 + 16 + 8
_MAC = 16
_TOKEN_CHARACTERS = (_HEAD + _BODY + _MAC) * 4 // 3
_RETURN_MAC = 10
_RETURN_OCTETS = 4 + 16 + _RETURN_MAC
_LEAST_KEY_OCTETS = 32


class Purpose(StrEnum):
    """What a link does once its button is pressed."""

    OPT_OUT = "opt_out"
    """No more sales, retention and surveys on the channel (RFC 8058)."""
    OPT_IN = "opt_in"
    """Lifts the person's own opt-out of the channel."""


_PURPOSES = {Purpose.OPT_OUT: 1, Purpose.OPT_IN: 2}
_CHANNELS = {
    Channel.SMS: 1,
    Channel.EMAIL: 2,
    Channel.PUSH: 3,
    Channel.APP: 4,
    Channel.WEB: 5,
    Channel.CALL: 6,
    Channel.WEBHOOK: 7,
    Channel.TASK: 8,
}
_PURPOSE_OF = {number: purpose for purpose, number in _PURPOSES.items()}
_CHANNEL_OF = {number: channel for channel, number in _CHANNELS.items()}


@dataclass(frozen=True, slots=True)
class Link:
    """What a link stands for."""

    purpose: Purpose
    customer: int
    channel: Channel
    reference: str
    """UUID of the message that carried it, or of the request that asked for it."""
    until_micros: int = 0
    """Good until then, to the minute; 0: for good (a way out must not run out)."""


@dataclass(frozen=True, slots=True)
class _Key:
    name: bytes
    sign: bytes
    mask: bytes
    returns: bytes


class LinkKeys:
    """Signs with the first of several keys and knows links signed with any of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Raises ValueError for no key, or one of less than 32 octets."""
        if not keys:
            raise ValueError("there is no key; write one of 64 hexadecimal digits a line, the newest first")
        if any(len(key) < _LEAST_KEY_OCTETS for key in keys):
            raise ValueError("a key is shorter than 32 octets; write 64 hexadecimal digits a line")
        self._keys = [_derived(key) for key in keys]
        self._by_name = {key.name: key for key in reversed(self._keys)}

    @classmethod
    def read(cls, text: str) -> "LinkKeys":
        """Keys from a file: 64 or more hexadecimal digits a line, the newest first; raises ValueError."""
        try:
            return cls([bytes.fromhex(line) for line in text.split()])
        except ValueError as error:
            if "hexadecimal digits" in str(error):
                raise
            raise ValueError("a line is not hexadecimal; write 64 hexadecimal digits a line") from None

    def token(self, link: Link) -> str:
        """The link's token: 68 characters that a URL takes as they are."""
        key = self._keys[0]
        reference = UUID(link.reference).bytes
        head = bytes([_FORMAT]) + key.name
        fixed = bytes([_PURPOSES[link.purpose], _CHANNELS[link.channel]])
        until = -(-link.until_micros // _MINUTE)
        body = fixed + until.to_bytes(4, "big") + reference + _masked(key, link.customer, fixed + reference)
        return urlsafe_b64encode(head + body + _mac(key.sign, head + body, _MAC)).decode()

    def read_token(self, token: str, now_micros: int) -> Link | None:
        """What a token stands for; None: it is not ours, was changed, or its time is over.

        All that are not ours take the same work.
        """
        try:
            octets = urlsafe_b64decode(token) if len(token) == _TOKEN_CHARACTERS else b""
        except (Base64Error, ValueError):
            octets = b""
        octets = octets if len(octets) == _HEAD + _BODY + _MAC else bytes(_HEAD + _BODY + _MAC)
        signed, mac = octets[:-_MAC], octets[-_MAC:]
        known = self._by_name.get(signed[1:_HEAD])
        key = known or self._keys[0]
        right = hmac.compare_digest(_mac(key.sign, signed, _MAC), mac)
        if not right or known is None or signed[0] != _FORMAT:
            return None
        body = signed[_HEAD:]
        purpose, channel = _PURPOSE_OF.get(body[0]), _CHANNEL_OF.get(body[1])
        until = int.from_bytes(body[2:6], "big") * _MINUTE
        if purpose is None or channel is None or 0 < until <= now_micros:
            return None
        reference = body[6:22]
        customer = int.from_bytes(body[22:], "big") ^ int.from_bytes(
            _mac(key.mask, body[:2] + reference, 8), "big"
        )
        return Link(purpose, customer, channel, str(UUID(bytes=reference)), until)

    def return_tag(self, message_id: str) -> str:
        """What a bounce's recipient says about the message: 48 characters of a local part, in any case."""
        key = self._keys[0]
        reference = UUID(message_id).bytes
        return b32encode(key.name + reference + _mac(key.returns, reference, _RETURN_MAC)).decode().lower()

    def read_return_tag(self, tag: str) -> str | None:
        """The message id that a tag of ours names; None: it is none of ours."""
        try:
            octets = b32decode(tag, casefold=True)
        except (Base64Error, ValueError):
            return None
        key = self._by_name.get(octets[:4])
        if key is None or len(octets) != _RETURN_OCTETS:
            return None
        reference, mac = octets[4:20], octets[20:]
        if not hmac.compare_digest(_mac(key.returns, reference, _RETURN_MAC), mac):
            return None
        return str(UUID(bytes=reference))


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links below the address at which they are served."""

    keys: LinkKeys
    base: str
    """For example `https://links.operator.example`; `/l/<token>` follows."""

    def address(self, link: Link) -> str:
        """The whole address of a link."""
        return f"{self.base.rstrip('/')}{PATH}{self.keys.token(link)}"


def _derived(key: bytes) -> _Key:
    """Keys for each use, so that nothing made for one use is good for another."""
    return _Key(
        hashlib.sha256(b"rapport link key name" + key).digest()[:4],
        _mac(key, b"sign", 32),
        _mac(key, b"mask", 32),
        _mac(key, b"return", 32),
    )


def _mac(key: bytes, octets: bytes, length: int) -> bytes:
    return hmac.new(key, octets, hashlib.sha256).digest()[:length]


def _masked(key: _Key, customer: int, about: bytes) -> bytes:
    mask = int.from_bytes(_mac(key.mask, about, 8), "big")
    return (customer ^ mask).to_bytes(8, "big")

"""Double opt-in: a token by which a person confirms a grant, signed, with an end, naming nobody."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from services.profile.domain.ledger import Mac
from services.vocabulary.values import DAY, MINUTE
from services.vocabulary.words import Channel, Purpose

GOOD_FOR_MICROS: Final = 7 * DAY
_FORMAT: Final = 1
_PURPOSES: Final = tuple(Purpose)
_CHANNELS: Final = tuple(Channel)
_MAC_BYTES: Final = 16
_BODY_BYTES: Final = 1 + 1 + 1 + 4 + 8 + 8
_CHARACTERS: Final = (_BODY_BYTES + _MAC_BYTES) * 4 // 3


@dataclass(frozen=True, slots=True)
class Confirming:
    """What a token stands for: the grant said at that time. The token is good until `until_micros`."""

    customer: int
    purpose: Purpose
    channel: Channel
    said_micros: int
    until_micros: int


def token_of(confirming: Confirming, mac: Mac) -> str:
    """52 characters that a link takes as they are; the customer's id is not to be read in them."""
    head = bytes([_FORMAT, _PURPOSES.index(confirming.purpose), _CHANNELS.index(confirming.channel)])
    head += (-(-confirming.until_micros // MINUTE)).to_bytes(4) + confirming.said_micros.to_bytes(8)
    body = head + _masked(confirming.customer, head, mac)
    return urlsafe_b64encode(body + mac(b"token" + body)[:_MAC_BYTES]).decode()


def read_token(token: str, mac: Mac, now_micros: int) -> Confirming | None:
    """What a token stands for; None: it is not ours, was changed, or its time is over."""
    try:
        octets = urlsafe_b64decode(token) if len(token) == _CHARACTERS else b""
    except (Base64Error, ValueError):
        octets = b""
    if len(octets) != _BODY_BYTES + _MAC_BYTES:
        return None
    body, signed = octets[:_BODY_BYTES], octets[_BODY_BYTES:]
    if not compare_digest(mac(b"token" + body)[:_MAC_BYTES], signed) or body[0] != _FORMAT:
        return None
    head = body[:15]
    until_micros = int.from_bytes(head[3:7]) * MINUTE
    if until_micros <= now_micros or body[1] >= len(_PURPOSES) or body[2] >= len(_CHANNELS):
        return None
    return Confirming(
        int.from_bytes(_masked(int.from_bytes(body[15:]), head, mac)),
        _PURPOSES[body[1]],
        _CHANNELS[body[2]],
        int.from_bytes(head[7:15]),
        until_micros,
    )


def _masked(customer: int, head: bytes, mac: Mac) -> bytes:
    return (customer ^ int.from_bytes(mac(b"mask" + head)[:8])).to_bytes(8)

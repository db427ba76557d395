"""Seals what identifies people: values that only the keys file opens, and look-ups that tell nothing back.

The keys file holds one look-up key, and keys by which data keys are wrapped (AES-256-GCM, NIST SP 800-38D).
Values are sealed by data keys, which stand wrapped in each service's table `data_key` (see `data_keys`).
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.runtime.errors import RapportError, SettingError, UnavailableError

KEY_BYTES: Final = 32
LOOKUP_BYTES: Final = 16
_FIELD: Final = "RAPPORT_KEYS_FILE"
_MAKE: Final = "make one with `rapport keys make FILE`"
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BI")
"""Version and number of the data key; what stands sealed begins with it, then come the nonce and the rest."""
_NONCE_BYTES: Final = 12
_COUNTED: Final = 1 << 32
_LEAST: Final = _HEAD.size + _NONCE_BYTES + 16


class SealError(RapportError):
    """A sealed value cannot be opened: altered, moved to another row, or its key is gone."""


class UnknownDataKeyError(UnavailableError):
    """A value was sealed by a data key newer than those this process has read; it reads them again soon."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """What the keys file holds: the look-up key, and wrapping keys by id, of which `current` wraps.

    `generation` counts how often data keys were to be replaced, from 1.
    """

    lookup_key: bytes = field(repr=False)
    wrapping: Mapping[str, bytes] = field(repr=False)
    current: str
    generation: int = 1

    @classmethod
    def make(cls) -> "Keyring":
        """A new one, with one wrapping key."""
        name = secrets.token_hex(4)
        return cls(secrets.token_bytes(KEY_BYTES), {name: secrets.token_bytes(KEY_BYTES)}, name)

    @classmethod
    def read(cls, path: str) -> "Keyring":
        """From a file; SettingError: none is named, it cannot be read, or holds something else."""
        if not path:
            raise SettingError(
                "RAPPORT_KEYS_FILE is not set, and nothing that identifies people is kept unsealed",
                field=_FIELD,
                suggestion=_MAKE,
            )
        try:
            return cls.parse(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingError(
                f"RAPPORT_KEYS_FILE names a file that cannot be read ({error.strerror})",
                field=_FIELD,
                suggestion=_MAKE,
            ) from error

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """From the text of a keys file; SettingError names the part that is wrong, never what it holds."""
        try:
            told = json.loads(text)
            lookup, keys, current = told["lookup"], told["keys"], told["current"]
            wrapping = {str(name): _decode(key) for name, key in keys.items()}
            ring = cls(_decode(lookup), wrapping, str(current), int(told.get("data", 1)))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise SettingError(
                "the keys file is not JSON with `lookup`, `keys` and `current`, all keys 32 bytes in base64",
                field=_FIELD,
                suggestion=_MAKE,
            ) from error
        if ring.current not in ring.wrapping:
            raise SettingError(
                "the keys file's `current` names none of its `keys`", field=_FIELD, suggestion=_MAKE
            )
        return ring

    def text(self) -> str:
        """As it stands in a file."""
        keys = {name: _encode(key) for name, key in self.wrapping.items()}
        told = {
            "lookup": _encode(self.lookup_key),
            "current": self.current,
            "data": self.generation,
            "keys": keys,
        }
        return json.dumps(told, indent=2) + "\n"

    def rotated(self, *, data: bool = False) -> "Keyring":
        """With a new wrapping key, which is current; those before stay, until nothing is wrapped by them.

        `data`: data keys are to be replaced too, and everything sealed anew.
        """
        name = secrets.token_hex(4)
        wrapping = {**self.wrapping, name: secrets.token_bytes(KEY_BYTES)}
        return Keyring(self.lookup_key, wrapping, name, self.generation + data)

    def without(self, names: Iterable[str]) -> "Keyring":
        """Without some wrapping keys; the current one stays."""
        gone = {*names} - {self.current}
        kept = {name: key for name, key in self.wrapping.items() if name not in gone}
        return Keyring(self.lookup_key, kept, self.current, self.generation)

    def lookup(self, text: str) -> bytes:
        """16 bytes by which a text is found again and from which nobody without the key learns it (HMAC)."""
        return hmac.digest(self.lookup_key, b"lookup\x00" + text.encode(), "sha256")[:LOOKUP_BYTES]

    def mac(self, purpose: str, content: bytes) -> bytes:
        """32 bytes that only who has the look-up key can make of this content for this purpose (HMAC)."""
        return hmac.digest(self.lookup_key, b"mac\x00" + purpose.encode() + b"\x00" + content, "sha256")

    def wrap(self, key: bytes, context: str) -> tuple[str, bytes]:
        """A data key wrapped by the current wrapping key, and that key's id."""
        nonce = os.urandom(_NONCE_BYTES)
        return self.current, nonce + AESGCM(self.wrapping[self.current]).encrypt(nonce, key, context.encode())

    def unwrap(self, name: str, wrapped: bytes, context: str) -> bytes:
        """A data key; SealError: the file no longer has its wrapping key, or it was altered."""
        wrapping = self.wrapping.get(name)
        if wrapping is None:
            raise SealError(
                f"the keys file has no key {name!r}, by which a data key in use is wrapped",
                field=_FIELD,
                suggestion="put the key back; take it out once `rapport keys status` names it nowhere",
            )
        try:
            return AESGCM(wrapping).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError(
                f"a data key cannot be unwrapped by key {name!r}",
                field=_FIELD,
                suggestion="give this installation's own keys file",
            ) from error


class Sealer:
    """Seals and opens values; the data keys may be put in anew at any time (`load`).

    What is sealed says by which data key; `context` (table and row, such as "record/42") is authenticated
    with it, so that a value put into another row does not open. About 2 µs a value.
    """

    def __init__(self, ring: Keyring) -> None:
        self.ring = ring
        self.current = 0
        self._ciphers: dict[int, AESGCM] = {}
        self._newest = 0
        self._prefix = b""
        self._count = _COUNTED

    @classmethod
    def with_key(cls, ring: Keyring, key: bytes) -> "Sealer":
        """One that has a single data key, number 1: for tools and tests, which keep no table of them."""
        sealer = cls(ring)
        sealer.load({1: key}, 1)
        return sealer

    def load(self, keys: Mapping[int, bytes], current: int) -> None:
        """The data keys by number, and which of them seals from now on."""
        self._ciphers = {number: AESGCM(key) for number, key in keys.items()}
        self._newest = max(self._newest, *keys, 0)
        if current != self.current:
            self.current = current
            self._count = _COUNTED

    @property
    def numbers(self) -> frozenset[int]:
        """The data keys at hand."""
        return frozenset(self._ciphers)

    def lookup(self, text: str) -> bytes:
        """See `Keyring.lookup`."""
        return self.ring.lookup(text)

    def seal(self, plain: bytes, context: str) -> bytes:
        """The value, to be kept where `context` says."""
        head = _HEAD.pack(_VERSION, self.current)
        nonce = self._nonce()
        sealed = self._ciphers[self.current].encrypt(nonce, plain, head + context.encode())
        return head + nonce + sealed

    def open(self, sealed: bytes, context: str) -> bytes:
        """The value; SealError names the row, UnknownDataKeyError: come again in a moment."""
        number = sealed_by(sealed)
        cipher = self._ciphers.get(number)
        if cipher is None:
            if number > self._newest:
                raise UnknownDataKeyError(
                    f"{context} is sealed by a data key not read yet", suggestion="try again"
                )
            raise _cannot_open(context, "its data key is gone" if number else "it is not a sealed value")
        at = _HEAD.size + _NONCE_BYTES
        try:
            return cipher.decrypt(
                sealed[_HEAD.size : at], sealed[at:], sealed[: _HEAD.size] + context.encode()
            )
        except InvalidTag:
            raise _cannot_open(context, "it was altered, or belongs elsewhere") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether a value was sealed by the data key that seals now."""
        return sealed_by(sealed) == self.current

    def seal_text(self, plain: str, context: str) -> bytes:
        """The same of a text."""
        return self.seal(plain.encode(), context)

    def open_text(self, sealed: bytes, context: str) -> str:
        """The same of a text."""
        return self.open(sealed, context).decode()

    def _nonce(self) -> bytes:
        """Eight random bytes drawn for each run of 2^32 values, and a count: none comes twice for a key."""
        if self._count >= _COUNTED:
            self._prefix = os.urandom(8)
            self._count = 0
        nonce = self._prefix + self._count.to_bytes(4, "big")
        self._count += 1
        return nonce


def sealed_by(sealed: bytes) -> int:
    """The number of the data key that sealed a value; 0: it is no sealed value."""
    if len(sealed) < _LEAST:
        return 0
    version, number = _HEAD.unpack_from(sealed)
    return number if version == _VERSION else 0


def key_digest(key: bytes) -> str:
    """By which a key is named where it must not be shown."""
    return hashlib.sha256(key).hexdigest()[:8]


def _cannot_open(context: str, why: str) -> SealError:
    return SealError(
        f"{context} cannot be opened: {why}",
        suggestion="restore this row, and the keys that go with it, from a backup",
    )


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _decode(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("not 32 bytes")
    return key

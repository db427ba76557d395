"""How a text travels in short messages: GSM 03.38 or UCS-2, whole or in concatenated parts.

Source: 3GPP TS 23.038 (alphabets) and TS 23.040 §9.2.3.24.1 (concatenation).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_ESCAPE = 0x1B

# One character per code 0x00..0x7F; the escape itself stands for no character.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
_EXTENDED = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
_TO_OCTETS: dict[str, bytes] = {
    **{character: bytes([code]) for code, character in enumerate(_BASIC) if code != _ESCAPE},
    **{character: bytes([_ESCAPE, code]) for character, code in _EXTENDED.items()},
}
_FROM_EXTENDED = {code: character for character, code in _EXTENDED.items()}

_REPLACEMENT = "\ufffd"


class Coding(StrEnum):
    """The alphabet a text needs."""

    GSM7 = "gsm7"
    UCS2 = "ucs2"


# (octets of a text that fits into one message, octets of each part of a longer one); GSM 7-bit counts
# septets, one per octet as SMPP carries them; a part gives 6 octets of its 140 to the concatenation header.
_ROOM = {Coding.GSM7: (160, 153), Coding.UCS2: (140, 134)}


@dataclass(frozen=True, slots=True)
class Parts:
    """A text cut into the payloads of its short messages, without their headers."""

    coding: Coding
    payloads: tuple[bytes, ...]


def coding_of(text: str) -> Coding:
    """GSM 7-bit when the default alphabet and its extension hold every character, else UCS-2."""
    return Coding.GSM7 if _TO_OCTETS.keys() >= set(text) else Coding.UCS2


def encode_gsm7(text: str) -> bytes:
    """The text in GSM 03.38, one septet per octet; raises ValueError when a character is not in it."""
    try:
        return b"".join([_TO_OCTETS[character] for character in text])
    except KeyError as error:
        raise ValueError("a character is not in the GSM 03.38 alphabet; use UCS-2 for this text") from error


def decode_gsm7(octets: bytes) -> str:
    """The text of GSM 03.38 octets; codes that stand for nothing become U+FFFD."""
    return "".join(_gsm7_characters(octets))


def _gsm7_characters(octets: bytes) -> Iterator[str]:
    escaped = False
    for code in octets:
        if escaped:
            escaped = False
            # An unknown code after the escape shows the character of the basic table (TS 23.038 §6.2.1.1).
            yield _FROM_EXTENDED.get(code) or (_BASIC[code] if code < len(_BASIC) else _REPLACEMENT)
        elif code == _ESCAPE:
            escaped = True
        else:
            yield _BASIC[code] if code < len(_BASIC) else _REPLACEMENT
    if escaped:
        yield _REPLACEMENT


def encode_ucs2(text: str) -> bytes:
    """The text as big-endian UTF-16, as handsets read UCS-2 (characters beyond U+FFFF take two units)."""
    return text.encode("utf-16-be", errors="replace")


def decode_ucs2(octets: bytes) -> str:
    """The text of big-endian UTF-16 octets; broken ones become U+FFFD."""
    return octets.decode("utf-16-be", errors="replace")


def split(text: str) -> Parts:
    """Cut a text into as few short messages as hold it; no character is torn apart."""
    coding = coding_of(text)
    whole, part = _ROOM[coding]
    encode = encode_gsm7 if coding is Coding.GSM7 else encode_ucs2
    octets = encode(text)
    if len(octets) <= whole:
        return Parts(coding, (octets,))
    payloads: list[bytes] = []
    current = bytearray()
    for piece in map(encode, text):
        if len(current) + len(piece) > part:
            payloads.append(bytes(current))
            current.clear()
        current += piece
    payloads.append(bytes(current))
    return Parts(coding, tuple(payloads))


def count_segments(text: str) -> int:
    """In how many short messages the text travels; an empty text takes one."""
    return len(split(text).payloads)

"""How a text travels in short messages: GSM 03.38 or UCS-2, whole or in concatenated parts.

Source: 3GPP TS 23.038 (alphabets) and TS 23.040 §9.2.3.24.1 (concatenation).
"""

import unicodedata
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
_ZERO_WIDTH_JOINER = "\u200d"
_FIRST_MARK = "\u0300"
_MARKS = frozenset({"Mn", "Mc", "Me"})
_FLAGS = frozenset(chr(code) for code in range(0x1F1E6, 0x1F200))
"""Regional indicators: two make a flag."""
_JOINING = frozenset(
    [_ZERO_WIDTH_JOINER, "\u200c", *map(chr, range(0x1F3FB, 0x1F400)), *map(chr, range(0xE0020, 0xE0080))]
)
"""Joiners, skin tones and tags: each belongs to what stands before it."""


class Coding(StrEnum):
    """The alphabet a text needs."""

    GSM7 = "gsm7"
    UCS2 = "ucs2"


_MESSAGE_OCTETS = 140
_HEADER_OCTETS = 6
"""A concatenation header with a reference of 8 bits; one of 16 bits takes 7."""


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


def _room(coding: Coding, header_octets: int) -> int:
    """Octets of text beside a header; GSM 7-bit counts septets, one per octet as SMPP carries them."""
    free = _MESSAGE_OCTETS - header_octets
    return free * 8 // 7 if coding is Coding.GSM7 else free // 2 * 2


def split(text: str, coding: Coding | None = None, *, header_octets: int = _HEADER_OCTETS) -> Parts:
    """Cut a text into as few short messages as hold it; nothing that is read as one letter is torn apart.

    `coding` None: by need. `header_octets`: what each part gives of its 140 octets when there are several.
    """
    coding = coding or coding_of(text)
    encode = encode_gsm7 if coding is Coding.GSM7 else encode_ucs2
    octets = encode(text)
    if len(octets) <= _room(coding, 0):
        return Parts(coding, (octets,))
    room = _room(coding, header_octets)
    payloads: list[bytes] = []
    current = bytearray()
    for letter in text if coding is Coding.GSM7 else letters(text):
        # A letter that no part could hold is cut between its characters.
        for piece in [encode(letter)] if len(letter) * 4 <= room else map(encode, letter):
            if len(current) + len(piece) > room:
                payloads.append(bytes(current))
                current.clear()
            current += piece
    payloads.append(bytes(current))
    return Parts(coding, tuple(payloads))


def letters(text: str) -> Iterator[str]:
    """The text in what people read as one letter: with its accents, flags, skin tones and joined emoji.

    The rules of Unicode Standard Annex #29 §3.1.1 that need no table beyond Python's: GB3, GB9 to GB12.
    """
    start = flags = 0
    for place in range(1, len(text)):
        before, character = text[place - 1], text[place]
        flags = flags + 1 if before in _FLAGS else 0
        joined = (
            character in _JOINING
            or (character >= _FIRST_MARK and unicodedata.category(character) in _MARKS)
            or (before == _ZERO_WIDTH_JOINER and character > _FIRST_MARK)
            or (flags % 2 == 1 and character in _FLAGS)
            or (before == "\r" and character == "\n")
        )
        if not joined:
            yield text[start:place]
            start = place
    if text:
        yield text[start:]


def count_segments(text: str) -> int:
    """In how many short messages the text travels; an empty text takes one."""
    return len(split(text).payloads)

"""Octets of short messages as text: data codings, packed septets, user data headers (TS 23.038, 23.040)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from services.vocabulary.short_message import decode_gsm7

_CONCATENATED_8 = 0x00
_CONCATENATED_16 = 0x08
_MESSAGE_CLASS = 0xF0
_MOST_SEPTETS = 1 << 16

# data_coding of SMPP 3.4 §5.2.19 by Python's names; 0 is the SMSC's own alphabet, 8 is UCS-2.
_CODECS: Mapping[int, str] = {
    0x01: "ascii",
    0x03: "latin-1",
    0x05: "shift_jis",
    0x06: "iso8859_5",
    0x07: "iso8859_8",
    0x08: "utf-16-be",
    0x0A: "iso2022_jp",
    0x0D: "euc_jp",
    0x0E: "euc_kr",
}
_BINARY = frozenset({0x02, 0x04})
_DEFAULT = 0x00
_UCS2 = 0x08


class Alphabet(StrEnum):
    """What an SMSC means by data_coding 0."""

    GSM = "gsm"
    """GSM 03.38, one septet per octet."""
    GSM_PACKED = "gsm-packed"
    """GSM 03.38 in what subscribers send with eight septets in seven octets; ours go one per octet."""
    LATIN_1 = "latin-1"


@dataclass(frozen=True, slots=True)
class Part:
    """Where a short message stands among the parts of a longer one; a whole one is part 1 of 1."""

    reference: int = 0
    number: int = 1
    total: int = 1


WHOLE = Part()


def part_of(reference: int, number: int, total: int) -> Part:
    """The place among parts; numbers that cannot be make it a message of its own."""
    return Part(reference, number, total) if 1 <= number <= total and total > 1 else WHOLE


def read_header(octets: bytes) -> tuple[Part, int]:
    """The concatenation in a user data header, and how many octets it takes; 0: there is none whole."""
    length = octets[0] + 1 if octets else 0
    if length > len(octets):
        return WHOLE, 0
    elements = octets[1:length]
    part = WHOLE
    while len(elements) >= 2:
        kind, size = elements[0], elements[1]
        value, elements = elements[2 : 2 + size], elements[2 + size :]
        if kind == _CONCATENATED_8 and len(value) == 3:
            part = part_of(value[0], value[2], value[1])
        elif kind == _CONCATENATED_16 and len(value) == 4:
            part = part_of(int.from_bytes(value[:2], "big"), value[3], value[2])
    return part, length


@dataclass(frozen=True, slots=True)
class Octets:
    """The octets of a text without its header, and how they are to be read."""

    payload: bytes
    codec: str
    """One of Python's; empty: GSM 03.38, one septet per octet."""


def octets_of(octets: bytes, header_octets: int, data_coding: int, alphabet: Alphabet) -> Octets | None:
    """What comes after the header; None: it is data, not text."""
    payload = octets[header_octets:]
    coding = _coding(data_coding)
    if coding in _BINARY:
        return None
    codec = _CODECS.get(coding, "")
    if codec or alphabet is Alphabet.GSM:
        # An octet that is no septet tells that this SMSC does not mean GSM 03.38 after all.
        return Octets(payload, codec or ("" if payload.isascii() else "latin-1"))
    if alphabet is Alphabet.LATIN_1:
        return Octets(payload, "latin-1")
    return Octets(unpack(octets, header_octets), "")


def text_of(pieces: Sequence[Octets]) -> str:
    """The text of pieces that follow each other; what is broken in it becomes U+FFFD.

    Pieces in one alphabet are joined before they are read: some handsets cut a character in two.
    """
    text = "".join(
        _read(b"".join(piece.payload for piece in run), codec)
        for codec, run in groupby(pieces, key=lambda piece: piece.codec)
    )
    return text.replace("\0", "")  # no database keeps it


def _read(payload: bytes, codec: str) -> str:
    return payload.decode(codec, errors="replace") if codec else decode_gsm7(payload)


def _coding(data_coding: int) -> int:
    """One of SMPP's own codings for any data_coding, those of TS 23.038 §4 included."""
    group = data_coding & 0xF0
    if group == _MESSAGE_CLASS:
        return 0x04 if data_coding & 0x04 else _DEFAULT
    if group == 0xE0:
        return _UCS2
    if 0x10 <= data_coding < 0x80:
        return {0x04: 0x04, 0x08: _UCS2}.get(data_coding & 0x0C, _DEFAULT)
    return data_coding


def unpack(octets: bytes, header_octets: int = 0) -> bytes:
    """Septets packed eight to seven octets (TS 23.038 §6.1.2), one per octet.

    After a header they begin at the next septet's border. Seven bits left at the end are filling: they are
    no @, and neither is a closing carriage return that only fills.
    """
    first = -(-header_octets * 8 // 7)
    bits = int.from_bytes(octets, "little")
    count = min(len(octets) * 8 // 7, _MOST_SEPTETS)
    septets = bytearray()
    bits >>= first * 7
    for _ in range(first, count):
        septets.append(bits & 0x7F)
        bits >>= 7
    if len(octets) % 7 == 0 and septets and septets[-1] in (0x00, 0x0D):
        septets.pop()
    return bytes(septets)

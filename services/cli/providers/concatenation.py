"""The text of submitted short messages, with the parts of long ones put together again."""

import struct
from collections import OrderedDict
from dataclasses import dataclass

from services.cli.providers.smpp_wire import Submit, Tag
from services.vocabulary.short_message import decode_gsm7, decode_ucs2

_UDH_INDICATOR = 0x40
_CONCATENATED_8 = 0x00
_CONCATENATED_16 = 0x08
_UCS2 = 0x08
_LATIN_1 = 0x03
_OPEN_MESSAGES = 10_000


@dataclass(frozen=True, slots=True)
class Part:
    """Where a submit stands in its message; a short one is part 1 of 1."""

    reference: int
    part: int
    parts: int
    octets: bytes


def part_of(submit: Submit) -> Part:
    """Read the concatenation header, or the sar_ parameters; a broken header makes a message of its own."""
    octets = submit.octets
    if submit.esm_class & _UDH_INDICATOR and octets:
        header, octets = octets[1 : 1 + octets[0]], octets[1 + octets[0] :]
        while len(header) >= 2:
            element, length = header[0], header[1]
            value, header = header[2 : 2 + length], header[2 + length :]
            if element == _CONCATENATED_8 and len(value) == 3:
                return _part(value[0], value[2], value[1], octets)
            if element == _CONCATENATED_16 and len(value) == 4:
                reference, parts, part = struct.unpack(">HBB", value)
                return _part(reference, part, parts, octets)
    total = submit.tlvs.get(Tag.SAR_TOTAL_SEGMENTS, b"")
    position = submit.tlvs.get(Tag.SAR_SEGMENT_SEQNUM, b"")
    reference_octets = submit.tlvs.get(Tag.SAR_MSG_REF_NUM, b"")
    if len(total) == 1 and len(position) == 1:
        return _part(int.from_bytes(reference_octets, "big"), position[0], total[0], octets)
    return Part(0, 1, 1, octets)


def _part(reference: int, part: int, parts: int, octets: bytes) -> Part:
    if not 1 <= part <= parts:
        return Part(0, 1, 1, octets)
    return Part(reference, part, parts, octets)


def text_of(octets: bytes, data_coding: int) -> str:
    """The text of a payload in the alphabet that its data_coding names."""
    if data_coding == _UCS2:
        return decode_ucs2(octets)
    if data_coding == _LATIN_1:
        return octets.decode("latin-1")
    return decode_gsm7(octets)


class Assembly:
    """Collects parts until their message is whole; the oldest are forgotten when very many stay open."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, str, int, int], dict[int, bytes]] = OrderedDict()

    def take(self, submit: Submit, part: Part) -> str | None:
        """The whole text when this part completes its message."""
        if part.parts == 1:
            return text_of(part.octets, submit.data_coding)
        key = (submit.source, submit.destination, part.reference, part.parts)
        pieces = self._open.setdefault(key, {})
        pieces[part.part] = part.octets
        if len(pieces) < part.parts:
            if len(self._open) > _OPEN_MESSAGES:
                self._open.popitem(last=False)
            return None
        del self._open[key]
        return text_of(b"".join(pieces[number] for number in sorted(pieces)), submit.data_coding)

"""What made-up subscribers write to the simulated SMSC's clients: short messages and parts of long ones."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.cli.providers.smpp_wire import Command, Tag, write_frame, write_text, write_tlv
from services.vocabulary.short_message import Coding, split

_DATA_CODING = {Coding.GSM7: 0x00, Coding.UCS2: 0x08}
_UDH_INDICATOR = 0x40


@dataclass(frozen=True, slots=True)
class Mobile:
    """One short message from a subscriber, to go out as a deliver_sm."""

    source: str
    destination: str
    octets: bytes
    data_coding: int = 0
    esm_class: int = 0
    source_ton: int = 1
    payload: bool = False
    """In the parameter message_payload instead of the field."""

    def frame(self, sequence: int, now_micros: int) -> bytes:
        """The deliver_sm."""
        del now_micros
        field = b"" if self.payload else self.octets
        body = b"".join(
            (
                b"\0",  # service_type
                bytes([self.source_ton, 1]),
                write_text(self.source),
                b"\x03\0",
                write_text(self.destination),
                bytes([self.esm_class]),
                b"\0\0",  # protocol_id, priority_flag
                b"\0\0",  # schedule_delivery_time, validity_period
                b"\0\0",  # registered_delivery, replace_if_present_flag
                bytes([self.data_coding, 0, len(field)]),
                field,
                write_tlv(Tag.MESSAGE_PAYLOAD, self.octets) if self.payload else b"",
            )
        )
        return write_frame(Command.DELIVER_SM, sequence, body)


def written_by(source: str, destination: str, text: str, reference: int = 0) -> list[Mobile]:
    """A text as a handset sends it: in GSM 03.38 or UCS-2, cut into parts where it is long."""
    parts = split(text)
    total = len(parts.payloads)
    return [
        Mobile(
            source,
            destination,
            (bytes((5, 0, 3, reference & 0xFF, total, number)) if total > 1 else b"") + payload,
            _DATA_CODING[parts.coding],
            _UDH_INDICATOR if total > 1 else 0,
        )
        for number, payload in enumerate(parts.payloads, start=1)
    ]


class MobileFile:
    """A file to which a test or a demonstration appends what subscribers write, one JSON object a line.

    `{"source": "33612345678", "destination": "38080", "text": "STOP"}`
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_to = 0
        self._count = 0

    def new(self) -> Iterator[Mobile]:
        """What was appended since; raises ValueError for a line that is no such object."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_to)
                octets = file.read()
        except FileNotFoundError:
            return
        whole = octets[: octets.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            self._count += 1
            yield from self._one(line)

    def _one(self, line: bytes) -> list[Mobile]:
        said: Any = json.loads(line)
        if not isinstance(said, dict) or set(said) != {"source", "destination", "text"}:
            raise ValueError(f"{self._path}: write source, destination and text in each line")
        return written_by(str(said["source"]), str(said["destination"]), str(said["text"]), self._count)

"""How long the road takes: from the moment an event was to be sent until the SMSC has its text message."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bench.measure import percentile
from bench.stack import TEXT


class SmscRecord:
    """What the SMSC has received, read on as it grows: micros of the wall by the event's id."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None
        self._torn = b""
        self.received: dict[str, int] = {}
        self.repeated = 0

    def read_on(self) -> int:
        """Takes what was added; how many messages there are now."""
        if self._descriptor is None:
            if not self._file.exists():
                return 0
            self._descriptor = os.open(self._file, os.O_RDONLY)
        while part := os.read(self._descriptor, 1 << 20):
            *lines, self._torn = (self._torn + part).split(b"\n")
            for line in lines:
                self._take(orjson.loads(line))
        return len(self.received)

    def _take(self, entry: Mapping[str, object]) -> None:
        text, micros = entry["text"], entry["time_micros"]
        if entry["status"] or not isinstance(text, str) or not isinstance(micros, int):
            return
        event = text.removeprefix(TEXT).strip()
        if event in self.received:
            self.repeated += 1
        else:
            self.received[event] = micros

    def close(self) -> None:
        """Gives the file back."""
        if self._descriptor is not None:
            os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class HandOvers:
    """What became of the events that were to lead to a message."""

    expected: int
    lost: int
    millis: list[float] = field(repr=False)
    """From when each was due to be sent to its hand-over."""

    @property
    def p50_ms(self) -> float:
        """Half of them took no longer."""
        return percentile(self.millis, 50)

    @property
    def p99_ms(self) -> float:
        """All but one in a hundred took no longer."""
        return percentile(self.millis, 99)


def hand_overs(expected: Mapping[str, int], record: SmscRecord, warm_up_micros: int = 0) -> HandOvers:
    """Matches events with what the SMSC received; those due within the warm-up count, but not their times."""
    begin = min(expected.values(), default=0) + warm_up_micros
    lost = [event for event in expected if event not in record.received]
    millis = [
        (record.received[event] - due) / 1000
        for event, due in expected.items()
        if event in record.received and due >= begin
    ]
    return HandOvers(len(expected), len(lost), millis)

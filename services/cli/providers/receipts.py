"""Delivery receipts of the simulated SMSC: kept until a bound client has taken them, over restarts too."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from services.cli.providers.record import RecordFile, read_record
from services.cli.providers.smpp_wire import write_receipt

_STATES = {"DELIVRD": 2, "EXPIRED": 3, "DELETED": 4, "UNDELIV": 5, "ACCEPTD": 6, "UNKNOWN": 7, "REJECTD": 8}
DELIVERED = "DELIVRD"


class Dialect(StrEnum):
    """How SMSCs write receipts."""

    BOTH = "both"
    """As text and as parameters."""
    TEXT = "text"
    PARAMETERS = "parameters"
    DECIMAL = "decimal"
    """As text that names in decimal what was answered in hexadecimal."""
    SHORT = "short"
    """As text in another order and case, without what can be left out."""


_FINAL_MASK = 0x03
_FAILURES_ONLY = 0x02


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one submitted short message."""

    message_id: str
    source: str
    destination: str
    stat: str
    """`DELIVRD`, `UNDELIV` … as in SMPP 3.4 appendix B."""
    submit_micros: int
    dialect: Dialect = Dialect.BOTH

    def frame(self, sequence: int, done_micros: int) -> bytes:
        """The deliver_sm that carries it, from the subscriber back to the sender."""
        arrived = self.stat == DELIVERED
        identifier = str(int(self.message_id, 16)) if self.dialect is Dialect.DECIMAL else self.message_id
        text = (
            f"id:{identifier} sub:001 dlvrd:{arrived:03d} "
            f"submit date:{_minute(self.submit_micros)} done date:{_minute(done_micros)} "
            f"stat:{self.stat} err:{0 if arrived else 1:03d} text:"
        )
        if self.dialect is Dialect.SHORT:
            text = f"stat:{self.stat.lower()} err:{0 if arrived else 1} ID:{identifier}"
        elif self.dialect is Dialect.PARAMETERS:
            text = ""
        return write_receipt(
            sequence,
            source=self.destination,
            destination=self.source,
            text=text,
            message_id=self.message_id,
            state=_STATES.get(self.stat, _STATES["UNKNOWN"]),
            parameters=self.dialect in {Dialect.BOTH, Dialect.PARAMETERS},
        )


def _minute(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1_000_000, UTC).strftime("%y%m%d%H%M")


def is_wanted(registered_delivery: int, stat: str) -> bool:
    """Whether the sender asked for a receipt of this outcome (SMPP 3.4 §5.2.17)."""
    asked = registered_delivery & _FINAL_MASK
    if stat == "none" or not asked:
        return False
    return asked != _FAILURES_ONLY or stat != DELIVERED


class ReceiptQueue:
    """Receipts that wait for their time and for a client; a second file remembers which were taken."""

    def __init__(self, record: Path, delay_micros: int) -> None:
        taken_path = record.with_name(record.name + ".receipts")
        self._delay_micros = delay_micros
        self._waiting: deque[tuple[int, Receipt]] = deque()
        self._restore(read_record(record), {entry["id"] for entry in read_record(taken_path)})
        self._taken = RecordFile(taken_path)

    def _restore(self, entries: Iterable[dict[str, Any]], taken: set[str]) -> None:
        for entry in entries:
            stat = entry.get("stat")
            if entry.get("status") == 0 and stat and entry["id"] not in taken:
                receipt = Receipt(
                    entry["id"], entry["source"], entry["destination"], stat, entry["time_micros"]
                )
                self._waiting.append((0, receipt))

    def add(self, receipt: Receipt) -> None:
        """Queue a receipt to go out the delay after its submit."""
        self._waiting.append((receipt.submit_micros + self._delay_micros, receipt))

    def add_again(self, receipt: Receipt, now_micros: int) -> None:
        """Queue a receipt that the client refused, for the delay from now."""
        self._waiting.append((now_micros + self._delay_micros, receipt))

    def put_back(self, receipts: Iterable[Receipt]) -> None:
        """Queue receipts again that a lost link did not confirm."""
        self._waiting.extendleft((0, receipt) for receipt in reversed(list(receipts)))

    def due(self, now_micros: int, at_most: int) -> list[Receipt]:
        """Take receipts whose time has come."""
        found: list[Receipt] = []
        while self._waiting and len(found) < at_most and self._waiting[0][0] <= now_micros:
            found.append(self._waiting.popleft()[1])
        return found

    def next_micros(self) -> int | None:
        """When the first waiting receipt is due; None: none waits."""
        return self._waiting[0][0] if self._waiting else None

    def confirm(self, receipts: Iterable[Receipt]) -> None:
        """Remember that a client took these."""
        self._taken.append({"id": receipt.message_id, "stat": receipt.stat} for receipt in receipts)

    def __len__(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """Give the file back."""
        self._taken.close()

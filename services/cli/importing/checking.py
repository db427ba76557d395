"""Looks through a whole file before anything is sent, and says what is wrong with it: where, how often."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from services.cli.feed import NumberedEvent
from services.cli.importing.reading import File, Unreadable
from services.cli.importing.rows import RowError, RowReader

EXAMPLES = 5
_STEP = 5_000


@dataclass(slots=True)
class Fault:
    """One kind of mistake in one column: how many rows have it, and the numbers of the first."""

    rows: int = 0
    examples: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Findings:
    """What one file holds. Rows count from 1, the head not; no value of the file is in here."""

    name: str
    rows: int = 0
    refused: int = 0
    silent: int = 0
    """Rows of which the mapping has nothing to say."""
    events: int = 0
    repeated: int = 0
    repeated_examples: list[int] = field(default_factory=list)
    faults: dict[tuple[str, str], Fault] = field(default_factory=dict)
    unreadable: Unreadable = field(default_factory=Unreadable)

    def note(self, row: int, column: str, reason: str) -> None:
        """One row is refused."""
        self.refused += 1
        fault = self.faults.setdefault((column, reason), Fault())
        fault.rows += 1
        if len(fault.examples) < EXAMPLES:
            fault.examples.append(row)

    def to_json(self) -> dict[str, Any]:
        """As `--json` tells it."""
        return {
            "file": self.name,
            "rows": self.rows,
            "refused": self.refused,
            "nothing_to_say": self.silent,
            "events": self.events,
            "repeated": {"rows": self.repeated, "examples": self.repeated_examples},
            "faults": [
                {"column": column, "reason": reason, "rows": fault.rows, "examples": fault.examples}
                for (column, reason), fault in self.faults.items()
            ],
        }


class Report:
    """Writes the number and the fault of every refused row into a file, as they are found."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file

    def refuse(self, name: str, row: int, column: str, reason: str) -> None:
        """One line: file, row, column, reason, parted by tabs."""
        if self._file is not None:
            self._file.write(f"{name}\t{row}\t{column}\t{reason}\n")


def check(
    file: File,
    reader: RowReader,
    findings: Findings,
    report: Report,
    moved: Callable[[int], None] = lambda _rows: None,
) -> None:
    """Read every row, and note what would be refused; `moved` hears how many rows were looked at."""
    findings.unreadable = file.unreadable()
    for broken, reason in findings.unreadable.rows:
        findings.rows += 1
        findings.note(broken, "", reason)
        report.refuse(findings.name, broken, "", reason)
    findings.repeated, examples = file.repeated(reader.id_columns)
    findings.repeated_examples = [findings.unreadable.number(place) for place in examples]
    number = findings.unreadable.number
    for place, row in enumerate(file.rows(), start=1):
        findings.rows += 1
        try:
            events = reader.look(row)
        except RowError as error:
            findings.note(number(place), error.column, error.reason)
            report.refuse(findings.name, number(place), error.column, error.reason)
        else:
            findings.events += events
            findings.silent += not events
        if place % _STEP == 0:
            moved(findings.rows)
    moved(findings.rows)


def taken_events(file: File, reader: RowReader, unreadable: Unreadable) -> Iterator[NumberedEvent]:
    """The events of every row that is not refused, each with its row's number, in the order of the file."""
    for place, row in enumerate(file.rows(), start=1):
        try:
            events = reader.events(row)
        except RowError:
            continue
        if not events:
            continue
        number = unreadable.number(place)
        for event in events:
            yield NumberedEvent(number, event)

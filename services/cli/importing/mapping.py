"""What a mapping says: which columns of a file tell what of whom, and since when."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from services.vocabulary.words import ConsentBy

Constant = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a value comes from: a column, or the same for every row (`constant`).

    `values` turns what the column holds into what is meant, None into nothing; what is not in it is
    `otherwise`, or a mistake where that is not said either. `times` multiplies a number.
    """

    column: str = ""
    constant: Constant | None = None
    values: tuple[tuple[str, Constant | None], ...] = ()
    otherwise: Constant | None = None
    has_otherwise: bool = False
    prefix: str = ""
    currency: str = ""
    separator: str = ""
    times: float | None = None
    format: str = ""


@dataclass(frozen=True, slots=True)
class TimeOf:
    """When it happened: a column or one time for all; a day without a time is taken at `hour` in `zone`.

    `format`: as of strptime, or seconds, or millis (since 1970); empty: ISO 8601.
    """

    column: str = ""
    constant: str = ""
    zone: str = ""
    hour: int = 12
    format: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a column must hold: one of `among`, none of `none_of`, and, where asked, nothing or something."""

    column: str
    among: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()
    empty: bool | None = None

    def holds(self, text: str) -> bool:
        """Whether it does; an empty text is nothing."""
        if self.empty is not None and self.empty is bool(text):
            return False
        return (not self.among or text in self.among) and text not in self.none_of


@dataclass(frozen=True, slots=True)
class Saying:
    """One event that a row becomes, where its conditions hold. `line` is of the mapping's file."""

    type: str
    fields: tuple[tuple[str, Cell], ...] = ()
    traits: tuple[tuple[str, Cell | None], ...] = ()
    when: tuple[Condition, ...] = ()
    time: TimeOf | None = None
    subject: tuple[tuple[str, Cell], ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True)
class Mapping:
    """How the rows of one kind of file are read."""

    source: str
    subject: tuple[tuple[str, Cell], ...] = ()
    time: TimeOf = field(default_factory=TimeOf)
    sayings: tuple[Saying, ...] = ()
    id: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()
    format: str = ""
    encoding: str = "utf-8"
    delimiter: str = ""
    quote: str = ""
    live: bool = False
    key: str = ""

    def cells(self) -> Iterator[Cell]:
        """Every cell of it."""
        for _, cell in self.subject:
            yield cell
        for saying in self.sayings:
            for _, cell in saying.subject:
                yield cell
            for _, cell in saying.fields:
                yield cell
            for _, known in saying.traits:
                if known is not None:
                    yield known

    def columns(self) -> set[str]:
        """Every column that it reads."""
        found = {cell.column for cell in self.cells()} | set(self.id)
        times = [self.time, *(saying.time for saying in self.sayings if saying.time is not None)]
        found |= {time.column for time in times}
        whens = [*self.when, *(condition for saying in self.sayings for condition in saying.when)]
        return (found | {condition.column for condition in whens}) - {""}


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping as it stands in its file: for every file alike (key empty), or by the file's name."""

    path: Path
    digest: str
    by_name: tuple[tuple[str, Mapping], ...]

    def of(self, file: Path) -> Mapping | None:
        """The mapping for a file: by its name without its endings, or by a pattern of its whole name."""
        stem = file.name.partition(".")[0]
        for pattern, mapping in self.by_name:
            if pattern in {"", stem} or fnmatchcase(file.name, pattern):
                return mapping
        return None


CONSENT_FIELDS = ("purpose", "channel", "state", "by", "evidence", "wording")
IMPORTED = Cell(constant=ConsentBy.IMPORT.value)

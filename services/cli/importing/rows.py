"""Turns rows into events, checked against the catalogue: what the service would refuse is never sent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.types.v1 import event_pb2

from services.cli.importing.converting import converter, moments, text_of
from services.cli.importing.mapping import Cell, Condition, Mapping, Saying, TimeOf
from services.cli.stack.errors import StackError
from services.vocabulary.catalogue import Catalogue, EventType
from services.vocabulary.identities import parse_identity
from services.vocabulary.values import DAY, MINUTE, FieldError, ValueMistake, ValueType

_CACHED = 4_096
"""Texts of one column whose meaning is remembered: names of plans and the like are few."""
_OLDEST = 763 * DAY
_AHEAD = 5 * MINUTE
_DATA_BYTES = 64_000

Read = Callable[[Sequence[Any]], Any]
"""What a row holds there as checked JSON; None: nothing."""


class RowError(ValueError):
    """A row that cannot be taken: in which column, and why, without what stands there."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Event:
    """One saying, put together for these columns."""

    type: EventType
    fields: tuple[tuple[str, str, Read], ...]
    traits: tuple[tuple[str, str, Read | None], ...]
    holds: Callable[[Sequence[Any]], bool]
    time: Callable[[Sequence[Any]], int]
    subject: Callable[[Sequence[Any]], str]


class RowReader:
    """Reads the rows of one file; raises StackError when the mapping does not fit the file or the catalogue.

    `now_micros`: what is ahead of it or over 25 months before it is refused, as the service would; 0: the
    clock is fed, and nothing is.
    """

    def __init__(
        self, mapping: Mapping, columns: Sequence[str], catalogue: Catalogue, *, now_micros: int = 0
    ) -> None:
        self._mapping = mapping
        self._catalogue = catalogue
        self._places = {name: place for place, name in enumerate(columns)}
        self._now = now_micros
        self._wrong: list[str] = []
        self._missing(columns)
        self._holds = self._conditions(mapping.when)
        self._events = [self._event(saying) for saying in mapping.sayings]
        if self._wrong:
            raise StackError("The mapping does not fit:\n" + "\n".join(f"  {line}" for line in self._wrong))
        self._id_places = [self._places[column] for column in mapping.id]
        said = "" if mapping.time.column or mapping.id else mapping.time.constant
        self._id_head = f"{mapping.source}\x00{said}\x00"

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The columns that tell rows apart; none: all of them."""
        return self._mapping.id

    def events(self, row: Sequence[Any]) -> list[event_pb2.Event]:
        """What a row says; raises RowError for the first thing that is wrong with it."""
        if not self._holds(row):
            return []
        found: list[event_pb2.Event] = []
        identity = b""
        for place, event in enumerate(self._events):
            if not event.holds(row):
                continue
            data = self._data(event, row)
            if data is None:
                continue
            identity = identity or self._identity(row)
            micros = event.time(row)
            self._check_time(micros)
            found.append(
                event_pb2.Event(
                    id=blake2b(identity + place.to_bytes(2, "big"), digest_size=16).hexdigest(),
                    source=self._mapping.source,
                    type=event.type.name,
                    subject=event.subject(row),
                    data=_packed(data),
                    spec_version="1.0",
                    time=Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000),
                )
            )
        return found

    def look(self, row: Sequence[Any]) -> int:
        """How many events a row would become; raises RowError as `events` does."""
        if not self._holds(row):
            return 0
        count = 0
        for event in self._events:
            if event.holds(row) and (data := self._data(event, row)) is not None:
                if not count:
                    self._check_identity(row)
                self._check_time(event.time(row))
                event.subject(row)
                _packed(data)
                count += 1
        return count

    def _check_identity(self, row: Sequence[Any]) -> None:
        if self._id_places and all(is_nothing(row[place]) for place in self._id_places):
            raise RowError(self._mapping.id[0], "is empty, and tells this row from others")

    def _identity(self, row: Sequence[Any]) -> bytes:
        self._check_identity(row)
        cells = [row[place] for place in self._id_places] if self._id_places else row
        try:
            text = "\x00".join(cells)
        except TypeError:  # something else than text
            text = "\x00".join("" if cell is None else text_of(cell) for cell in cells)
        return (self._id_head + text).encode()

    def _data(self, event: _Event, row: Sequence[Any]) -> dict[str, Any] | None:
        if event.traits:
            traits: dict[str, Any] = {}
            for name, column, read in event.traits:
                value = None if read is None else _read(read, row, column)
                if read is None or value is not None:
                    traits[name] = value
            return {"traits": traits} if traits else None
        data: dict[str, Any] = {}
        for name, column, read in event.fields:
            value = _read(read, row, column)
            if value is not None:
                data[name] = value
        try:
            event.type.coerce(data)
        except FieldError as error:
            name = error.field.removeprefix("data.")
            column = next((column for known, column, _ in event.fields if known == name), "")
            raise RowError(
                column or name, "is empty" if "missing" in error.message else error.message
            ) from None
        return data

    def _check_time(self, micros: int) -> None:
        column = self._mapping.time.column
        if micros < 0:
            raise RowError(column, "is before 1970")
        if self._now and micros > self._now + _AHEAD:
            raise RowError(column, "is in the future")
        if self._now and micros < self._now - _OLDEST:
            raise RowError(column, "is older than 25 months, which is as long as events are known")

    # --- put together once ------------------------------------------------------------------------------

    def _missing(self, columns: Sequence[str]) -> None:
        for column in sorted(self._mapping.columns() - set(columns)):
            near = get_close_matches(column, columns, n=1) or [
                name for name in columns if name.lower() == column.lower()
            ]
            self._wrong.append(
                f"there is no column {column}"
                + (f"; did you mean {near[0]}?" if near else "; the file has " + ", ".join(columns[:30]))
            )

    def _event(self, saying: Saying) -> _Event:
        event_type = self._catalogue.events.get(saying.type)
        if event_type is None or event_type.own or event_type.thing:
            self._wrong.append(f"line {saying.line}: {saying.type} is no event type that tells of a customer")
            event_type = self._catalogue.events["profile.updated"]
        return _Event(
            event_type,
            tuple(
                (name, cell.column or name, self._field(event_type, name, cell))
                for name, cell in saying.fields
            ),
            tuple(
                (name, cell.column if cell else name, self._trait(name, cell)) for name, cell in saying.traits
            ),
            self._conditions(saying.when),
            self._time(saying.time or self._mapping.time),
            self._subject(saying.subject or self._mapping.subject),
        )

    def _field(self, event_type: EventType, name: str, cell: Cell) -> Read:
        known = event_type.fields.get(name)
        if known is None:
            near = get_close_matches(name, list(event_type.fields), n=1)
            self._wrong.append(
                f"{event_type.name} has no field {name}; "
                + (f"did you mean {near[0]}?" if near else "it has " + ", ".join(event_type.fields))
            )
            return _nothing
        # the whole event is checked by its type, with all its fields
        return self._reader(cell, converter(known.type, cell, self._catalogue.currency), lambda value: value)

    def _trait(self, name: str, cell: Cell | None) -> Read | None:
        try:
            known = self._catalogue.trait(name)
        except FieldError as error:
            self._wrong.append(f"{name} {error.message}; {error.suggestion}")
            return None
        if cell is None:
            return None

        def check(value: Any) -> Any:
            known.check(value)
            return value

        return self._reader(cell, converter(known.type, cell, self._catalogue.currency), check)

    def _reader(self, cell: Cell, convert: Callable[[Any], Any], check: Callable[[Any], Any]) -> Read:
        if not cell.column:
            # a constant is as the catalogue wants it, or money, a day and the like as a file would hold it
            value = cell.constant
            try:
                made = check(value if isinstance(value, bool) else convert(value))
            except ValueMistake as mistake:
                self._wrong.append(f"the value {value!r} {mistake.message}")
                return _nothing
            return lambda _row: made
        place = self._places.get(cell.column, 0)  # a missing column has been noted
        table = dict(cell.values)
        known: dict[Any, Any] = {}

        def read(row: Sequence[Any]) -> Any:
            raw = row[place]
            try:
                if raw in known:
                    return known[raw]
            except TypeError:  # a list or an object
                return check(convert(raw))
            if is_nothing(raw):
                return None
            meant = _meant(raw, table, cell) if table else raw
            made = None if meant is None else check(convert(meant))
            if len(known) < _CACHED:
                known[raw] = made
            return made

        return read

    def _conditions(self, conditions: Sequence[Condition]) -> Callable[[Sequence[Any]], bool]:
        placed = [(self._places.get(one.column, 0), one) for one in conditions]
        if not placed:
            return lambda _row: True

        def holds(row: Sequence[Any]) -> bool:
            return all(
                one.holds("" if is_nothing(row[place]) else text_of(row[place]).strip())
                for place, one in placed
            )

        return holds

    def _time(self, time: TimeOf) -> Callable[[Sequence[Any]], int]:
        read = moments(time)
        if not time.column:
            try:
                constant = read(time.constant)
            except ValueMistake as mistake:
                self._wrong.append(f"time {mistake.message}; {mistake.suggestion}")
                constant = 0
            return lambda _row: constant
        place = self._places.get(time.column, 0)

        def at(row: Sequence[Any]) -> int:
            raw = row[place]
            if is_nothing(raw):
                raise RowError(time.column, "is empty, and tells when it happened")
            try:
                return read(raw)
            except ValueMistake as mistake:
                raise RowError(time.column, mistake.message) from None

        return at

    def _subject(self, subject: Sequence[tuple[str, Cell]]) -> Callable[[Sequence[Any]], str]:
        readers = [
            (kind, cell.column, self._reader(cell, converter(ValueType.TEXT, cell, ""), lambda value: value))
            for kind, cell in subject
        ]
        columns = " and ".join(column for _, column, _ in readers)

        def whom(row: Sequence[Any]) -> str:
            words: list[str] = []
            for kind, column, read in readers:
                value = _read(read, row, column)
                if value is None:
                    continue
                try:
                    word = parse_identity(f"{kind}:{value.strip()}").text
                except FieldError as error:
                    raise RowError(column, error.message) from None
                if len(word.split()) > 1:
                    raise RowError(column, f"has a {kind} with a space in it")
                words.append(word)
            if not words:
                raise RowError(columns, "is empty, and tells whom the row is about")
            return " ".join(dict.fromkeys(words))

        return whom


def _packed(data: dict[str, Any]) -> bytes:
    packed = orjson.dumps(data)
    if len(packed) > _DATA_BYTES:
        raise RowError("", f"is too long: the data of an event has at most {_DATA_BYTES:,} bytes")
    return packed


def is_nothing(raw: Any) -> bool:
    """Whether a cell holds nothing: blanks are nothing."""
    return raw is None or raw == "" or (isinstance(raw, str) and raw[0] <= " " and not raw.strip())


def _meant(raw: Any, table: dict[str, Any], cell: Cell) -> Any:
    text = text_of(raw).strip()
    if text in table:
        return table[text]
    if cell.has_otherwise:
        return cell.otherwise
    raise ValueMistake("is none of the words in values:")


def _read(read: Read, row: Sequence[Any], column: str) -> Any:
    try:
        return read(row)
    except ValueMistake as mistake:
        raise RowError(column, mistake.message) from None


def _nothing(row: Sequence[Any]) -> None:
    del row

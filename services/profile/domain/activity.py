"""Recent events of one type: entries one by one, older ones as sums by day."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MICROS_PER_DAY: Final = 86_400_000_000

SLACK_MICROS: Final = 2 * MICROS_PER_DAY
"""Kept beyond the stated time: an event somewhat older than the newest still sees its whole window."""

ColumnValue = float | str | None
"""A kept field's value: a number, a text, or missing."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long entries of an event type are kept, relative to the newest of them.

    `each_micros`: one by one, at most `most` of them; `by_day_micros`: after that as sums by day, until
    this age; 0: dropped.
    """

    each_micros: int
    by_day_micros: int = 0
    most: int = 1000


@dataclass(slots=True)
class NumberColumn:
    """A number per entry; NaN: missing."""

    values: list[float] = field(default_factory=list)


@dataclass(slots=True)
class TextColumn:
    """A text per entry, as a 1-based position in the distinct texts; 0: missing."""

    texts: list[str] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)

    def index_of(self, text: str) -> int:
        """Position of a text, from 1; adds it when new."""
        try:
            return self.texts.index(text) + 1
        except ValueError:
            self.texts.append(text)
            return len(self.texts)

    def forget_unused(self) -> None:
        """Drop texts that no entry names any more."""
        used = sorted(set(self.indexes) - {0})
        if len(used) == len(self.texts):
            return
        place = {old: new for new, old in enumerate(used, start=1)}
        place[0] = 0
        self.texts = [self.texts[old - 1] for old in used]
        self.indexes = [place[old] for old in self.indexes]


Column = NumberColumn | TextColumn


@dataclass(slots=True)
class TypeActivity:
    """Entries of one event type, ordered by time, then by sequence, and sums of older days.

    All lists of entries have the same length; so have all lists of days. Times are microseconds
    since the epoch, days are calendar days since 1970-01-01 in the customer's zone.
    """

    type: str
    times: list[int] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    days: list[int] = field(default_factory=list)
    day_counts: list[int] = field(default_factory=list)
    day_sums: dict[str, list[float]] = field(default_factory=dict)

    def add(
        self,
        time_micros: int,
        sequence: int,
        kept: Mapping[str, ColumnValue],
        retention: Retention,
        day_of: Callable[[int], int],
    ) -> None:
        """Add one entry in its place by time, then fold what is now older than kept."""
        times = self.times
        place = len(times)
        if times and time_micros < times[-1]:
            place = bisect_right(times, time_micros)
        times.insert(place, time_micros)
        self.sequences.insert(place, sequence)
        self._add_to_columns(place, kept)
        oldest_kept = times[-1] - retention.each_micros - SLACK_MICROS
        if times[0] < oldest_kept or len(times) > retention.most:
            self._fold(oldest_kept, retention, day_of)

    @property
    def last_time_micros(self) -> int:
        """Time of the newest entry; 0: none."""
        return self.times[-1] if self.times else 0

    def _add_to_columns(self, place: int, kept: Mapping[str, ColumnValue]) -> None:
        columns = self.columns
        before = len(self.times) - 1
        for name, value in kept.items():
            if value is not None and name not in columns:
                columns[name] = (
                    TextColumn([], [0] * before)
                    if isinstance(value, str)
                    else NumberColumn([math.nan] * before)
                )
        for name, column in columns.items():
            value = kept.get(name)
            if isinstance(column, TextColumn):
                column.indexes.insert(place, column.index_of(value) if isinstance(value, str) else 0)
            else:
                column.values.insert(
                    place, math.nan if value is None or isinstance(value, str) else float(value)
                )

    def _fold(self, oldest_kept: int, retention: Retention, day_of: Callable[[int], int]) -> None:
        cut = max(bisect_left(self.times, oldest_kept), len(self.times) - retention.most)
        if retention.by_day_micros:
            for place in range(cut):
                self._add_to_day(day_of(self.times[place]), place)
        self._drop_entries(cut)
        if self.days:
            self._drop_days(day_of(self.times[-1] - retention.by_day_micros))

    def _add_to_day(self, day: int, place: int) -> None:
        at = bisect_left(self.days, day)
        if at == len(self.days) or self.days[at] != day:
            self.days.insert(at, day)
            self.day_counts.insert(at, 0)
            for sums in self.day_sums.values():
                sums.insert(at, 0.0)
        self.day_counts[at] += 1
        for name, column in self.columns.items():
            if isinstance(column, TextColumn) or math.isnan(column.values[place]):
                continue
            sums = self.day_sums.setdefault(name, [0.0] * len(self.days))
            sums[at] += column.values[place]

    def forget_until(self, now_micros: int, retention: Retention, day_of: Callable[[int], int]) -> bool:
        """Fold and drop what is too old seen from a time, not from the newest entry; whether anything was."""
        before = (len(self.times), len(self.days))
        cut = bisect_left(self.times, now_micros - retention.each_micros)
        if retention.by_day_micros:
            for place in range(cut):
                self._add_to_day(day_of(self.times[place]), place)
        self._drop_entries(cut)
        if self.days:
            self._drop_days(day_of(now_micros - retention.by_day_micros))
        return (len(self.times), len(self.days)) != before

    def take_back(self, time_micros: int, sequence: int, kept: Mapping[str, ColumnValue], day: int) -> bool:
        """Take one entry out again: by its sequence, or of the sums of its day; False: it is in neither."""
        for place in range(bisect_left(self.times, time_micros), bisect_right(self.times, time_micros)):
            if self.sequences[place] == sequence:
                self._drop_entry(place)
                return True
        at = bisect_left(self.days, day)
        if at == len(self.days) or self.days[at] != day:
            return False
        self.day_counts[at] -= 1
        for name, sums in self.day_sums.items():
            value = kept.get(name)
            if isinstance(value, int | float):
                sums[at] -= value
        if not self.day_counts[at]:
            del self.days[at]
            del self.day_counts[at]
            for sums in self.day_sums.values():
                del sums[at]
        return True

    def _drop_entry(self, place: int) -> None:
        del self.times[place]
        del self.sequences[place]
        for name, column in list(self.columns.items()):
            if isinstance(column, NumberColumn):
                del column.values[place]
                continue
            del column.indexes[place]
            column.forget_unused()
            if not column.texts:
                del self.columns[name]

    def forget_oldest(self, count: int) -> None:
        """Drop the oldest entries, and days beyond a year, to make room."""
        self._drop_entries(count)
        del self.days[:-366]
        del self.day_counts[:-366]
        for sums in self.day_sums.values():
            del sums[:-366]

    def _drop_entries(self, count: int) -> None:
        del self.times[:count]
        del self.sequences[:count]
        for name, column in list(self.columns.items()):
            if isinstance(column, NumberColumn):
                del column.values[:count]
                continue
            del column.indexes[:count]
            column.forget_unused()
            if not column.texts:
                del self.columns[name]  # nothing is left that has this field

    def _drop_days(self, first_kept: int) -> None:
        count = bisect_left(self.days, first_kept)
        if not count:
            return
        del self.days[:count]
        del self.day_counts[:count]
        if not self.days:
            self.day_sums.clear()
        for sums in self.day_sums.values():
            del sums[:count]


def entries_of(activity: TypeActivity) -> Sequence[tuple[int, int, dict[str, ColumnValue]]]:
    """The entries as (time, sequence, kept fields): for people and tests, not for the hot path."""
    rows: list[tuple[int, int, dict[str, ColumnValue]]] = []
    for place, (time, sequence) in enumerate(zip(activity.times, activity.sequences, strict=True)):
        kept: dict[str, ColumnValue] = {}
        for name, column in activity.columns.items():
            if isinstance(column, TextColumn):
                index = column.indexes[place]
                kept[name] = column.texts[index - 1] if index else None
            else:
                value = column.values[place]
                kept[name] = None if math.isnan(value) else value
        rows.append((time, sequence, kept))
    return rows

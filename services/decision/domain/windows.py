"""Windows over a customer's activity, judged by the time of the event being decided.

The event itself is counted from its own fields, never from the activity, so that it counts once whether or
not the activity already holds it, and so that a window can be had without it (`crosses`, `this: excluded`).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from services.decision.domain.activity import NO_ACTIVITY, Activity
from services.decision.domain.calendar import (
    cycle_index,
    cycle_label,
    cycle_of,
    cycle_start,
    day_start,
    local_day,
)
from services.decision.domain.language.ast import Window
from services.decision.domain.language.types import Kind
from services.decision.domain.situation import Situation
from services.vocabulary.values import Money

Compute = Callable[[Situation, bool], Any]
_ENTRY = "entry being looked at"
_IN_SECONDS = frozenset({Kind.TIME, Kind.DURATION})
_MICROS = 1_000_000


@lru_cache(maxsize=8192)
def window_function(window: Window) -> Compute:
    """How to compute a window: called with a situation, and whether the event being decided may count.

    Equal windows have the same function, which can therefore serve as the key of a cache.
    """
    where = None
    if window.where is not None:
        from services.decision.domain.expressions import condition_function

        where = condition_function(window.where)
    reduce = _REDUCERS[window.function]

    if window.function == "count" and window.over == "rolling" and where is None:
        return _counter(window)

    def compute(situation: Situation, this: bool) -> Any:  # noqa: FBT001 - called for every event
        activity = situation.activity.get(window.type) or NO_ACTIVITY
        end = situation.now_micros - window.before
        span = _span(window, situation, activity, end)
        chosen = _unseen_left_out(span.chosen, activity, situation.sequence)
        counts = this and window.this and not window.before and situation.event_type == window.type
        if where is not None:
            chosen = [i for i in chosen if _where(where, situation, activity, i)]
            counts = counts and _where(where, situation, None, 0)
        return reduce(window, situation, activity, _Chosen(chosen, span, counts, end))

    return compute


def _counter(window: Window) -> Compute:
    """The same for the most usual window, a number of events in a rolling time, which needs no values."""
    counted, before, last = window.type, window.before, window.last
    counts_this = window.this and not before

    def count(situation: Situation, this: bool) -> int:  # noqa: FBT001 - called for every event
        own = 1 if this and counts_this and situation.event_type == counted else 0
        activity = situation.activity.get(counted)
        if activity is None:
            return own
        end = situation.now_micros - before
        times = activity.times
        stop = bisect_right(times, end)
        chosen = range(bisect_right(times, end - last, 0, stop), stop)
        return len(_unseen_left_out(chosen, activity, situation.sequence)) + own

    return count


def entry_value(situation: Situation, name: str, kind: Kind) -> Any:
    """Inside `where`: a field of the entry being looked at."""
    activity, index = situation.cache[_ENTRY]
    if activity is None:
        return event_operand(situation, name, kind)
    texts = activity.texts.get(name)
    if texts is not None:
        text = texts[index]
        return date.fromisoformat(text) if text and kind is Kind.DATE else text
    numbers = activity.numbers.get(name)
    if numbers is None or math.isnan(numbers[index]):
        return None
    return _finish(numbers[index], kind)


def event_operand(situation: Situation, name: str, kind: Kind) -> Any:
    """A field of the event being decided as conditions compare it."""
    value = situation.event.get(name)
    if isinstance(value, Money):
        return value.amount if value.currency == situation.currency else None
    if kind is Kind.NUMBER and isinstance(value, int):
        return float(value)
    return value


class _Span:
    """Which entries, and which day totals, lie in the window's time."""

    __slots__ = ("chosen", "first_day", "last_day")

    def __init__(self, chosen: Sequence[int], first_day: int, last_day: int) -> None:
        self.chosen = chosen
        self.first_day = first_day
        self.last_day = last_day

    def days(self, activity: Activity) -> range:
        """Positions of the day totals in the window."""
        if not activity.days or self.first_day > self.last_day:
            return range(0)
        return range(bisect_left(activity.days, self.first_day), bisect_right(activity.days, self.last_day))


class _Chosen:
    """What a window has to reduce: entries, day totals, and the event itself if it counts."""

    __slots__ = ("end", "indexes", "span", "this")

    def __init__(self, indexes: Sequence[int], span: _Span, this: bool, end: int) -> None:  # noqa: FBT001
        self.indexes = indexes
        self.span = span
        self.this = this
        self.end = end


def _span(window: Window, situation: Situation, activity: Activity, end: int) -> _Span:
    times = activity.times
    stop = bisect_right(times, end)
    if window.over == "rolling":
        return _Span(range(bisect_right(times, end - window.last, 0, stop), stop), 1, 0)
    if window.over == "ever":
        return _Span(range(stop), -(10**6), local_day(end, situation.zone) if activity.days else 0)
    today = local_day(end, situation.zone)
    if window.over == "days":
        first = today - window.last + 1
        return _Span(range(bisect_left(times, day_start(first, situation.zone), 0, stop), stop), first, today)
    return _cycle_span(window, situation, activity, stop, today)


def _cycle_span(window: Window, situation: Situation, activity: Activity, stop: int, today: int) -> _Span:
    cycle_day = situation.cycle_day
    current = None if window.before else cycle_index(str(situation.event.get("cycle", "")))
    if current is None:
        current = cycle_of(today, cycle_day)
    oldest = current - window.last + 1
    first = cycle_start(oldest, cycle_day)
    last = cycle_start(current + 1, cycle_day) - 1
    times = activity.times
    low = bisect_left(times, day_start(first, situation.zone), 0, stop)
    high = bisect_left(times, day_start(last + 1, situation.zone), 0, stop)
    labels = activity.texts.get("cycle")
    if labels is None:
        return _Span(range(low, high), first, min(last, today))
    oldest_label, current_label = cycle_label(oldest), cycle_label(current)
    chosen = [
        i
        for i in range(stop)
        if (low <= i < high if (label := labels[i]) is None else oldest_label <= label <= current_label)
    ]
    return _Span(chosen, first, min(last, today))


def _unseen_left_out(chosen: Sequence[int], activity: Activity, sequence: int) -> Sequence[int]:
    """Without the event itself and those the customer did later, whatever their time says."""
    if not sequence or not chosen:
        return chosen
    sequences = activity.sequences
    if max(sequences[chosen[0] : chosen[-1] + 1]) < sequence:
        return chosen
    return [i for i in chosen if sequences[i] < sequence]


def _where(
    where: Callable[[Situation], bool], situation: Situation, activity: Activity | None, index: int
) -> bool:
    situation.cache[_ENTRY] = (activity, index)
    return where(situation)


# --- reducing --------------------------------------------------------------------------------------------


def _count(window: Window, _: Situation, activity: Activity, chosen: _Chosen) -> int:
    older = 0
    if activity.days and window.where is None:
        days = chosen.span.days(activity)
        older = sum(activity.day_counts[days.start : days.stop])
    return len(chosen.indexes) + older + (1 if chosen.this else 0)


def _sum(window: Window, situation: Situation, activity: Activity, chosen: _Chosen) -> Any:
    return _finish(math.fsum(_summed(window, situation, activity, chosen)), window.kind)


def _avg(window: Window, situation: Situation, activity: Activity, chosen: _Chosen) -> Any:
    values = list(_numbers(window, situation, activity, chosen))
    days = chosen.span.days(activity) if window.where is None else range(0)
    number = len(values) + sum(activity.day_counts[days.start : days.stop])
    if not number:
        return None
    return _finish(math.fsum(_summed(window, situation, activity, chosen)) / number, window.kind)


def _min(window: Window, situation: Situation, activity: Activity, chosen: _Chosen) -> Any:
    value = min(_numbers(window, situation, activity, chosen), default=None)
    return None if value is None else _finish(value, window.kind)


def _max(window: Window, situation: Situation, activity: Activity, chosen: _Chosen) -> Any:
    value = max(_numbers(window, situation, activity, chosen), default=None)
    return None if value is None else _finish(value, window.kind)


def _distinct(window: Window, situation: Situation, activity: Activity, chosen: _Chosen) -> int:
    texts = activity.texts.get(window.field)
    own = situation.event.get(window.field) if chosen.this else None
    if texts is None and isinstance(own, bool | int | float | Money):
        return len(set(_numbers(window, situation, activity, chosen)))
    if texts is None:
        values: set[Any] = set(_numbers(window, situation, activity, chosen, own=False))
    else:
        values = {texts[i] for i in chosen.indexes}
    values.add(own.isoformat() if isinstance(own, date) else own)
    values.discard(None)
    return len(values)


def _latest(window: Window, situation: Situation, activity: Activity, chosen: _Chosen) -> Any:
    if chosen.this:
        own = event_operand(situation, window.field, window.kind)
        if own is not None:
            return own
    return next(_present(window, situation, activity, reversed(chosen.indexes)), None)


def _earliest(window: Window, situation: Situation, activity: Activity, chosen: _Chosen) -> Any:
    value = next(_present(window, situation, activity, chosen.indexes), None)
    if value is None and chosen.this:
        return event_operand(situation, window.field, window.kind)
    return value


def _since(window: Window, situation: Situation, activity: Activity, chosen: _Chosen) -> int | None:
    if chosen.this:
        return 0
    if chosen.indexes:
        return chosen.end - activity.times[chosen.indexes[-1]]
    days = chosen.span.days(activity) if window.where is None else range(0)
    return chosen.end - day_start(activity.days[days[-1]], situation.zone) if days else None


_REDUCERS: dict[str, Callable[[Window, Situation, Activity, _Chosen], Any]] = {
    "count": _count,
    "distinct": _distinct,
    "sum": _sum,
    "avg": _avg,
    "min": _min,
    "max": _max,
    "latest": _latest,
    "earliest": _earliest,
    "since": _since,
}


def _numbers(
    window: Window, situation: Situation, activity: Activity, chosen: _Chosen, *, own: bool = True
) -> list[float]:
    column = activity.numbers.get(window.field)
    values: list[float] = []
    if column is not None:
        indexes = chosen.indexes
        if isinstance(indexes, range):
            values = list(column[indexes.start : indexes.stop])
            if any(map(math.isnan, values)):
                values = [value for value in values if not math.isnan(value)]
        else:
            values = [value for i in indexes if (value := column[i]) == value]
    if own and chosen.this:
        mine = event_operand(situation, window.field, window.kind)
        if mine is not None:
            in_seconds = window.kind in _IN_SECONDS or window.field_kind in _IN_SECONDS
            values.append(float(mine) / _MICROS if in_seconds else float(mine))
    return values


def _summed(window: Window, situation: Situation, activity: Activity, chosen: _Chosen) -> Iterable[float]:
    values = _numbers(window, situation, activity, chosen)
    if activity.days and window.where is None and window.field in activity.day_sums:
        days = chosen.span.days(activity)
        values.extend(activity.day_sums[window.field][days.start : days.stop])
    return values


def _present(
    window: Window, situation: Situation, activity: Activity, indexes: Iterable[int]
) -> Iterator[Any]:
    for index in indexes:
        situation.cache[_ENTRY] = (activity, index)
        value = entry_value(situation, window.field, window.kind)
        if value is not None:
            yield value


def _finish(value: float, kind: Kind) -> Any:
    """A float of the activity as an operand of its kind; sums lose the dust of binary fractions."""
    return _FINISH.get(kind, _number)(value)


def _number(value: float) -> float:
    return round(value, 9)


def _amount(value: float) -> Decimal:
    return Decimal(repr(round(value, 6)))


def _micros(value: float) -> int:
    return round(value * _MICROS)


_FINISH: dict[Kind, Callable[[float], Any]] = {
    Kind.INT: round,
    Kind.MONEY: _amount,
    Kind.TIME: _micros,
    Kind.DURATION: _micros,
    Kind.BOOL: bool,
}

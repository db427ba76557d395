"""What a window comes to, worked out the obvious way: every entry is looked at, one by one.

The oracle's own; `windows` is the fast way, and must come to the same. Nothing is shared with it but the
calendar and the numbers' dust: decimals are rounded to 9 places, amounts of money to 6.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from services.decision.domain.activity import NO_ACTIVITY, Activity
from services.decision.domain.calendar import cycle_index, cycle_label, cycle_of, day_start, local_day
from services.decision.domain.language.ast import Window
from services.decision.domain.language.types import Kind, to_operand
from services.decision.domain.situation import Situation

Read = Callable[[str, Kind], Any]
"""How to read a field, by name and kind; None when it is missing."""


@dataclass(frozen=True, slots=True)
class _Day:
    """What is left of a day's entries once they are no longer kept one by one."""

    number: int
    count: int
    sums: Mapping[str, float]


def window_value(
    window: Window, situation: Situation, *, this: bool, where: Callable[[Read], bool] | None
) -> Any:
    """The window's value, with the event being decided or (`this` false) without it; None when missing.

    `where` says whether an entry counts, given how to read its fields.
    """
    activity = situation.activity.get(window.type) or NO_ACTIVITY
    end = situation.now_micros - window.before
    times: list[int] = []
    reads: list[Read] = []
    for index, time in enumerate(activity.times):
        read = _entry(activity, index)
        if time > end or (situation.sequence and activity.sequences[index] >= situation.sequence):
            continue
        if _in_span(window, situation, end, time, read("cycle", Kind.TEXT)) and (
            where is None or where(read)
        ):
            times.append(time)
            reads.append(read)
    counts = this and window.this and not window.before and situation.event_type == window.type
    if counts and (where is None or where(_own(situation))):
        times.append(end)
        reads.append(_own(situation))
    else:
        counts = False
    days = [] if where is not None else [day for day in _days(activity) if _has(window, situation, end, day)]
    return _reduced(window, situation, times, reads, days, end, own=counts)


def _entry(activity: Activity, index: int) -> Read:
    def read(name: str, kind: Kind) -> Any:
        if name in activity.texts:
            text = activity.texts[name][index]
            return date.fromisoformat(text) if text and kind is Kind.DATE else text
        number = activity.numbers[name][index] if name in activity.numbers else math.nan
        return None if math.isnan(number) else _operand(number, kind)

    return read


def _own(situation: Situation) -> Read:
    return lambda name, kind: to_operand(situation.event.get(name), kind, situation.currency)


def _days(activity: Activity) -> Iterator[_Day]:
    for index, number in enumerate(activity.days):
        sums = {name: column[index] for name, column in activity.day_sums.items()}
        yield _Day(number, activity.day_counts[index], sums)


def _cycles(window: Window, situation: Situation, end: int) -> range:
    """The billing cycles that the window covers; the event's own `cycle` goes before its time."""
    own = None if window.before else cycle_index(str(situation.event.get("cycle") or ""))
    current = cycle_of(local_day(end, situation.zone), situation.cycle_day) if own is None else own
    return range(current - window.last + 1, current + 1)


def _in_span(window: Window, situation: Situation, end: int, time: int, label: str | None) -> bool:
    """Whether an entry of this time, and this `cycle` of its own if it has one, lies in the window."""
    if window.over == "rolling":
        return time > end - window.last
    if window.over == "days":
        return local_day(time, situation.zone) > local_day(end, situation.zone) - window.last
    if window.over == "cycles":
        cycles = _cycles(window, situation, end)
        if label is not None:
            return label in {cycle_label(cycle) for cycle in cycles}
        return cycle_of(local_day(time, situation.zone), situation.cycle_day) in cycles
    return True


def _has(window: Window, situation: Situation, end: int, day: _Day) -> bool:
    """Whether a whole day lies in the window; only calendar days and cycles are made of whole days."""
    today = local_day(end, situation.zone)
    if day.number > today or window.over == "rolling":
        return False
    if window.over == "days":
        return day.number > today - window.last
    if window.over == "cycles":
        return cycle_of(day.number, situation.cycle_day) in _cycles(window, situation, end)
    return True


def _reduced(
    window: Window,
    situation: Situation,
    times: Sequence[int],
    reads: Sequence[Read],
    days: Sequence[_Day],
    end: int,
    *,
    own: bool,
) -> Any:
    if window.function == "count":
        return len(times) + sum(day.count for day in days)
    if window.function == "since":
        if times:
            return 0 if own else end - times[-1]
        return end - day_start(days[-1].number, situation.zone) if days else None
    kind = window.field_kind
    values = [value for read in reads if (value := read(window.field, kind)) is not None]
    match window.function:
        case "distinct":
            return len(set(values))
        case "latest":
            return values[-1] if values else None
        case "earliest":
            return values[0] if values else None
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)
    values += [_operand(day.sums[window.field], kind) for day in days if window.field in day.sums]
    total = sum(values, Decimal()) if kind is Kind.MONEY else math.fsum(values)
    if window.function == "sum":
        return _rounded(total, window.kind)
    number = len(values) + sum(day.count - (window.field in day.sums) for day in days)
    return _rounded(total / number, window.kind) if number else None


def _operand(number: float, kind: Kind) -> Any:
    """A number as the activity keeps it (times and durations in seconds) as conditions compare it."""
    match kind:
        case Kind.MONEY:
            return round(Decimal(repr(number)), 6)
        case Kind.TIME | Kind.DURATION:
            return round(number * 1_000_000)
        case _:
            return _rounded(number, kind)


def _rounded(value: Any, kind: Kind) -> Any:
    match kind:
        case Kind.MONEY:
            return round(value, 6)
        case Kind.INT | Kind.TIME | Kind.DURATION:
            return round(value)
        case Kind.BOOL:
            return bool(value)
        case _:
            return round(float(value), 9)

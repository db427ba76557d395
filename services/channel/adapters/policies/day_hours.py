"""Reads hours of weekdays, holidays and the days before them, written as quiet or as allowed."""

import re
from collections.abc import Callable, Mapping

from ruamel.yaml.comments import CommentedMap

from services.channel.adapters.policies.reading import Mistakes, line_of
from services.channel.domain.quiet_hours import MINUTES_OF_DAY, DayHours, QuietWindow, Week

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAILY = "daily"
CLOSED = "closed"
_SPAN = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


def read_week(
    raw: CommentedMap, key: str, mistakes: Mistakes, day: Callable[[list[QuietWindow]], DayHours]
) -> Week:
    """The week in the map under a key, by weekday; `daily`: the days that are not named.

    `day` says what hours a day has of which these spans are written; it raises ValueError.
    """
    listed = raw.get(key) or CommentedMap()
    if not isinstance(listed, CommentedMap):
        raise mistakes.at(line_of(raw, key), f"{key} is not a map", "write `mon: [21:00-08:00]` per weekday")
    days: list[DayHours | None] = [None] * len(WEEKDAYS)
    daily = day([])
    if DAILY in listed:
        daily = read_day(listed, DAILY, mistakes, day)
    for name in listed:
        if name != DAILY:
            days[weekday(name, line_of(listed, name), mistakes)] = read_day(listed, str(name), mistakes, day)
    found = [daily if one is None else one for one in days]
    return Week(
        tuple(one.windows for one in found), frozenset(place for place, one in enumerate(found) if one.closed)
    )


def read_day(
    raw: CommentedMap, key: str, mistakes: Mistakes, day: Callable[[list[QuietWindow]], DayHours]
) -> DayHours:
    """The hours of one kind of day: a list of spans, or `closed`."""
    listed, line = raw[key], line_of(raw, key)
    if listed == CLOSED:
        return DayHours(closed=True)
    if not isinstance(listed, list):
        raise mistakes.at(line, f"{key} is not a list", "write [21:00-08:00], [] for none, or closed")
    spans = [_span(str(one), line, mistakes) for one in listed]
    try:
        return day(spans)
    except ValueError as error:
        raise mistakes.at(line, f"{key} {error}", "write [10:00-13:00, 14:00-20:00]") from error


def quiet(spans: list[QuietWindow]) -> DayHours:
    """A day of which the quiet hours are written."""
    return DayHours(tuple(spans))


def allowed(spans: list[QuietWindow]) -> DayHours:
    """A day of which the allowed hours are written: quiet before, between and after them."""
    windows: list[QuietWindow] = []
    free_from = 0
    for span in sorted(spans, key=lambda span: span.start):
        if span.overnight or span.start < free_from:
            raise ValueError("has hours that overlap or run over midnight")
        if span.start > free_from:
            windows.append(QuietWindow(free_from, span.start))
        free_from = span.end
    if not spans:
        return DayHours(closed=True)
    if free_from < MINUTES_OF_DAY:
        windows.append(QuietWindow(free_from, MINUTES_OF_DAY))
    return DayHours(tuple(windows))


def weekday(day: object, line: int, mistakes: Mistakes) -> int:
    """The place of a weekday, 0: Monday; raises PolicyError."""
    if day not in WEEKDAYS:
        raise mistakes.at(line, f"{day!r} is no weekday", f"use {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(str(day))


def weekdays(raw: Mapping[str, object], key: str, line: int, mistakes: Mistakes) -> frozenset[int]:
    """The weekdays of a list under a key, which may be left out; raises PolicyError."""
    listed = raw.get(key) or []
    if not isinstance(listed, list):
        raise mistakes.at(line, f"{key} is not a list", f"write {key}: [sun], or []")
    return frozenset(weekday(day, line, mistakes) for day in listed)


def _span(text: str, line: int, mistakes: Mistakes) -> QuietWindow:
    found = _SPAN.fullmatch(text.strip())
    if found is not None:
        hours, minutes, end_hours, end_minutes = (int(part) for part in found.groups())
        start, end = hours * 60 + minutes, end_hours * 60 + end_minutes
        if (
            minutes < 60
            and end_minutes < 60
            and start < MINUTES_OF_DAY
            and end <= MINUTES_OF_DAY
            and start != end
        ):
            return QuietWindow(start, end)
    raise mistakes.at(line, f"{text!r} is no time of day to another", "write 21:00-08:00; 24:00 ends the day")

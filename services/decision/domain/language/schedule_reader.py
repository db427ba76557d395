"""Reads when a schedule runs: `day at 09:00`, `mon and thu at 10:00`, `first tue of month at 09:00`."""

import re

from services.decision.domain.language.nodes import Node
from services.decision.domain.language.reading import read_word
from services.decision.domain.language.report import Report
from services.decision.domain.problems import did_you_mean
from services.decision.domain.triggers import NO_AUDIENCE, Schedule
from services.vocabulary.values import ValueMistake
from services.vocabulary.values import zone as find_zone

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NTH = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_EXAMPLES = "write day at 09:00, mon and thu at 10:00, or first tue of month at 09:00"
_CUSTOMER = "customer"


class _ScheduleError(ValueError):
    def __init__(self, message: str, suggestion: str = _EXAMPLES) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


def read_schedule(every: Node | None, zone: Node | None, report: Report) -> Schedule | None:
    """The schedule, for an audience still to be read; None when it cannot be understood."""
    name = read_word(zone, report, "zone")
    if name and name != _CUSTOMER:
        try:
            find_zone(name)
        except ValueMistake:
            suggestion = did_you_mean(name, (_CUSTOMER,)) or "write customer, or a zone as Europe/Paris"
            report.error(zone, f"`{name}` is not a time zone", "trigger", suggestion)
            name = ""
    text = read_word(every, report, "every")
    if not text:
        return None
    try:
        weekdays, nth, minute = _read(text)
    except _ScheduleError as mistake:
        report.error(every, mistake.message, "trigger", mistake.suggestion)
        return None
    return Schedule(minute, weekdays, nth, "" if name == _CUSTOMER else name, NO_AUDIENCE)


def _read(text: str) -> tuple[frozenset[int], int | None, int]:
    words = text.replace(",", " ").split()
    if "at" not in words:
        raise _ScheduleError(f"`{text}` does not say at what time", f"write {text} at 09:00")
    at = words.index("at")
    clock = " ".join(words[at + 1 :])
    match = _CLOCK.fullmatch(clock)
    if match is None:
        raise _ScheduleError(f"`{clock}` is no time of day", "write it as 09:00")
    minute = int(match[1]) * 60 + int(match[2])
    days = words[:at]
    if not days:
        raise _ScheduleError(f"`{text}` does not say on which days", f"write day {text}")
    if days[0] in _NTH or "month" in days:
        return (*_of_month(days, text), minute)
    if days in (["day"], ["days"]):
        return frozenset(), None, minute
    return frozenset(_day(word) for word in days if word != "and"), None, minute


def _of_month(days: list[str], text: str) -> tuple[frozenset[int], int | None]:
    if days[0] not in _NTH:
        raise _ScheduleError(
            f"`{days[0]}` is no place in a month", did_you_mean(days[0], _NTH) or "use " + ", ".join(_NTH)
        )
    if days[2:] != ["of", "month"]:
        raise _ScheduleError(
            f"`{text}` names no single day of the month", "write it as first tue of month at 09:00"
        )
    return (frozenset() if days[1] == "day" else frozenset({_day(days[1])})), _NTH[days[0]]


def _day(word: str) -> int:
    written = word.lower()
    for number, day in enumerate(_DAYS):
        if written in {day, day[:3]}:
            return number
    suggestion = did_you_mean(written, (*_DAYS, "day")) or "mon … sun, or day"
    raise _ScheduleError(f"`{word}` is no weekday", suggestion)

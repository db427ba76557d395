"""When a schedule runs, in a zone, whatever the clocks do there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.decision.domain.triggers import Schedule
from services.vocabulary.values import HOUR, time_to_micros, zone

_FARTHEST_DAYS = 800
"""Every schedule runs within this: even the fifth-rarest weekday of a month comes every month."""
_DAY_IS_GONE = 6 * HOUR
"""A place that moves to the other side of the date line leaves a day out; nothing runs on it."""


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """One run of a schedule in one zone: the moment, and the local date and time it is named by."""

    micros: int
    name: str


def next_run(schedule: Schedule, zone_name: str, after_micros: int) -> Run:
    """The first run after that moment in a zone; a schedule with a zone of its own runs in that.

    A local time that the clocks skip runs at the next minute there is; one that comes twice runs the first
    time. Raises ValueMistake for a zone that does not exist.
    """
    place = zone(schedule.zone or zone_name)
    moment = datetime.fromtimestamp(after_micros // 1_000_000, place)
    day = moment.date() - timedelta(days=1)
    for offset in range(_FARTHEST_DAYS):
        on = day + timedelta(days=offset)
        if not runs_on(schedule, on):
            continue
        micros = moment_of(on, schedule.minute, place)
        if micros is not None and micros > after_micros:
            return Run(micros, run_name(on, schedule.minute))
    raise AssertionError("a schedule runs at least every second month")  # pragma: no cover


def runs_between(schedule: Schedule, zone_name: str, after_micros: int, until_micros: int) -> Iterator[Run]:
    """The runs after one moment, up to and including another, in order."""
    run = next_run(schedule, zone_name, after_micros)
    while run.micros <= until_micros:
        yield run
        run = next_run(schedule, zone_name, run.micros)


def run_name(day: date, minute: int) -> str:
    """What a run is called: its local date and time, whatever the clocks made of it."""
    return f"{day.isoformat()}T{minute // 60:02}:{minute % 60:02}"


def runs_on(schedule: Schedule, day: date) -> bool:
    """Whether a schedule runs on a day of the calendar."""
    if schedule.weekdays and day.weekday() not in schedule.weekdays:
        return False
    if schedule.nth is None:
        return True
    if schedule.nth < 0:
        step = 7 if schedule.weekdays else 1
        return (day + timedelta(days=step)).month != day.month
    number = (day.day - 1) // 7 + 1 if schedule.weekdays else day.day
    return number == schedule.nth


def moment_of(day: date, minute: int, place: ZoneInfo) -> int | None:
    """The moment of a local time on a day; None when the place has no such day."""
    wanted = datetime.combine(day, time(minute // 60, minute % 60), place)
    first = time_to_micros(wanted)  # fold=0: the first of two, or before the clocks went on
    if _local(first, place) == wanted.replace(tzinfo=None):
        return first
    # the clocks skip it: they went on somewhere between the two ways to read it
    low, high = time_to_micros(wanted.replace(fold=1)), first
    if high - low > _DAY_IS_GONE:
        return None
    while high - low > 1_000_000:
        middle = (low + high) // 2_000_000 * 1_000_000
        if _local(middle, place) >= wanted.replace(tzinfo=None):
            high = middle
        else:
            low = middle
    return high


def _local(micros: int, place: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(micros // 1_000_000, place).replace(tzinfo=None, fold=0)

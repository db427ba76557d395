"""Quiet hours: when, in a recipient's own zone, nobody is to be disturbed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.vocabulary.values import micros_to_time, time_to_micros
from services.vocabulary.words import Channel

MINUTES_OF_DAY = 24 * 60
_HORIZON = timedelta(days=15)
_MICROSECOND = timedelta(microseconds=1)


class Override(StrEnum):
    """Whether a channel keeps quiet hours."""

    RESPECT = "respect"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class QuietWindow:
    """Quiet from one time of day to another, in minutes since local midnight; the end itself is allowed.

    An end not after the start lies on the next day: a window belongs to the weekday on which it starts.
    """

    start: int
    end: int

    @property
    def overnight(self) -> bool:
        """Ends on the day after."""
        return self.end <= self.start


@dataclass(frozen=True, slots=True)
class Week:
    """The quiet windows of each weekday (0: Monday), and the weekdays on which nothing is sent at all."""

    windows: tuple[tuple[QuietWindow, ...], ...] = ((),) * 7
    closed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The operator's policy."""

    week: Week = field(default_factory=Week)
    channels: Mapping[Channel, Override] = field(default_factory=dict)
    default_zone: str = "UTC"

    def next_allowed(self, zone: str, channel: Channel, now_micros: int) -> int | None:
        """The first moment from now on, in microseconds, that is not quiet; None: none (all closed)."""
        if self.channels.get(channel, Override.RESPECT) is Override.ALWAYS:
            return now_micros
        return end_of_quiet(self.week, zone or self.default_zone, now_micros)


def end_of_quiet(week: Week, zone: str, now_micros: int) -> int | None:
    """`now_micros` when it is not quiet in that zone, else when the quiet time ends; None: never."""
    moment = micros_to_time(now_micros)
    free = moment
    while free - moment < _HORIZON:
        today = free.astimezone(ZoneInfo(zone)).toordinal()
        spans = _spans(week, zone, today - 1) + _spans(week, zone, today)
        ends = [end for start, end in spans if start <= free < end]
        if not ends:
            return time_to_micros(free)
        free = max(ends)
    return None


@lru_cache(maxsize=4096)
def _spans(week: Week, zone: str, day_ordinal: int) -> tuple[tuple[datetime, datetime], ...]:
    """The quiet spans that start on that local day, as moments in UTC, in order of their start."""
    return tuple(sorted(_local_spans(week, ZoneInfo(zone), date.fromordinal(day_ordinal))))


def _local_spans(week: Week, zone: ZoneInfo, day: date) -> Iterator[tuple[datetime, datetime]]:
    next_day = day + timedelta(days=1)
    if day.weekday() in week.closed:
        yield _moment(day, 0, zone, last=False), _moment(next_day, 0, zone, last=False)
    for window in week.windows[day.weekday()]:
        end_day = next_day if window.overnight else day
        yield _moment(day, window.start, zone, last=False), _moment(end_day, window.end, zone, last=True)


def _moment(day: date, minute: int, zone: ZoneInfo, *, last: bool) -> datetime:
    """When the clock on the wall shows that minute.

    Shown twice (clocks go back): the first time, or the last. Not shown at all (clocks go forward): the
    moment at which it is skipped.
    """
    local = datetime.combine(day + timedelta(days=minute // MINUTES_OF_DAY), time(), tzinfo=zone)
    local = local.replace(hour=minute % MINUTES_OF_DAY // 60, minute=minute % 60, fold=int(last))
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(fold=0, tzinfo=None) == local.replace(fold=0, tzinfo=None):
        return moment
    return _skipped(local, zone)


def _skipped(local: datetime, zone: ZoneInfo) -> datetime:
    """The moment of the change by which that local time is skipped."""
    low = local.replace(fold=1).astimezone(UTC)
    high = local.replace(fold=0).astimezone(UTC)
    before = low.astimezone(zone).utcoffset()
    while high - low > _MICROSECOND:
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high

"""Quiet hours: when, in a recipient's own zone, nobody is to be disturbed; the operator's and the law's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.channel.domain.identity import Same
from services.vocabulary.values import DAY, micros_to_time, time_to_micros
from services.vocabulary.words import Category, Channel

MINUTES_OF_DAY = 24 * 60
_HORIZON = 60 * DAY
_MICROSECOND = timedelta(microseconds=1)


class Override(StrEnum):
    """Whether a channel keeps the operator's quiet hours."""

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
class DayHours:
    """The quiet windows of a day, or that nothing is sent on it at all."""

    windows: tuple[QuietWindow, ...] = ()
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Week:
    """The quiet windows of each weekday (0: Monday), and the weekdays on which nothing is sent at all.

    `holiday` and `eve` take the place of the weekday's windows on a public holiday, and on the day before
    one; None: such a day is like any other. A closed weekday stays closed.
    """

    windows: tuple[tuple[QuietWindow, ...], ...] = ((),) * 7
    closed: frozenset[int] = frozenset()
    holiday: DayHours | None = None
    eve: DayHours | None = None

    def day(self, weekday: int, kind: "DayKind") -> DayHours:
        """What holds on such a day."""
        own = {DayKind.HOLIDAY: self.holiday, DayKind.EVE: self.eve}.get(kind)
        found = own if own is not None else DayHours(self.windows[weekday])
        return DayHours(found.windows, closed=True) if weekday in self.closed else found


class DayKind(StrEnum):
    """What a calendar day is, besides its weekday."""

    PLAIN = "plain"
    HOLIDAY = "holiday"
    EVE = "eve"


class World(Protocol):
    """What is known of countries: whose number, whose zone, which days."""

    def country_of(self, address: str, zone: str) -> str:
        """ISO 3166-1 code of the recipient: from an E.164 number, else from the zone, else the operator's."""

    def is_holiday(self, country: str, subdivision: str, day: date) -> bool:
        """Whether it is a public holiday of the whole country, or (ISO 3166-2) of that part of it."""


class Nowhere:
    """A world without countries."""

    def country_of(self, address: str, zone: str) -> str:  # noqa: ARG002 - the interface
        """Unknown."""
        return ""

    def is_holiday(self, country: str, subdivision: str, day: date) -> bool:  # noqa: ARG002 - the interface
        """None."""
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nowhere)

    def __hash__(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class OwnDay:
    """A day that the operator treats as a public holiday; `year` 0: every year's."""

    month: int
    day: int
    year: int = 0


@dataclass(frozen=True, slots=True)
class Holidays:
    """Whose public holidays count: of each country the nationwide ones and those of the parts named."""

    countries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    own: frozenset[OwnDay] = frozenset()

    def has(self, day: date, country: str, world: World) -> bool:
        """Whether that day is one for a recipient in that country."""
        if OwnDay(day.month, day.day) in self.own or OwnDay(day.month, day.day, day.year) in self.own:
            return True
        parts = self.countries.get(country)
        if parts is None:
            return False
        return any(world.is_holiday(country, part, day) for part in ("", *parts))


@dataclass(frozen=True, slots=True)
class OwnHours:
    """Hours that hold for some messages in the place of the general ones; empty: all channels, categories."""

    name: str
    week: Week
    channels: frozenset[Channel] = frozenset()
    categories: frozenset[Category] = frozenset()

    def fits(self, channel: Channel, category: Category) -> bool:
        """Whether these hold for such a message."""
        return (not self.channels or channel in self.channels) and (
            not self.categories or category in self.categories
        )


@dataclass(frozen=True, slots=True)
class LawHours:
    """Hours that a country's law, or the code of its industry, leaves for such messages."""

    country: str
    source: str
    """Statute, code, article."""
    hours: OwnHours


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is to receive what; `own`: the person's own quiet hours, spans of each day in minutes.

    `any_hour`: its ground allows it in the operator's quiet hours, and in the person's.
    """

    channel: Channel
    category: Category
    zone: str = ""
    address: str = ""
    any_hour: bool = False
    own: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """It is not to be sent now."""

    until_micros: int | None
    """The first moment at which neither the operator nor the law forbids it; None: none in sight."""
    because: str
    """For people: what forbids it for longest now."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """The operator's policy, and the law where its recipients are."""

    week: Week = field(default_factory=Week)
    channels: Mapping[Channel, Override] = field(default_factory=dict)
    default_zone: str = "UTC"
    holidays: Holidays = field(default_factory=Holidays)
    own: tuple[OwnHours, ...] = ()
    """The first that fits a message holds for it in the place of `week`."""
    law: tuple[LawHours, ...] = ()
    world: World = field(default_factory=Nowhere)

    def held(self, recipient: Recipient, now_micros: int) -> Held | None:
        """What keeps it from being sent now; None: nothing. The strictest of operator, law, person holds."""
        zone = zone_name(recipient.zone, self.default_zone)
        knows_countries = self.law or self.holidays.countries
        country = self.world.country_of(recipient.address, zone) if knows_countries else ""
        key = (
            Same(self),
            recipient.channel,
            recipient.category,
            recipient.any_hour,
            zone,
            country,
            recipient.own,
        )
        since, until = _FREE.get(key, (0, 0))
        if since <= now_micros < until:
            return None
        rules = self._rules(recipient, country)
        clock = ZoneInfo(zone)
        free, because = now_micros, ""
        while free - now_micros < _HORIZON:
            blocked = self._blocked(rules, zone, clock, free)
            if blocked is None:
                if free > now_micros:
                    return Held(free, because)
                _remember_free(key, now_micros, self._next_start(rules, zone, clock, now_micros))
                return None
            free = blocked[0]
            because = because or blocked[1].told(zone)
        return Held(None, f"{because}, which never end")

    def _next_start(self, rules: list["_Rule"], zone: str, clock: ZoneInfo, now_micros: int) -> int:
        """Until when it stays free, at most twelve hours."""
        today = micros_to_time(now_micros).astimezone(clock).toordinal()
        starts = [
            start
            for rule in rules
            for day in (today, today + 1)
            for start, _ in _spans(Same(rule.week), zone, day, rule.kind(day, self.world))
            if start > now_micros
        ]
        return min([now_micros + DAY // 2, *starts])

    def _blocked(
        self, rules: list["_Rule"], zone: str, clock: ZoneInfo, moment_micros: int
    ) -> tuple[int, "_Rule"] | None:
        """The span that covers the moment and ends last, by its end; None: none does."""
        today = micros_to_time(moment_micros).astimezone(clock).toordinal()
        worst: tuple[int, _Rule] | None = None
        for rule in rules:
            for day in (today - 1, today):
                for start, end in _spans(Same(rule.week), zone, day, rule.kind(day, self.world)):
                    if start <= moment_micros < end and (worst is None or end > worst[0]):
                        worst = end, rule
        return worst

    def _rules(self, recipient: Recipient, country: str) -> list["_Rule"]:
        """All that must allow it."""
        channel, category = recipient.channel, recipient.category
        rules: list[_Rule] = []
        if not recipient.any_hour and self.channels.get(channel, Override.RESPECT) is Override.RESPECT:
            week = next((one.week for one in self.own if one.fits(channel, category)), self.week)
            rules.append(_Rule(week, self.holidays, country))
        if recipient.own and not recipient.any_hour:
            rules.append(_Rule(_each_day(recipient.own), Holidays(), country, own=True))
        rules += [
            _Rule(one.hours.week, Holidays({country: ()}), country, one.source)
            for one in self.law
            if one.country == country and one.hours.fits(channel, category)
        ]
        return rules


_FREE: dict[tuple[object, ...], tuple[int, int]] = {}
"""When messages of a kind were found to be free, and until when: most are judged within the same day."""
_MOST_REMEMBERED = 10_000


def _remember_free(key: tuple[object, ...], since: int, until: int) -> None:
    if len(_FREE) >= _MOST_REMEMBERED:
        _FREE.clear()
    _FREE[key] = since, until


@dataclass(frozen=True, slots=True)
class _Rule:
    """Hours that hold for one recipient; `source` empty: the operator's, or the recipient's `own`."""

    week: Week
    holidays: Holidays
    country: str
    source: str = ""
    own: bool = False

    def kind(self, day_ordinal: int, world: World) -> DayKind:
        """What that calendar day is there."""
        if self.week.holiday is None and self.week.eve is None:
            return DayKind.PLAIN
        day = date.fromordinal(day_ordinal)
        if self.holidays.has(day, self.country, world):
            return DayKind.HOLIDAY
        if self.week.eve is not None and self.holidays.has(day + timedelta(days=1), self.country, world):
            return DayKind.EVE
        return DayKind.PLAIN

    def told(self, zone: str) -> str:
        """For people."""
        if self.own:
            return f"the customer's own quiet hours in {zone}"
        return f"quiet hours in {zone}" + (f" by law in {self.country}: {self.source}" if self.source else "")


@lru_cache(maxsize=1024)
def _each_day(own: tuple[tuple[int, int], ...]) -> Week:
    return Week((tuple(QuietWindow(start, end) for start, end in own),) * 7)


def zone_name(wanted: str, default: str) -> str:
    """The first of both that is a zone; else UTC."""
    return next((name for name in (wanted, default) if name and _is_zone(name)), "UTC")


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=8192)
def _spans(week: Same[Week], zone: str, day_ordinal: int, kind: DayKind) -> tuple[tuple[int, int], ...]:
    """The quiet spans that start on that local day, in microseconds, in order of their start."""
    day = date.fromordinal(day_ordinal)
    spans = _local_spans(week.of.day(day.weekday(), kind), ZoneInfo(zone), day)
    return tuple(sorted((time_to_micros(start), time_to_micros(end)) for start, end in spans))


def _local_spans(hours: DayHours, zone: ZoneInfo, day: date) -> Iterator[tuple[datetime, datetime]]:
    next_day = day + timedelta(days=1)
    if hours.closed:
        yield _moment(day, 0, zone, last=False), _moment(next_day, 0, zone, last=False)
    for window in hours.windows:
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

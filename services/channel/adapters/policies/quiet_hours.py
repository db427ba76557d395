"""Reads quiet_hours.yaml."""

from dataclasses import replace
from datetime import date

from ruamel.yaml.comments import CommentedMap

from services.channel.adapters.policies.day_hours import quiet, read_day, read_week, weekdays
from services.channel.adapters.policies.reading import Mistakes, Source, line_of, only, read, words
from services.channel.adapters.policies.world import has_holidays
from services.channel.domain.quiet_hours import (
    DayHours,
    Holidays,
    Override,
    OwnDay,
    OwnHours,
    QuietHours,
    Week,
)
from services.vocabulary.words import Category, Channel

_KEYS = ("quiet", "closed", "channels", "own", "holidays")
_OWN_KEYS = ("channels", "categories", "quiet", "closed", "holidays")
_HOLIDAY_KEYS = ("countries", "days", "quiet")
_LIKE_OTHERS = "like others"


def read_quiet_hours(file: Source, default_zone: str) -> QuietHours:
    """The quiet hours in the file; raises PolicyError."""
    content, mistakes = read(file)
    only(content, _KEYS, mistakes, content)
    holidays, on_holidays = _holidays(content, mistakes)
    return QuietHours(
        week=replace(_week(content, mistakes), holiday=on_holidays),
        channels=_overrides(content, mistakes),
        default_zone=default_zone,
        holidays=holidays,
        own=_own(content, on_holidays, mistakes),
    )


def _week(raw: CommentedMap, mistakes: Mistakes) -> Week:
    week = read_week(raw, "quiet", mistakes, quiet)
    closed = weekdays(raw, "closed", line_of(raw, "closed"), mistakes)
    return replace(week, closed=week.closed | closed)


def _holidays(content: CommentedMap, mistakes: Mistakes) -> tuple[Holidays, DayHours | None]:
    """Whose holidays count, and what holds on them."""
    raw = content.get("holidays")
    if raw is None:
        return Holidays(), None
    if not isinstance(raw, CommentedMap) or "quiet" not in raw:
        right = "write {countries: {FR: []}, quiet: closed}"
        raise mistakes.at(line_of(content, "holidays"), "holidays does not say what holds on them", right)
    only(raw, _HOLIDAY_KEYS, mistakes, raw)
    listed = raw.get("days") or []
    if not isinstance(listed, list):
        raise mistakes.at(line_of(raw, "days"), "days is not a list", "write [2026-12-24, 12-31]")
    own = frozenset(_own_day(one, line_of(raw, "days"), mistakes) for one in listed)
    return Holidays(_countries(raw, mistakes), own), read_day(raw, "quiet", mistakes, quiet)


def _countries(raw: CommentedMap, mistakes: Mistakes) -> dict[str, tuple[str, ...]]:
    listed = raw.get("countries") or CommentedMap()
    if not isinstance(listed, CommentedMap):
        right = "write {FR: [], DE: [BY]}: codes of ISO 3166-1, each with parts of it (ISO 3166-2)"
        raise mistakes.at(line_of(raw, "countries"), "countries is not a map", right)
    found: dict[str, tuple[str, ...]] = {}
    for country, parts in listed.items():
        line = line_of(listed, country)
        if not isinstance(parts, list):
            raise mistakes.at(line, f"{country} has no list of parts", f"write {country}: [] for none")
        for part in ("", *map(str, parts)):
            if not has_holidays(str(country), part):
                wrong = f"of {f'{country}-{part}' if part else country} no holidays are known"
                raise mistakes.at(line, wrong, "use codes of ISO 3166, or list the days under days")
        found[str(country)] = tuple(map(str, parts))
    return found


def _own_day(day: object, line: int, mistakes: Mistakes) -> OwnDay:
    if isinstance(day, date):
        return OwnDay(day.month, day.day, day.year)
    try:
        every_year = date.fromisoformat(f"2028-{day}")  # a year with a 29 February
    except ValueError as error:
        raise mistakes.at(
            line, f"{day!r} is no day", "write 2026-12-24, or 12-24 for every year's"
        ) from error
    return OwnDay(every_year.month, every_year.day)


def _own(content: CommentedMap, on_holidays: DayHours | None, mistakes: Mistakes) -> tuple[OwnHours, ...]:
    listed = content.get("own") or CommentedMap()
    if not isinstance(listed, CommentedMap):
        right = "write `name: {channels: [call], quiet: …}` per entry"
        raise mistakes.at(line_of(content, "own"), "own is not a map", right)
    found = []
    for name, raw in listed.items():
        if not isinstance(raw, CommentedMap) or not {"channels", "categories"} & raw.keys():
            right = "write channels: […] or categories: […] with quiet: …"
            raise mistakes.at(line_of(listed, name), f"own {name} does not say for which messages", right)
        only(raw, _OWN_KEYS, mistakes, raw)
        week = replace(_week(raw, mistakes), holiday=_own_holiday(raw, on_holidays, mistakes))
        found.append(
            OwnHours(
                str(name),
                week,
                words(raw, "channels", Channel, mistakes) if "channels" in raw else frozenset(),
                words(raw, "categories", Category, mistakes) if "categories" in raw else frozenset(),
            )
        )
    return tuple(found)


def _own_holiday(raw: CommentedMap, on_holidays: DayHours | None, mistakes: Mistakes) -> DayHours | None:
    """What holds on holidays: what is said here, else what holds on them for all."""
    if "holidays" not in raw:
        return on_holidays
    return None if raw["holidays"] == _LIKE_OTHERS else read_day(raw, "holidays", mistakes, quiet)


def _overrides(content: CommentedMap, mistakes: Mistakes) -> dict[Channel, Override]:
    listed = content.get("channels") or {}
    if not isinstance(listed, CommentedMap):
        if listed:
            raise mistakes.at(line_of(content, "channels"), "channels is not a map", "write `app: always`")
        return {}
    found: dict[Channel, Override] = {}
    for name, how in listed.items():
        try:
            found[Channel(str(name))] = Override(str(how))
        except ValueError as error:
            known = ", ".join(channel.value for channel in Channel)
            right = f"write a channel ({known}) with always or respect"
            raise mistakes.at(line_of(listed, name), f"{name}: {how} is not understood", right) from error
    return found

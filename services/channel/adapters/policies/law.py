"""Reads law.yaml: the hours that countries leave for which messages, each with its source."""

from dataclasses import replace
from datetime import date

from ruamel.yaml.comments import CommentedMap

from services.channel.adapters.policies.day_hours import allowed, read_day, read_week
from services.channel.adapters.policies.reading import Mistakes, Source, line_of, only, read, words
from services.channel.adapters.policies.world import has_holidays, is_country
from services.channel.domain.quiet_hours import LawHours, OwnHours
from services.vocabulary.words import Category, Channel

_KEYS = (
    "countries",
    "source",
    "looked_up",
    "says",
    "channels",
    "categories",
    "allowed",
    "holidays",
    "eves",
)
_NEEDED = ("countries", "source", "looked_up", "channels", "categories", "allowed")


def read_law(file: Source) -> tuple[LawHours, ...]:
    """The table in the file; raises PolicyError."""
    content, mistakes = read(file)
    only(content, ("law",), mistakes, content)
    listed = content.get("law") or CommentedMap()
    if not isinstance(listed, CommentedMap):
        raise mistakes.at(
            line_of(content, "law"), "law is not a map", "write a line `name: {source: …}` each"
        )
    return tuple(one for name in listed for one in _entry(str(name), listed, mistakes))


def _entry(name: str, listed: CommentedMap, mistakes: Mistakes) -> list[LawHours]:
    raw, line = listed[name], line_of(listed, name)
    if not isinstance(raw, CommentedMap):
        raise mistakes.at(line, f"law {name} is not a map", f"it needs {', '.join(_NEEDED)}")
    only(raw, _KEYS, mistakes, raw)
    for key in _NEEDED:
        if not raw.get(key):
            raise mistakes.at(line, f"law {name} has no {key}", f"it needs {', '.join(_NEEDED)}")
    if not isinstance(raw["looked_up"], date):
        wrong = f"looked_up is {raw['looked_up']!r}"
        raise mistakes.at(line_of(raw, "looked_up"), wrong, "write the day on which the source was read")
    week = replace(
        read_week(raw, "allowed", mistakes, allowed),
        holiday=read_day(raw, "holidays", mistakes, allowed) if "holidays" in raw else None,
        eve=read_day(raw, "eves", mistakes, allowed) if "eves" in raw else None,
    )
    hours = OwnHours(
        name,
        week,
        words(raw, "channels", Channel, mistakes),
        words(raw, "categories", Category, mistakes),
    )
    return [
        LawHours(country, str(raw["source"]), hours)
        for country in _countries(raw, mistakes, holidays=bool(week.holiday))
    ]


def _countries(raw: CommentedMap, mistakes: Mistakes, *, holidays: bool) -> list[str]:
    listed, line = raw["countries"], line_of(raw, "countries")
    if not isinstance(listed, list):
        raise mistakes.at(line, "countries is not a list", "write countries: [FR]")
    for country in map(str, listed):
        if not is_country(country):
            raise mistakes.at(line, f"{country!r} is no country", "use codes of ISO 3166-1: FR")
        if holidays and not has_holidays(country):
            raise mistakes.at(line, f"of {country} no holidays are known", "leave holidays out")
    return [str(country) for country in listed]

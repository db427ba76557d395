"""Reads quiet_hours.yaml."""

import re
from collections.abc import Mapping

from ruamel.yaml.comments import CommentedMap

from services.channel.adapters.policies.reading import Mistakes, Source, line_of, only, read
from services.channel.domain.quiet_hours import MINUTES_OF_DAY, Override, QuietHours, QuietWindow, Week
from services.vocabulary.words import Channel

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


def read_quiet_hours(file: Source, default_zone: str) -> QuietHours:
    """The quiet hours in the file; raises PolicyError."""
    content, mistakes = read(file)
    only(content, ("quiet", "closed", "channels"), mistakes, content)
    windows: list[tuple[QuietWindow, ...]] = [()] * len(WEEKDAYS)
    quiet = content.get("quiet") or {}
    if not isinstance(quiet, Mapping):
        raise mistakes.at(
            line_of(content, "quiet"), "quiet is not a map", "write `mon: [21:00-08:00]` per weekday"
        )
    for day, spans in quiet.items():
        line = line_of(quiet, day) if isinstance(quiet, CommentedMap) else 1
        place = _weekday(day, line, mistakes)
        if not isinstance(spans, list):
            raise mistakes.at(line, f"{day} is not a list", "write [21:00-08:00], or [] for none")
        windows[place] = tuple(_window(str(span), line, mistakes) for span in spans)
    closed = content.get("closed") or []
    if not isinstance(closed, list):
        raise mistakes.at(line_of(content, "closed"), "closed is not a list", "write closed: [sun], or []")
    line = line_of(content, "closed")
    return QuietHours(
        week=Week(tuple(windows), frozenset(_weekday(day, line, mistakes) for day in closed)),
        channels=_overrides(content, mistakes),
        default_zone=default_zone,
    )


def _weekday(day: object, line: int, mistakes: Mistakes) -> int:
    if day not in WEEKDAYS:
        raise mistakes.at(line, f"{day!r} is no weekday", f"use {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(str(day))


def _window(span: str, line: int, mistakes: Mistakes) -> QuietWindow:
    found = _SPAN.fullmatch(span.strip())
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
    raise mistakes.at(line, f"{span!r} is no time of day to another", "write 21:00-08:00; 24:00 ends the day")


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

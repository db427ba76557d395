"""What a person prefers about being contacted: which keys there are, what each may say, and what it means."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from difflib import get_close_matches
from typing import Final

from services.vocabulary.values import FieldError, ValueMistake, parse_date, parse_time, time_to_micros, zone
from services.vocabulary.words import Channel

PREFERRED_CHANNEL: Final = "preferred_channel"
LANGUAGE: Final = "language"
QUIET_HOURS: Final = "quiet_hours"
PAUSE_UNTIL: Final = "pause_until"
TOPIC: Final = "topic."
OFF: Final = "off"
"""Takes a preference away; of a topic: nothing more about it."""
ON: Final = "on"
KEYS: Final = (PREFERRED_CHANNEL, LANGUAGE, QUIET_HOURS, PAUSE_UNTIL)
MOST_WINDOWS: Final = 4
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z]{4})?(-([A-Z]{2}|[0-9]{3}))?")
_WINDOW: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_CHANNELS: Final = (Channel.SMS, Channel.EMAIL, Channel.PUSH, Channel.APP, Channel.WEB, Channel.CALL)

Window = tuple[int, int]
"""Quiet from one minute since local midnight to another; an end not after the start is on the next day."""


@dataclass(frozen=True, slots=True)
class ContactWishes:
    """What a sender must obey. `pause_until_micros` 0: no pause; topics by name."""

    channel: Channel | None = None
    language: str = ""
    quiet_hours: tuple[Window, ...] = ()
    pause_until_micros: int = 0
    topics_off: tuple[str, ...] = ()


def check_preference(key: str, value: str, topics: Collection[str]) -> None:
    """Refuse a key that there is not, and a value that it cannot have; raises FieldError (``data.…``)."""
    if key.startswith(TOPIC):
        _check_topic(key, value, topics)
    elif key not in KEYS:
        near = get_close_matches(key, [*KEYS, *(TOPIC + topic for topic in topics)], n=1)
        known = ", ".join(KEYS) + " and topic.<name>"
        raise FieldError(
            "data.key", "is no preference", f"did you mean {near[0]}?" if near else f"there are {known}"
        )
    elif value != OFF:
        _CHECKS[key](value)


def wishes_of(preferences: Mapping[str, str], zone_name: str) -> ContactWishes:
    """What preferences mean where the person is; one that cannot be read says nothing."""
    return ContactWishes(
        channel=next((word for word in _CHANNELS if word == preferences.get(PREFERRED_CHANNEL)), None),
        language=_unless_off(preferences.get(LANGUAGE, "")),
        quiet_hours=_windows(_unless_off(preferences.get(QUIET_HOURS, ""))) or (),
        pause_until_micros=_pause_end(_unless_off(preferences.get(PAUSE_UNTIL, "")), zone_name) or 0,
        topics_off=tuple(
            sorted(
                key.removeprefix(TOPIC)
                for key, value in preferences.items()
                if key.startswith(TOPIC) and value == OFF
            )
        ),
    )


def _check_topic(key: str, value: str, topics: Collection[str]) -> None:
    topic = key.removeprefix(TOPIC)
    if topic not in topics:
        near = get_close_matches(topic, list(topics), n=1)
        known = ", ".join(sorted(topics)) or "none; topics.yaml names them"
        raise FieldError(
            "data.key",
            "names no topic of the catalogue",
            f"did you mean {TOPIC}{near[0]}?" if near else f"topics are {known}",
        )
    if value not in {ON, OFF}:
        raise FieldError("data.value", "is neither on nor off", "write on or off")


def _check_channel(value: str) -> None:
    if value not in _CHANNELS:
        raise FieldError(
            "data.value", "is no channel that reaches people", "write one of " + ", ".join((*_CHANNELS, OFF))
        )


def _check_language(value: str) -> None:
    if _LANGUAGE.fullmatch(value) is None:
        raise FieldError("data.value", "is no language (BCP 47)", "write fr or fr-CA, or off")


def _check_quiet_hours(value: str) -> None:
    if _windows(value) is None:
        raise FieldError(
            "data.value",
            f"is no list of 1 to {MOST_WINDOWS} spans of a day",
            "write 21:00-08:00, or 12:00-14:00,20:00-09:00, or off",
        )


def _check_pause(value: str) -> None:
    if _pause_end(value, "UTC") is None:
        raise FieldError(
            "data.value",
            "is neither a time nor a date",
            "write 2026-12-24T08:00:00Z, or 2026-12-24 (until that day begins), or off",
        )


_CHECKS: Final = {
    PREFERRED_CHANNEL: _check_channel,
    LANGUAGE: _check_language,
    QUIET_HOURS: _check_quiet_hours,
    PAUSE_UNTIL: _check_pause,
}


def _unless_off(value: str) -> str:
    return "" if value == OFF else value


def _windows(text: str) -> tuple[Window, ...] | None:
    """Spans of a day; None: it cannot be read."""
    parts = [part.strip() for part in text.split(",")]
    found: list[Window] = []
    for part in parts:
        match = _WINDOW.fullmatch(part)
        if match is None or len(parts) > MOST_WINDOWS:
            return None
        start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
        if start == end:
            return None
        found.append((start, end))
    return tuple(found)


def _pause_end(text: str, zone_name: str) -> int | None:
    """When a pause ends: a time, or the beginning of a day where the person is; None: it cannot be read."""
    try:
        return parse_time(text)
    except ValueMistake:
        pass
    try:
        day = parse_date(text)
        return time_to_micros(datetime.combine(day, time(), tzinfo=zone(zone_name)))
    except ValueMistake:
        return None

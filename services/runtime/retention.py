"""How long what was written is kept: the operator's periods by retention class, read from a policy file."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from services.runtime.errors import SettingError
from services.vocabulary.values import DAY, format_duration
from services.vocabulary.yaml_section import Mistakes, Section, read_yaml

RETENTION_FILE = "policies/retention.yaml"
OLDEST_EVENT_DAYS = 763
"""No older event is taken: 25 months and 13 days; what must know of an event is kept as long."""


@dataclass(frozen=True, slots=True)
class RetentionClass:
    """Something that is kept for a time: whose it is, and the least time that everything else relies on."""

    service: str
    least_days: int
    why_least: str


_IN_STREAMS = "a message may lie in a stream, or a request be repeated, for 30 days"
RETENTION_CLASSES: Mapping[str, RetentionClass] = {
    "events": RetentionClass("profile", 35, _IN_STREAMS),
    "decisions": RetentionClass("decision", 35, _IN_STREAMS),
    "conversations": RetentionClass("decision", 35, _IN_STREAMS),
    "once_slots": RetentionClass(
        "decision", OLDEST_EVENT_DAYS, "an event that old is still taken, and must not do twice what is once"
    ),
    "journeys": RetentionClass(
        "decision", OLDEST_EVENT_DAYS, "an event that old is still taken, and must not begin it a second time"
    ),
    "audience_runs": RetentionClass("decision", 35, _IN_STREAMS),
    "open_pairs": RetentionClass("decision", 35, _IN_STREAMS),
    "simulations": RetentionClass("decision", 35, "someone must have had the time to review what they show"),
    "messages": RetentionClass("channel", 35, _IN_STREAMS),
    "message_texts": RetentionClass("channel", 7, "a message may wait and be tried again for days"),
    "contacts": RetentionClass("channel", 35, _IN_STREAMS),
    "receipts": RetentionClass("channel", 7, "a provider may tell a receipt days later"),
    "access_log": RetentionClass("", 35, "someone must have had the time to ask"),
    "dead_letters": RetentionClass("", 7, "someone must have had the time to look"),
}
"""By name; `service` empty: each service has some of its own."""
EVENTS_BY_TYPE = "events_by_type"
"""Key of the policy file under which event types have shorter periods than the class `events`."""


def read_retention(rules: Path) -> dict[str, int]:
    """The periods in microseconds by class; a class left out, or everything without a file, is kept for good.

    SettingError names file, line and what would be right, all mistakes at once.
    """
    return _read(rules)[0]


def read_event_retention(rules: Path, known: Collection[str]) -> dict[str, int]:
    """The periods in microseconds by event type, of those that the policy names (`usage.*`: all of a kind).

    A name narrower than another counts; a type that is named nowhere is kept as the class `events` is.
    SettingError: one is not among the `known` types, is shorter than everything relies on, or longer than
    the class `events`.
    """
    classes, named, mistakes = _read(rules)
    found: dict[str, int] = {}
    for name, (period, line) in sorted(named.items(), key=lambda one: one[0].endswith("*"), reverse=True):
        types = [one for one in known if one == name or (name.endswith(".*") and one.startswith(name[:-1]))]
        if not types:
            near = get_close_matches(name, known, n=1)
            mistakes.add(
                RETENTION_FILE,
                line,
                f"retention.{EVENTS_BY_TYPE}.{name} is no event type of the catalogue",
                f"did you mean {near[0]}?" if near else "write a type, or all of a kind as usage.*",
            )
        elif 0 < classes.get("events", 0) < period:
            mistakes.add(
                RETENTION_FILE,
                line,
                f"retention.{EVENTS_BY_TYPE}.{name} is longer than retention.events, which takes all away",
                f"write {format_duration(classes['events'])} or less",
            )
        found |= dict.fromkeys(types, period)
    _raise(mistakes)
    return found


_Named = dict[str, tuple[int, int]]
"""By name of an event type, or of a kind of them: the period, and the line where it stands."""


def _read(rules: Path) -> tuple[dict[str, int], _Named, Mistakes]:
    found: dict[str, int] = {}
    named: _Named = {}
    mistakes = Mistakes()
    file = rules / RETENTION_FILE
    if not file.exists():
        return found, named, mistakes
    content = read_yaml(file, RETENTION_FILE, mistakes)
    section = content.section("retention") if content is not None else None
    if section is not None:
        for name, known in RETENTION_CLASSES.items():
            period = _period(section, name, known)
            if name in section.content:
                found[name] = period
        by_type = section.section(EVENTS_BY_TYPE)
        if by_type is not None:
            for name in map(str, by_type.content):
                period = _period(by_type, name, RETENTION_CLASSES["events"])
                if period:
                    named[name] = (period, by_type.line_of(name))
        section.done()
    if content is not None:
        content.done()
    _raise(mistakes)
    return found, named, mistakes


def _period(section: Section, name: str, known: RetentionClass) -> int:
    period = section.duration(name, 0)
    if 0 < period < known.least_days * DAY:
        section.wrong(
            name, f"is {format_duration(period)}: {known.why_least}", f"write {known.least_days}d or more"
        )
    return period


def _raise(mistakes: Mistakes) -> None:
    if mistakes.found:
        first, *more = (str(mistake) for mistake in mistakes.found)
        raise SettingError("\n".join([first, *more]), field=RETENTION_FILE)

"""How long what was written is kept: the operator's periods by retention class, read from a policy file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.runtime.errors import SettingError
from services.vocabulary.values import DAY, format_duration
from services.vocabulary.yaml_section import Mistakes, read_yaml

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
    "messages": RetentionClass("channel", 35, _IN_STREAMS),
    "message_texts": RetentionClass("channel", 7, "a message may wait and be tried again for days"),
    "contacts": RetentionClass("channel", 35, _IN_STREAMS),
    "receipts": RetentionClass("channel", 7, "a provider may tell a receipt days later"),
    "dead_letters": RetentionClass("", 7, "someone must have had the time to look"),
}
"""By name; `service` empty: each service has some of its own."""


def read_retention(rules: Path) -> dict[str, int]:
    """The periods in microseconds by class; a class left out, or everything without a file, is kept for good.

    SettingError names file, line and what would be right, all mistakes at once.
    """
    file = rules / RETENTION_FILE
    if not file.exists():
        return {}
    mistakes = Mistakes()
    content = read_yaml(file, RETENTION_FILE, mistakes)
    found: dict[str, int] = {}
    section = content.section("retention") if content is not None else None
    if section is not None:
        for name, known in RETENTION_CLASSES.items():
            period = section.duration(name, 0)
            if name not in section.content:
                continue
            if 0 < period < known.least_days * DAY:
                section.wrong(
                    name,
                    f"is {format_duration(period)}: {known.why_least}",
                    f"write {known.least_days}d or more",
                )
            found[name] = period
        section.done()
    if content is not None:
        content.done()
    if mistakes.found:
        first, *more = (str(mistake) for mistake in mistakes.found)
        raise SettingError("\n".join([first, *more]), field=RETENTION_FILE)
    return found

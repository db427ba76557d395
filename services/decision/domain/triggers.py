"""What calls for a rule set: the customer's events, questions, or an occasion that the system notices.

Rule sets are found by keys. An event's key is its type; a question's is `ask.<question>`; what the system
notices for one rule set comes back as its own event `trigger.due` (or `journey.due`, for a journey's next
step), whose key ends with the rule set's name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.decision.domain.language.ast import All
from services.vocabulary.catalogue import EventType

TRIGGER_DUE = "trigger.due"
JOURNEY_DUE = "journey.due"
ASK = "ask."
CALLED_BACK = frozenset({TRIGGER_DUE, JOURNEY_DUE, "action.due"})
"""They come back for one rule set or one action each; nobody else is called by them."""
NO_AUDIENCE = All(())
"""Everyone; also an audience that is still to be read."""


@dataclass(frozen=True, slots=True)
class Absence:
    """No event of this type for so long (micros) since the last one, for customers who had one."""

    type: str
    for_micros: int


@dataclass(frozen=True, slots=True)
class OpenPair:
    """`after` happened and for so long (micros) no `type` with the same value of the field `by`."""

    type: str
    after: str
    by: str
    for_micros: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """A time of day (minutes) on some days, for everyone of an audience.

    `weekdays`: 0 = Monday; empty: every day. `nth`: of the month, 1 to 4, -1 the last; None: every one.
    `zone`: an IANA name; empty: each customer's own.
    """

    minute: int
    weekdays: frozenset[int]
    nth: int | None
    zone: str
    audience: All


@dataclass(frozen=True, slots=True)
class ThingEvent:
    """Something of this type happened to a thing, which concerns an audience."""

    type: str
    audience: All


Occasion = Absence | OpenPair | Schedule | ThingEvent


def due_key(event_type: str, rule_set: str) -> str:
    """The key under which `trigger.due` and `journey.due` find the one rule set they are for."""
    return f"{event_type}/{rule_set}"


def key_of(event_type: str, event: Mapping[str, Any]) -> str:
    """The key under which an event finds rule sets; `event` has its fields."""
    if event_type in {TRIGGER_DUE, JOURNEY_DUE}:
        return due_key(event_type, str(event.get("rule_set", "")))
    return event_type


def type_of_key(key: str) -> str:
    """The event type that a key is looked up for; a question's key is its own."""
    return key.partition("/")[0]


def thing_after(event: EventType, fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The thing that an event is about, by its kind, with the attributes that the event gave it."""
    if not event.thing:
        return {}
    return {event.thing: {name: fields[field] for name, field in event.thing_sets.items() if field in fields}}


def pack_happening(event_type: str, fields: Mapping[str, Any]) -> str:
    """What `trigger.due` carries in `data`: what happened to the thing, or began the pair.

    `fields`: in their JSON forms, as the event came.
    """
    return json.dumps({"type": event_type, "fields": fields}, separators=(",", ":"), sort_keys=True)


def unpack_happening(text: str) -> tuple[str, Mapping[str, Any]]:
    """Type and fields of what `trigger.due` carries; an empty type: nothing."""
    if not text:
        return "", {}
    found = json.loads(text)
    return str(found["type"]), found["fields"]

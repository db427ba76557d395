"""Everything a decision may look at: one customer at one moment, and the event being decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.decision.domain.activity import Activity
from services.decision.domain.triggers import key_of
from services.vocabulary.words import Purpose


@dataclass(slots=True)
class Situation:
    """The read-only input of rules and windows; only `cache` is written.

    `event`: the checked fields of the event, typed as the catalogue says. `event_micros`: when it happened;
    `sequence`: its place among the customer's events (0: not stored): activity of a later time or sequence is
    not seen. `accepted_micros`: when the profile first accepted it (for `late`). `now_micros`: event time, or
    the due time of a planned action. `traits`: by name, of the event's line, else the main line; withheld
    ones left out. `things`: by kind, the attributes of the thing that `context.<kind>` names. `activity`: by
    event type; a lazy mapping will do; the event being decided may be in it or not. `zone`: IANA name,
    already resolved. `cycle_day`: 1 to 31. `arms`: by experiment id, the arm this customer is in. `windows`:
    values that replace computed ones, by `rule_set/window`. `trigger`: the key by which rule sets are found;
    it follows from the event. `ask`: the parameters of the question being answered; then there is no event.
    `household`: what the customer's household has, by name, withheld things left out; `household_id` 0: none,
    or not known, as in tests.
    """

    event_type: str
    event: Mapping[str, Any]
    event_micros: int
    sequence: int
    accepted_micros: int
    now_micros: int
    traits: Mapping[str, Any] = field(default_factory=dict)
    things: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    activity: Mapping[str, Activity] = field(default_factory=dict)
    withheld: frozenset[Purpose] = frozenset()
    zone: str = "UTC"
    cycle_day: int = 1
    currency: str = "EUR"
    arms: Mapping[str, str] = field(default_factory=dict)
    windows: Mapping[str, Any] = field(default_factory=dict)
    cache: dict[Any, Any] = field(default_factory=dict)
    trigger: str = ""
    ask: Mapping[str, Any] = field(default_factory=dict)
    household: Mapping[str, Any] = field(default_factory=dict)
    household_id: int = 0

    def __post_init__(self) -> None:
        """The key by which rule sets are found."""
        if not self.trigger:
            self.trigger = key_of(self.event_type, self.event)

"""Things that events are about: a cell with its incident, a store, an area, a country."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.vocabulary.catalogue import EventType
from services.vocabulary.values import FieldValue, Value

_INCIDENT: Final = "incident"


@dataclass(slots=True)
class ThingState:
    """A thing as it stands. Each attribute knows its time; None: cleared then.

    `sequence` counts the events taken about it.
    """

    kind: str
    key: str
    attributes: dict[str, tuple[Value | None, int]] = field(default_factory=dict)
    sequence: int = 0

    def apply(self, event_type: EventType, fields: Mapping[str, FieldValue], time_micros: int) -> bool:
        """Take an event about this thing; whether anything changed. Older never overwrites newer.

        The end of an incident clears nothing of another incident that began meanwhile.
        """
        self.sequence += 1
        changed = False
        for attribute, name in event_type.thing_sets.items():
            value = fields.get(name)
            if value is not None and not isinstance(value, Mapping):
                changed |= self._set(attribute, value, time_micros)
        if event_type.thing_clears and self._is_about(fields):
            for attribute in event_type.thing_clears:
                changed |= self._set(attribute, None, time_micros)
        return changed

    def values(self) -> dict[str, Value]:
        """What is set now."""
        return {name: value for name, (value, _) in self.attributes.items() if value is not None}

    def copy(self) -> "ThingState":
        """The same, untouched by what comes later."""
        return ThingState(self.kind, self.key, dict(self.attributes), self.sequence)

    def _is_about(self, fields: Mapping[str, FieldValue]) -> bool:
        standing = self.attributes.get(_INCIDENT, (None, 0))[0]
        named = fields.get(_INCIDENT)
        return standing is None or named is None or standing == named

    def _set(self, name: str, value: Value | None, time_micros: int) -> bool:
        before, since = self.attributes.get(name, (None, -1))
        if time_micros < since:
            return False
        self.attributes[name] = (value, time_micros)
        return value != before

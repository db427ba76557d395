"""From what travels on EVENTS, a taken event and its snapshot, to the situation that rules look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson

from services.decision.domain.activity import Activity
from services.decision.domain.situation import Situation
from services.vocabulary.wire import PURPOSES, value_from_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rapport.types.v1 import stream_pb2

    from services.vocabulary.catalogue import Catalogue
    from services.vocabulary.words import Purpose


_NOTHING_WITHHELD: frozenset[Purpose] = frozenset()


def situation_of(
    event: stream_pb2.TakenEvent,
    snapshot: stream_pb2.Snapshot,
    catalogue: Catalogue,
    *,
    arms: Mapping[str, str],
    withheld: frozenset[Purpose] | None = None,
) -> Situation:
    """The situation of one customer at one event. Raises FieldError for a field that the catalogue lacks.

    Traits of the event's line go before those of the person. A thing that the event names goes before the one
    that a trait names.
    """
    known = catalogue.events.get(event.type)
    fields: Mapping[str, Any] = {}
    if known is not None and event.data:
        fields = known.coerce(orjson.loads(event.data))
    traits = LazyTraits(snapshot.traits, event.line)
    zone = traits.get("zone")
    cycle_day = traits.get("cycle_day")
    return Situation(
        event_type=event.type,
        event=fields,
        event_micros=event.time_micros,
        sequence=event.sequence,
        accepted_micros=event.accepted_micros,
        now_micros=event.time_micros,
        traits=traits,
        things=_things(snapshot.things, event.things),
        activity=LazyActivity(snapshot.activity),
        withheld=withheld_purposes(snapshot) if withheld is None else withheld,
        zone=zone if isinstance(zone, str) and _is_zone(zone) else catalogue.default_zone,
        cycle_day=cycle_day if isinstance(cycle_day, int) else 1,
        currency=catalogue.currency,
        arms=arms,
    )


def withheld_purposes(snapshot: stream_pb2.Snapshot) -> frozenset[Purpose]:
    """What the customer did not agree to have their data used for."""
    if not snapshot.withheld_purposes:
        return _NOTHING_WITHHELD
    words = (PURPOSES.from_wire(number) for number in snapshot.withheld_purposes)
    return frozenset(word for word in words if word is not None)


class LazyTraits(Mapping[str, Any]):
    """Traits by name, decoded when looked at: those of one line go before the person's; no withheld ones."""

    __slots__ = ("_of_line", "_of_person", "_read")

    def __init__(self, packed: Iterable[stream_pb2.Trait], line: str) -> None:
        self._of_line: dict[str, stream_pb2.Trait] = {}
        self._of_person: dict[str, stream_pb2.Trait] = {}
        self._read: dict[str, Any] = {}
        for trait in packed:
            of = trait.line
            if of:
                if of == line and not trait.withheld:
                    self._of_line[trait.name] = trait
            elif not trait.withheld:
                self._of_person[trait.name] = trait

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a trait; the default when it has none."""
        try:
            value = self._read[name]
        except KeyError:
            value = self._read[name] = self._decoded(name)
        return default if value is None else value

    def _decoded(self, name: str) -> Any:
        for traits in (self._of_line, self._of_person):
            packed = traits.get(name)
            value = None if packed is None else value_from_wire(packed.value)
            if value is not None:
                return value
        return None

    def __getitem__(self, name: str) -> Any:
        """The value of a trait; KeyError when it has none."""
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        known = dict.fromkeys((*self._of_person, *self._of_line))
        return (name for name in known if self.get(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class LazyActivity(Mapping[str, Activity]):
    """Activity by event type, unpacked when looked at: a rule set reads a few types of the many kept."""

    __slots__ = ("_packed", "_unpacked")

    def __init__(self, packed: Iterable[stream_pb2.TypeActivity]) -> None:
        self._packed = {one.type: one for one in packed if not one.withheld}
        self._unpacked: dict[str, Activity] = {}

    def get(self, event_type: str, default: Any = None) -> Any:
        """The activity of that type; the default when there is none, or it is withheld."""
        return self[event_type] if event_type in self._packed else default

    def __getitem__(self, event_type: str) -> Activity:
        """The activity of that type; KeyError when there is none, or it is withheld."""
        found = self._unpacked.get(event_type)
        if found is None:
            found = self._unpacked[event_type] = unpack_activity(self._packed[event_type])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def unpack_activity(packed: stream_pb2.TypeActivity) -> Activity:
    """Undoes the differences; a text missing is None, a number missing is NaN."""
    numbers: dict[str, Sequence[float]] = {}
    texts: dict[str, Sequence[str | None]] = {}
    for column in packed.columns:
        if column.text_indexes:
            known = (None, *column.texts)
            texts[column.field] = [known[index] for index in column.text_indexes]
        else:
            numbers[column.field] = list(column.numbers)
    return Activity(
        times=list(accumulate(packed.time_delta_micros)),
        sequences=list(accumulate(packed.sequence_deltas)),
        numbers=numbers,
        texts=texts,
        days=list(accumulate(packed.day_deltas)),
        day_counts=list(packed.day_counts),
        day_sums={column.field: list(column.sums) for column in packed.day_columns},
    )


def _things(
    of_profile: Iterable[stream_pb2.Thing], of_event: Iterable[stream_pb2.Thing]
) -> dict[str, Mapping[str, Any]]:
    things: dict[str, Mapping[str, Any]] = {}
    for thing in (*of_profile, *of_event):
        if thing.withheld:
            continue
        values = {name: value_from_wire(value) for name, value in thing.attributes.items()}
        things[thing.kind] = {name: value for name, value in values.items() if value is not None}
    return things


@lru_cache(maxsize=1024)
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True

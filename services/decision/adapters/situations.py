"""From what travels on EVENTS, a taken event and its snapshot, to the situation that rules look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson

from services.decision.domain.activity import Activity
from services.decision.domain.journeys import CAME, KEY, REACHED, STEP, StepDue
from services.decision.domain.situation import Situation
from services.decision.domain.triggers import (
    ASK,
    JOURNEY_DUE,
    TRIGGER_DUE,
    due_key,
    key_of,
    thing_after,
    unpack_happening,
)
from services.vocabulary.catalogue import CONSENTS
from services.vocabulary.values import ValueMistake
from services.vocabulary.wire import CONSENT_BY, CONSENT_STATES, PURPOSES, value_from_wire
from services.vocabulary.words import CONSENT_STRICTNESS, ConsentBy, ConsentState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rapport.types.v1 import stream_pb2

    from services.decision.app.ports import DueStep
    from services.vocabulary.catalogue import Catalogue
    from services.vocabulary.words import Purpose


_REFUSALS = frozenset({ConsentState.DENIED, ConsentState.WITHDRAWN, ConsentState.OBJECTED})
_NOTHING_WITHHELD: frozenset[Purpose] = frozenset()
_NO_HOUSEHOLD: Mapping[str, Any] = {}


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
    asked: Mapping[str, Any] = {}
    accepted_micros = event.accepted_micros
    name, trigger = event.type, ""
    if name == JOURNEY_DUE:
        trigger, fields = _of_step(event, catalogue)
        accepted_micros = event.time_micros  # what we planned ourselves is never late
    elif known is not None and event.data:
        fields = known.coerce(orjson.loads(event.data))
        if name == TRIGGER_DUE:
            trigger = key_of(name, fields)
            name, fields = _happening(fields, catalogue)
    elif name.startswith(ASK) and event.data:
        asked = catalogue.question(name.removeprefix(ASK)).coerce(orjson.loads(event.data))
    things = _things(snapshot.things, event.things)
    if trigger and event.type == TRIGGER_DUE:
        things |= _thing_that_it_happened_to(name, fields, snapshot, catalogue)
    traits = LazyTraits(snapshot.traits, event.line, snapshot.consents, event.time_micros)
    zone = traits.get("zone")
    cycle_day = traits.get("cycle_day")
    return Situation(
        event_type=name,
        event=fields,
        event_micros=event.time_micros,
        sequence=event.sequence,
        accepted_micros=accepted_micros,
        now_micros=event.time_micros,
        traits=traits,
        things=things,
        activity=LazyActivity(snapshot.activity),
        withheld=withheld_purposes(snapshot) if withheld is None else withheld,
        zone=zone if isinstance(zone, str) and _is_zone(zone) else catalogue.default_zone,
        cycle_day=cycle_day if isinstance(cycle_day, int) else 1,
        currency=catalogue.currency,
        arms=arms,
        trigger=trigger,
        ask=asked,
        household=_household(snapshot),
        household_id=snapshot.household.id,
    )


def trigger_key(event: stream_pb2.TakenEvent) -> str:
    """The key under which an event finds rule sets."""
    if event.type in {TRIGGER_DUE, JOURNEY_DUE}:
        return key_of(event.type, orjson.loads(event.data))
    return event.type


def _happening(due: Mapping[str, Any], catalogue: Catalogue) -> tuple[str, Mapping[str, Any]]:
    """What `event.…` means when the system itself called: the event type, and its fields.

    What happened to a thing is the event; what opened a pair lends its fields only, for it was decided when
    it happened.
    """
    since = {"since": due["since"]} if "since" in due else {}
    name, raw = unpack_happening(str(due.get("data", "")))
    if not name:
        return TRIGGER_DUE, since
    happened = catalogue.event_type(name)
    fields = {**happened.coerce(raw), **since}
    return (name if happened.thing else TRIGGER_DUE), fields


def _thing_that_it_happened_to(
    name: str, fields: Mapping[str, Any], snapshot: stream_pb2.Snapshot, catalogue: Catalogue
) -> dict[str, dict[str, Any]]:
    """The thing that the event names, as the event left it; none when the snapshot has it as it is now."""
    happened = catalogue.event_type(name)
    key = fields.get(happened.thing)
    if any(one.kind == happened.thing and one.key == key and not one.withheld for one in snapshot.things):
        return {}
    return thing_after(happened, fields)


def pack_due(step: DueStep) -> bytes:
    """The data of `journey.due`."""
    position = step.position
    rest = {
        "start": position.start,
        "fields": orjson.Fragment(position.fields),
        "reached": step.due.reached_micros,
    }
    return orjson.dumps(
        {
            "rule_set": step.due.rule_set,
            "key": step.due.key,
            "step": step.due.step,
            "data": orjson.dumps(rest).decode(),
        }
    )


def unpack_due(data: bytes) -> StepDue:
    """The step that a `journey.due` is about."""
    told = orjson.loads(data)
    return StepDue(told["rule_set"], told["key"], told["step"], orjson.loads(told["data"])["reached"])


def _of_step(event: stream_pb2.TakenEvent, catalogue: Catalogue) -> tuple[str, dict[str, Any]]:
    """The key that finds the journey, and what its steps look at: the fields of the start event.

    Those that no longer fit the catalogue are missing.
    """
    due = unpack_due(event.data)
    rest = orjson.loads(orjson.loads(event.data)["data"])
    start = catalogue.events.get(rest["start"])
    fields: dict[str, Any] = {}
    for name, written in rest["fields"].items():
        if start is not None and name in start.fields:
            with suppress(ValueMistake):
                fields[name] = start.fields[name].check(written)
    fields |= {STEP: due.step, KEY: due.key, REACHED: due.reached_micros, CAME: event.accepted_micros}
    return due_key(JOURNEY_DUE, due.rule_set), fields


def withheld_purposes(snapshot: stream_pb2.Snapshot) -> frozenset[Purpose]:
    """What the customer did not agree to have their data used for."""
    if not snapshot.withheld_purposes:
        return _NOTHING_WITHHELD
    words = (PURPOSES.from_wire(number) for number in snapshot.withheld_purposes)
    return frozenset(word for word in words if word is not None)


class LazyTraits(Mapping[str, Any]):
    """Traits by name, decoded when looked at: those of one line go before the person's; no withheld ones.

    The built-in `consents` has the purposes agreed to at that moment on at least one channel.
    """

    __slots__ = ("_consents", "_now", "_of_line", "_of_person", "_read")

    def __init__(
        self,
        packed: Iterable[stream_pb2.Trait],
        line: str,
        consents: Iterable[stream_pb2.ConsentEntry] = (),
        now_micros: int = 0,
    ) -> None:
        self._consents = consents
        self._now = now_micros
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
        if name == CONSENTS:
            return agreed_to(self._consents, self._now) or None
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


def agreed_to(consents: Iterable[stream_pb2.ConsentEntry], now_micros: int) -> tuple[str, ...]:
    """The purposes with a consent in force on at least one channel, in order.

    On a channel the latest word counts, the one for every channel included; on a tie the stricter. A person's
    own refusal is lifted by the person alone.
    """
    words: dict[int, list[stream_pb2.ConsentEntry]] = {}
    for entry in consents:
        words.setdefault(entry.purpose, []).append(entry)
    agreed = {
        PURPOSES.from_wire(purpose)
        for purpose, entries in words.items()
        if any(_agreed(entries, channel, now_micros) for channel in {entry.channel for entry in entries})
    }
    return tuple(sorted(purpose.value for purpose in agreed if purpose is not None))


def _agreed(entries: Iterable[stream_pb2.ConsentEntry], channel: int, now_micros: int) -> bool:
    latest: dict[bool, stream_pb2.ConsentEntry] = {}
    for entry in sorted((one for one in entries if one.channel in {0, channel}), key=_rank):
        latest[CONSENT_BY.from_wire(entry.by) is ConsentBy.PERSON] = entry
    own = latest.get(True)
    if own is not None and CONSENT_STATES.from_wire(own.state) in _REFUSALS:
        return False
    word = max(latest.values(), key=_rank)
    granted = CONSENT_STATES.from_wire(word.state) is ConsentState.GRANTED
    return granted and not 0 < word.expiry_micros <= now_micros


def _rank(entry: stream_pb2.ConsentEntry) -> tuple[int, int]:
    state = CONSENT_STATES.from_wire(entry.state)
    return entry.time_micros, 0 if state is None else CONSENT_STRICTNESS[state]


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
    if not packed.day_deltas:
        return Activity(
            list(accumulate(packed.time_delta_micros)),
            list(accumulate(packed.sequence_deltas)),
            numbers,
            texts,
        )
    return Activity(
        times=list(accumulate(packed.time_delta_micros)),
        sequences=list(accumulate(packed.sequence_deltas)),
        numbers=numbers,
        texts=texts,
        days=list(accumulate(packed.day_deltas)),
        day_counts=list(packed.day_counts),
        day_sums={column.field: list(column.sums) for column in packed.day_columns},
    )


def _household(snapshot: stream_pb2.Snapshot) -> Mapping[str, Any]:
    """What the household has, without what is withheld; nothing where there is none."""
    if not snapshot.HasField("household"):
        return _NO_HOUSEHOLD
    packed = snapshot.household
    found: dict[str, Any] = {
        trait.name: value_from_wire(trait.value)
        for trait in packed.traits
        if not trait.withheld and trait.HasField("value")
    }
    return {**found, "members": packed.members, "lines": packed.lines}


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

"""Journeys: where a customer stands in one, and which of a journey's candidates belong to that place.

A journey's steps are ordinary rules. The engine does not know where a customer stands, so it fires all rules
that the event could mean; `follow` keeps those of a journey in which the customer really stands at that step.
A step that is due comes back as `journey.due`: its event has the fields of the start event, and beside them
those named here, which no event type can have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from services.decision.domain.triggers import JOURNEY_DUE
from services.vocabulary.ids import derived_id
from services.vocabulary.values import to_json
from services.vocabulary.words import ActionKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.decision.domain.arbitration import Candidate
    from services.decision.domain.program import ActionRule, RuleSet
    from services.decision.domain.situation import Situation
    from services.vocabulary.values import ValueType

STEP = "journey.step"
KEY = "journey.key"
REACHED = "journey.reached"
CAME = "journey.came"
"""Fields of `journey.due`: the step that is due, the journey's key, when that step was reached, and when its
event really came."""

MOST_HOPS = 5
"""The profile service takes no own event with more."""

_LONGEST_KEY = 120

PositionName = tuple[str, str]
"""Rule set and key."""


@dataclass(frozen=True, slots=True)
class Journey:
    """What all steps of a journey share.

    `key`: a field of the start event, empty: none. `answered_by_key`: the awaited types that have that field.
    `exits`: types that end it. `fields`: those of the start event that its steps look at, typed.
    """

    start: str
    key: str
    exits: tuple[str, ...]
    answered_by_key: frozenset[str]
    fields: Mapping[str, ValueType] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepOf:
    """Marks a rule as a journey's. `awaiting`: the await whose answer it belongs to; empty: none.

    `moves`: it says nothing, and leads to the next place where the journey stops.
    """

    awaiting: str = ""
    moves: bool = False


@dataclass(frozen=True)
class Passage:
    """Where a customer must stand for a candidate of a journey to count.

    `kind`: "start" (in no journey of that key yet), "due" (at step `at`, reached then) or "answer" (at the
    await `at`). `key` None: any. `keyed`: a journey that has ended is remembered. `exited`: time, sequence
    and type of the newest event that ends the journey; a journey begun before it has ended. `sequence`: the
    event's place among the customer's. `start`: the type of the start event.
    `moment_micros`: when the next step is reached, if not at the event's time: a step that came back later
    than the rule set's `late`, after an outage, must not hurry those that follow.
    """

    kind: str
    key: str | None
    at: str = ""
    reached_micros: int = 0
    keyed: bool = False
    exited: tuple[int, int, str] | None = None
    sequence: int = 0
    start: str = ""
    moment_micros: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """Where a customer stands in a journey; times in micros of event time.

    `step`: a wait or an await, reached then and due (by itself) then; empty: the journey has ended.
    `fields`: JSON of what the steps look at of the start event. `line`: the start event's. `hops`: of the
    event that will bring the step back.
    """

    step: str
    reached_micros: int
    due_micros: int
    started_micros: int
    started_sequence: int
    start: str = ""
    fields: str = "{}"
    line: str = ""
    hops: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return not self.step


@dataclass(frozen=True)
class StepDue:
    """A step whose time has come, by which `journey.due` finds the customer's place again."""

    rule_set: str
    key: str
    step: str
    reached_micros: int

    def is_at(self, position: Position | None) -> bool:
        """Whether the customer still stands there since then."""
        return (
            position is not None
            and position.step == self.step
            and position.reached_micros == self.reached_micros
        )


def passage_of(rule_set: RuleSet, rule: ActionRule, situation: Situation) -> Passage | None:
    """Where the customer must stand for this rule of a journey, at this event; None: it is no journey's."""
    journey = rule_set.journey
    if journey is None or rule.step is None:
        return None
    event, keyed, exited = situation.event, bool(journey.key), _exited(journey, situation)
    if situation.event_type == JOURNEY_DUE:
        came = event.get(CAME, 0)
        late = came - situation.now_micros > rule_set.late_micros
        moment = came if late else 0
        return Passage("due", event[KEY], event[STEP], event[REACHED], keyed, exited, moment_micros=moment)
    key: str | None = ""
    if keyed:
        key = key_text(event.get(journey.key))
    if not rule.step.awaiting:
        return Passage("start", key, keyed=keyed, sequence=situation.sequence, start=journey.start)
    if keyed and situation.event_type not in journey.answered_by_key:
        key = None
    return Passage("answer", key, rule.step.awaiting, keyed=keyed, exited=exited)


def fields_of(journey: Journey, situation: Situation) -> dict[str, tuple[ValueType, Any]]:
    """What is remembered of the start event, typed."""
    if situation.event_type != journey.start:
        return {}
    return {
        name: (value_type, situation.event[name])
        for name, value_type in journey.fields.items()
        if situation.event.get(name) is not None
    }


def positions_that_count(
    positions: Mapping[PositionName, Position], candidates: Iterable[Candidate]
) -> dict[PositionName, Position]:
    """Those at which these candidates look."""
    wanted = {
        (candidate.rule_set, candidate.journey.key)
        for candidate in candidates
        if candidate.journey is not None
    }
    return {
        (rule_set, key): position
        for (rule_set, key), position in positions.items()
        if (rule_set, key) in wanted or (rule_set, None) in wanted
    }


def key_text(value: Any) -> str:
    """The value of a key's field as positions are looked up by it; a long one by what derives from it."""
    if value is None:
        return ""
    text = str(to_json(value))
    return text if len(text) <= _LONGEST_KEY else derived_id("journey-key", text)


def follow(
    candidates: Sequence[Candidate], positions: Mapping[PositionName, Position], time_micros: int
) -> tuple[tuple[Candidate, ...], dict[PositionName, Position | None]]:
    """The candidates that count where the customer stands, and where the customer then stands.

    A journey's candidates are left out where the customer stands elsewhere. In a journey that an event has
    ended meanwhile its move alone is left, and leads to the end. A position None is forgotten.
    """
    kept: list[Candidate] = []
    moves: dict[PositionName, Position | None] = {}
    for candidate in candidates:
        passage = candidate.journey
        if passage is None:
            kept.append(candidate)
            continue
        found = _standing(passage, candidate.rule_set, positions, time_micros)
        stays = any(not _has_exited(position, passage) for position in found.values())
        if candidate.kind is ActionKind.STEP and found:
            kept.append(candidate if stays else _ending(candidate, passage))
            for key, position in found.items():
                moves[candidate.rule_set, key] = _moved(candidate, passage, position, time_micros)
        elif stays:
            kept.append(candidate)
    return tuple(kept), moves


def standing_where_asked(candidates: Iterable[Candidate], time_micros: int) -> dict[PositionName, Position]:
    """Positions at which all these candidates count: for tests, which say where the customer stands."""
    found: dict[PositionName, Position] = {}
    for candidate in candidates:
        passage = candidate.journey
        if passage is not None and passage.kind != "start":
            name = (candidate.rule_set, passage.key or "")
            reached = passage.reached_micros or time_micros
            found[name] = Position(passage.at, reached, time_micros, time_micros, 0)
    return found


def latest(positions: Iterable[Position]) -> Position:
    """Of several people who became one, whose place counts: one who has not ended, the latest to move."""
    return max(positions, key=lambda position: (not position.ended, position.reached_micros))


def _standing(
    passage: Passage, rule_set: str, positions: Mapping[PositionName, Position], time_micros: int
) -> dict[str, Position | None]:
    """The journeys at that place, by key; None: one that is not begun yet."""
    if passage.kind == "start":
        begun = passage.key is None or (rule_set, passage.key) in positions
        return {} if begun or (passage.keyed and not passage.key) else {str(passage.key): None}
    found: dict[str, Position | None] = {}
    for (name, key), position in positions.items():
        if name != rule_set or position.step != passage.at or passage.key not in {None, key}:
            continue
        if passage.kind == "due":
            there = position.reached_micros == passage.reached_micros
        else:
            there = position.reached_micros <= time_micros <= position.due_micros
        if there:
            found[key] = position
    return found


def _has_exited(position: Position | None, passage: Passage) -> bool:
    if position is None or passage.exited is None:
        return False
    return passage.exited[:2] > (position.started_micros, position.started_sequence)


def _ending(candidate: Candidate, passage: Passage) -> Candidate:
    """The move of a journey that was ended meanwhile."""
    assert passage.exited is not None
    return replace(candidate, name="", for_micros=None, detail=f"{passage.exited[2]} happened")


def _moved(
    candidate: Candidate, passage: Passage, position: Position | None, time_micros: int
) -> Position | None:
    """Where the move leads from that position; None as a position: the journey begins."""
    moment = passage.moment_micros or time_micros
    ends = not candidate.name or _has_exited(position, passage)
    if position is None:
        fields = {name: to_json(value, kind) for name, (kind, value) in candidate.parameters.items()}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        sequence, start = passage.sequence, passage.start
        position = Position("", moment, moment, moment, sequence, start, text)
    if not ends:
        due = moment + (candidate.for_micros or 0)
        return replace(position, step=candidate.name, reached_micros=moment, due_micros=due)
    if not passage.keyed:
        return None
    return replace(position, step="", reached_micros=moment, due_micros=moment, fields="{}")


def _exited(journey: Journey, situation: Situation) -> tuple[int, int, str] | None:
    """The newest event, up to now, of those that end the journey."""
    newest: tuple[int, int, str] | None = None
    for name in journey.exits:
        activity = situation.activity.get(name)
        if activity is None:
            continue
        for time, sequence in zip(reversed(activity.times), reversed(activity.sequences), strict=True):
            if time <= situation.now_micros:
                found = (time, sequence, name)
                newest = found if newest is None else max(newest, found)
                break
    return newest

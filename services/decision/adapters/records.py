"""What is written down of a decision: its standing and its result, as compressed JSON."""

from __future__ import annotations

from dataclasses import astuple, fields, replace
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
import zstandard

from services.decision.domain.arbitration import (
    Candidate,
    Circumstances,
    DecidedAction,
    Standing,
    Won,
    factors_for,
)
from services.decision.domain.decide import Evaluation, Planned
from services.decision.domain.journeys import Passage, Position
from services.decision.domain.limits import Limits, Room
from services.decision.domain.once import Slot, Taken
from services.decision.domain.program import ChannelChoice
from services.decision.domain.scoring import BY_DEFAULT, BY_RULE, Factor, Factors, FactorSource, Origin
from services.vocabulary.arbitration_policy import Terms
from services.vocabulary.values import ValueType, to_json, value_check
from services.vocabulary.words import (
    DISPATCHED_KINDS,
    ActionKind,
    ActionOutcome,
    Category,
    Channel,
    RefusalReason,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 1 << 22
_COMPRESSOR = zstandard.ZstdCompressor(level=1)  # making one costs more than using it; one thread only
_DECOMPRESSOR = zstandard.ZstdDecompressor()
_CANDIDATE_DEFAULTS = {
    known.name: known.default
    for known in fields(Candidate)
    if known.name not in {"parameters", "slot", "order"}
}
_ORIGINS = ("propensity_from", "value_from", "cost_from")
FACTORS = ("propensity", "value", "cost", "urgency", "pressure")
_CAME_OUT = frozenset({"facts", "arms", "circumstances", "actions"})
_ALWAYS = ("time_micros", "service_first", "vulnerable", "pressure", "was_planned", "heeds_avoid")
_CIRCUMSTANCES = {known.name: known.default for known in fields(Circumstances) if known.name not in _ALWAYS}


class Record:
    """A decision as recorded: what it rested on beside event and snapshot, and what came of it."""

    __slots__ = (
        "actions",
        "evaluation",
        "gates",
        "hops",
        "line",
        "planned",
        "presented",
        "sequence",
        "standing",
    )

    def __init__(
        self,
        evaluation: Evaluation,
        standing: Standing,
        actions: tuple[DecidedAction, ...],
        *,
        planned: Planned | None = None,
        gates: Mapping[str, tuple[RefusalReason, str]] | None = None,
        line: str = "",
        hops: int = 0,
        sequence: int = 0,
        presented: bool = False,
    ) -> None:
        self.evaluation = evaluation
        self.standing = standing
        self.actions = actions
        self.planned = planned
        self.gates = dict(gates or {})
        self.line = line
        self.hops = hops
        self.sequence = sequence
        self.presented = presented


def pack_record(record: Record) -> bytes:
    """The record as compressed JSON."""
    rested_on = {
        "standing": _standing_to_json(record.standing),
        "planned": None if record.planned is None else _planned_to_json(record.planned),
        "gates": record.gates,
        "line": record.line,
        "hops": record.hops,
        "sequence": record.sequence,
        "presented": record.presented,
    }
    return _COMPRESSOR.compress(_written(record.evaluation, record.actions, rested_on))


def _written(
    evaluation: Evaluation, actions: tuple[DecidedAction, ...], rested_on: Mapping[str, Any]
) -> bytes:
    """The JSON of a record: what came out, and between it what it rested on."""
    body = {
        "facts": evaluation.facts,
        "arms": evaluation.arms,
        "circumstances": _circumstances_to_json(evaluation.circumstances),
        **rested_on,
        "actions": [_action_to_json(action) for action in actions],
    }
    return orjson.dumps(body)


def open_record(packed: bytes) -> dict[str, Any]:
    """The record's JSON."""
    body: dict[str, Any] = orjson.loads(_DECOMPRESSOR.decompress(packed, max_output_size=_MOST))
    return body


class Input:
    """What a record says of its decision's input, read without what came out of it, which takes longer."""

    __slots__ = ("_rested_on", "_text", "arms", "gates", "planned", "standing")

    def __init__(self, packed: bytes) -> None:
        self._text = _DECOMPRESSOR.decompress(packed, max_output_size=_MOST)
        body: dict[str, Any] = orjson.loads(self._text)
        self.arms: Mapping[str, str] = body["arms"]
        self.standing = _standing_from_json(body["standing"])
        self.planned = None if body["planned"] is None else _planned_from_json(body["planned"])
        self.gates = _gates_from_json(body["gates"])
        self._rested_on = {name: value for name, value in body.items() if name not in _CAME_OUT}

    def came_to(self, evaluation: Evaluation, actions: tuple[DecidedAction, ...]) -> bool:
        """Whether the record, had this come out, would have been written letter for letter as it is.

        If not, the same may still have come out: an older release wrote otherwise.
        """
        return _written(evaluation, actions, self._rested_on) == self._text


def unpack_record(packed: bytes) -> Record:
    """The record as it was."""
    body = open_record(packed)
    circumstances = _circumstances_from_json(body["circumstances"])
    actions = tuple(
        _action_from_json(action, circumstances, order) for order, action in enumerate(body["actions"])
    )
    return Record(
        Evaluation(
            facts=tuple(body["facts"]),
            candidates=tuple(action.candidate for action in actions),
            circumstances=circumstances,
            arms=body["arms"],
        ),
        _standing_from_json(body["standing"]),
        actions,
        planned=None if body["planned"] is None else _planned_from_json(body["planned"]),
        gates=_gates_from_json(body["gates"]),
        line=body["line"],
        hops=body["hops"],
        sequence=body["sequence"],
        presented=body.get("presented", False),
    )


def _gates_from_json(body: Mapping[str, Any]) -> dict[str, tuple[RefusalReason, str]]:
    return {action: (RefusalReason(reason), detail) for action, (reason, detail) in body.items()}


def pack_candidate(candidate: Candidate) -> bytes:
    """A candidate as JSON, for an action that is planned."""
    return orjson.dumps(_candidate_to_json(candidate))


def unpack_candidate(packed: bytes) -> Candidate:
    """The candidate as it was."""
    return _candidate_from_json(orjson.loads(packed))


def _circumstances_to_json(circumstances: Circumstances) -> dict[str, Any]:
    body = {name: getattr(circumstances, name) for name in _ALWAYS}
    for name, default in _CIRCUMSTANCES.items():
        value = getattr(circumstances, name)
        if value != default:
            body[name] = _terms_to_json(value) if isinstance(value, Terms) else value
    return body


@lru_cache(maxsize=16)
def _terms_to_json(terms: Terms) -> list[Any]:
    """The same for all decisions under one policy."""
    return list(astuple(terms))


def _circumstances_from_json(body: Mapping[str, Any]) -> Circumstances:
    body = {"heeds_avoid": False, **body}  # as long as nothing was written of it
    terms = body.get("terms")
    if terms is None:
        return Circumstances(**body)
    return Circumstances(**{**body, "terms": Terms(*(*terms[:-1], tuple(terms[-1])))})


def _standing_to_json(standing: Standing) -> dict[str, Any]:
    return {
        "slots": [[*name, taken.taken_micros, list(taken.holders)] for name, taken in standing.slots.items()],
        "won": [[won.action_id, won.time_micros] for won in standing.won],
        "arms": dict(standing.arms),
        "rooms": {name: _room_to_json(room) for name, room in standing.rooms.items()},
        "positions": [[*name, position] for name, position in standing.positions.items()],
    }


def _standing_from_json(body: Mapping[str, Any]) -> Standing:
    return Standing(
        slots={
            (rule_set, rule, key): Taken(micros, tuple(holders))
            for rule_set, rule, key, micros, holders in body["slots"]
        },
        won=tuple(Won(action, micros) for action, micros in body["won"]),
        arms=body["arms"],
        rooms={name: _room_from_json(room) for name, room in body.get("rooms", {}).items()},
        positions={
            (rule_set, key): Position(**position) for rule_set, key, position in body.get("positions", ())
        },
    )


def _room_to_json(room: Room) -> dict[str, Any]:
    limits = room.limits
    return {
        "per_second": limits.per_second,
        "per_day": limits.per_day,
        "budget": None if limits.budget is None else str(limits.budget),
        "zone": limits.zone,
        "now": room.now_micros,
        "spent": str(room.spent),
        "free": room.free_micros,
        "days": list(room.days.items()),
        "holders": sorted(room.holders),
    }


def _room_from_json(body: Mapping[str, Any]) -> Room:
    budget = body["budget"]
    return Room(
        Limits(
            body["per_second"], body["per_day"], None if budget is None else Decimal(budget), body["zone"]
        ),
        body["now"],
        Decimal(body["spent"]),
        body["free"],
        dict(body["days"]),
        frozenset(body["holders"]),
    )


def _planned_to_json(planned: Planned) -> dict[str, Any]:
    return {
        "candidate": _candidate_to_json(planned.candidate),
        "since_micros": planned.since_micros,
        "since_sequence": planned.since_sequence,
    }


def _planned_from_json(body: Mapping[str, Any]) -> Planned:
    return Planned(_candidate_from_json(body["candidate"]), body["since_micros"], body["since_sequence"])


def _action_to_json(action: DecidedAction) -> dict[str, Any]:
    body: dict[str, Any] = {
        "candidate": _candidate_to_json(action.candidate),
        "outcome": action.outcome,
        "reason": action.reason,
        "score": action.score,
        "outranked_by": action.outranked_by,
        "detail": action.detail,
    }
    if action.factors is not None:
        body["factors"] = [list(getattr(action.factors, name)) for name in FACTORS]
    return body


def _action_from_json(body: Mapping[str, Any], circumstances: Circumstances, order: int) -> DecidedAction:
    reason = body["reason"]
    candidate = replace(_candidate_from_json(body["candidate"]), order=order)
    return DecidedAction(
        candidate,
        ActionOutcome(body["outcome"]),
        None if reason is None else RefusalReason(reason),
        body["score"],
        body["outranked_by"],
        body["detail"],
        _factors_from_json(body, candidate, circumstances),
    )


def _factors_from_json(
    body: Mapping[str, Any], candidate: Candidate, circumstances: Circumstances
) -> Factors | None:
    """As written; of a decision written down before factors were, what its score was made of."""
    if candidate.kind not in DISPATCHED_KINDS:
        return None
    written = body.get("factors")
    if written is None:
        return factors_for(candidate, circumstances)._replace(score=body["score"])
    propensity, value, cost, urgency, pressure = (
        Factor(number, FactorSource(source), detail) for number, source, detail in written
    )
    return Factors(propensity, value, cost, urgency, pressure, body["score"])


def _candidate_to_json(candidate: Candidate) -> dict[str, Any]:
    """Only what differs from the defaults, typed values with their type."""
    body = {
        name: value
        for name, default in _CANDIDATE_DEFAULTS.items()
        if (value := getattr(candidate, name)) is not default
        and (value != default or type(value) is not type(default))
    }
    if candidate.parameters:
        body["parameters"] = {
            name: [value_type, to_json(value, value_type)]
            for name, (value_type, value) in candidate.parameters.items()
        }
    if candidate.slot is not None:
        slot = candidate.slot
        body["slot"] = [slot.rule_set, slot.rule, slot.key, slot.period_micros]
        body["slot"] += [slot.household] if slot.household else []
    if candidate.channels:
        body["channels"] = [[choice.channel, choice.after_micros] for choice in candidate.channels]
    if candidate.to_value is not None:
        body["to_value"] = candidate.to_value
    for name in _ORIGINS:
        origin = body.pop(name, BY_DEFAULT)
        if origin != _origin_meant(name, body):
            body[name] = list(origin)
    return body


def _origin_meant(name: str, body: Mapping[str, Any]) -> Origin:
    """Who said a number where nothing is written of that: the rule, if it is not the default."""
    return BY_RULE if body.get(name.removesuffix("_from")) is not None else BY_DEFAULT


def _candidate_from_json(body: dict[str, Any]) -> Candidate:
    given = dict(body)
    given["kind"] = ActionKind(given["kind"])
    category, refusal, slot = given.get("category"), given.get("refusal"), given.get("slot")
    given["category"] = None if category is None else Category(category)
    given["refusal"] = None if refusal is None else RefusalReason(refusal)
    given["slot"] = None if slot is None else Slot(*slot)
    given["unless"] = tuple(given.get("unless", ()))
    given["avoid"] = tuple(Category(word) for word in given.get("avoid", ()))
    given["channels"] = tuple(
        ChannelChoice(None if channel is None else Channel(channel), after)
        for channel, after in given.get("channels", ())
    )
    given["parameters"] = {
        name: (ValueType(value_type), value_check(ValueType(value_type))(value))
        for name, (value_type, value) in given.get("parameters", {}).items()
    }
    for name in _ORIGINS:
        written = given.get(name)
        given[name] = (
            _origin_meant(name, given) if written is None else Origin(FactorSource(written[0]), written[1])
        )
    given["excludes"] = tuple(given.get("excludes", ()))
    passage = given.get("journey")
    if passage is not None:
        exited = passage["exited"]
        given["journey"] = Passage(**{**passage, "exited": None if exited is None else tuple(exited)})
    return Candidate(**given)

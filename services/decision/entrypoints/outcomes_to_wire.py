"""Outcomes as callers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rapport.decision.v1 import outcomes_pb2
from rapport.types.v1 import event_pb2

from services.decision.app.tell_outcomes import PLACES
from services.decision.domain.answers import Answer, emitted, fulfilment_id
from services.decision.entrypoints.translate import action_to_wire
from services.vocabulary.wire import timestamp
from services.vocabulary.words import ActionKind, ActionOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.app.tell_outcomes import CameAbout, Consumer
    from services.decision.domain.answers import Noted
    from services.decision.domain.arbitration import DecidedAction

ANSWERS: Mapping[outcomes_pb2.OfferOutcome.ValueType, Answer] = {
    outcomes_pb2.OFFER_OUTCOME_PRESENTED: Answer.PRESENTED,
    outcomes_pb2.OFFER_OUTCOME_ACCEPTED: Answer.ACCEPTED,
    outcomes_pb2.OFFER_OUTCOME_DECLINED: Answer.DECLINED,
    outcomes_pb2.OFFER_OUTCOME_NOT_NOW: Answer.NOT_NOW,
}
"""What a customer can answer."""
_TO_WIRE = {answer: word for word, answer in ANSWERS.items()}
_SOURCE = "decision"


def noted_to_wire(note: Noted) -> outcomes_pb2.RecordedOutcome:
    """An answer as recorded."""
    return outcomes_pb2.RecordedOutcome(
        outcome=_TO_WIRE[note.answer],
        time=timestamp(note.recorded_micros),
        reason=note.reason,
        agent=note.agent,
    )


def event_to_wire(event_id: str, event_type: str, data: Mapping[str, Any]) -> event_pb2.Event:
    """An event of our own, without its subject: who it is about is said beside it, by the customer's id."""
    return event_pb2.Event(
        id=event_id, source=_SOURCE, type=event_type, data=orjson.dumps(data), spec_version="1.0"
    )


def fulfilment_to_wire(
    fulfilment_id: str, offer: str, event: event_pb2.Event | None
) -> outcomes_pb2.FulfilmentRequest:
    """What is to be delivered."""
    return outcomes_pb2.FulfilmentRequest(fulfilment_id=fulfilment_id, offer=offer, event=event)


def consumer_to_wire(consumer: Consumer) -> outcomes_pb2.OutcomeConsumer:
    """Who takes outcomes."""
    message = outcomes_pb2.OutcomeConsumer(
        consumer=consumer.name,
        acknowledged=consumer.acknowledged,
        stream_time=timestamp(consumer.stream_micros),
        caller=consumer.caller,
        behind=consumer.behind,
        kept_after=consumer.kept_after,
    )
    if consumer.acknowledged_micros:
        message.acknowledge_time.CopyFrom(timestamp(consumer.acknowledged_micros))
    if consumer.oldest_micros:
        message.oldest_time.CopyFrom(timestamp(consumer.oldest_micros))
    return message


def outcomes_of(came: CameAbout) -> list[outcomes_pb2.Outcome]:
    """What a decision, or what came of one of its actions, tells; each with its place."""
    if came.note is not None:
        return _of_note(came, came.note)
    place = came.number * PLACES
    return [
        _decided(came, place + position, action)
        for position, action in enumerate(came.recorded.actions, 1)
        if action.candidate.kind is not ActionKind.STEP  # it is no answer to anybody
    ]


def _decided(came: CameAbout, position: int, action: DecidedAction) -> outcomes_pb2.Outcome:
    outcome = _outcome(came, position, came.recorded.decided_micros)
    outcome.kind = outcomes_pb2.OUTCOME_KIND_ACTION
    outcome.action.CopyFrom(action_to_wire(action))
    candidate = action.candidate
    if candidate.kind is ActionKind.EMIT and action.outcome is ActionOutcome.DONE:
        outcome.kind = outcomes_pb2.OUTCOME_KIND_EMITTED
        event_id, data = emitted(candidate)
        outcome.emitted.CopyFrom(event_to_wire(event_id, candidate.name, data))
    return outcome


def _of_note(came: CameAbout, note: Noted) -> list[outcomes_pb2.Outcome]:
    place = came.number * PLACES
    outcome = _outcome(came, place + 1, note.recorded_micros)
    for action in came.recorded.actions:
        if action.candidate.action_id == note.action_id:
            outcome.action.CopyFrom(action_to_wire(action))
    if note.answer is Answer.CANCELLED:
        outcome.kind = outcomes_pb2.OUTCOME_KIND_CANCELLED
        outcome.cancelled.CopyFrom(outcomes_pb2.Cancellation(reason=note.reason, agent=note.agent))
        return [outcome]
    outcome.kind = outcomes_pb2.OUTCOME_KIND_ANSWER
    outcome.answer.CopyFrom(noted_to_wire(note))
    if note.answer is not Answer.ACCEPTED:
        return [outcome]
    wanted = _outcome(came, place + 2, note.recorded_micros)
    wanted.kind = outcomes_pb2.OUTCOME_KIND_FULFILMENT
    wanted.action.CopyFrom(outcome.action)
    named = fulfilment_id(note.action_id)
    event = event_to_wire(named, note.fulfil, note.data) if note.fulfil else None
    wanted.fulfilment.CopyFrom(fulfilment_to_wire(named, note.offer, event))
    return [outcome, wanted]


def _outcome(came: CameAbout, position: int, time_micros: int) -> outcomes_pb2.Outcome:
    return outcomes_pb2.Outcome(
        position=position,
        customer=came.recorded.customer,
        decision_id=came.recorded.decision_id,
        event_type=came.recorded.event_type,
        time=timestamp(time_micros),
    )

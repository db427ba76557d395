"""Outcomes as callers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rapport.decision.v1 import outcomes_pb2
from rapport.types.v1 import event_pb2

from services.decision.domain.answers import Answer
from services.vocabulary.wire import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.domain.answers import Noted

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

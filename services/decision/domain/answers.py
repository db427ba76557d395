"""What a customer answers to an offer: which answer may follow which, and what an acceptance asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from services.vocabulary.ids import own_event_id
from services.vocabulary.values import FieldError, ValueType, to_json
from services.vocabulary.words import ActionKind, ActionOutcome, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.domain.arbitration import Candidate, DecidedAction
    from services.vocabulary.catalogue import Catalogue, Offer


class Answer(StrEnum):
    """What came of an offer, or of a plan, after it was decided."""

    PRESENTED = "presented"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    NOT_NOW = "not_now"
    CANCELLED = "cancelled"
    """A plan was taken back; no customer says so."""


class NotRecorded(StrEnum):
    """Why an answer is not recorded."""

    UNKNOWN_ACTION = "unknown_action"
    NOT_AN_OFFER = "not_an_offer"
    NOT_SAID = "not_said"
    RECORDED_BEFORE = "recorded_before"
    CONTRADICTS = "contradicts"
    EXPIRED = "expired"
    NOT_BY_REPLY = "not_by_reply"
    """Nobody asked for a reply: the offer has no words that accept it."""


@dataclass(frozen=True, slots=True)
class Noted:
    """An answer as recorded; ``number`` 0: not written yet. Times in micros.

    ``fulfil``: type of the event that asks for delivery, empty: none; ``data``: its fields, or what the event
    says that tells of a plan taken back; in their JSON forms.
    """

    customer: int
    action_id: str
    decision_id: str
    answer: Answer
    offer: str
    reason: str
    agent: str
    line: str
    recorded_micros: int
    fulfil: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """What an acceptance asks for; ``type`` empty: no event, because of ``lacking`` or as the offer says."""

    fulfilment_id: str
    type: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    lacking: str = ""


REPLY_REASON = "reply"
"""Reason of an answer that the customer wrote."""
NOT_NOW_REASON = "not_now"
"""Reason of the `offer.declined` that tells of an answer NOT_NOW."""
_EVENTS = {
    Answer.PRESENTED: "offer.presented",
    Answer.ACCEPTED: "offer.accepted",
    Answer.DECLINED: "offer.declined",
    Answer.NOT_NOW: "offer.declined",
}
_MAY_FOLLOW: Mapping[Answer, frozenset[Answer]] = {
    Answer.PRESENTED: frozenset({Answer.ACCEPTED, Answer.DECLINED, Answer.NOT_NOW}),
    Answer.NOT_NOW: frozenset({Answer.ACCEPTED, Answer.DECLINED}),
    Answer.ACCEPTED: frozenset(),
    Answer.DECLINED: frozenset(),
}
_WORDS = {
    Answer.PRESENTED: "presented",
    Answer.ACCEPTED: "accepted",
    Answer.DECLINED: "declined",
    Answer.NOT_NOW: "answered with “not now”",
    Answer.CANCELLED: "taken back",
}


def words_of(answer: Answer) -> str:
    """What follows “it was” in a sentence."""
    return _WORDS[answer]


def cannot_have_answer(action: DecidedAction) -> tuple[NotRecorded, str] | None:
    """Why nobody can have answered to this action; None: somebody can."""
    candidate = action.candidate
    if candidate.kind is not ActionKind.OFFER:
        return NotRecorded.NOT_AN_OFFER, f"it is not an offer but of the kind {candidate.kind.value}"
    if action.outcome is ActionOutcome.REFUSED:
        reason = "" if action.reason is None else f": {action.reason.value}"
        return NotRecorded.NOT_SAID, f"it was refused when it was decided{reason}"
    if action.outcome is ActionOutcome.PLANNED:
        return NotRecorded.NOT_SAID, "it still waits for its time"
    return None


def cannot_follow(earlier: Sequence[Noted], answer: Answer) -> tuple[NotRecorded, str, Noted] | None:
    """Why an answer cannot come after those recorded, oldest first, and which is against it; None: it can.

    NOT_NOW leaves yes and no open; yes and no are the last word.
    """
    same = next((one for one in earlier if one.answer is answer), None)
    if same is not None:
        return NotRecorded.RECORDED_BEFORE, f"it was {words_of(answer)} before", same
    if earlier and answer not in _MAY_FOLLOW[earlier[-1].answer]:
        last = earlier[-1]
        return NotRecorded.CONTRADICTS, f"it was {words_of(last.answer)} before; ask anew with Decide", last
    return None


def killed(candidate: Candidate) -> dict[str, Any]:
    """What the event says that tells of a plan taken back."""
    body = {
        "action": candidate.action_id,
        "rule_set": candidate.rule_set,
        "rule": candidate.rule,
        "name": candidate.name or candidate.kind.value,
        "reason": RefusalReason.KILLED.value,
    }
    if candidate.category is not None:
        body["category"] = candidate.category.value
    return body


def events_of(note: Noted) -> list[tuple[str, str, Mapping[str, Any]]]:
    """The events by which the system hears of an answer: id, type, data; then what it asks for, if anything.

    NOT_NOW is an `offer.declined` with the reason `not_now`, so that rules written for a no see it, and can
    tell it from one. A plan taken back ends as any other that is refused.
    """
    if note.answer is Answer.CANCELLED:
        return [(own_event_id("action.refused", note.action_id), "action.refused", note.data)]
    event_type = _EVENTS[note.answer]
    body: dict[str, Any] = {"offer": note.offer, "action": note.action_id}
    reason = NOT_NOW_REASON if note.answer is Answer.NOT_NOW else note.reason
    if reason:
        body["reason"] = reason
    found: list[tuple[str, str, Mapping[str, Any]]] = [
        (own_event_id(event_type, note.action_id, note.answer.value), event_type, body)
    ]
    if note.fulfil:
        found.append((fulfilment_id(note.action_id), note.fulfil, note.data))
    return found


def emitted(candidate: Candidate) -> tuple[str, dict[str, Any]]:
    """The event that a rule emits: id and data."""
    data = {name: to_json(value, ValueType(kind)) for name, (kind, value) in candidate.parameters.items()}
    return own_event_id(candidate.name, candidate.action_id), data


def fulfilment_id(action_id: str) -> str:
    """Names what an accepted offer asks for: there is one for each action, however often it is asked."""
    return own_event_id("fulfil", action_id)


def fulfilment_of(candidate: Candidate, offer: Offer | None, catalogue: Catalogue) -> Fulfilment:
    """What accepting an offer asks for: the event that its `fulfil` names, filled from what was offered.

    Fields of the event are taken from the action's parameters of that name; else `order` and `action` are the
    action, `offer` and `product` the offer's name, and `price` and `amount` its price.
    """
    named = fulfilment_id(candidate.action_id)
    if offer is None or not offer.fulfil:
        return Fulfilment(named)
    kind = catalogue.events.get(offer.fulfil)
    if kind is None:
        return Fulfilment(named, lacking=f"the catalogue no longer has {offer.fulfil}")
    known: dict[str, Any] = {
        "order": candidate.action_id,
        "action": candidate.action_id,
        "offer": candidate.name,
        "product": candidate.name,
    }
    if offer.price is not None:
        known |= dict.fromkeys(("price", "amount"), to_json(offer.price, ValueType.MONEY))
    known |= {name: to_json(value, kind_of) for name, (kind_of, value) in candidate.parameters.items()}
    data = {name: known[name] for name in kind.fields if name in known}
    try:
        kind.coerce(data)
    except FieldError as wrong:
        lacking = f"{offer.fulfil} cannot be made of it: {wrong.field} {wrong.message}"
        return Fulfilment(named, lacking=lacking)
    return Fulfilment(named, offer.fulfil, data)

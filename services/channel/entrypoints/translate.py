"""Between protobuf and the domain."""

from uuid import UUID

from google.protobuf.message import DecodeError
from rapport.channel.v1 import channel_pb2
from rapport.types.v1 import stream_pb2

from services.channel.app.erasure import Erasure
from services.channel.domain.actions import Action, ChannelChoice
from services.channel.domain.choice import Choice, Chosen, Dropped, Waits
from services.channel.domain.errors import InvalidActionError
from services.channel.domain.inbound import Written
from services.channel.domain.messages import Change, Message
from services.vocabulary import wire
from services.vocabulary.values import ValueMistake
from services.vocabulary.words import DISPATCHED_KINDS, MessageState

MESSAGE_STATES = wire.WordTable(MessageState, channel_pb2.MessageState, "MESSAGE_STATE_")


_TEXTS = ("decision_id", "rule_set", "rule", "name", "topic", "line", "template")
_TIMES = ("decided_micros", "event_micros", "expires_micros")
_LATEST_MICROS = 2**61
"""A time beyond it cannot be added to another in 64 bits."""


def action_from_wire(wired: stream_pb2.Action) -> Action:
    """A checked action; raises InvalidActionError with the field that is wrong."""
    try:
        UUID(wired.action_id)
    except ValueError as error:
        raise InvalidActionError(
            "action_id", "is no UUID", "give the UUID that the decision derived"
        ) from error
    if wired.customer <= 0:
        raise InvalidActionError("customer", f"is {wired.customer}", "give a customer id from 1")
    if not wired.name:
        raise InvalidActionError("name", "is empty", "name the offer, message, survey or task")
    _check_storable(wired)
    try:
        kind = wire.ACTION_KINDS.from_wire(wired.kind)
        category = wire.CATEGORIES.from_wire(wired.category)
        choices = tuple(
            ChannelChoice(wire.CHANNELS.from_wire(choice.channel), choice.after_micros)
            for choice in wired.channels
        )
        parameters = {name: wire.value_from_wire(value) for name, value in wired.parameters.items()}
        types = {name: wire.type_of_wire(value) for name, value in wired.parameters.items()}
    except ValueMistake as error:
        raise InvalidActionError("parameters", str(error)) from error
    except ValueError as error:
        raise InvalidActionError("kind, category or channels", str(error)) from error
    if kind not in DISPATCHED_KINDS:
        known = ", ".join(sorted(one.value for one in DISPATCHED_KINDS))
        raise InvalidActionError("kind", "is nothing that is dispatched", f"one of {known}")
    if category is None:
        raise InvalidActionError("category", "is not said", "it decides consent, caps and quiet hours")
    return Action(
        action_id=wired.action_id.lower(),
        customer=wired.customer,
        kind=kind,
        name=wired.name,
        category=category,
        decision_id=wired.decision_id,
        rule_set=wired.rule_set,
        rule=wired.rule,
        topic=wired.topic,
        channels=choices,
        parameters={name: value for name, value in parameters.items() if value is not None},
        types={name: kind for name, kind in types.items() if kind is not None},
        template=wired.template,
        score=wired.score,
        priority=wired.priority,
        decided_micros=wired.decided_micros,
        event_micros=wired.event_micros,
        expires_micros=wired.expires_micros,
        hops=wired.hops,
        line=wired.line,
        to_payer=wired.to_payer,
        record=wired.SerializeToString(),
    )


def _check_storable(wired: stream_pb2.Action) -> None:
    """One action that no database takes must not cost the others of its batch."""
    for field in _TEXTS:
        if "\0" in getattr(wired, field):
            raise InvalidActionError(field, "holds a NUL character", "leave it out")
    for field in _TIMES:
        if not 0 <= getattr(wired, field) < _LATEST_MICROS:
            raise InvalidActionError(field, "is no time", "give microseconds since 1970, or 0")
    if not all(0 <= choice.after_micros < _LATEST_MICROS for choice in wired.channels):
        raise InvalidActionError(
            "channels.after_micros", "is no length of time", "give 0 or more microseconds"
        )


def erasures_of(key: str, batch: stream_pb2.ActionBatch) -> list[Erasure]:
    """The persons that a message says are erased; `key` is the message's."""
    return [
        Erasure(
            key=f"{key}/{place}",
            erasure_id=wired.erasure_id,
            customer=wired.customer,
            people=tuple(sorted({wired.customer, *wired.customers})),
            erased_micros=wired.erased_micros,
            addresses=tuple(
                (channel, address.lookup)
                for address in wired.addresses
                if (channel := wire.CHANNELS.from_wire(address.channel)) is not None
            ),
        )
        for place, wired in enumerate(batch.erasures)
    ]


def action_record(action: Action) -> bytes:
    """An action of our own making as it would have come over the wire."""
    return stream_pb2.Action(
        action_id=action.action_id,
        decision_id=action.decision_id,
        customer=action.customer,
        rule_set=action.rule_set,
        rule=action.rule,
        kind=wire.ACTION_KINDS.to_wire(action.kind),
        name=action.name,
        category=wire.CATEGORIES.to_wire(action.category),
        channels=[
            stream_pb2.ChannelChoice(channel=wire.CHANNELS.to_wire(choice.channel))
            for choice in action.channels
        ],
        parameters={
            name: wire.value_to_wire(value, action.types.get(name))
            for name, value in action.parameters.items()
        },
        template=action.template,
        decided_micros=action.decided_micros,
        event_micros=action.event_micros,
        expires_micros=action.expires_micros,
        line=action.line,
    ).SerializeToString()


def action_from_record(record: bytes) -> Action:
    """An action from what was kept of it."""
    try:
        return action_from_wire(stream_pb2.Action.FromString(record))
    except DecodeError as error:
        raise InvalidActionError("action", "is not readable") from error


def message_to_wire(message: Message) -> channel_pb2.Message:
    """A message as callers see it."""
    wired = channel_pb2.Message(
        message_id=message.message_id,
        action_id=message.action_id,
        decision_id=message.decision_id,
        customer=message.customer,
        channel=wire.CHANNELS.to_wire(message.channel),
        category=wire.CATEGORIES.to_wire(message.category),
        name=message.name,
        state=MESSAGE_STATES.to_wire(message.state),
        reason=wire.REFUSAL_REASONS.to_wire(message.reason),
        text=message.wording.text if message.wording is not None else "",
        rule_set=message.rule_set,
        rule=message.rule,
        attempts=message.attempts,
        detail=message.detail,
        template=message.template,
        segments=message.segments,
    )
    wired.planned_time.CopyFrom(wire.timestamp(message.due_micros))
    wired.accept_time.CopyFrom(wire.timestamp(message.accepted_micros))
    if message.sent_micros:
        wired.sent_time.CopyFrom(wire.timestamp(message.sent_micros))
    if message.receipt_micros:
        wired.receipt_time.CopyFrom(wire.timestamp(message.receipt_micros))
    return wired


def change_to_wire(change: Change) -> channel_pb2.MessageEvent:
    """One step of a message's history."""
    return channel_pb2.MessageEvent(
        time=wire.timestamp(change.time_micros),
        state=MESSAGE_STATES.to_wire(change.state),
        reason=wire.REFUSAL_REASONS.to_wire(change.reason),
        detail=change.detail,
    )


def reply_to_wire(written: Written) -> channel_pb2.Reply:
    """What a customer wrote in answer to a message."""
    return channel_pb2.Reply(
        time=wire.timestamp(written.time_micros),
        intent=written.intent.value,
        text=written.text,
        answer_message_id=written.answer_id,
    )


def gate_answer(action_id: str, choice: Choice) -> channel_pb2.GateAnswer:
    """What the gates said about an action that a caller wants to present."""
    match choice:
        case Chosen():
            return channel_pb2.GateAnswer(action_id=action_id, passed=True)
        case Waits(_, reason, detail, until_micros):
            answer = channel_pb2.GateAnswer(
                action_id=action_id,
                reason=wire.REFUSAL_REASONS.to_wire(reason),
                detail=detail,
            )
            answer.next_time.CopyFrom(wire.timestamp(until_micros))
            return answer
        case Dropped(_, refusal, detail, next_micros):
            answer = channel_pb2.GateAnswer(
                action_id=action_id,
                reason=wire.REFUSAL_REASONS.to_wire(refusal),
                detail=detail,
            )
            if next_micros is not None:
                answer.next_time.CopyFrom(wire.timestamp(next_micros))
            return answer

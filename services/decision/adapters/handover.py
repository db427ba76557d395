"""Puts what was decided into the outbox: actions for the channel, own events for the profile service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from rapport.types.v1 import stream_pb2

from services.decision.adapters.material import unpack_material
from services.decision.adapters.situations import pack_due
from services.decision.domain.answers import Answer, emitted, events_of
from services.decision.domain.triggers import JOURNEY_DUE, TRIGGER_DUE
from services.runtime.personal import ERASURE_FINISHED, finished_data
from services.runtime.streams import ACTIONS, OUTCOMES
from services.vocabulary.ids import own_event_id, partition_of
from services.vocabulary.values import format_time
from services.vocabulary.wire import ACTION_KINDS, CATEGORIES, CHANNELS, value_to_wire
from services.vocabulary.words import ActionKind, ActionOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from services.decision.app.jobs import Erased, Evaluated, SetAside
    from services.decision.app.ports import Decided, DuePlan, DueStep
    from services.decision.app.run_ports import Call
    from services.decision.domain.answers import Noted
    from services.decision.domain.arbitration import Candidate, DecidedAction
    from services.runtime.database import Transaction
    from services.runtime.dead_letters import DeadLetters
    from services.runtime.outbox import Outbox

SOURCE = "decision"
MESSAGE_BYTES = 192 * 1024
"""A message is closed when the next item would take it over this; an item is at most 64 kB."""


class OutboxHandOver:
    """The HandOver port on the outbox."""

    def __init__(self, outbox: Outbox, partitions: int) -> None:
        self._outbox = outbox
        self._partitions = partitions

    async def hand_on(self, transaction: Transaction, decided: Sequence[Decided]) -> None:
        """What was dispatched, and an own event for all that was refused, planned, set or emitted."""
        actions: list[tuple[int, stream_pb2.Action]] = []
        own: list[tuple[int, stream_pb2.OwnEvent]] = []
        for one in decided:
            partition = partition_of(one.customer, self._partitions)
            for action in one.arbitration.actions:
                if action.outcome is ActionOutcome.DISPATCHED:
                    if not (one.presented and action.candidate.kind is not ActionKind.TASK):
                        actions.append((partition, action_message(one, action)))
                else:
                    event = own_event_of(one, action)
                    if event is not None:
                        own.append((partition, event))
        await self._outbox.put(
            transaction,
            ACTIONS,
            list(_messages(actions, lambda items: stream_pb2.ActionBatch(actions=items))),
        )
        await self._put_own(transaction, own)

    async def fell_due(self, transaction: Transaction, due: Sequence[DuePlan]) -> None:
        """`action.due` for each plan, at its due time."""
        await self._put_own(
            transaction,
            [
                (
                    partition_of(plan.customer, self._partitions),
                    stream_pb2.OwnEvent(
                        id=own_event_id("action.due", plan.action_id, plan.due_micros),
                        source=SOURCE,
                        type="action.due",
                        time_micros=plan.due_micros,
                        customer=plan.customer,
                        data=orjson.dumps({"action": plan.action_id, "decision": plan.decision_id}),
                        hops=plan.hops + 1,
                        line=plan.line,
                    ),
                )
                for plan in due
            ],
        )

    async def answered(self, transaction: Transaction, notes: Sequence[Noted]) -> None:
        """What came of actions after they were decided; a person acted, so a chain of events begins here."""
        await self._put_own(
            transaction,
            [
                (
                    partition_of(note.customer, self._partitions),
                    stream_pb2.OwnEvent(
                        id=event_id,
                        source=SOURCE,
                        type=event_type,
                        time_micros=note.recorded_micros,
                        customer=note.customer,
                        data=orjson.dumps(data),
                        hops=1,
                        line=note.line,
                    ),
                )
                for note in notes
                for event_id, event_type, data in events_of(note)
            ],
        )
        await self._end(
            transaction,
            [
                stream_pb2.GivenBack(customer=note.customer, action_id=note.action_id, answered=True)
                for note in notes
                if note.answer in {Answer.ACCEPTED, Answer.DECLINED}
            ],
        )

    async def give_back(self, transaction: Transaction, actions: Sequence[tuple[int, str]]) -> None:
        """Reservations given back, on the way that actions take."""
        await self._end(
            transaction,
            [stream_pb2.GivenBack(customer=customer, action_id=action_id) for customer, action_id in actions],
        )

    async def _end(self, transaction: Transaction, ends: Sequence[stream_pb2.GivenBack]) -> None:
        placed = [(partition_of(one.customer, self._partitions), one) for one in ends]
        await self._outbox.put(
            transaction,
            ACTIONS,
            list(_messages(placed, lambda items: stream_pb2.ActionBatch(given_back=items))),
        )

    async def called(self, transaction: Transaction, calls: Sequence[Call]) -> None:
        """`trigger.due` for each customer called; the same call again is the same event."""
        await self._put_own(
            transaction,
            [
                (
                    partition_of(call.customer, self._partitions),
                    stream_pb2.OwnEvent(
                        id=call.event_id,
                        source=SOURCE,
                        type=TRIGGER_DUE,
                        time_micros=call.time_micros,
                        customer=call.customer,
                        data=_called_body(call),
                        hops=call.hops,
                        line=call.line,
                    ),
                )
                for call in calls
            ],
        )

    async def steps_fell_due(self, transaction: Transaction, due: Sequence[DueStep]) -> None:
        """`journey.due` for each step, at its due time: an id for each time that somebody reached a step."""
        await self._put_own(
            transaction,
            [
                (
                    partition_of(step.customer, self._partitions),
                    stream_pb2.OwnEvent(
                        id=own_event_id(
                            JOURNEY_DUE,
                            step.due.rule_set,
                            step.due.key,
                            step.customer,
                            step.due.step,
                            step.due.reached_micros,
                            step.position.started_sequence,
                        ),
                        source=SOURCE,
                        type=JOURNEY_DUE,
                        time_micros=step.position.due_micros,
                        customer=step.customer,
                        data=pack_due(step),
                        hops=step.position.hops,
                        line=step.position.line,
                    ),
                )
                for step in due
            ],
        )

    async def erased(
        self, transaction: Transaction, item: Erased, rows: Mapping[str, int], now_micros: int
    ) -> None:
        """The erasure for the channel service, and what was done here for the profile service."""
        erasure = stream_pb2.Erasure.FromString(item.erasure)
        erasure.customer = item.customer
        partition = partition_of(item.customer, self._partitions)
        message = stream_pb2.ActionBatch(erasures=[erasure]).SerializeToString()
        await self._outbox.put(transaction, ACTIONS, [(partition, message)])
        finished = stream_pb2.OwnEvent(
            id=own_event_id(ERASURE_FINISHED, SOURCE, item.event_id),
            source=SOURCE,
            type=ERASURE_FINISHED,
            time_micros=now_micros,
            customer=item.customer,
            data=finished_data(item.erasure_id, SOURCE, rows),
        )
        await self._put_own(transaction, [(partition, finished)])

    async def _put_own(
        self, transaction: Transaction, own: Sequence[tuple[int, stream_pb2.OwnEvent]]
    ) -> None:
        await self._outbox.put(
            transaction, OUTCOMES, list(_messages(own, lambda items: stream_pb2.OwnEventBatch(events=items)))
        )


class EventSetAsides:
    """The SetAsides port: dead letters whose payload is an EventBatch of one, event and snapshot."""

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters

    async def set_aside(self, transaction: Transaction, item: SetAside) -> None:
        """Keeps the event with its input."""
        await self._dead_letters.add(
            transaction,
            kind="event",
            item_id=item.event_id,
            item_type=item.event_type,
            customer=item.customer,
            payload=item.payload,
            reason=item.reason,
        )

    async def set_aside_evaluated(self, transaction: Transaction, item: Evaluated, reason: str) -> None:
        """The same, from the material of a decision that could not be written."""
        event, snapshot = unpack_material(item.material)
        batch = stream_pb2.EventBatch(events=[stream_pb2.TakenEvent.FromString(event)], snapshots=[snapshot])
        batch.events[0].snapshot = 1
        await self._dead_letters.add(
            transaction,
            kind="event",
            item_id=item.event_id,
            item_type=item.event_type,
            customer=item.customer,
            payload=batch.SerializeToString(),
            reason=reason,
        )


def hand_again(outbox: Outbox, partitions: int) -> Any:
    """The dead letters' way back: the event goes to the profile service, which attaches a fresh snapshot."""

    async def resend(transaction: Transaction, kind: str, payload: bytes) -> None:
        del kind
        batch = stream_pb2.EventBatch.FromString(payload)
        for event in batch.events:
            event.snapshot = 0
            message = stream_pb2.OwnEventBatch(handed_again=[event]).SerializeToString()
            await outbox.put(transaction, OUTCOMES, [(partition_of(event.customer, partitions), message)])

    return resend


def action_message(one: Decided, action: DecidedAction) -> stream_pb2.Action:
    """The action as it travels to the channel service."""
    candidate = action.candidate
    return stream_pb2.Action(
        action_id=candidate.action_id,
        decision_id=one.decision_id,
        customer=one.customer,
        rule_set=candidate.rule_set,
        version=candidate.version,
        rule=candidate.rule,
        position=candidate.position,
        kind=ACTION_KINDS.to_wire(candidate.kind),
        name=candidate.name,
        category=CATEGORIES.to_wire(candidate.category),
        topic=candidate.topic,
        channels=[
            stream_pb2.ChannelChoice(
                channel=CHANNELS.to_wire(choice.channel), after_micros=choice.after_micros
            )
            for choice in candidate.channels
        ],
        parameters={
            name: value_to_wire(value, value_type)
            for name, (value_type, value) in candidate.parameters.items()
        },
        template=candidate.template,
        arm=candidate.arm,
        score=action.score,
        priority=candidate.priority,
        decided_micros=one.decided_micros,
        expires_micros=candidate.expires_micros or 0,
        due_micros=candidate.due_micros or 0,
        event_micros=one.event_micros,
        hops=one.hops,
        line=one.line,
        to_payer=candidate.to_payer,
    )


def own_event_of(one: Decided, action: DecidedAction) -> stream_pb2.OwnEvent | None:
    """What the system says to itself about an action that was not dispatched; None: nothing (say, avoid)."""
    candidate = action.candidate
    if action.outcome is ActionOutcome.REFUSED:
        reason = "" if action.reason is None else action.reason.value
        return _own_event(one, "action.refused", candidate, _told(candidate, reason))
    if action.outcome is ActionOutcome.PLANNED:
        return _own_event(one, "action.planned", candidate, _told(candidate, ""))
    if candidate.kind is ActionKind.SET:
        body: dict[str, Any] = {"traits": {candidate.name: candidate.to_value}}
        if candidate.for_micros is not None:
            body["until"] = format_time(one.evaluation.circumstances.time_micros + candidate.for_micros)
        return _own_event(one, "profile.updated", candidate, body)
    if candidate.kind is ActionKind.EMIT:
        return _own_event(one, candidate.name, candidate, emitted(candidate)[1])
    return None


def _called_body(call: Call) -> bytes:
    body: dict[str, Any] = {"rule_set": call.rule_set, "run": call.run}
    if call.data:
        body["data"] = call.data
    if call.since_micros:
        body["since"] = format_time(call.since_micros)
    return orjson.dumps(body)


def _told(candidate: Candidate, reason: str) -> dict[str, Any]:
    body = {
        "action": candidate.action_id,
        "rule_set": candidate.rule_set,
        "rule": candidate.rule,
        "name": candidate.name or candidate.kind.value,
    }
    if candidate.category is not None:
        body["category"] = candidate.category.value
    if reason:
        body["reason"] = reason
    return body


def _own_event(
    one: Decided, event_type: str, candidate: Candidate, body: dict[str, Any]
) -> stream_pb2.OwnEvent:
    return stream_pb2.OwnEvent(
        id=own_event_id(event_type, candidate.action_id),
        source=SOURCE,
        type=event_type,
        time_micros=one.decided_micros,
        customer=one.customer,
        data=orjson.dumps(body),
        hops=one.hops + 1,
        line=one.line,
    )


def _messages(items: Iterable[tuple[int, Any]], make: Any) -> Iterator[tuple[int, bytes]]:
    """Messages of one partition each, small enough for the outbox, items in order."""
    waiting: dict[int, tuple[list[Message], int]] = {}
    for partition, item in items:
        held, size = waiting.get(partition, ([], 0))
        added = item.ByteSize() + 8
        if held and size + added > MESSAGE_BYTES:
            yield partition, make(held).SerializeToString()
            held, size = [], 0
        held.append(item)
        waiting[partition] = (held, size + added)
    for partition, (held, _) in waiting.items():
        yield partition, make(held).SerializeToString()

"""The other services, asked what became of actions and what happened to a customer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import structlog
from rapport.channel.v1 import channel_pb2, channel_pb2_grpc
from rapport.profile.v1 import history_pb2, history_pb2_grpc
from rapport.types.v1 import stream_pb2

from services.decision.adapters.peers import told
from services.decision.app.ports import Message, MessageStep, Past, PastEvent
from services.decision.domain.program import ChannelChoice
from services.vocabulary.ids import later_message_id, message_id
from services.vocabulary.values import format_time
from services.vocabulary.wire import CHANNELS, REFUSAL_REASONS, WordTable, micros, timestamp
from services.vocabulary.words import MessageState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.app.ports import Profiles
    from services.decision.domain.arbitration import Candidate

_log = structlog.get_logger(__name__)
_STATES = WordTable(MessageState, channel_pb2.MessageState, "MESSAGE_STATE_")
_MOST_PEOPLE = 1000
_LEFT_OUT = {
    history_pb2.LEFT_OUT_REASON_UNKNOWN_TYPE: "are of a type that the catalogue does not have any more",
    history_pb2.LEFT_OUT_REASON_DOES_NOT_FIT: "do not fit the catalogue any more",
    history_pb2.LEFT_OUT_REASON_RETRACTED: "were taken back as mistakes",
}


class MessagesPeer:
    """The Messages port on ChannelService."""

    def __init__(self, grpc_channel: grpc.aio.Channel) -> None:
        self._stub = channel_pb2_grpc.ChannelServiceStub(grpc_channel)

    async def of(self, candidates: Sequence[Candidate]) -> Mapping[str, tuple[Message, ...]]:
        """Messages by action; nothing for what it does not know, and for all when it cannot be reached."""
        wanted = [(candidate.action_id, known) for candidate in candidates for known in _messages(candidate)]
        answers = await asyncio.gather(*(self._message(known) for _, known in wanted))
        found: dict[str, tuple[Message, ...]] = {}
        for (action, _), message in zip(wanted, answers, strict=True):
            if message is not None:
                found[action] = (*found.get(action, ()), message)
        return found

    async def _message(self, known_id: str) -> Message | None:
        try:
            answer = await self._stub.GetMessage(channel_pb2.GetMessageRequest(message_id=known_id))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                _log.warning("messages_not_asked", code=error.code().name)
            return None
        message = answer.message
        state, channel = _STATES.from_wire(message.state), CHANNELS.from_wire(message.channel)
        if state is None:
            return None
        where = "" if channel is None else f"on {channel.value}"
        if message.HasField("sent_time"):
            where += f" at {format_time(micros(message.sent_time))}"
        return Message(
            message_id=message.message_id,
            state=state,
            reason=REFUSAL_REASONS.from_wire(message.reason),
            detail=message.detail,
            where=where,
            history=tuple(_step(event) for event in answer.history),
        )


class HistoryPeer:
    """The Histories port on HistoryService: events as they were taken, each with its snapshot of then."""

    def __init__(self, grpc_channel: grpc.aio.Channel, profiles: Profiles) -> None:
        self._stub = history_pb2_grpc.HistoryServiceStub(grpc_channel)
        self._profiles = profiles

    async def past(self, subject: str, types: Sequence[str], from_micros: int, until_micros: int) -> Past:
        """Events of these types at these times, each with its snapshot of then."""
        people = await self._profiles.people(subject)
        request = history_pb2.ReplayHistoryRequest(
            since=timestamp(max(from_micros, 0)),
            until=timestamp(until_micros),
            types=sorted(types),
            customers=sorted(people)[:_MOST_PEOPLE],
        )
        found: list[PastEvent] = []
        notes: dict[str, None] = {}
        try:
            async for page in self._stub.ReplayHistory(request):
                for one in page.customers:
                    batch = stream_pb2.EventBatch.FromString(one.batch)
                    found += [_past(event, batch.snapshots) for event in batch.events]
                    if one.complete_since_micros:
                        since = format_time(one.complete_since_micros)
                        notes[f"what was accepted before {since} is not all kept any more"] = None
                for left in page.left_out:
                    if left.type in types:
                        reason = _LEFT_OUT.get(left.reason, "could not be read")
                        notes[f"{left.events} events {left.type} {reason}"] = None
        except grpc.aio.AioRpcError as error:
            raise told(error) from error
        wanted = [event for event in found if from_micros <= event.time_micros < until_micros]
        wanted.sort(key=lambda event: (event.time_micros, event.event_id))
        return Past(tuple(wanted), note="; ".join(notes))


def _messages(candidate: Candidate) -> dict[str, None]:
    """Ids of the messages that may carry an action."""
    choices = candidate.channels or (ChannelChoice(None),)
    return dict.fromkeys(
        later_message_id(candidate.action_id, choice.after_micros)
        if choice.after_micros
        else message_id(candidate.action_id)
        for choice in choices
    )


def _step(event: channel_pb2.MessageEvent) -> MessageStep:
    state = _STATES.from_wire(event.state) or MessageState.ACCEPTED
    reason = REFUSAL_REASONS.from_wire(event.reason)
    why = ", ".join(each for each in (reason.value if reason else "", event.detail) if each)
    sentence = f"{state.value} at {format_time(micros(event.time))}"
    return MessageStep(state, f"{sentence}: {why}" if why else sentence)


def _past(event: stream_pb2.TakenEvent, snapshots: Sequence[bytes]) -> PastEvent:
    snapshot = snapshots[event.snapshot - 1] if event.snapshot else b""
    why_nothing = ""
    if event.history:
        why_nothing = "it was loaded as history, which triggers nothing"
    elif not snapshot:
        why_nothing = "nothing is known any more of the customer at that time"
    alone = stream_pb2.TakenEvent()
    alone.CopyFrom(event)
    alone.snapshot = 0
    packed = alone.SerializeToString()
    return PastEvent(event.id, event.source, event.type, event.time_micros, packed, snapshot, why_nothing)

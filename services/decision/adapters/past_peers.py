"""The other services, asked what became of actions and what happened to a customer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import structlog
from rapport.channel.v1 import channel_pb2, channel_pb2_grpc
from rapport.profile.v1 import timeline_pb2, timeline_pb2_grpc
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
_PAGE = 500
_PAGES = 8
"""Of a customer's timeline so many pages are read; the rest is said to be left out."""


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


class TimelinePeer:
    """The Histories port on TimelineService: events as kept, beside the customer as they are now."""

    def __init__(self, grpc_channel: grpc.aio.Channel, profiles: Profiles) -> None:
        self._stub = timeline_pb2_grpc.TimelineServiceStub(grpc_channel)
        self._profiles = profiles

    async def past(self, subject: str, types: Sequence[str], from_micros: int, until_micros: int) -> Past:
        """Events of these types at these times, each with today's snapshot."""
        wanted = frozenset(types)
        request = timeline_pb2.ListTimelineRequest(
            subject=subject,
            page_size=_PAGE,
            kinds=[
                timeline_pb2.TIMELINE_KIND_EVENT,
                timeline_pb2.TIMELINE_KIND_CONSENT,
                timeline_pb2.TIMELINE_KIND_IDENTITY,
                timeline_pb2.TIMELINE_KIND_MESSAGE,
                timeline_pb2.TIMELINE_KIND_REFUSAL,
                timeline_pb2.TIMELINE_KIND_INTERNAL,
            ],
            from_time=timestamp(from_micros),
            until_time=timestamp(until_micros),
            oldest_first=True,
        )
        seen = await self._profiles.snapshot(subject)
        found: list[PastEvent] = []
        note = ""
        for _ in range(_PAGES):
            try:
                page = await self._stub.ListTimeline(request)
            except grpc.aio.AioRpcError as error:
                raise told(error) from error
            found += [_past(entry, seen.raw) for entry in page.entries if entry.type in wanted]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        else:
            note = f"more happened to the customer than the {_PAGE * _PAGES:,} entries looked at"
        return Past(tuple(found), as_then=False, note=note)


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


def _past(entry: timeline_pb2.TimelineEntry, snapshot: bytes) -> PastEvent:
    time = micros(entry.time)
    why_nothing = ""
    if entry.history:
        why_nothing = "it was loaded as history, which triggers nothing"
    elif entry.HasField("retracted_time"):
        why_nothing = "it was taken back as a mistake"
    elif entry.withheld:
        why_nothing = "the customer does not agree to the use of such data"
    event = stream_pb2.TakenEvent(
        id=entry.event_id,
        source=entry.source,
        type=entry.type,
        time_micros=time,
        accepted_micros=micros(entry.accepted_time) if entry.HasField("accepted_time") else time,
        data=entry.data,
        customer=entry.customer,
        line=entry.line,
        hops=entry.hops,
        history=entry.history,
    )
    return PastEvent(
        entry.event_id, entry.source, entry.type, time, event.SerializeToString(), snapshot, why_nothing
    )

"""The ChannelService over gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import UUID

import grpc
from rapport.channel.v1 import channel_pb2, channel_pb2_grpc
from rapport.types.v1 import stream_pb2

from services.channel.app.admit import Admission, Prepared, Taken
from services.channel.app.inbox import acknowledge, ready_entries
from services.channel.app.ports import Inbox
from services.channel.app.store import MessageFilter, MessageStore, MessageTransaction
from services.channel.domain.actions import Action
from services.channel.domain.errors import InvalidActionError
from services.channel.entrypoints import translate
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.runtime.access_log import note_answer, note_reads, reason_of
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import InvalidArgumentError, NotFoundError, TooLargeError
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary import wire
from services.vocabulary.words import Channel

MOST_ACTIONS = 500
MOST_RESERVED = 50
MOST_MESSAGES = 1000
MOST_WATCHED = 1000
_SWEEP_SECONDS = 2.0
_RESERVE = "rapport.channel.v1.ChannelService/Reserve"
Context = grpc.aio.ServicerContext[Any, Any]


_NAME = channel_pb2.DESCRIPTOR.services_by_name["ChannelService"].full_name


class InboxBell:
    """Rings for all watchers when something was put into the inbox."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wakes all who wait now."""
        rung, self._rung = self._rung, asyncio.Event()
        rung.set()

    async def wait(self) -> None:
        """Until the bell rings, or for two seconds: what was missed is found then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SWEEP_SECONDS):
                await self._rung.wait()


class ChannelServicer(channel_pb2_grpc.ChannelServiceServicer):
    """Dispatch, reservations, messages and the inbox."""

    def __init__(
        self,
        *,
        database: Database,
        within: Callable[[Transaction], MessageTransaction],
        store: MessageStore,
        admission: Admission,
        inbox: Inbox,
        bell: InboxBell,
        clock: Clock,
    ) -> None:
        self._database = database
        self._within = within
        self._store = store
        self._admission = admission
        self._inbox = inbox
        self._bell = bell
        self._clock = clock

    def served(self) -> Served:
        """For build_server."""
        return Served(
            channel_pb2.DESCRIPTOR.services_by_name["ChannelService"].full_name,
            lambda server: channel_pb2_grpc.add_ChannelServiceServicer_to_server(self, server),
        )

    async def Dispatch(  # noqa: N802 - the proto's name
        self, request: channel_pb2.DispatchRequest, context: Context
    ) -> channel_pb2.DispatchResponse:
        """Takes actions; each is answered by itself, committed when answered."""
        _check_count(request.actions, MOST_ACTIONS)
        actions: list[Action] = []
        wrong: dict[int, str] = {}
        for place, wired in enumerate(request.actions):
            try:
                actions.append(translate.action_from_wire(wired))
            except InvalidActionError as error:
                wrong[place] = str(error)
        prepared = await self._admission.prepare(actions)
        taken: list[Taken] = []
        if prepared:
            told = {one.action.customer for one in prepared}
            await note_answer(self._database, told, f"/{_NAME}/Dispatch", context)
            async with self._store.transaction() as tx:
                taken = await self._admission.take(tx, prepared)
        answers = iter(taken)
        return channel_pb2.DispatchResponse(
            results=[
                channel_pb2.DispatchResult(error=wrong[place]) if place in wrong else _result(next(answers))
                for place in range(len(request.actions))
            ],
        )

    async def Reserve(  # noqa: N802 - the proto's name
        self, request: channel_pb2.ReserveRequest, context: Context
    ) -> channel_pb2.ReserveResponse:
        """Passes actions through the gates for a caller who presents them; once per request id."""
        reason = reason_of(context)
        channel = Channel.TASK
        prepared: list[Prepared] = []
        wrong: InvalidActionError | InvalidArgumentError | TooLargeError | None = None
        try:
            _check_count(request.actions, MOST_RESERVED)
            channel = _channel(request.channel) or Channel.TASK
            prepared = await self._admission.prepare(_actions(request.actions))
        except (InvalidActionError, InvalidArgumentError, TooLargeError) as error:
            wrong = error  # an answer too: kept for the request id

        async def act(raw: Transaction) -> channel_pb2.ReserveResponse:
            if wrong is not None:
                raise wrong
            told = {one.action.customer for one in prepared}
            await note_reads(raw, told, f"/{_NAME}/Reserve", reason)
            return await self._reserve(self._within(raw), prepared, channel)

        return await answer_once(
            self._database,
            _RESERVE,
            request,
            channel_pb2.ReserveResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def GetMessage(  # noqa: N802 - the proto's name
        self, request: channel_pb2.GetMessageRequest, context: Context
    ) -> channel_pb2.GetMessageResponse:
        """One message with its history."""
        try:
            message_id = str(UUID(request.message_id))
        except ValueError as error:
            raise InvalidArgumentError(
                "the message id is no UUID",
                field="message_id",
                suggestion="take it from a listing",
            ) from error
        found = await self._store.find(message_id)
        if found is None:
            raise NotFoundError(
                f"there is no message {message_id}",
                field="message_id",
                suggestion="take it from a listing",
            )
        message, history = found
        await note_answer(self._database, [message.customer], f"/{_NAME}/GetMessage", context)
        async with self._store.transaction() as tx:
            replies = await tx.replies_to(message_id)
        return channel_pb2.GetMessageResponse(
            message=translate.message_to_wire(message),
            history=[translate.change_to_wire(change) for change in history],
            replies=[translate.reply_to_wire(one) for one in replies],
        )

    async def ListMessages(  # noqa: N802 - the proto's name
        self, request: channel_pb2.ListMessagesRequest, context: Context
    ) -> channel_pb2.ListMessagesResponse:
        """A page of messages, newest first."""
        size = _page_size(request.page_size)
        before = _page_start(request.page_token)
        wanted = _filter(request)
        found = await self._store.list(wanted, before, size + 1)
        told = {message.customer for _, message in found[:size]}
        await note_answer(self._database, told, f"/{_NAME}/ListMessages", context)
        return channel_pb2.ListMessagesResponse(
            messages=[translate.message_to_wire(message) for _, message in found[:size]],
            next_page_token=str(found[size - 1][0]) if len(found) > size else "",
        )

    async def WatchInbox(  # noqa: N802 - the proto's name
        self, request: channel_pb2.WatchInboxRequest, context: Context
    ) -> AsyncIterator[channel_pb2.WatchInboxResponse]:
        """In-app messages as they come; those up to the cursor given count as delivered."""
        if len(request.customers) > MOST_WATCHED:
            raise TooLargeError(
                f"{len(request.customers)} customers are too many for one watch",
                field="customers",
                suggestion=f"at most {MOST_WATCHED}, or none for all",
            )
        if request.after_cursor < 0:
            raise InvalidArgumentError(
                f"after_cursor is {request.after_cursor}",
                field="after_cursor",
                suggestion="0, or the cursor of the last message seen",
            )
        customers = list(request.customers)
        cursor = request.after_cursor
        await acknowledge(self._store, self._inbox, self._clock, customers, cursor)
        while True:
            ready = await ready_entries(self._store, self._inbox, customers, cursor)
            told = {message.customer for _, message in ready}
            await note_answer(self._database, told, f"/{_NAME}/WatchInbox", context)
            for position, message in ready:
                cursor = position
                yield channel_pb2.WatchInboxResponse(
                    cursor=position, message=translate.message_to_wire(message)
                )
            if not ready:
                await self._bell.wait()

    async def _reserve(
        self,
        tx: MessageTransaction,
        prepared: Sequence[Prepared],
        channel: Channel,
    ) -> channel_pb2.ReserveResponse:
        choices = await self._admission.reserve(tx, prepared, channel)
        answers = [
            translate.gate_answer(one.action.action_id, choice)
            for one, choice in zip(prepared, choices, strict=True)
        ]
        return channel_pb2.ReserveResponse(answers=answers)


def _result(taken: Taken) -> channel_pb2.DispatchResult:
    return channel_pb2.DispatchResult(
        message=translate.message_to_wire(taken.message),
        duplicate=taken.duplicate,
    )


def _actions(wired: Sequence[stream_pb2.Action]) -> list[Action]:
    actions = []
    for place, one in enumerate(wired):
        try:
            actions.append(translate.action_from_wire(one))
        except InvalidActionError as error:
            raise InvalidActionError(
                f"actions[{place}].{error.field}", error.message, error.suggestion
            ) from error
    return actions


def _check_count(actions: Sequence[stream_pb2.Action], most: int) -> None:
    if not actions:
        raise InvalidArgumentError("no action is given", field="actions", suggestion=f"give 1 to {most}")
    if len(actions) > most:
        raise TooLargeError(
            f"{len(actions)} actions are too many for one call",
            field="actions",
            suggestion=f"give at most {most} at a time",
        )


def _page_size(asked: int) -> int:
    if asked < 0:
        raise InvalidArgumentError(
            f"page_size is {asked}",
            field="page_size",
            suggestion=f"0 to {MOST_MESSAGES}; 0 means 100",
        )
    return min(asked or 100, MOST_MESSAGES)


def _page_start(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal() or len(token) > 18:
        raise InvalidArgumentError(
            "the page token is not one that was given out",
            field="page_token",
            suggestion="take it from the answer before",
        )
    return int(token)


def _filter(request: channel_pb2.ListMessagesRequest) -> MessageFilter:
    if request.customer < 0:
        raise InvalidArgumentError(
            f"customer is {request.customer}",
            field="customer",
            suggestion="give a customer id, or 0 for all",
        )
    try:
        states = {translate.MESSAGE_STATES.from_wire(state) for state in request.states}
        reason = wire.REFUSAL_REASONS.from_wire(request.reason)
    except ValueError as error:
        raise InvalidArgumentError(str(error), field="states or reason") from error
    return MessageFilter(
        customer=request.customer,
        states=frozenset(state for state in states if state is not None),
        channel=_channel(request.channel),
        reason=reason,
    )


def _channel(number: int) -> Channel | None:
    try:
        return wire.CHANNELS.from_wire(number)
    except ValueError as error:
        raise InvalidArgumentError(str(error), field="channel") from error

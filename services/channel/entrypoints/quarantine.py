"""The QuarantineService over gRPC: staff release or discard what was held back after a restore."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import grpc
from rapport.channel.v1 import quarantine_pb2, quarantine_pb2_grpc

from services.channel.app.quarantine import MOST, Settled, discard, release
from services.channel.app.store import MessageStore, MessageTransaction, QuarantineFilter
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.runtime import metrics
from services.runtime.audit import Change, write_audit
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import InvalidArgumentError, TooLargeError
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary import wire

_SERVICE = "rapport.channel.v1.QuarantineService"
Context = grpc.aio.ServicerContext[Any, Any]
Settle = Callable[[MessageTransaction, Clock, QuarantineFilter], Awaitable[Settled]]


class QuarantineServicer(quarantine_pb2_grpc.QuarantineServiceServicer):
    """Both calls do at most 500 messages, once per request id, and are written into the audit log."""

    def __init__(
        self, database: Database, within: Callable[[Transaction], MessageTransaction], clock: Clock
    ) -> None:
        self._database = database
        self._within = within
        self._clock = clock

    def served(self) -> Served:
        """For build_server."""
        return Served(
            quarantine_pb2.DESCRIPTOR.services_by_name["QuarantineService"].full_name,
            lambda server: quarantine_pb2_grpc.add_QuarantineServiceServicer_to_server(self, server),
        )

    async def ReleaseMessages(  # noqa: N802 - the proto's name
        self, request: quarantine_pb2.ReleaseMessagesRequest, context: Context
    ) -> quarantine_pb2.ReleaseMessagesResponse:
        """Lets messages go."""
        del context

        async def act(raw: Transaction) -> quarantine_pb2.ReleaseMessagesResponse:
            settled = await self._settle(raw, request.filter, release, "messages.release")
            return quarantine_pb2.ReleaseMessagesResponse(
                released=len(settled.messages), remaining=settled.remaining
            )

        return await answer_once(
            self._database,
            f"{_SERVICE}/ReleaseMessages",
            request,
            quarantine_pb2.ReleaseMessagesResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def DiscardMessages(  # noqa: N802 - the proto's name
        self, request: quarantine_pb2.DiscardMessagesRequest, context: Context
    ) -> quarantine_pb2.DiscardMessagesResponse:
        """Ends messages."""
        del context

        async def act(raw: Transaction) -> quarantine_pb2.DiscardMessagesResponse:
            settled = await self._settle(raw, request.filter, discard, "messages.discard")
            return quarantine_pb2.DiscardMessagesResponse(
                discarded=len(settled.messages), remaining=settled.remaining
            )

        return await answer_once(
            self._database,
            f"{_SERVICE}/DiscardMessages",
            request,
            quarantine_pb2.DiscardMessagesResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def _settle(
        self, raw: Transaction, asked: quarantine_pb2.QuarantineFilter, settle: Settle, action: str
    ) -> Settled:
        settled = await settle(self._within(raw), self._clock, _filter(asked))
        states = ({"state": "quarantined"}, {"state": "planned" if settle is release else "failed"})
        await write_audit(
            raw,
            *(
                Change(action, f"customer/{message.customer}/message/{message.message_id}", *states)
                for message in settled.messages
            ),
        )
        return settled


class QuarantineWatch:
    """Counts what is held back, for the metrics; it must not be forgotten."""

    def __init__(self, store: MessageStore, *, every_seconds: float = 10.0) -> None:
        self._store = store
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Count at intervals until cancelled."""
        metrics.show(metrics.QUARANTINED)
        while True:
            await self.look()
            await asyncio.sleep(self._every_seconds)

    async def look(self) -> None:
        """Count now."""
        async with self._store.transaction() as tx:
            metrics.QUARANTINED.set(await tx.quarantined(QuarantineFilter()))


def _filter(asked: quarantine_pb2.QuarantineFilter) -> QuarantineFilter:
    if len(asked.message_ids) > MOST:
        raise TooLargeError(
            f"{len(asked.message_ids)} messages are too many for one call",
            field="filter.message_ids",
            suggestion=f"name at most {MOST} at a time",
        )
    try:
        named = tuple(str(UUID(text)) for text in asked.message_ids)
    except ValueError as error:
        raise InvalidArgumentError(
            "a message id is no UUID", field="filter.message_ids", suggestion="take them from a listing"
        ) from error
    try:
        category = wire.CATEGORIES.from_wire(asked.category)
    except ValueError as error:
        raise InvalidArgumentError(str(error), field="filter.category") from error
    return QuarantineFilter(named, category, asked.name)

"""What every service answers about its own running: progress, dead letters, the audit log, pruning."""

from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from nats.errors import Error as NatsError
from rapport.operations.v1 import operations_pb2, operations_pb2_grpc

from services.runtime.audit import AuditEntry, AuditFilter, list_audit
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.dead_letters import DeadLetters, to_message
from services.runtime.errors import ErrorTable, InvalidArgumentError, UnavailableError
from services.runtime.outbox import outbox_pending
from services.runtime.prune import Pruned, Pruner
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.runtime.streams import Bus
from services.runtime.totals import read_totals

_NAME = operations_pb2.DESCRIPTOR.services_by_name["OperationsService"].full_name
_PRUNE_SECONDS = 8.0
"""A call prunes no longer than this; its own transaction, which keeps the answer, may be idle for 15 s."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What only the service itself can count; see GetProgressResponse."""

    due_pending: int = 0
    planned: int = 0
    awaiting_receipt: int = 0


class ProgressSource(Protocol):
    """How a service counts its own work."""

    async def progress(self, transaction: Transaction, now_micros: int) -> Progress:
        """Count at business time `now_micros`, in the transaction that reads everything else."""
        ...


class OperationsService(operations_pb2_grpc.OperationsServiceServicer):
    """The OperationsService of one service; `stream` is the work stream that it consumes."""

    def __init__(
        self,
        service: str,
        stream: str,
        *,
        database: Database,
        bus: Bus,
        clock: Clock,
        dead_letters: DeadLetters,
        source: ProgressSource,
        pruner: Pruner,
        errors: ErrorTable,
    ) -> None:
        self._service = service
        self._stream = stream
        self._database = database
        self._bus = bus
        self._clock = clock
        self._dead_letters = dead_letters
        self._source = source
        self._pruner = pruner
        self._errors = errors

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME,
            lambda server: operations_pb2_grpc.add_OperationsServiceServicer_to_server(self, server),
        )

    async def GetProgress(  # noqa: N802 - the proto's name
        self, request: operations_pb2.GetProgressRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> operations_pb2.GetProgressResponse:
        """Count what is on its way: the stream first, then in one view the database."""
        del request, context
        stream_pending = await self._stream_pending()
        now = self._clock.now_micros()
        async with self._database.transaction() as transaction:
            await transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            own = await self._source.progress(transaction, now)
            answer = operations_pb2.GetProgressResponse(
                service=self._service,
                stream_pending=stream_pending,
                outbox_pending=await outbox_pending(transaction),
                due_pending=own.due_pending,
                planned=own.planned,
                awaiting_receipt=own.awaiting_receipt,
                dead_letters=await self._dead_letters.waiting(transaction),
                totals=await read_totals(transaction),
            )
        stamp = Timestamp()
        stamp.FromMicroseconds(now)
        answer.business_time.CopyFrom(stamp)
        return answer

    async def ListDeadLetters(  # noqa: N802 - the proto's name
        self, request: operations_pb2.ListDeadLettersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> operations_pb2.ListDeadLettersResponse:
        """A page of dead letters, newest first."""
        del context
        size = _page_size(request.page_size)
        before = _number(request.page_token, "page_token") if request.page_token else 0
        async with self._database.transaction() as transaction:
            letters = await self._dead_letters.list(
                transaction, before=before, limit=size + 1, include_resent=request.include_resent
            )
        answer = operations_pb2.ListDeadLettersResponse(
            dead_letters=[to_message(self._service, letter) for letter in letters[:size]]
        )
        if len(letters) > size:
            answer.next_page_token = str(letters[size - 1].number)
        return answer

    async def ResendDeadLetter(  # noqa: N802 - the proto's name
        self, request: operations_pb2.ResendDeadLetterRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> operations_pb2.ResendDeadLetterResponse:
        """Send one again, once per request id."""
        del context
        number = _number(request.dead_letter_id, "dead_letter_id")

        async def act(transaction: Transaction) -> operations_pb2.ResendDeadLetterResponse:
            letter = await self._dead_letters.resend(transaction, number)
            return operations_pb2.ResendDeadLetterResponse(dead_letter=to_message(self._service, letter))

        return await answer_once(
            self._database,
            f"{_NAME}/ResendDeadLetter",
            request,
            operations_pb2.ResendDeadLetterResponse,
            act,
            self._errors,
        )

    async def ListAuditEntries(  # noqa: N802 - the proto's name
        self, request: operations_pb2.ListAuditEntriesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> operations_pb2.ListAuditEntriesResponse:
        """A page of the audit log, newest first."""
        del context
        size = _page_size(request.page_size)
        before = _number(request.page_token, "page_token") if request.page_token else 0
        wanted = AuditFilter(
            target=request.target,
            actor=request.actor,
            action=request.action,
            from_micros=request.from_time.ToMicroseconds() if request.HasField("from_time") else 0,
            to_micros=request.to_time.ToMicroseconds() if request.HasField("to_time") else 0,
        )
        async with self._database.transaction() as transaction:
            entries = await list_audit(transaction, wanted, before=before, limit=size + 1)
        answer = operations_pb2.ListAuditEntriesResponse(
            entries=[_audit_message(self._service, entry) for entry in entries[:size]]
        )
        if len(entries) > size:
            answer.next_page_token = str(entries[size - 1].number)
        return answer

    async def PreviewPrune(  # noqa: N802 - the proto's name
        self, request: operations_pb2.PreviewPruneRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> operations_pb2.PreviewPruneResponse:
        """What would go."""
        del request, context
        return operations_pb2.PreviewPruneResponse(
            classes=[_pruned_message(one) for one in await self._pruner.preview()]
        )

    async def Prune(  # noqa: N802 - the proto's name
        self, request: operations_pb2.PruneRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> operations_pb2.PruneResponse:
        """Prune for some seconds, once per request id; each step is a transaction of its own."""
        del context

        async def act(transaction: Transaction) -> operations_pb2.PruneResponse:
            del transaction
            classes, more = await self._pruner.prune(limit_seconds=_PRUNE_SECONDS)
            return operations_pb2.PruneResponse(classes=[_pruned_message(one) for one in classes], more=more)

        return await answer_once(
            self._database, f"{_NAME}/Prune", request, operations_pb2.PruneResponse, act, self._errors
        )

    async def _stream_pending(self) -> int:
        # a work queue holds exactly what waits or is taken and not acknowledged
        try:
            info = await self._bus.jetstream.stream_info(self._stream)
        except (NatsError, OSError, TimeoutError) as error:
            raise UnavailableError("the log between the services does not answer") from error
        return int(info.state.messages)


def _audit_message(service: str, entry: AuditEntry) -> operations_pb2.AuditEntry:
    message = operations_pb2.AuditEntry(
        audit_entry_id=str(entry.number),
        service=service,
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        before="" if entry.before is None else orjson.dumps(entry.before).decode(),
        after="" if entry.after is None else orjson.dumps(entry.after).decode(),
        request_id=entry.request_id,
    )
    message.time.FromMicroseconds(entry.time_micros)
    return message


def _pruned_message(one: Pruned) -> operations_pb2.PrunedClass:
    message = operations_pb2.PrunedClass(
        name=one.name, kept_seconds=one.kept_micros // 1_000_000, rows=dict(one.rows)
    )
    message.before_time.FromMicroseconds(one.before_micros)
    return message


def _page_size(asked: int) -> int:
    if asked < 0:
        raise InvalidArgumentError(
            f"page_size is {asked}", field="page_size", suggestion="0 to 1000; 0 means 100"
        )
    return min(asked or 100, 1000)


def _number(text: str, field: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise InvalidArgumentError(
            f"{field} {text[:40]!r} is not one that was given out",
            field=field,
            suggestion="take it from a listing",
        )
    return int(text)

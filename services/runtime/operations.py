"""What every service answers about its own running: progress and dead letters."""

from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from nats.errors import Error as NatsError
from rapport.operations.v1 import operations_pb2, operations_pb2_grpc

from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.dead_letters import DeadLetters, to_message
from services.runtime.errors import ErrorTable, InvalidArgumentError, UnavailableError
from services.runtime.outbox import outbox_pending
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.runtime.streams import Bus
from services.runtime.totals import read_totals

_RPC = "rapport.operations.v1.OperationsService/ResendDeadLetter"


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
        errors: ErrorTable,
    ) -> None:
        self._service = service
        self._stream = stream
        self._database = database
        self._bus = bus
        self._clock = clock
        self._dead_letters = dead_letters
        self._source = source
        self._errors = errors

    def served(self) -> Served:
        """For build_server."""
        return Served(
            operations_pb2.DESCRIPTOR.services_by_name["OperationsService"].full_name,
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
            self._database, _RPC, request, operations_pb2.ResendDeadLetterResponse, act, self._errors
        )

    async def _stream_pending(self) -> int:
        # a work queue holds exactly what waits or is taken and not acknowledged
        try:
            info = await self._bus.jetstream.stream_info(self._stream)
        except (NatsError, OSError, TimeoutError) as error:
            raise UnavailableError("the log between the services does not answer") from error
        return int(info.state.messages)


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

"""The ErasureService over gRPC."""

from collections.abc import Callable
from typing import Any, Final

import grpc
from rapport.privacy.v1 import erasure_pb2, erasure_pb2_grpc

from services.profile.app.erasure import ErasingWork, Erasures
from services.profile.domain.erasure import Erasure, Ground, Part
from services.profile.domain.errors import InvalidRequestError
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import ErrorTable
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary.wire import CONSENT_BY, WordTable, timestamp

_NAME: Final = erasure_pb2.DESCRIPTOR.services_by_name["ErasureService"].full_name
_GROUNDS: Final = WordTable(Ground, erasure_pb2.ErasureGround, "ERASURE_GROUND_")
_USUAL_PAGE, _LARGEST_PAGE = 100, 1_000
Context = grpc.aio.ServicerContext[Any, Any]


class ErasureServicer(erasure_pb2_grpc.ErasureServiceServicer):
    """Translates, and calls one use case per method."""

    def __init__(
        self,
        database: Database,
        erasing: Callable[[Transaction], ErasingWork],
        erasures: Erasures,
        clock: Clock,
        errors: ErrorTable,
    ) -> None:
        self._database = database
        self._erasing = erasing
        self._erasures = erasures
        self._clock = clock
        self._errors = errors

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: erasure_pb2_grpc.add_ErasureServiceServicer_to_server(self, server)
        )

    async def RequestErasure(  # noqa: N802 - the proto's name
        self, request: erasure_pb2.RequestErasureRequest, context: Context
    ) -> erasure_pb2.RequestErasureResponse:
        """Erase, once per request id."""
        del context

        async def act(transaction: Transaction) -> erasure_pb2.RequestErasureResponse:
            erasure = await self._erasures.request(
                self._erasing(transaction),
                request.subject,
                ground=_word(_GROUNDS, request.ground, "ground"),
                by=_word(CONSENT_BY, request.by, "by"),
                reference=request.reference,
                again=request.again,
                request_id=request.request_id,
                now_micros=self._clock.now_micros(),
            )
            return erasure_pb2.RequestErasureResponse(erasure=_told(erasure))

        return await answer_once(
            self._database,
            f"{_NAME}/RequestErasure",
            request,
            erasure_pb2.RequestErasureResponse,
            act,
            self._errors,
        )

    async def GetErasure(  # noqa: N802 - the proto's name
        self, request: erasure_pb2.GetErasureRequest, context: Context
    ) -> erasure_pb2.GetErasureResponse:
        """The receipt."""
        del context
        async with self._database.transaction() as transaction:
            found = await self._erasures.receipt(self._erasing(transaction), request.erasure_id)
        return erasure_pb2.GetErasureResponse(erasure=_told(found))

    async def ListErasures(  # noqa: N802 - the proto's name
        self, request: erasure_pb2.ListErasuresRequest, context: Context
    ) -> erasure_pb2.ListErasuresResponse:
        """A page of receipts."""
        del context
        size = request.page_size or _USUAL_PAGE
        if not 1 <= size <= _LARGEST_PAGE:
            raise InvalidRequestError(
                f"it is {request.page_size}", field="page_size", suggestion=f"say 1 to {_LARGEST_PAGE}"
            )
        if request.page_token and not request.page_token.isdecimal():
            raise InvalidRequestError(
                "it is none of ours", field="page_token", suggestion="give next_page_token as it came"
            )
        async with self._database.transaction() as transaction:
            found = await self._erasing(transaction).erasures(
                before=int(request.page_token or 0), limit=size + 1, open_only=request.open_only
            )
        return erasure_pb2.ListErasuresResponse(
            erasures=[_told(one) for one in found[:size]],
            next_page_token=str(found[size - 1].number) if len(found) > size else "",
        )


def _told(erasure: Erasure) -> erasure_pb2.Erasure:
    told = erasure_pb2.Erasure(
        erasure_id=erasure.erasure_id,
        customers=erasure.customers,
        request_time=timestamp(erasure.requested_micros),
        ground=_GROUNDS.to_wire(erasure.ground),
        by=CONSENT_BY.to_wire(erasure.by),
        reference=erasure.reference,
        services=[_service(part) for part in erasure.parts.values()],
    )
    if erasure.completed_micros:
        told.complete_time.CopyFrom(timestamp(erasure.completed_micros))
    return told


def _service(part: Part) -> erasure_pb2.ServiceErasure:
    told = erasure_pb2.ServiceErasure(
        service=part.service,
        erased=[
            erasure_pb2.ErasedRows(table=table, rows=rows) for table, rows in sorted(part.erased.items())
        ],
        open_customers=part.open_customers,
    )
    if part.finished_micros:
        told.finish_time.CopyFrom(timestamp(part.finished_micros))
    return told


def _word(table: Any, number: int, field: str) -> Any:
    try:
        word = table.from_wire(number)
    except ValueError as error:
        raise InvalidRequestError(str(error), field=field, suggestion="use a number of the list") from None
    if word is None:
        raise InvalidRequestError("it is missing", field=field, suggestion="say which one")
    return word

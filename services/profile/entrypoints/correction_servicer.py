"""The CorrectionService over gRPC."""

from typing import Any

import grpc
from rapport.profile.v1 import correction_pb2, correction_pb2_grpc

from services.profile.app.corrections import Corrections
from services.profile.app.ports import ProfileStore
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import ErrorTable
from services.runtime.requests import answer_once
from services.runtime.server import Served

_NAME = "rapport.profile.v1.CorrectionService"
Context = grpc.aio.ServicerContext[Any, Any]


class CorrectionServicer(correction_pb2_grpc.CorrectionServiceServicer):
    """Translates, and calls one use case per method."""

    def __init__(
        self,
        *,
        database: Database,
        store: ProfileStore,
        corrections: Corrections,
        clock: Clock,
        errors: ErrorTable,
    ) -> None:
        self._database = database
        self._store = store
        self._corrections = corrections
        self._clock = clock
        self._errors = errors

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: correction_pb2_grpc.add_CorrectionServiceServicer_to_server(self, server)
        )

    async def RetractEvent(  # noqa: N802 - the proto's name
        self, request: correction_pb2.RetractEventRequest, context: Context
    ) -> correction_pb2.RetractEventResponse:
        """Take back an event taken by mistake, once per request id."""
        del context

        async def act(transaction: Transaction) -> correction_pb2.RetractEventResponse:
            done = await self._corrections.retract(
                self._store.join(transaction),
                request.subject,
                request.source,
                request.id,
                self._clock.now_micros(),
            )
            return correction_pb2.RetractEventResponse(
                customer=done.customer,
                type=done.type,
                already=done.already,
                standing_traits=done.standing_traits,
            )

        return await answer_once(
            self._database,
            f"{_NAME}/RetractEvent",
            request,
            correction_pb2.RetractEventResponse,
            act,
            self._errors,
        )

"""The RecoveryService of one service: staff begin, watch and end recovery after a restore."""

from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.operations.v1 import recovery_pb2, recovery_pb2_grpc

from services.runtime import recovery
from services.runtime.audit import Change, write_audit
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import ConflictError, ErrorTable, InvalidArgumentError
from services.runtime.recovery import RECOVERY_NOTICE, Gap, Recovery, State, counts_of, read_recovery
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.runtime.totals import read_totals

_RPC = "rapport.operations.v1.RecoveryService"
_BEFORE_MICROS = 3_600_000_000
_STATES = {
    State.WORKING: recovery_pb2.INSTALLATION_STATE_WORKING,
    State.RESTORED: recovery_pb2.INSTALLATION_STATE_RESTORED,
    State.RECOVERING: recovery_pb2.INSTALLATION_STATE_RECOVERING,
}
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """What a service holds back, or will in its time, and what it sent although it may have before."""

    quarantined: int = 0
    waiting: int = 0
    sent_again: int = 0


class Part(Protocol):
    """What a service itself does in recovery; each method in the transaction that it belongs to."""

    async def begin(self, transaction: Transaction, gap: Gap, request_id: str) -> None:
        """Recovery begins."""
        ...

    async def held(self, transaction: Transaction) -> Held:
        """What it holds back; recovery does not end before that is nothing."""
        ...


class NoPart:
    """A service that does nothing beyond handing on again."""

    async def begin(self, transaction: Transaction, gap: Gap, request_id: str) -> None:
        """Nothing to do."""

    async def held(self, transaction: Transaction) -> Held:
        """Nothing is held back."""
        del transaction
        return Held()


class RecoveryService(recovery_pb2_grpc.RecoveryServiceServicer):
    """Served beside the service's own."""

    def __init__(
        self, service: str, *, database: Database, clock: Clock, errors: ErrorTable, part: Part | None = None
    ) -> None:
        self._service = service
        self._database = database
        self._clock = clock
        self._errors = errors
        self._part = part or NoPart()

    def served(self) -> Served:
        """For build_server."""
        return Served(
            recovery_pb2.DESCRIPTOR.services_by_name["RecoveryService"].full_name,
            lambda server: recovery_pb2_grpc.add_RecoveryServiceServicer_to_server(self, server),
        )

    async def BeginRecovery(  # noqa: N802 - the proto's name
        self, request: recovery_pb2.BeginRecoveryRequest, context: Context
    ) -> recovery_pb2.BeginRecoveryResponse:
        """Begin, once per request id."""
        del context

        async def act(transaction: Transaction) -> recovery_pb2.BeginRecoveryResponse:
            gap = self._gap(request)
            before = await read_recovery(transaction)
            after = await recovery.begin(transaction, gap)
            await self._part.begin(transaction, gap, request.request_id)
            await self._note(transaction, "recovery.begin", before, after)
            transaction.after_commit(lambda: self._database.notify(RECOVERY_NOTICE))
            return recovery_pb2.BeginRecoveryResponse(recovery=await self._told(transaction, after))

        return await answer_once(
            self._database,
            f"{_RPC}/BeginRecovery",
            request,
            recovery_pb2.BeginRecoveryResponse,
            act,
            self._errors,
        )

    async def GetRecovery(  # noqa: N802 - the proto's name
        self, request: recovery_pb2.GetRecoveryRequest, context: Context
    ) -> recovery_pb2.GetRecoveryResponse:
        """How the database stands."""
        del request, context
        async with self._database.transaction() as transaction:
            found = await read_recovery(transaction)
            return recovery_pb2.GetRecoveryResponse(recovery=await self._told(transaction, found))

    async def EndRecovery(  # noqa: N802 - the proto's name
        self, request: recovery_pb2.EndRecoveryRequest, context: Context
    ) -> recovery_pb2.EndRecoveryResponse:
        """End, once per request id."""
        del context

        async def act(transaction: Transaction) -> recovery_pb2.EndRecoveryResponse:
            before = await read_recovery(transaction)
            held = await self._part.held(transaction)
            if held.quarantined:
                raise ConflictError(
                    f"{held.quarantined} messages are in quarantine",
                    suggestion="release or discard them first",
                )
            after = await recovery.end(transaction)
            await self._note(transaction, "recovery.end", before, after)
            return recovery_pb2.EndRecoveryResponse(recovery=await self._told(transaction, after))

        return await answer_once(
            self._database,
            f"{_RPC}/EndRecovery",
            request,
            recovery_pb2.EndRecoveryResponse,
            act,
            self._errors,
        )

    def _gap(self, request: recovery_pb2.BeginRecoveryRequest) -> Gap:
        for field in ("gap_start_time", "gap_end_time"):
            if not request.HasField(field):
                raise InvalidArgumentError(
                    "the gap is not said", field=field, suggestion="say when it began and when it ended"
                )
        start = request.gap_start_time.ToMicroseconds()
        replay = start - _BEFORE_MICROS
        if request.HasField("replay_start_time"):
            replay = request.replay_start_time.ToMicroseconds()
        return Gap(start, request.gap_end_time.ToMicroseconds(), replay, self._clock.now_micros())

    async def _note(self, transaction: Transaction, action: str, before: Recovery, after: Recovery) -> None:
        target = f"recovery/{after.number}"
        await write_audit(transaction, Change(action, target, _state(before), _state(after)))

    async def _told(self, transaction: Transaction, found: Recovery) -> recovery_pb2.Recovery:
        held = await self._part.held(transaction)
        told = recovery_pb2.Recovery(
            service=self._service,
            state=_STATES[found.state],
            epoch=found.epoch,
            replayed=found.replayed,
            handed_again=counts_of(await read_totals(transaction)),
            quarantined=held.quarantined,
            waiting=held.waiting,
            sent_again=held.sent_again,
        )
        gap = found.gap
        for stamp, micros in (
            (told.restore_time, found.restored_wall_micros),
            (told.known_time, found.known_wall_micros),
            (told.gap_start_time, 0 if gap is None else gap.start_micros),
            (told.gap_end_time, 0 if gap is None else gap.end_micros),
            (told.begin_time, 0 if gap is None else gap.began_micros),
            (told.end_time, found.ended_wall_micros),
        ):
            if micros:
                _set(stamp, micros)
        return told


def _set(stamp: Timestamp, micros: int) -> None:
    stamp.FromMicroseconds(micros)


def _state(found: Recovery) -> dict[str, object]:
    gap = found.gap
    told: dict[str, object] = {"state": found.state.value, "epoch": found.epoch}
    if gap is not None:
        told |= {"gap_start_micros": gap.start_micros, "gap_end_micros": gap.end_micros}
    return told

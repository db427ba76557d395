"""The past from the profile service, and the gates of the channel service for what is imagined."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
from rapport.channel.v1 import simulation_pb2, simulation_pb2_grpc
from rapport.profile.v1 import history_pb2, history_pb2_grpc
from rapport.types.v1 import stream_pb2

from services.decision.app.simulation_ports import Header, Judged, Piece
from services.runtime.errors import OverloadedError, UnavailableError
from services.vocabulary.ids import derived_id
from services.vocabulary.wire import CHANNELS, REFUSAL_REASONS, micros, timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from services.decision.app.simulation_jobs import Moment
    from services.decision.app.simulation_ports import OpenGates, Tried, WhichPast

_MOMENTS_SECONDS = 120.0
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_WHY = {
    history_pb2.LEFT_OUT_REASON_UNKNOWN_TYPE: "unknown type",
    history_pb2.LEFT_OUT_REASON_DOES_NOT_FIT: "does not fit",
    history_pb2.LEFT_OUT_REASON_RETRACTED: "retracted",
}


class ReplayPeer:
    """The History port on HistoryService."""

    def __init__(self, grpc_channel: grpc.aio.Channel) -> None:
        self._stub = history_pb2_grpc.HistoryServiceStub(grpc_channel)

    async def replay(self, which: WhichPast) -> AsyncIterator[Piece]:
        """Customer after customer; things alone call for nothing here."""
        request = history_pb2.ReplayHistoryRequest(
            since=timestamp(which.since_micros),
            until=timestamp(which.until_micros),
            types=which.types,
            bare_types=which.bare,
            shard=which.shard,
            shards=which.shards,
            sample=which.sample,
        )
        last = False
        try:
            async for answer in self._stub.ReplayHistory(request):
                last = answer.last
                yield _piece(answer, which.since_micros)
        except grpc.aio.AioRpcError as error:
            raise _told("profile", error) from error
        if not last:
            raise UnavailableError("the profile service ended the replay before its end; try again")

    async def moments(self, asked: Sequence[Moment]) -> Mapping[Moment, bytes]:
        """What was known of customers, each at a time."""
        request = history_pb2.ListPastSnapshotsRequest(
            moments=[
                history_pb2.PastMoment(customer=customer, time=timestamp(time)) for customer, time in asked
            ]
        )
        try:
            answer = await self._stub.ListPastSnapshots(request, timeout=_MOMENTS_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise _told("profile", error) from error
        return {moment: then.snapshot for moment, then in zip(asked, answer.snapshots, strict=True)}


class SimulatedGatesPeer:
    """The GatesOfSimulation port on the channel's SimulationService."""

    def __init__(self, grpc_channel: grpc.aio.Channel) -> None:
        self._stub = simulation_pb2_grpc.SimulationServiceStub(grpc_channel)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenGates]:
        """A stream with a state of its own: what was stored before counts, what is tried is kept nowhere."""
        call = self._stub.SimulateGates()
        try:
            gates = _Stream(call)
            await gates.begin()
            yield gates
            await call.done_writing()
        finally:
            call.cancel()


class _Stream:
    def __init__(self, call: Any) -> None:
        self._call = call

    async def begin(self) -> None:
        settings = simulation_pb2.SimulationSettings(from_stored=True, ask_profile=True)
        await self._ask(simulation_pb2.SimulateGatesRequest(settings=settings))

    async def judge(self, tried: Sequence[Tried]) -> Sequence[Judged]:
        """What the gates say to each. An action has a key of its own here: the real one may be known."""
        batch = simulation_pb2.SimulatedBatch()
        for one in tried:
            action = stream_pb2.Action.FromString(one.message)
            action.action_id = derived_id("simulated", one.key)
            batch.actions.add(action=action, try_time=timestamp(one.micros))
        answer = await self._ask(simulation_pb2.SimulateGatesRequest(batch=batch))
        return [_judged(one) for one in answer.answers]

    async def _ask(self, request: simulation_pb2.SimulateGatesRequest) -> Any:
        try:
            await self._call.write(request)
            answer = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _told("channel", error) from error
        if answer is grpc.aio.EOF:
            raise UnavailableError(
                f"the channel service ended the stream of gates ({(await self._call.code()).name}); try again"
            )
        return answer


def _piece(answer: history_pb2.ReplayHistoryResponse, since_micros: int) -> Piece:
    header = None
    if answer.HasField("header"):
        told = answer.header
        header = Header(
            told.customers,
            micros(told.kept_since) if told.HasField("kept_since") else 0,
            {short.type: micros(short.kept_since) for short in told.short_types},
            told.erased,
        )
    return Piece(
        header,
        [(past.customer, past.batch) for past in answer.customers],
        answer.customers_done,
        {(left.type, _WHY.get(left.reason, "")): left.events for left in answer.left_out},
        len({past.customer for past in answer.customers if past.complete_since_micros > since_micros}),
    )


def _judged(answer: simulation_pb2.SimulatedAnswer) -> Judged:
    channel, reason = CHANNELS.from_wire(answer.channel), REFUSAL_REASONS.from_wire(answer.reason)
    return Judged(
        passed=answer.passed,
        channel="" if channel is None else channel.value,
        reason=reason.value if reason is not None else "INVALID" if answer.error else "",
        detail=answer.error or answer.detail,
        until_micros=micros(answer.next_time) if answer.HasField("next_time") else 0,
        waits=answer.waits,
    )


def _told(service: str, error: grpc.aio.AioRpcError) -> Exception:
    """The other service's error in this service's words."""
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return OverloadedError(
            error.details() or f"the {service} service is busy",
            suggestion="try again when other simulations have ended",
            retry_seconds=10.0,
        )
    if error.code() in _AWAY:
        return UnavailableError(f"the {service} service does not answer ({error.details()}); try again")
    return UnavailableError(f"the {service} service could not do its part: {error.details()}")

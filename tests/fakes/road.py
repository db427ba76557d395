"""A fake of the running services as the command line sees them: one stream in, progress, a clock."""

import asyncio
from dataclasses import dataclass, field, fields
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.operations.v1.operations_pb2 import GetProgressResponse
from rapport.profile.v1 import profile_pb2

from services.cli.connections import SERVICES, Connections
from services.vocabulary import wire


def away(code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, details: str = "away") -> grpc.aio.AioRpcError:
    """The error of a call whose service does not answer."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)


@dataclass
class FakeRoad:
    """What the services hold, what they were asked, and what they are to do wrong.

    What is accepted is on its way for `work_looks` looks. Events with ids in `rejected` are refused, those
    taken before are duplicates. After `fail_after` batches were committed the stream
    breaks instead of answering, with the error `broken`.
    """

    work_looks: int = 0
    rejected: frozenset[str] = frozenset()
    fail_after: int | None = None
    broken: grpc.aio.AioRpcError = field(default_factory=away)
    failures: list[grpc.aio.AioRpcError] = field(default_factory=list)
    """Raised by the next looks, one each."""
    clock_micros: int = 0
    planned: int = 0
    awaiting_receipt: int = 0
    taken: dict[str, int] = field(default_factory=dict)
    """Event id → business time at which it came."""
    positions: dict[str, int] = field(default_factory=dict)
    batches: list[profile_pb2.StreamBatch] = field(default_factory=list)
    advances: list[int] = field(default_factory=list)
    busy_at_advance: list[int] = field(default_factory=list)
    looks: int = 0
    streams: int = 0
    _pending: int = 0

    def connections(self) -> Connections:
        """Stubs that reach this road."""
        operations = {name: FakeOperations(self, name) for name in SERVICES}
        stub: Any = FakeProfile(self)
        nobody: dict[str, Any] = dict.fromkeys(one.name for one in fields(Connections))
        return Connections(**{**nobody, "profile": stub, "operations": operations})

    def commit(self, stream_id: str, batch: profile_pb2.StreamBatch) -> profile_pb2.StreamEventsResponse:
        """Takes a batch as the profile service does."""
        self.batches.append(batch)
        position = self.positions.get(stream_id, 0)
        assert 1 <= batch.first_sequence <= position + 1, "no gap"
        answer = profile_pb2.StreamEventsResponse()
        for index, event in enumerate(batch.events):
            if event.id in self.rejected:
                status = profile_pb2.INGEST_STATUS_REJECTED
                answer.exceptions.add(index=index, status=status, field="data.mb", message="it is wrong")
            elif event.id in self.taken:
                answer.exceptions.add(index=index, status=profile_pb2.INGEST_STATUS_DUPLICATE)
            else:
                self.taken[event.id] = self.clock_micros
                self._pending = self.work_looks
                answer.accepted += 1
        last = batch.first_sequence + len(batch.events) - 1
        self.positions[stream_id] = max(position, last)
        answer.acknowledged_sequence = self.positions[stream_id]
        return answer

    def progress(self, service: str) -> GetProgressResponse:
        """What one service says of itself."""
        if service == SERVICES[0]:
            self.looks += 1
            if self.failures:
                raise self.failures.pop()
        pending = self._pending
        if service == SERVICES[-1] and self._pending:
            self._pending -= 1
        stamp = Timestamp()
        stamp.FromMicroseconds(self.clock_micros)
        return GetProgressResponse(
            service=service,
            business_time=stamp,
            stream_pending=pending if service == "decision" else 0,
            planned=self.planned if service == "decision" else 0,
            awaiting_receipt=self.awaiting_receipt if service == "channel" else 0,
            totals={"events": len(self.taken)} if service == "profile" else {"left": pending},
        )

    def advance(self, micros: int) -> None:
        """Moves business time; back it does not go."""
        if micros < self.clock_micros:
            raise away(grpc.StatusCode.FAILED_PRECONDITION, "business time does not go back")
        self.busy_at_advance.append(self._pending)
        self.clock_micros = micros
        self.advances.append(micros)


class FakeOperations:
    """One service's OperationsService."""

    def __init__(self, road: FakeRoad, service: str) -> None:
        self._road = road
        self._service = service

    async def GetProgress(self, request: object) -> GetProgressResponse:  # noqa: N802 - the proto's name
        del request
        await asyncio.sleep(0)
        return self._road.progress(self._service)


class FakeProfile:
    """The profile service's stub."""

    def __init__(self, road: FakeRoad) -> None:
        self._road = road

    def StreamEvents(self) -> "FakeStream":  # noqa: N802 - the proto's name
        self._road.streams += 1
        return FakeStream(self._road)

    async def AdvanceClock(self, request: profile_pb2.AdvanceClockRequest) -> None:  # noqa: N802
        self._road.advance(wire.micros(request.time))


class FakeStream:
    """One StreamEvents call: answers in order, breaks when the road says so."""

    def __init__(self, road: FakeRoad) -> None:
        self._road = road
        self._stream_id = ""
        self._answers: asyncio.Queue[profile_pb2.StreamEventsResponse | grpc.aio.AioRpcError] = (
            asyncio.Queue()
        )
        self._broken: grpc.aio.AioRpcError | None = None

    async def write(self, request: profile_pb2.StreamEventsRequest) -> None:
        if self._broken is not None:
            raise asyncio.InvalidStateError("RPC already finished.")
        if request.WhichOneof("message") == "open":
            self._stream_id = request.open.stream_id
            position = self._road.positions.get(self._stream_id, 0)
            self._answers.put_nowait(profile_pb2.StreamEventsResponse(acknowledged_sequence=position))
            return
        answer = self._road.commit(self._stream_id, request.batch)
        if self._road.fail_after is not None:
            self._road.fail_after -= 1
            if self._road.fail_after <= 0:
                self._road.fail_after = None
                self._broken = self._road.broken
                self._answers.put_nowait(self._broken)
                return
        self._answers.put_nowait(answer)

    async def read(self) -> profile_pb2.StreamEventsResponse:
        answer = await self._answers.get()
        if isinstance(answer, grpc.aio.AioRpcError):
            raise answer
        return answer

    async def done_writing(self) -> None:
        pass

    def cancel(self) -> None:
        pass

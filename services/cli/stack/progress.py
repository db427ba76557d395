"""What the services of a running stack tell about their work, and their clock."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.operations.v1 import operations_pb2, operations_pb2_grpc
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc

from services.cli.stack.calls import failure_reason, open_channel
from services.cli.stack.errors import StackError
from services.cli.stack.options import SERVICES
from services.cli.stack.state import Stack
from services.cli.stack.trust_files import caller

_SECONDS = 5.0


@dataclass(frozen=True)
class Progress:
    """How much is on its way through one service."""

    service: str
    business_time: datetime | None = None
    """None: not known yet."""
    stream_pending: int = 0
    outbox_pending: int = 0
    due_pending: int = 0
    planned: int = 0
    awaiting_receipt: int = 0
    dead_letters: int = 0
    totals: dict[str, int] = field(default_factory=dict)
    failure: str | None = None
    """Why the service did not answer; the rest means nothing then."""

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way or due here."""
        return self.failure is None and not (self.stream_pending or self.outbox_pending or self.due_pending)


def read_progress(stack: Stack, *, seconds: float = _SECONDS) -> list[Progress]:
    """The progress of each service; one that does not answer in time has a `failure`."""
    return [_ask(stack, service, seconds) for service in SERVICES]


def _ask(stack: Stack, service: str, seconds: float) -> Progress:
    with open_channel(stack.target(service), caller(stack.layout)) as grpc_channel:
        stub = operations_pb2_grpc.OperationsServiceStub(grpc_channel)
        try:
            told = stub.GetProgress(operations_pb2.GetProgressRequest(), timeout=seconds)
        except grpc.RpcError as error:
            return Progress(service, failure=failure_reason(error))
    moment = told.business_time.ToDatetime(tzinfo=UTC) if told.HasField("business_time") else None
    return Progress(
        service=service,
        business_time=moment if moment and moment.year > 1970 else None,
        stream_pending=told.stream_pending,
        outbox_pending=told.outbox_pending,
        due_pending=told.due_pending,
        planned=told.planned,
        awaiting_receipt=told.awaiting_receipt,
        dead_letters=told.dead_letters,
        totals=dict(sorted(told.totals.items())),
    )


def advance_clock(stack: Stack, moment: datetime) -> datetime:
    """Moves business time on to this moment; business time then, which may be later already."""
    now = _ask(stack, "profile", _SECONDS).business_time
    if now is not None and now >= moment:
        return now
    time = Timestamp()
    time.FromDatetime(moment)
    request = profile_pb2.AdvanceClockRequest(request_id=str(uuid.uuid4()), time=time)
    with open_channel(stack.profile_target, caller(stack.layout)) as grpc_channel:
        try:
            answer = profile_pb2_grpc.ProfileServiceStub(grpc_channel).AdvanceClock(request, timeout=_SECONDS)
        except grpc.RpcError as error:
            raise StackError(f"The clock could not be set: {failure_reason(error)}.") from error
    return answer.business_time.ToDatetime(tzinfo=UTC)

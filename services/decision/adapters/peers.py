"""The other services, asked over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import structlog
from rapport.channel.v1 import channel_pb2, channel_pb2_grpc
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc

from services.decision.adapters.handover import action_message
from services.decision.app.ask import to_present
from services.decision.app.ports import FreshSnapshot
from services.runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError
from services.runtime.together import Together
from services.vocabulary.wire import CHANNELS, REFUSAL_REASONS
from services.vocabulary.words import RefusalReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.app.ports import Decided
    from services.vocabulary.words import Channel

_log = structlog.get_logger(__name__)
_CUSTOMER = "customer:"
_MOST_TOGETHER = 32
"""Snapshots asked for in one call."""
_CALLS_AT_ONCE = 2
"""So that one that hangs does not hold up the others."""
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class ProfilePeer:
    """The Profiles and Listening ports on ProfileService."""

    def __init__(self, grpc_channel: grpc.aio.Channel) -> None:
        self._stub = profile_pb2_grpc.ProfileServiceStub(grpc_channel)
        self._together = Together(self._snapshots, most=_MOST_TOGETHER, at_once=_CALLS_AT_ONCE)

    async def snapshot(self, subject: str) -> FreshSnapshot:
        """The customer as known now. Raises NotFoundError for an unknown subject."""
        return await self._together.ask(subject)

    async def _snapshots(self, subjects: Sequence[str]) -> Sequence[FreshSnapshot | Exception]:
        """Of each subject the customer as known now, or why there is none."""
        try:
            answer = await self._stub.BatchGetSnapshots(
                profile_pb2.BatchGetSnapshotsRequest(subjects=subjects)
            )
        except grpc.aio.AioRpcError as error:
            if len(subjects) > 1 and error.code() not in _AWAY:
                # one of them may be at fault, or they are too much for one answer
                half = len(subjects) // 2
                return [*await self._snapshots(subjects[:half]), *await self._snapshots(subjects[half:])]
            return [told(error)] * len(subjects)
        return [_fresh(result) for result in answer.results]

    async def people(self, subject: str) -> tuple[int, ...]:
        """All ids of a person; ``customer:<id>`` of whom the profile knows nothing is taken as it is."""
        try:
            return (await self.snapshot(subject)).people
        except NotFoundError:
            if subject.startswith(_CUSTOMER) and subject[len(_CUSTOMER) :].isdecimal():
                return (int(subject[len(_CUSTOMER) :]),)
            raise

    async def set_listened(self, types: Sequence[str], absences: Sequence[str], request_id: str) -> None:
        """Replaces the lists of types that travel with a snapshot, and of which last times are kept."""
        try:
            await self._stub.SetListenedTypes(
                profile_pb2.SetListenedTypesRequest(
                    request_id=request_id, types=types, absence_types=absences
                )
            )
        except grpc.aio.AioRpcError as error:
            raise told(error) from error


class ChannelPeer:
    """The Gates port on ChannelService."""

    def __init__(self, grpc_channel: grpc.aio.Channel) -> None:
        self._stub = channel_pb2_grpc.ChannelServiceStub(grpc_channel)

    async def reserve(
        self, request_id: str, decided: Decided, channel: Channel | None
    ) -> Mapping[str, tuple[RefusalReason, str]] | None:
        """What the gates refuse of the dispatched actions; None when they cannot be asked (fail closed)."""
        wanted = to_present(decided)
        request = channel_pb2.ReserveRequest(
            request_id=request_id,
            actions=[
                action_message(decided, action)
                for action in decided.arbitration.actions
                if action.candidate.action_id in wanted
            ],
            channel=CHANNELS.to_wire(channel),
        )
        try:
            answer = await self._stub.Reserve(request)
        except grpc.aio.AioRpcError as error:
            _log.warning("gates_not_asked", code=error.code().name)
            return None
        refused: dict[str, tuple[RefusalReason, str]] = {}
        for gate in answer.answers:
            if not gate.passed:
                reason = REFUSAL_REASONS.from_wire(gate.reason) or RefusalReason.CONSENT_UNKNOWN
                refused[gate.action_id] = (reason, gate.detail)
        answered = {gate.action_id for gate in answer.answers}
        unanswered = (RefusalReason.CONSENT_UNKNOWN, "the gates did not answer for it")
        return refused | dict.fromkeys(wanted - answered, unanswered)


def _fresh(result: profile_pb2.SnapshotResult) -> FreshSnapshot | Exception:
    if result.error or not result.HasField("snapshot"):
        message, _, suggestion = result.error.partition("; ")
        return NotFoundError(
            message or "unknown subject",
            field="subject",
            suggestion=suggestion
            or "name an identity that an event or an import has told of, or customer:<id>",
        )
    snapshot = result.snapshot
    return FreshSnapshot(
        customer=snapshot.customer,
        people=(snapshot.customer, *snapshot.merged_customers),
        sequence=snapshot.sequence,
        raw=snapshot.SerializeToString(),
        household=snapshot.household.id,
    )


def told(error: grpc.aio.AioRpcError) -> Exception:
    """The profile service's error in this service's words."""
    message = error.details() or "the profile service refused"
    match error.code():
        case grpc.StatusCode.NOT_FOUND:
            return NotFoundError(message, field="subject")
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidArgumentError(message, field="subject")
        case _:
            return UnavailableError("the profile service does not answer; try again")

"""ReleaseService over gRPC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message
from rapport.decision.v1 import release_pb2, release_pb2_grpc

from services.decision.app.release import Withdrawal
from services.decision.domain.canary import WHOLE
from services.decision.domain.release import Refused
from services.decision.entrypoints.translate import (
    problem_to_wire,
    refusal_to_wire,
    rule_set_to_wire,
    state_to_wire,
    test_to_wire,
)
from services.runtime.errors import InvalidArgumentError
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary.wire import micros, timestamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc

    from services.decision.app.ports import RuleSetRow
    from services.decision.app.release import ReleaseVersions
    from services.decision.app.review import ReviewVersions
    from services.runtime.database import Database, Transaction
    from services.runtime.errors import ErrorTable

    Context = grpc.aio.ServicerContext[Any, Any]

_NAME = release_pb2.DESCRIPTOR.services_by_name["ReleaseService"].full_name
_MOST_COMMENT = 2_000
Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class _Asked:
    name: str
    version: int


class ReleaseServicer(release_pb2_grpc.ReleaseServiceServicer):
    """Tests and trials run before the transaction that keeps the answer."""

    def __init__(
        self,
        database: Database,
        release: ReleaseVersions,
        reviews: ReviewVersions,
        errors: ErrorTable,
        *,
        refresh: Callable[[], Awaitable[object]],
    ) -> None:
        self._database = database
        self._release = release
        self._reviews = reviews
        self._errors = errors
        self._refresh = refresh

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: release_pb2_grpc.add_ReleaseServiceServicer_to_server(self, server)
        )

    async def GetRuleSet(  # noqa: N802 - the proto's name
        self, request: release_pb2.GetRuleSetRequest, context: Context
    ) -> release_pb2.GetRuleSetResponse:
        """One version with its history."""
        del context
        asked = _asked(request)
        row = await self._release.find(asked.name, asked.version)
        answer = release_pb2.GetRuleSetResponse(
            rule_set=rule_set_to_wire(row, with_source=True),
            differences=row.differences,
            compared_version=row.compared_version,
            simulation_id=row.simulation_id,
            live_version=await self._release.live_now(row.name),
        )
        for step in await self._release.history(row):
            answer.steps.add(
                action=step.action,
                actor=step.actor,
                time=timestamp(step.time_micros),
                from_state=state_to_wire(step.from_state),
                to_state=state_to_wire(step.to_state),
                comment=step.comment,
                program=step.program,
            )
        return answer

    async def SubmitForReview(  # noqa: N802 - the proto's name
        self, request: release_pb2.SubmitForReviewRequest, context: Context
    ) -> release_pb2.SubmitForReviewResponse:
        """Runs the tests again and asks for a second person's word."""
        del context
        asked = _asked(request)
        _bounded(request.comment, "comment")
        ready = await self._reviews.prepare_review(
            asked.name, asked.version, request.simulation_id, request.comment
        )

        async def act(transaction: Transaction) -> release_pb2.SubmitForReviewResponse:
            done = await self._reviews.submit(transaction, ready)
            answer = release_pb2.SubmitForReviewResponse(
                problems=[problem_to_wire(problem) for problem in ready.problems],
                tests=[test_to_wire(test) for test in ready.tests],
                differences=ready.differences,
            )
            _tell(answer, done, ready.row)
            return answer

        return await self._once("SubmitForReview", request, release_pb2.SubmitForReviewResponse, act)

    async def ReviewRuleSet(  # noqa: N802 - the proto's name
        self, request: release_pb2.ReviewRuleSetRequest, context: Context
    ) -> release_pb2.ReviewRuleSetResponse:
        """Approves or rejects."""
        del context
        asked = _asked(request)
        _bounded(request.comment, "comment")
        if not asked.version:
            raise InvalidArgumentError(
                "version is 0", field="version", suggestion="say the version that was read"
            )
        if request.verdict not in {release_pb2.VERDICT_APPROVE, release_pb2.VERDICT_REJECT}:
            raise InvalidArgumentError(
                "verdict is not said", field="verdict", suggestion="say VERDICT_APPROVE or VERDICT_REJECT"
            )
        approve = request.verdict == release_pb2.VERDICT_APPROVE
        if not approve and not request.comment.strip():
            raise InvalidArgumentError(
                "a rejection needs a reason", field="comment", suggestion="say what is to be changed"
            )
        row = await self._release.find(asked.name, asked.version)

        async def act(transaction: Transaction) -> release_pb2.ReviewRuleSetResponse:
            done = await self._reviews.review(
                transaction, row.name, row.version, request.comment, approve=approve
            )
            answer = release_pb2.ReviewRuleSetResponse()
            _tell(answer, done, row)
            return answer

        return await self._once("ReviewRuleSet", request, release_pb2.ReviewRuleSetResponse, act)

    async def StartCanary(  # noqa: N802 - the proto's name
        self, request: release_pb2.StartCanaryRequest, context: Context
    ) -> release_pb2.StartCanaryResponse:
        """Lets a share of the customers meet a version."""
        del context
        asked = _asked(request)
        share = round(request.share * WHOLE) if 0 < request.share <= 1 else 0
        if not share:
            raise InvalidArgumentError(
                f"share is {request.share:g}",
                field="share",
                suggestion="say a part of the customers from 0.0001 to 1, for example 0.05",
            )
        tried = await self._release.trial(asked.name, asked.version, share)

        async def act(transaction: Transaction) -> release_pb2.StartCanaryResponse:
            answer = release_pb2.StartCanaryResponse(
                problems=[problem_to_wire(problem) for problem in tried.problems],
                tests=[test_to_wire(test) for test in tried.tests],
            )
            if tried.ready is not None:
                row = tried.ready.row
                _tell(answer, await self._release.activate(transaction, tried.ready), row)
            else:
                answer.refusal.CopyFrom(refusal_to_wire(tried.refused))
            return answer

        return await self._changing("StartCanary", request, release_pb2.StartCanaryResponse, act)

    async def ScheduleActivation(  # noqa: N802 - the proto's name
        self, request: release_pb2.ScheduleActivationRequest, context: Context
    ) -> release_pb2.ScheduleActivationResponse:
        """Has a version go live by itself at a time."""
        del context
        asked = _asked(request)
        at_micros = micros(request.activate_time) if request.HasField("activate_time") else 0
        if at_micros < 0:
            raise InvalidArgumentError(
                "activate_time lies before 1970", field="activate_time", suggestion="say a time to come"
            )
        row = await self._release.find(asked.name, asked.version)

        async def act(transaction: Transaction) -> release_pb2.ScheduleActivationResponse:
            done = await self._release.schedule(transaction, row.name, row.version, at_micros)
            answer = release_pb2.ScheduleActivationResponse()
            _tell(answer, done, row)
            return answer

        return await self._once("ScheduleActivation", request, release_pb2.ScheduleActivationResponse, act)

    async def RollbackRuleSet(  # noqa: N802 - the proto's name
        self, request: release_pb2.RollbackRuleSetRequest, context: Context
    ) -> release_pb2.RollbackRuleSetResponse:
        """Takes back the last step."""
        del context
        asked = _asked(request)
        _bounded(request.reason, "reason")
        ready = await self._release.prepare_rollback(asked.name, asked.version, request.reason)

        async def act(transaction: Transaction) -> release_pb2.RollbackRuleSetResponse:
            answer = release_pb2.RollbackRuleSetResponse(
                problems=[problem_to_wire(problem) for problem in ready.problems]
            )
            if isinstance(ready, Withdrawal):
                done = await self._release.withdraw(transaction, ready)
                live = await self._release.live_version(transaction, asked.name)
                if isinstance(done, Refused):
                    answer.refusal.CopyFrom(refusal_to_wire(done))
                elif live is not None:
                    answer.rule_set.CopyFrom(rule_set_to_wire(live))
            elif ready.ready is None:
                answer.refusal.CopyFrom(refusal_to_wire(ready.refused))
            else:
                row = ready.ready.row
                _tell(answer, await self._release.activate(transaction, ready.ready), row)
            return answer

        return await self._changing("RollbackRuleSet", request, release_pb2.RollbackRuleSetResponse, act)

    async def RetireRuleSet(  # noqa: N802 - the proto's name
        self, request: release_pb2.RetireRuleSetRequest, context: Context
    ) -> release_pb2.RetireRuleSetResponse:
        """Takes a version out of use."""
        del context
        asked = _asked(request)
        _bounded(request.reason, "reason")
        ready = await self._release.prepare_retirement(asked.name, asked.version, request.reason)

        async def act(transaction: Transaction) -> release_pb2.RetireRuleSetResponse:
            answer = release_pb2.RetireRuleSetResponse(
                problems=[problem_to_wire(problem) for problem in ready.problems]
            )
            _tell(answer, await self._release.withdraw(transaction, ready), ready.row)
            return answer

        return await self._changing("RetireRuleSet", request, release_pb2.RetireRuleSetResponse, act)

    async def _once(
        self,
        rpc: str,
        request: Message,
        answer_type: type[Answer],
        act: Callable[[Transaction], Awaitable[Answer]],
    ) -> Answer:
        return await answer_once(self._database, f"{_NAME}/{rpc}", request, answer_type, act, self._errors)

    async def _changing(
        self,
        rpc: str,
        request: Message,
        answer_type: type[Answer],
        act: Callable[[Transaction], Awaitable[Answer]],
    ) -> Answer:
        answer = await self._once(rpc, request, answer_type, act)
        await self._refresh()  # whoever asks here next is answered by it
        return answer


def _tell(answer: Any, done: RuleSetRow | Refused, row: RuleSetRow) -> None:
    """The version as it now stands, or, refused, as it stood."""
    if isinstance(done, Refused):
        answer.refusal.CopyFrom(refusal_to_wire(done))
        done = row
    answer.rule_set.CopyFrom(rule_set_to_wire(done))


def _asked(request: Any) -> _Asked:
    if not request.name.strip():
        raise InvalidArgumentError("name is empty", field="name", suggestion="say the name")
    if request.version < 0:
        raise InvalidArgumentError(
            f"version is {request.version}", field="version", suggestion="1 or more; 0 means the newest"
        )
    return _Asked(request.name, request.version)


def _bounded(text: str, field: str) -> None:
    if len(text) > _MOST_COMMENT:
        raise InvalidArgumentError(
            f"{field} has {len(text)} characters", field=field, suggestion=f"say it in {_MOST_COMMENT}"
        )

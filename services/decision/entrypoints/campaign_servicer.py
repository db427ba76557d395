"""CampaignService over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message
from rapport.decision.v1 import campaign_pb2, campaign_pb2_grpc

from services.decision.app.campaigns import RunRefused
from services.decision.app.run_progress import (
    ACTED,
    CAME,
    DISPATCHED,
    DONE,
    FAILED,
    PLANNED,
    REFUSED,
    SENT,
    STOPPED,
)
from services.decision.entrypoints.translate import run_to_wire
from services.runtime.errors import InvalidArgumentError
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary.wire import timestamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc

    from services.decision.app.campaigns import ControlRuns, Progress, Steps
    from services.runtime.database import Database, Transaction
    from services.runtime.errors import ErrorTable

    Context = grpc.aio.ServicerContext[Any, Any]

_NAME = campaign_pb2.DESCRIPTOR.services_by_name["CampaignService"].full_name
_MOST_REASON = 500
_MOST_NAME = 200
Answer = TypeVar("Answer", bound=Message)
Stepped = TypeVar(
    "Stepped",
    campaign_pb2.StartRunResponse,
    campaign_pb2.PauseRunResponse,
    campaign_pb2.ResumeRunResponse,
    campaign_pb2.CancelRunResponse,
)


class CampaignServicer(campaign_pb2_grpc.CampaignServiceServicer):
    """Steps are taken once per request id."""

    def __init__(self, database: Database, runs: ControlRuns, errors: ErrorTable) -> None:
        self._database = database
        self._runs = runs
        self._errors = errors

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: campaign_pb2_grpc.add_CampaignServiceServicer_to_server(self, server)
        )

    async def StartRun(  # noqa: N802 - the proto's name
        self, request: campaign_pb2.StartRunRequest, context: Context
    ) -> campaign_pb2.StartRunResponse:
        """Opens a run by hand."""
        del context
        _bounded(request.reason, "reason", _MOST_REASON)
        _bounded(request.rule_set, "rule_set", _MOST_NAME)
        if not request.rule_set:
            raise InvalidArgumentError(
                "rule_set is empty", field="rule_set", suggestion="name a rule set with a schedule"
            )

        async def act(transaction: Transaction) -> campaign_pb2.StartRunResponse:
            done = await self._runs.start(transaction, request.rule_set, request.reason, request.request_id)
            return await self._told(transaction, done, campaign_pb2.StartRunResponse())

        return await self._once("StartRun", request, campaign_pb2.StartRunResponse, act)

    async def PauseRun(  # noqa: N802 - the proto's name
        self, request: campaign_pb2.PauseRunRequest, context: Context
    ) -> campaign_pb2.PauseRunResponse:
        """Pauses a run, or those of a rule set."""
        del context
        _which(request)

        async def act(transaction: Transaction) -> campaign_pb2.PauseRunResponse:
            done = await self._runs.pause(transaction, request.run, request.rule_set, request.reason)
            return await self._told(transaction, done, campaign_pb2.PauseRunResponse())

        return await self._once("PauseRun", request, campaign_pb2.PauseRunResponse, act)

    async def ResumeRun(  # noqa: N802 - the proto's name
        self, request: campaign_pb2.ResumeRunRequest, context: Context
    ) -> campaign_pb2.ResumeRunResponse:
        """Lets paused runs go on."""
        del context
        _which(request)

        async def act(transaction: Transaction) -> campaign_pb2.ResumeRunResponse:
            done = await self._runs.resume(transaction, request.run, request.rule_set, request.reason)
            return await self._told(transaction, done, campaign_pb2.ResumeRunResponse())

        return await self._once("ResumeRun", request, campaign_pb2.ResumeRunResponse, act)

    async def CancelRun(  # noqa: N802 - the proto's name
        self, request: campaign_pb2.CancelRunRequest, context: Context
    ) -> campaign_pb2.CancelRunResponse:
        """Ends runs."""
        del context
        _which(request)

        async def act(transaction: Transaction) -> campaign_pb2.CancelRunResponse:
            done = await self._runs.cancel(transaction, request.run, request.rule_set, request.reason)
            return await self._told(transaction, done, campaign_pb2.CancelRunResponse())

        return await self._once("CancelRun", request, campaign_pb2.CancelRunResponse, act)

    async def GetRun(  # noqa: N802 - the proto's name
        self, request: campaign_pb2.GetRunRequest, context: Context
    ) -> campaign_pb2.GetRunResponse:
        """One run as it stands."""
        del context
        if request.run <= 0:
            raise InvalidArgumentError(
                f"run is {request.run}", field="run", suggestion="take its number from the list of runs"
            )
        return campaign_pb2.GetRunResponse(run=progress_to_wire(await self._runs.find(request.run)))

    async def _told(self, transaction: Transaction, done: Steps, answer: Stepped) -> Stepped:
        if isinstance(done, RunRefused):
            answer.refusal.CopyFrom(_refusal(done))
        else:
            answer.runs.extend(map(progress_to_wire, await self._runs.progress(transaction, done)))
        return answer

    async def _once(
        self,
        rpc: str,
        request: Message,
        answer: type[Answer],
        act: Callable[[Transaction], Awaitable[Answer]],
    ) -> Answer:
        return await answer_once(self._database, f"{_NAME}/{rpc}", request, answer, act, self._errors)


def progress_to_wire(progress: Progress) -> campaign_pb2.RunProgress:
    """A run with what came of it."""
    run, counts = progress.run, progress.counts
    handed, sent, failed = (counts.get(word, 0) for word in (DISPATCHED, SENT, FAILED))
    stopped = sum(count for word, count in counts.items() if word.startswith(STOPPED))
    told = campaign_pb2.RunProgress(
        run=run_to_wire(run),
        decided=counts.get(CAME, 0),
        nothing=max(0, counts.get(CAME, 0) - counts.get(ACTED, 0)),
        dispatched=handed + counts.get(DONE, 0),
        planned=max(0, counts.get(PLANNED, 0)),
        sent=sent,
        failed=failed,
        on_their_way=max(0, handed - sent - failed - stopped),
        per_second=progress.per_second,
        most_per_second=progress.most_per_second,
        actor=run.actor,
        reason=run.reason,
    )
    refused = [
        campaign_pb2.RunRefused(reason=word.removeprefix(prefix), by_channel=prefix == STOPPED, count=count)
        for prefix in (REFUSED, STOPPED)
        for word, count in counts.items()
        if word.startswith(prefix) and count > 0
    ]
    told.refused.extend(sorted(refused, key=lambda one: (-one.count, one.reason, one.by_channel)))
    if progress.end_micros is not None:
        told.end_time.CopyFrom(timestamp(progress.end_micros))
    if run.changed_micros:
        told.changed_time.CopyFrom(timestamp(run.changed_micros))
    return told


def _refusal(refused: RunRefused) -> campaign_pb2.RunRefusal:
    return campaign_pb2.RunRefusal(
        reason=campaign_pb2.RunRefusalReason.Value(f"RUN_REFUSAL_REASON_{refused.reason.name}"),
        detail=refused.detail,
    )


def _which(
    request: campaign_pb2.PauseRunRequest | campaign_pb2.ResumeRunRequest | campaign_pb2.CancelRunRequest,
) -> None:
    if bool(request.run) == bool(request.rule_set) or request.run < 0:
        raise InvalidArgumentError(
            "say either a run or a rule set",
            field="run",
            suggestion="the number of a run; or in its place a rule set, for all its runs that are under way",
        )
    _bounded(request.rule_set, "rule_set", _MOST_NAME)
    _bounded(request.reason, "reason", _MOST_REASON)


def _bounded(text: str, field: str, most: int) -> None:
    if len(text) > most:
        raise InvalidArgumentError(
            f"{field} has {len(text)} characters", field=field, suggestion=f"at most {most} characters"
        )

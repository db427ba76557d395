"""ExplanationService over gRPC: silence explained, and recorded decisions run again."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from rapport.decision.v1 import explanation_pb2, explanation_pb2_grpc

from services.decision.app.why_not import MOST_WITHIN, Question
from services.decision.domain.absent import Cause
from services.decision.entrypoints.trees import node_to_wire
from services.runtime.access_log import note_answer
from services.runtime.errors import InvalidArgumentError
from services.runtime.server import Served
from services.vocabulary.values import DAY, SECOND
from services.vocabulary.wire import REFUSAL_REASONS, WordTable, micros, timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from services.decision.app.verify import Progress, VerifyDecisions
    from services.decision.app.why_not import Silence, WhyNot
    from services.runtime.clock import Clock
    from services.runtime.database import Database

    Context = grpc.aio.ServicerContext[Any, Any]

_NAME = explanation_pb2.DESCRIPTOR.services_by_name["ExplanationService"].full_name
_CAUSES = WordTable(Cause, explanation_pb2.WhyNotCause, "WHY_NOT_CAUSE_")
_MOST_DIFFERENCES = 100


class ExplanationServicer(explanation_pb2_grpc.ExplanationServiceServicer):
    """WhyNot and VerifyDecisions."""

    def __init__(self, database: Database, clock: Clock, why_not: WhyNot, verify: VerifyDecisions) -> None:
        self._database = database
        self._clock = clock
        self._why_not = why_not
        self._verify = verify

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME,
            lambda server: explanation_pb2_grpc.add_ExplanationServiceServicer_to_server(self, server),
        )

    async def WhyNot(  # noqa: N802 - the proto's name
        self, request: explanation_pb2.WhyNotRequest, context: Context
    ) -> explanation_pb2.WhyNotResponse:
        """The first thing that stood against an action around a time."""
        if not request.subject:
            raise InvalidArgumentError(
                "subject is empty", field="subject", suggestion="an identity as kind:value, or customer:<id>"
            )
        if not request.action:
            raise InvalidArgumentError(
                "action is empty",
                field="action",
                suggestion="an offer, message, survey or task by name; or rule_set, or rule_set/rule",
            )
        within = request.within_seconds * SECOND or DAY
        if not 0 < within <= MOST_WITHIN:
            raise InvalidArgumentError(
                f"within_seconds is {request.within_seconds}",
                field="within_seconds",
                suggestion=f"from 1 to {MOST_WITHIN // SECOND} (31 days); 0 means a day",
            )
        time = micros(request.time) if request.HasField("time") else self._clock.now_micros()
        silence = await self._why_not.ask(Question(request.subject, request.action, time, within))
        await note_answer(self._database, {silence.customer}, f"/{_NAME}/WhyNot", context)
        return _answer(silence)

    async def VerifyDecisions(  # noqa: N802 - the proto's name
        self, request: explanation_pb2.VerifyDecisionsRequest, context: Context
    ) -> AsyncIterator[explanation_pb2.VerifyDecisionsResponse]:
        """How far it is, then the result."""
        del context
        if request.processes < 0:
            raise InvalidArgumentError(
                f"processes is {request.processes}", field="processes", suggestion="1 or more; 0 means one"
            )
        since = micros(request.since_time) if request.HasField("since_time") else 0
        until = micros(request.until_time) if request.HasField("until_time") else 0
        if until and until <= since:
            raise InvalidArgumentError(
                "until_time is not after since_time", field="until_time", suggestion="name a later time"
            )
        async with aclosing(self._verify.run(since, until, request.processes)) as told:
            async for progress in told:
                yield _progress(progress)


def _answer(silence: Silence) -> explanation_pb2.WhyNotResponse:
    answer = explanation_pb2.WhyNotResponse(
        cause=_CAUSES.to_wire(silence.cause),
        sentence=silence.sentence,
        needed=silence.needed,
        customer=silence.customer,
        rule_set=silence.rule_set,
        version=silence.version,
        rule=silence.rule,
        reason=REFUSAL_REASONS.to_wire(silence.reason),
        action_id=silence.action_id,
        nodes=[node_to_wire(node) for node in silence.nodes],
        message_id=silence.message_id,
        note=silence.note,
    )
    recorded, event = silence.recorded, silence.event
    if recorded is not None:
        answer.decision_id = recorded.decision_id
        answer.as_of = explanation_pb2.SEEN_AS_OF_DECISION
        answer.event_id, answer.event_source = recorded.event_id, recorded.source
        answer.event_type = recorded.event_type
        answer.event_time.CopyFrom(timestamp(recorded.event_micros))
    elif event is not None:
        if silence.then:
            answer.as_of = explanation_pb2.SEEN_AS_OF_THEN
        answer.event_id, answer.event_source = event.event_id, event.source
        answer.event_type = event.type
        answer.event_time.CopyFrom(timestamp(event.time_micros))
    return answer


def _progress(progress: Progress) -> explanation_pb2.VerifyDecisionsResponse:
    return explanation_pb2.VerifyDecisionsResponse(
        total=progress.total,
        equal=progress.equal,
        different=progress.different,
        not_replayable=[
            explanation_pb2.NotReplayable(reason=reason, count=count)
            for reason, count in sorted(progress.failed.items())
        ],
        differences=[
            explanation_pb2.DecisionDifference(decision_id=decision, difference=name)
            for decision, name in progress.differences[:_MOST_DIFFERENCES]
        ],
        done=progress.done,
    )

"""DecisionService over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from rapport.decision.v1 import decision_pb2, decision_pb2_grpc
from rapport.types.v1 import stream_pb2

from services.decision.app.ports import Wanted
from services.decision.domain.triggers import ASK
from services.decision.entrypoints.advice import answer_to_wire
from services.decision.entrypoints.pages import number_of, page_size
from services.decision.entrypoints.translate import recorded_to_wire
from services.decision.entrypoints.trees import node_to_wire
from services.runtime.access_log import ReadNotes, note_answer, note_reads, reason_of
from services.runtime.errors import ConflictError, InvalidArgumentError, NotFoundError
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.runtime.together import let_go
from services.vocabulary.values import FieldError, ValueMistake, to_json
from services.vocabulary.wire import CHANNELS, REFUSAL_REASONS, micros, type_of_wire, value_from_wire

if TYPE_CHECKING:
    import grpc

    from services.decision.app.ask import Ask
    from services.decision.app.decisions import LookBack
    from services.decision.app.ports import FreshSnapshot, Profiles
    from services.runtime.clock import Clock
    from services.runtime.database import Database, Transaction
    from services.runtime.errors import ErrorTable
    from services.vocabulary.catalogue import Catalogue

    Context = grpc.aio.ServicerContext[Any, Any]

_NAME = decision_pb2.DESCRIPTOR.services_by_name["DecisionService"].full_name
_ASKED = "decide"
"""Source of an event that a question brought without naming one."""


class DecisionServicer(decision_pb2_grpc.DecisionServiceServicer):
    """Decide, list and explain."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        catalogue: Catalogue,
        profiles: Profiles,
        ask: Ask,
        look_back: LookBack,
        errors: ErrorTable,
    ) -> None:
        self._database = database
        self._clock = clock
        self._catalogue = catalogue
        self._profiles = profiles
        self._ask = ask
        self._look_back = look_back
        self._errors = errors
        self._notes = ReadNotes(database)

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: decision_pb2_grpc.add_DecisionServiceServicer_to_server(self, server)
        )

    async def Decide(  # noqa: N802 - the proto's name
        self, request: decision_pb2.DecideRequest, context: Context
    ) -> decision_pb2.DecideResponse:
        """The best actions for one customer now."""
        if not request.subject:
            raise InvalidArgumentError(
                "subject is empty", field="subject", suggestion="an identity as kind:value, or customer:<id>"
            )
        if request.mode not in {decision_pb2.DECIDE_MODE_PEEK, decision_pb2.DECIDE_MODE_PRESENT}:
            raise InvalidArgumentError(
                "mode is not set", field="mode", suggestion="DECIDE_MODE_PEEK or DECIDE_MODE_PRESENT"
            )
        if not request.HasField("event") and not request.ask:
            raise InvalidArgumentError(
                "neither event nor ask is set",
                field="event",
                suggestion="say what happened, or what is asked",
            )
        kind, data = self._happening(request)
        snapshot = await self._profiles.snapshot(request.subject)
        event = self._taken_event(request, snapshot, kind, data)
        method = f"/{_NAME}/Decide"
        if request.mode == decision_pb2.DECIDE_MODE_PEEK:
            noted = self._notes.note(snapshot.customer, method, context)
            try:
                peeked = await self._ask.peek(event, snapshot)
                if noted is not None:
                    await noted
            finally:
                if noted is not None:
                    let_go(noted)
            return answer_to_wire(peeked)
        channel = CHANNELS.from_wire(request.channel)
        prepared = await self._ask.prepare(event, snapshot, request.request_id, channel)

        async def act(transaction: Transaction) -> decision_pb2.DecideResponse:
            await note_reads(transaction, [snapshot.customer], method, reason)
            return answer_to_wire(await self._ask.record(transaction, prepared, snapshot))

        reason = reason_of(context)
        rpc = f"{_NAME}/Decide"
        try:
            return await answer_once(
                self._database, rpc, request, decision_pb2.DecideResponse, act, self._errors
            )
        except (ConflictError, NotFoundError):
            if not request.event.id:  # else another call may ask about the same event, and present the same
                await self._ask.give_up(prepared)
            raise

    async def ListDecisions(  # noqa: N802 - the proto's name
        self, request: decision_pb2.ListDecisionsRequest, context: Context
    ) -> decision_pb2.ListDecisionsResponse:
        """A page of decisions, newest first."""
        size = page_size(request.page_size)
        reason = REFUSAL_REASONS.from_wire(request.reason)
        found = await self._look_back.page(
            Wanted(
                customers=await self._profiles.people(request.subject) if request.subject else (),
                rule_set=request.rule_set,
                reason="" if reason is None else reason.value,
                event_type=request.event_type,
                before=number_of(request.page_token),
                size=size + 1,
            )
        )
        told = {recorded.customer for _, recorded in found[:size]}
        await note_answer(self._database, told, f"/{_NAME}/ListDecisions", context)
        answer = decision_pb2.ListDecisionsResponse(
            decisions=[recorded_to_wire(recorded) for _, recorded in found[:size]]
        )
        if len(found) > size:
            answer.next_page_token = str(found[size - 1][0])
        return answer

    async def ExplainDecision(  # noqa: N802 - the proto's name
        self, request: decision_pb2.ExplainDecisionRequest, context: Context
    ) -> decision_pb2.ExplainDecisionResponse:
        """Why a decision came out as it did, by running it again."""
        for field in ("decision_id", "action_id"):
            _check_id(getattr(request, field), field)
        if not request.decision_id and not request.action_id:
            raise InvalidArgumentError(
                "neither decision_id nor action_id is set", field="decision_id", suggestion="give one of them"
            )
        explained = await self._look_back.explain(request.decision_id, request.action_id)
        told = {explained.recorded.customer}
        await note_answer(self._database, told, f"/{_NAME}/ExplainDecision", context)
        return decision_pb2.ExplainDecisionResponse(
            decision=recorded_to_wire(explained.recorded, explained.because),
            sentence=explained.sentence,
            steps=[
                decision_pb2.ExplanationStep(
                    kind=step.kind, rule_set=step.rule_set, name=step.name, text=step.text, held=step.held
                )
                for step in explained.steps
            ],
            reproduced=explained.reproduced,
            difference=explained.difference,
            regulator_sentence=explained.regulator,
            care_sentence=explained.care,
            tree=node_to_wire(explained.tree),
        )

    def _happening(self, request: decision_pb2.DecideRequest) -> tuple[str, dict[str, Any]]:
        """Type and fields (in their JSON forms) of the caller's event, or of the question; checked."""
        event = request.event
        if request.ask:
            if request.HasField("event"):
                raise InvalidArgumentError(
                    "event and ask are both set",
                    field="ask",
                    suggestion="ask about each in a call of its own",
                )
            return f"{ASK}{request.ask}", self._parameters(request)
        if request.ask_parameters:
            raise InvalidArgumentError(
                "ask_parameters are set, and ask is not", field="ask", suggestion="name the question"
            )
        data: dict[str, Any] = {}
        if event.type:
            try:
                if event.data:
                    data = orjson.loads(event.data)
                self._catalogue.event_type(event.type).coerce(data)
            except orjson.JSONDecodeError:
                raise InvalidArgumentError(
                    "data is not JSON", field="event.data", suggestion="send a JSON object"
                ) from None
            except FieldError as error:
                raise InvalidArgumentError(
                    f"{error.field} {error.message}",
                    field=f"event.{error.field}",
                    suggestion=error.suggestion,
                ) from None
        return event.type, data

    def _parameters(self, request: decision_pb2.DecideRequest) -> dict[str, Any]:
        try:
            question = self._catalogue.question(request.ask)
        except FieldError as error:
            raise InvalidArgumentError(
                f"ask {error.message}", field="ask", suggestion=error.suggestion
            ) from None
        data: dict[str, Any] = {}
        name = ""
        try:
            for name, value in request.ask_parameters.items():
                given = value_from_wire(value)
                if given is not None:
                    data[name] = to_json(given, type_of_wire(value))
            question.coerce(data)
        except ValueMistake as mistake:
            raise InvalidArgumentError(
                f"{name} {mistake.message}", field=f"ask_parameters.{name}", suggestion=mistake.suggestion
            ) from None
        except FieldError as error:
            raise InvalidArgumentError(
                f"{error.field} {error.message}",
                field=f"ask_parameters.{error.field}",
                suggestion=error.suggestion,
            ) from None
        return data

    def _taken_event(
        self, request: decision_pb2.DecideRequest, snapshot: FreshSnapshot, kind: str, data: dict[str, Any]
    ) -> bytes:
        """The caller's event, or the question as one, as if it had just been taken; not stored."""
        event, now = request.event, self._clock.now_micros()
        time = micros(event.time) if event.HasField("time") else now
        return stream_pb2.TakenEvent(
            id=event.id or request.request_id or f"{now}",
            source=event.source or _ASKED,
            type=kind,
            time_micros=time,
            accepted_micros=max(now, time),
            data=orjson.dumps(data),
            customer=snapshot.customer,
            sequence=snapshot.sequence + 1,
        ).SerializeToString(deterministic=True)


def _check_id(text: str, field: str) -> None:
    if not text:
        return
    try:
        UUID(text)
    except ValueError:
        raise InvalidArgumentError(
            f"{field} is no UUID", field=field, suggestion="take it from a listing"
        ) from None

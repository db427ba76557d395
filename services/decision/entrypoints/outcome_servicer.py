"""OutcomeService over gRPC."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rapport.decision.v1 import outcomes_pb2, outcomes_pb2_grpc

from services.decision.app.outcomes import Told
from services.decision.app.tell_outcomes import Telling
from services.decision.domain.answers import Answer
from services.decision.entrypoints.advice import waiting_to_wire
from services.decision.entrypoints.outcomes_to_wire import (
    ANSWERS,
    consumer_to_wire,
    event_to_wire,
    fulfilment_to_wire,
    noted_to_wire,
    outcomes_of,
)
from services.decision.entrypoints.pages import page_size
from services.runtime.audit import Change, write_audit
from services.runtime.errors import InvalidArgumentError, NotFoundError
from services.runtime.requests import answer_once
from services.runtime.server import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc
    from rapport.types.v1 import event_pb2

    from services.decision.app.outcome_ports import Looking, Plans, Waiting
    from services.decision.app.outcomes import Closed, CloseLoop
    from services.decision.app.ports import Profiles
    from services.decision.app.tell_outcomes import Feed
    from services.runtime.database import Database, Transaction
    from services.runtime.errors import ErrorTable

    Context = grpc.aio.ServicerContext[Any, Any]

_NAME = outcomes_pb2.DESCRIPTOR.services_by_name["OutcomeService"].full_name
_MOST_REASON = 200
_MOST_AGENT = 100
_MOST_IN_ONE = 100
_UNACKNOWLEDGED, _MOST_UNACKNOWLEDGED = 1_000, 10_000
_CONSUMER = re.compile(r"[a-z0-9-]{1,64}")


class OutcomeServicer(outcomes_pb2_grpc.OutcomeServiceServicer):
    """Takes answers, takes plans back, and tells what came about."""

    def __init__(
        self,
        database: Database,
        profiles: Profiles,
        journal: Looking,
        plans: Plans,
        close_loop: CloseLoop,
        feed: Feed,
        errors: ErrorTable,
    ) -> None:
        self._database = database
        self._profiles = profiles
        self._journal = journal
        self._plans = plans
        self._close_loop = close_loop
        self._feed = feed
        self._errors = errors

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: outcomes_pb2_grpc.add_OutcomeServiceServicer_to_server(self, server)
        )

    async def RecordOutcome(  # noqa: N802 - the proto's name
        self, request: outcomes_pb2.RecordOutcomeRequest, context: Context
    ) -> outcomes_pb2.RecordOutcomeResponse:
        """What a customer answered to an offer."""
        del context
        action_id = _action_id(request.action_id)
        answer = ANSWERS.get(request.outcome)
        if answer is None:
            raise InvalidArgumentError(
                "outcome is not set", field="outcome", suggestion="PRESENTED, ACCEPTED, DECLINED or NOT_NOW"
            )
        told = Told(
            action_id,
            answer,
            _text(request.reason, "reason", _MOST_REASON),
            _text(request.agent, "agent", _MOST_AGENT),
        )
        recorded = await self._journal.find(action_id)

        async def act(transaction: Transaction) -> outcomes_pb2.RecordOutcomeResponse:
            return _closed(await self._close_loop.record(transaction, recorded, told), answer)

        return await answer_once(
            self._database,
            f"{_NAME}/RecordOutcome",
            request,
            outcomes_pb2.RecordOutcomeResponse,
            act,
            self._errors,
        )

    async def CancelPlanned(  # noqa: N802 - the proto's name
        self, request: outcomes_pb2.CancelPlannedRequest, context: Context
    ) -> outcomes_pb2.CancelPlannedResponse:
        """Takes back what is planned."""
        del context
        if bool(request.action_id) is bool(request.subject):
            raise InvalidArgumentError(
                "exactly one of action_id and subject is needed",
                field="action_id",
                suggestion="name one planned action, or the customer of whom all are taken back",
            )
        if request.rule_set and not request.subject:
            raise InvalidArgumentError(
                "rule_set goes with a subject", field="rule_set", suggestion="leave it out with an action_id"
            )
        reason = _text(request.reason, "reason", _MOST_REASON)
        if not reason:
            raise InvalidArgumentError(
                "reason is empty", field="reason", suggestion="say why, without personal data"
            )
        agent = _text(request.agent, "agent", _MOST_AGENT)
        action_id = _action_id(request.action_id) if request.action_id else ""
        people = await self._profiles.people(request.subject) if request.subject else ()
        known = bool(action_id) and await self._journal.find(action_id) is not None

        async def act(transaction: Transaction) -> outcomes_pb2.CancelPlannedResponse:
            wanted = await self._wanted(transaction, action_id, people, request.rule_set)
            plans = (await self._close_loop.cancel(transaction, wanted, reason, agent)).plans
            if plans:
                return outcomes_pb2.CancelPlannedResponse(cancelled=map(waiting_to_wire, plans))
            if request.subject:
                whose = f" from {request.rule_set}" if request.rule_set else ""
                return outcomes_pb2.CancelPlannedResponse(
                    refusal=outcomes_pb2.CANCEL_REFUSAL_NOTHING_WAITS,
                    detail=f"nothing{whose} waits for this customer",
                )
            if not known:
                return outcomes_pb2.CancelPlannedResponse(
                    refusal=outcomes_pb2.CANCEL_REFUSAL_UNKNOWN_ACTION,
                    detail="no decision kept has this action",
                )
            return outcomes_pb2.CancelPlannedResponse(
                refusal=outcomes_pb2.CANCEL_REFUSAL_NOT_WAITING,
                detail="it does not wait: it was decided, or taken back, or never planned",
            )

        return await answer_once(
            self._database,
            f"{_NAME}/CancelPlanned",
            request,
            outcomes_pb2.CancelPlannedResponse,
            act,
            self._errors,
        )

    async def StreamOutcomes(  # noqa: N802 - the proto's name
        self, request_iterator: AsyncIterator[outcomes_pb2.StreamOutcomesRequest], context: Context
    ) -> AsyncIterator[outcomes_pb2.StreamOutcomesResponse]:
        """What came about, from where the consumer stopped, as it comes."""
        del context
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None:
            return
        telling = Telling(self._feed, _consumer(first.consumer), _most(first.most_unacknowledged))
        cursor, kept_after = await telling.begin(first.cursor, from_now=first.from_now)
        yield outcomes_pb2.StreamOutcomesResponse(
            opened=outcomes_pb2.StreamOpened(cursor=cursor, kept_after=kept_after)
        )
        hearing = asyncio.create_task(_hear(requests, telling), name="outcomes-acknowledged")
        try:
            async for batch in telling.came_about():
                outcomes = [one for came in batch for one in outcomes_of(came) if one.position > cursor]
                while outcomes:
                    part = outcomes[: min(_MOST_IN_ONE, await telling.room())]
                    if not part:
                        break
                    telling.sent([one.position for one in part])
                    yield outcomes_pb2.StreamOutcomesResponse(outcomes=part)
                    del outcomes[: len(part)]
            await hearing
        finally:
            hearing.cancel()

    async def ListOutcomeConsumers(  # noqa: N802 - the proto's name
        self, request: outcomes_pb2.ListOutcomeConsumersRequest, context: Context
    ) -> outcomes_pb2.ListOutcomeConsumersResponse:
        """Who takes outcomes, and how far behind they are."""
        del context
        size = page_size(request.page_size)
        found = await self._feed.consumers(request.page_token, size + 1)
        return outcomes_pb2.ListOutcomeConsumersResponse(
            consumers=map(consumer_to_wire, found[:size]),
            next_page_token=found[size - 1].name if len(found) > size else "",
        )

    async def RemoveOutcomeConsumer(  # noqa: N802 - the proto's name
        self, request: outcomes_pb2.RemoveOutcomeConsumerRequest, context: Context
    ) -> outcomes_pb2.RemoveOutcomeConsumerResponse:
        """Forgets a consumer."""
        del context
        name = _consumer(request.consumer)

        async def act(transaction: Transaction) -> outcomes_pb2.RemoveOutcomeConsumerResponse:
            if not await self._feed.remove(transaction, name):
                raise NotFoundError(
                    "there is no consumer of this name",
                    field="consumer",
                    suggestion="list the consumers for their names",
                )
            await write_audit(transaction, Change("outcome_consumer.remove", f"outcome_consumer/{name}"))
            return outcomes_pb2.RemoveOutcomeConsumerResponse()

        return await answer_once(
            self._database,
            f"{_NAME}/RemoveOutcomeConsumer",
            request,
            outcomes_pb2.RemoveOutcomeConsumerResponse,
            act,
            self._errors,
        )

    async def _wanted(
        self, transaction: Transaction, action_id: str, people: tuple[int, ...], rule_set: str
    ) -> list[Waiting]:
        if action_id:
            plan = await self._plans.find(transaction, action_id)
            return [] if plan is None else [plan]
        plans = await self._plans.waiting(transaction, people)
        return [plan for plan in plans if not rule_set or plan.candidate.rule_set == rule_set]


async def _hear(requests: AsyncIterator[outcomes_pb2.StreamOutcomesRequest], telling: Telling) -> None:
    """Takes acknowledgements until the caller has no more to say; then the stream ends."""
    try:
        async for request in requests:
            await telling.acknowledge(request.acknowledged)
    finally:
        telling.end()


def _consumer(name: str) -> str:
    if not _CONSUMER.fullmatch(name):
        raise InvalidArgumentError(
            "consumer is no name of a consumer",
            field="consumer",
            suggestion="1 to 64 lower-case letters, digits and hyphens, for example bss",
        )
    return name


def _most(asked: int) -> int:
    if not 0 <= asked <= _MOST_UNACKNOWLEDGED:
        raise InvalidArgumentError(
            f"most_unacknowledged is {asked}",
            field="most_unacknowledged",
            suggestion=f"0 to {_MOST_UNACKNOWLEDGED}; 0 means {_UNACKNOWLEDGED}",
        )
    return asked or _UNACKNOWLEDGED


def _closed(closed: Closed, answer: Answer) -> outcomes_pb2.RecordOutcomeResponse:
    response = outcomes_pb2.RecordOutcomeResponse(
        recorded=closed.refusal is None, detail=closed.detail, given_back=closed.given_back
    )
    if closed.refusal is not None:
        response.refusal = outcomes_pb2.OutcomeRefusal.Value(f"OUTCOME_REFUSAL_{closed.refusal.upper()}")
    if closed.earlier is not None:
        response.earlier.CopyFrom(noted_to_wire(closed.earlier))
    if closed.fulfilment is not None and answer is Answer.ACCEPTED:
        wanted = closed.fulfilment
        event: event_pb2.Event | None = None
        if wanted.type:
            event = event_to_wire(wanted.fulfilment_id, wanted.type, wanted.data)
        response.fulfilment.CopyFrom(fulfilment_to_wire(wanted.fulfilment_id, closed.offer, event))
    return response


def _action_id(text: str) -> str:
    """In the form in which it is kept. Raises InvalidArgumentError."""
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidArgumentError(
            "action_id is no UUID", field="action_id", suggestion="take it from Decide or a listing"
        ) from None


def _text(text: str, field: str, most: int) -> str:
    """A text for people. Raises InvalidArgumentError."""
    if len(text) > most or not text.isprintable():
        raise InvalidArgumentError(
            f"{field} has {len(text)} characters, or some that cannot be printed",
            field=field,
            suggestion=f"at most {most} characters on one line",
        )
    return text.strip()

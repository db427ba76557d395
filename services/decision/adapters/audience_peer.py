"""The profile service, asked for audiences over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from rapport.profile.v1 import audience_pb2, audience_pb2_grpc

from services.decision.app.run_ports import AudienceRun, Page
from services.decision.domain.language.types import Kind, value_type_of
from services.decision.domain.triggers import Absence
from services.runtime.errors import UnavailableError
from services.vocabulary.values import Money
from services.vocabulary.wire import PURPOSES, micros, timestamp, value_to_wire

if TYPE_CHECKING:
    from services.decision.domain.audience import Clause, Superset
    from services.decision.domain.occasions import Called
    from services.vocabulary.words import Purpose

_SECONDS = 4.0
"""A page is answered in some hundredths; a run is kept from other workers for 5 s."""
_OPERATORS = {
    "is": audience_pb2.AUDIENCE_OPERATOR_IS,
    "exists": audience_pb2.AUDIENCE_OPERATOR_EXISTS,
    "<": audience_pb2.AUDIENCE_OPERATOR_LESS,
    "<=": audience_pb2.AUDIENCE_OPERATOR_AT_MOST,
    ">": audience_pb2.AUDIENCE_OPERATOR_MORE,
    ">=": audience_pb2.AUDIENCE_OPERATOR_AT_LEAST,
    "contains": audience_pb2.AUDIENCE_OPERATOR_CONTAINS,
    "starts with": audience_pb2.AUDIENCE_OPERATOR_STARTS_WITH,
}
"""Denials are left out: a trait may be known to the query that has ended by now."""
_NOT_COMPARED = frozenset({Kind.TIME, Kind.DURATION})
"""Kept as texts whose order is not theirs."""


class AudiencePeer:
    """The Audiences port on AudienceService; `currency` is the operator's."""

    def __init__(self, grpc_channel: grpc.aio.Channel, currency: str) -> None:
        self._stub = audience_pb2_grpc.AudienceServiceStub(grpc_channel)
        self._currency = currency

    async def page(self, run: AudienceRun, called: Called, wanted: Superset, size: int) -> Page:
        """The next customers of a run. Raises UnavailableError."""
        request = audience_pb2.ListAudienceRequest(
            clauses=clauses_of(wanted, self._currency),
            zone=run.zone,
            page_size=size,
            page_token=run.page_token,
        )
        if isinstance(called.occasion, Absence):
            request.absence.type = called.occasion.type
            request.absence.after_time.CopyFrom(timestamp(run.after_micros))
            request.absence.until_time.CopyFrom(timestamp(run.until_micros))
        answer = await _asked(self._stub.ListAudience(request, timeout=_SECONDS))
        return Page(
            tuple(
                (member.customer, micros(member.last_time) if member.HasField("last_time") else 0)
                for member in answer.members
            ),
            answer.next_page_token,
            answer.filling,
            answer.walked,
        )

    async def zones(self) -> tuple[str, ...]:
        """Zones in which customers live. Raises UnavailableError, also while they are still gathered."""
        zones: list[str] = []
        token = ""
        while True:
            request = audience_pb2.ListZonesRequest(page_token=token)
            answer = await _asked(self._stub.ListZones(request, timeout=_SECONDS))
            if answer.filling:
                raise UnavailableError("the profile service still gathers the zones of customers; try again")
            zones += answer.zones
            token = answer.next_page_token
            if not token:
                return tuple(dict.fromkeys(zones))


def clauses_of(wanted: Superset, currency: str) -> list[audience_pb2.AudienceClause]:
    """What the profile can narrow an audience down by."""
    clauses = [clause for one in wanted.clauses if (clause := _clause(one, currency)) is not None]
    return [*clauses, *map(_agreed, wanted.consents)]


def _clause(clause: Clause, currency: str) -> audience_pb2.AudienceClause | None:
    operator = _OPERATORS.get(clause.operator)
    compared = clause.operator != "exists"
    if operator is None or (compared and clause.kind in _NOT_COMPARED):
        return None
    if clause.kind is Kind.LIST and clause.operator not in {"contains", "exists"}:
        return None
    values = [_value(value, clause.kind, currency) for value in clause.values] if compared else []
    tests = [values] if clause.operator != "starts with" else [[value] for value in values]
    return audience_pb2.AudienceClause(
        any_of=[
            audience_pb2.AudienceTest(
                trait=audience_pb2.TraitTest(trait=clause.trait, operator=operator, values=test)
            )
            for test in tests
        ]
    )


def _value(value: Any, kind: Kind, currency: str) -> Any:
    if kind is Kind.MONEY:
        return value_to_wire(Money(value, currency))
    if kind is Kind.LIST:
        return value_to_wire(value)
    return value_to_wire(value, value_type_of(Kind.NUMBER if isinstance(value, float) else kind))


def _agreed(purposes: frozenset[Purpose]) -> audience_pb2.AudienceClause:
    return audience_pb2.AudienceClause(
        any_of=[audience_pb2.AudienceTest(agreed=PURPOSES.to_wire(purpose)) for purpose in sorted(purposes)]
    )


async def _asked(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise UnavailableError(
            f"the profile service does not tell who is concerned: {error.code().name.lower()}"
        ) from error

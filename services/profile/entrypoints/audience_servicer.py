"""The AudienceService over gRPC."""

from collections.abc import Sequence
from typing import Any

import grpc
from rapport.profile.v1 import audience_pb2, audience_pb2_grpc

from services.profile.app.ports import Audiences
from services.profile.domain.audience import (
    AbsenceFilter,
    AgreedTest,
    Audience,
    AudienceTest,
    Operator,
    Place,
    TraitTest,
)
from services.profile.domain.errors import InvalidRequestError
from services.runtime.access_log import note_answer
from services.runtime.database import Database
from services.runtime.server import Served
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.values import Value, ValueMistake
from services.vocabulary.wire import PURPOSES, micros, timestamp, value_from_wire

_NAME = "rapport.profile.v1.AudienceService"
_USUAL_PAGE, _LARGEST_PAGE, _MOST_ZONES = 500, 5_000, 1_000
_MOST_CLAUSES, _MOST_TESTS = 100, 100
_OPERATORS = {
    audience_pb2.AUDIENCE_OPERATOR_IS: Operator.IS,
    audience_pb2.AUDIENCE_OPERATOR_EXISTS: Operator.EXISTS,
    audience_pb2.AUDIENCE_OPERATOR_LESS: Operator.LESS,
    audience_pb2.AUDIENCE_OPERATOR_AT_MOST: Operator.AT_MOST,
    audience_pb2.AUDIENCE_OPERATOR_MORE: Operator.MORE,
    audience_pb2.AUDIENCE_OPERATOR_AT_LEAST: Operator.AT_LEAST,
    audience_pb2.AUDIENCE_OPERATOR_CONTAINS: Operator.CONTAINS,
    audience_pb2.AUDIENCE_OPERATOR_STARTS_WITH: Operator.STARTS_WITH,
}
_SEVERAL = frozenset({Operator.IS, Operator.CONTAINS})
Context = grpc.aio.ServicerContext[Any, Any]


class AudienceServicer(audience_pb2_grpc.AudienceServiceServicer):
    """Checks what is asked, and reads a page."""

    def __init__(self, database: Database, catalogue: Catalogue, audiences: Audiences) -> None:
        self._database = database
        self._catalogue = catalogue
        self._audiences = audiences

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: audience_pb2_grpc.add_AudienceServiceServicer_to_server(self, server)
        )

    async def ListAudience(  # noqa: N802 - the proto's name
        self, request: audience_pb2.ListAudienceRequest, context: Context
    ) -> audience_pb2.ListAudienceResponse:
        """A page of customers."""
        audience = self._audience(request)
        size = _size(request.page_size, _USUAL_PAGE, _LARGEST_PAGE)
        place = _place(request.page_token)
        async with self._database.transaction() as transaction:
            page = await self._audiences.members(transaction, audience, place, size)
        told = {customer for customer, _ in page.members}
        await note_answer(self._database, told, f"/{_NAME}/ListAudience", context)
        answer = audience_pb2.ListAudienceResponse(
            filling=page.filling, walked=0.0 if page.filling else page.walked
        )
        for customer, last in page.members:
            answer.members.add(
                customer=customer, last_time=None if audience.absence is None else timestamp(last)
            )
        if page.place is not None:
            answer.next_page_token = f"{page.place.time_micros}:{page.place.customer}"
        return answer

    async def ListZones(  # noqa: N802 - the proto's name
        self, request: audience_pb2.ListZonesRequest, context: Context
    ) -> audience_pb2.ListZonesResponse:
        """A page of zones."""
        del context
        size = _size(request.page_size, _MOST_ZONES, _MOST_ZONES)
        async with self._database.transaction() as transaction:
            zones, following, filling = await self._audiences.zones(transaction, request.page_token, size)
        return audience_pb2.ListZonesResponse(zones=zones, next_page_token=following or "", filling=filling)

    def _audience(self, request: audience_pb2.ListAudienceRequest) -> Audience:
        if len(request.clauses) > _MOST_CLAUSES:
            raise InvalidRequestError(
                f"{len(request.clauses)} clauses were given",
                field="clauses",
                suggestion=f"send at most {_MOST_CLAUSES}; those left out make the audience larger",
            )
        return Audience(
            clauses=tuple(
                self._clause(clause.any_of, f"clauses[{place}].any_of")
                for place, clause in enumerate(request.clauses)
            ),
            zone=request.zone,
            absence=self._absence(request.absence) if request.HasField("absence") else None,
        )

    def _clause(self, tests: Sequence[audience_pb2.AudienceTest], where: str) -> tuple[AudienceTest, ...]:
        if not 1 <= len(tests) <= _MOST_TESTS:
            raise InvalidRequestError(
                f"{where} has {len(tests)} tests", field=where, suggestion=f"send 1 to {_MOST_TESTS}"
            )
        return tuple(self._test(test, f"{where}[{place}]") for place, test in enumerate(tests))

    def _test(self, test: audience_pb2.AudienceTest, where: str) -> AudienceTest:
        if test.WhichOneof("test") == "agreed":
            purpose = PURPOSES.from_wire(test.agreed)
            if purpose is None:
                raise InvalidRequestError(
                    "no purpose is named", field=f"{where}.agreed", suggestion="name a purpose"
                )
            return AgreedTest(purpose)
        trait = self._catalogue.traits.get(test.trait.trait)
        operator = _OPERATORS.get(test.trait.operator)
        if trait is None or operator is None:
            raise InvalidRequestError(
                f"the catalogue has no trait {test.trait.trait[:60]!r}"
                if trait is None
                else "no operator is named",
                field=f"{where}.trait",
                suggestion="rule sets and catalogue must be of one version"
                if trait is None
                else "name one of AudienceOperator",
            )
        if trait.direct:
            raise InvalidRequestError(
                f"{trait.name} identifies a person and is kept sealed",
                field=f"{where}.trait",
                suggestion="ask for a trait that the catalogue does not mark as direct",
            )
        values = _values(test.trait, f"{where}.trait.values")
        if operator is Operator.EXISTS:
            fits = not values
        else:
            fits = len(values) == 1 or (operator in _SEVERAL and bool(values))
        if not fits:
            raise InvalidRequestError(
                f"`{operator}` was given {len(values)} values",
                field=f"{where}.trait.values",
                suggestion="`exists` takes none, `is` and `contains` any number, the others one",
            )
        if operator is Operator.STARTS_WITH and not isinstance(values[0], str):
            raise InvalidRequestError(
                "only a text begins with something",
                field=f"{where}.trait.values",
                suggestion="send a text",
            )
        return TraitTest(trait.name, operator, values)

    def _absence(self, absence: audience_pb2.AbsenceFilter) -> AbsenceFilter:
        if absence.type not in self._catalogue.events or not absence.HasField("until_time"):
            raise InvalidRequestError(
                f"{absence.type[:60]!r} is no event type of the catalogue"
                if absence.HasField("until_time")
                else "until_time is missing",
                field="absence",
                suggestion="name an event type, and until when the last one was",
            )
        after = micros(absence.after_time) if absence.HasField("after_time") else -(1 << 62)
        return AbsenceFilter(absence.type, after, micros(absence.until_time))


def _values(test: audience_pb2.TraitTest, where: str) -> tuple[Value, ...]:
    try:
        values = [value_from_wire(value) for value in test.values]
    except ValueMistake as mistake:
        raise InvalidRequestError(
            str(mistake), field=where, suggestion=mistake.suggestion or "send a value of the trait's type"
        ) from None
    told = tuple(value for value in values if value is not None)
    if len(told) < len(values):
        raise InvalidRequestError("a value has no kind", field=where, suggestion="set one of its kinds")
    return told


def _size(asked: int, usual: int, largest: int) -> int:
    if asked < 0:
        raise InvalidRequestError(
            f"page_size is {asked}", field="page_size", suggestion=f"0 to {largest}; 0 means {usual}"
        )
    return min(asked or usual, largest)


def _place(token: str) -> Place:
    if not token:
        return Place()
    time, _, customer = token.partition(":")
    try:
        return Place(int(customer), int(time))
    except ValueError:
        raise InvalidRequestError(
            f"page_token {token[:40]!r} is not one that was given out",
            field="page_token",
            suggestion="take it from the answer before",
        ) from None

"""The HistoryService over gRPC."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import grpc
from rapport.profile.v1 import history_pb2, history_pb2_grpc

from services.profile.app.replaying import Page, Past, Replaying, Share
from services.profile.domain.errors import InvalidRequestError
from services.profile.domain.replaying import FOREVER, LeftOutReason, Wanted
from services.runtime.access_log import note_answer
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.server import Served
from services.vocabulary.wire import micros, timestamp

_NAME: Final = "rapport.profile.v1.HistoryService"
_MOST_SHARDS, _MOST_CUSTOMERS, _MOST_TYPES, _WHOLE = 4096, 1000, 500, 10_000
_RESPONSE_BYTES: Final = 1_000_000
"""A response is ended when it has grown to this; one more message of EVENTS may still be in it."""
_REASONS = {
    LeftOutReason.UNKNOWN_TYPE: history_pb2.LEFT_OUT_REASON_UNKNOWN_TYPE,
    LeftOutReason.DOES_NOT_FIT: history_pb2.LEFT_OUT_REASON_DOES_NOT_FIT,
    LeftOutReason.RETRACTED: history_pb2.LEFT_OUT_REASON_RETRACTED,
}
Context = grpc.aio.ServicerContext[Any, Any]
Pages = Callable[[Share, Wanted], AsyncGenerator[Page]]
"""Tells all customers of a share."""
Kept = Callable[[], tuple[int, Mapping[str, int]]]
"""For how long events are kept, in microseconds (0: for good), and those types that are kept shorter."""


class HistoryServicer(history_pb2_grpc.HistoryServiceServicer):
    """Checks what is asked, and tells it page by page."""

    def __init__(
        self, database: Database, replaying: Replaying, pages: Pages, clock: Clock, kept: Kept
    ) -> None:
        self._database = database
        self._replaying = replaying
        self._pages = pages
        self._clock = clock
        self._kept = kept

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: history_pb2_grpc.add_HistoryServiceServicer_to_server(self, server)
        )

    async def ReplayHistory(  # noqa: N802 - the proto's name
        self, request: history_pb2.ReplayHistoryRequest, context: Context
    ) -> AsyncIterator[history_pb2.ReplayHistoryResponse]:
        """A header, then pages."""
        wanted, share = _wanted(request), _share(request)
        method = f"/{_NAME}/ReplayHistory"
        if request.customers:
            page = await self._replaying.of_customers(request.customers, wanted)
            await note_answer(self._database, _customers(page), method, context)
            yield history_pb2.ReplayHistoryResponse(header=self._header(wanted, page.done, 0))
            for response in _responses(page):
                yield response
        else:
            yield history_pb2.ReplayHistoryResponse(
                header=self._header(wanted, *await self._replaying.count(share))
            )
            if not share.shard and not request.position:
                for payload in await self._replaying.things(wanted):
                    yield history_pb2.ReplayHistoryResponse(things=[payload])
            async with aclosing(self._pages(share, wanted)) as pages:
                async for page in pages:
                    await note_answer(self._database, _customers(page), method, context)
                    for response in _responses(page):
                        yield response
        yield history_pb2.ReplayHistoryResponse(last=True)

    async def ListPastSnapshots(  # noqa: N802 - the proto's name
        self, request: history_pb2.ListPastSnapshotsRequest, context: Context
    ) -> history_pb2.ListPastSnapshotsResponse:
        """One snapshot for each moment."""
        if not 1 <= len(request.moments) <= _MOST_CUSTOMERS:
            raise InvalidRequestError(
                f"{len(request.moments)} moments were given",
                field="moments",
                suggestion=f"send 1 to {_MOST_CUSTOMERS}",
            )
        for place, moment in enumerate(request.moments):
            _check_customer(moment.customer, f"moments[{place}].customer")
            if not moment.HasField("time"):
                raise InvalidRequestError(
                    "the time is missing",
                    field=f"moments[{place}].time",
                    suggestion="say for which time: 2026-11-02T08:15:00Z",
                )
        asked = [(moment.customer, micros(moment.time)) for moment in request.moments]
        found = await self._replaying.moments(asked)
        known = {then.customer for then in found if then.snapshot}
        await note_answer(self._database, known, f"/{_NAME}/ListPastSnapshots", context)
        answer = history_pb2.ListPastSnapshotsResponse()
        for then in found:
            answer.snapshots.add(
                customer=then.customer,
                snapshot=then.snapshot,
                complete_since_micros=then.complete_since_micros,
            )
        return answer

    def _header(self, wanted: Wanted, customers: int, erased: int) -> history_pb2.HistoryHeader:
        period, shorter = self._kept()
        now = self._clock.now_micros()
        header = history_pb2.HistoryHeader(customers=customers, erased=erased)
        if period:
            header.kept_since.CopyFrom(timestamp(max(now - period, 0)))
        for name in sorted((wanted.types | wanted.bare) & shorter.keys()):
            header.short_types.add(type=name, kept_since=timestamp(max(now - shorter[name], 0)))
        return header


def _wanted(request: history_pb2.ReplayHistoryRequest) -> Wanted:
    for field in ("types", "bare_types", "customers"):
        most = _MOST_CUSTOMERS if field == "customers" else _MOST_TYPES
        given = len(getattr(request, field))
        if given > most:
            raise InvalidRequestError(
                f"{given} {field.replace('bare_', '')} were given",
                field=field,
                suggestion=f"name at most {most}"
                + (", or none for everybody" if field == "customers" else ""),
            )
    if not request.HasField("since"):
        raise InvalidRequestError(
            "since is missing", field="since", suggestion="say from when on: 2026-11-02T00:00:00Z"
        )
    since = micros(request.since)
    until = micros(request.until) if request.HasField("until") else FOREVER
    if until <= since:
        raise InvalidRequestError(
            "until is not after since", field="until", suggestion="name a time after since, or leave it out"
        )
    if not (request.types or request.bare_types):
        raise InvalidRequestError(
            "no event type is named", field="types", suggestion="name those that rules listen to"
        )
    return Wanted(since, until, frozenset(request.types), frozenset(request.bare_types))


def _share(request: history_pb2.ReplayHistoryRequest) -> Share:
    shards = request.shards or 1
    if shards > _MOST_SHARDS:
        raise InvalidRequestError(
            f"there are {shards} shares", field="shards", suggestion=f"make at most {_MOST_SHARDS}"
        )
    if request.shard >= shards:
        raise InvalidRequestError(
            f"{request.shard} is none of {shards} shares", field="shard", suggestion="they count from 0"
        )
    if request.sample > _WHOLE:
        raise InvalidRequestError(
            f"sample is {request.sample}", field="sample", suggestion=f"say 1 to {_WHOLE}, or 0 for everybody"
        )
    if request.position and not request.position.isdecimal():
        raise InvalidRequestError(
            f"position {request.position[:40]!r} is not one that was given out",
            field="position",
            suggestion="take it from a response before",
        )
    if request.customers:
        _check_customers(request, shards)
    return Share(request.shard, shards, request.sample % _WHOLE, int(request.position or 0))


def _check_customers(request: history_pb2.ReplayHistoryRequest, shards: int) -> None:
    if shards > 1 or request.sample or request.position:
        raise InvalidRequestError(
            "customers are named, and a part of them asked for",
            field="customers",
            suggestion="leave shards, sample and position out",
        )
    for place, customer in enumerate(request.customers):
        _check_customer(customer, f"customers[{place}]")


def _check_customer(customer: int, where: str) -> None:
    if customer <= 0:
        raise InvalidRequestError(
            "a customer's id is missing", field=where, suggestion="name a customer by id"
        )


def _responses(page: Page) -> list[history_pb2.ReplayHistoryResponse]:
    """A page in parts that are not too large; what is counted comes with the last of them."""
    parts: list[history_pb2.ReplayHistoryResponse] = []
    size = _RESPONSE_BYTES
    for past in page.pasts:
        if size >= _RESPONSE_BYTES:
            parts.append(history_pb2.ReplayHistoryResponse())
            size = 0
        parts[-1].customers.append(_past(past))
        size += len(past.payload)
    last = parts[-1] if parts else history_pb2.ReplayHistoryResponse()
    last.customers_done, last.events_read = page.done, page.events_read
    last.position = str(page.position) if page.position else ""
    for (name, reason), count in sorted(page.left_out.items(), key=lambda one: (one[0][0], one[0][1].value)):
        last.left_out.add(type=name, reason=_REASONS[reason], events=count)
    return parts or [last]


def _customers(page: Page) -> set[int]:
    return {past.customer for past in page.pasts}


def _past(past: Past) -> history_pb2.PastOfCustomer:
    return history_pb2.PastOfCustomer(
        customer=past.customer,
        batch=past.payload,
        events=past.events,
        complete_since_micros=past.complete_since_micros,
    )

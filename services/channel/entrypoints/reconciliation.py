"""The ReconciliationService over gRPC: a report comes in batches, what does not agree goes back."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
from rapport.channel.v1 import channel_pb2, reconciliation_pb2, reconciliation_pb2_grpc

from services.channel.app.reconciliation import Compared, Comparison, OpensBook
from services.channel.app.store import MessageStore
from services.channel.domain.reconciliation import Finding, FindingKind, Reported, ReportLine
from services.channel.entrypoints.translate import MESSAGE_STATES
from services.runtime.audit import Change, write_audit
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.errors import InvalidArgumentError, NotFoundError, TooLargeError
from services.runtime.server import Served
from services.vocabulary import wire

MOST_LINES = 1000
_MOST_ID = 200
_KINDS = wire.WordTable(FindingKind, reconciliation_pb2.FindingKind, "FINDING_KIND_")
_STATES: dict[int, Reported] = {
    reconciliation_pb2.REPORTED_STATE_UNSPECIFIED: Reported.TAKEN,
    reconciliation_pb2.REPORTED_STATE_EN_ROUTE: Reported.EN_ROUTE,
    reconciliation_pb2.REPORTED_STATE_DELIVERED: Reported.DELIVERED,
    reconciliation_pb2.REPORTED_STATE_FAILED: Reported.FAILED,
    reconciliation_pb2.REPORTED_STATE_EXPIRED: Reported.EXPIRED,
}
_WIRED = {state: number for number, state in _STATES.items()}
Context = grpc.aio.ServicerContext[Any, Any]
Requests = AsyncIterator[reconciliation_pb2.CompareReportRequest]
Response = reconciliation_pb2.CompareReportResponse


class ReconciliationServicer(reconciliation_pb2_grpc.ReconciliationServiceServicer):
    """Holds one comparison for each stream; what is taken over is written into the audit log at the end."""

    def __init__(self, database: Database, store: MessageStore, books: OpensBook, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._books = books
        self._clock = clock

    def served(self) -> Served:
        """For build_server."""
        return Served(
            reconciliation_pb2.DESCRIPTOR.services_by_name["ReconciliationService"].full_name,
            lambda server: reconciliation_pb2_grpc.add_ReconciliationServiceServicer_to_server(self, server),
        )

    async def CompareReport(  # noqa: N802 - the proto's name
        self, request_iterator: Requests, context: Context
    ) -> AsyncIterator[Response]:
        """One report."""
        del context
        comparison: Comparison | None = None
        provider = ""
        try:
            async for request in request_iterator:
                step = request.WhichOneof("step")
                if comparison is None:
                    if step != "start":
                        raise InvalidArgumentError(
                            "a comparison begins with its provider", field="start", suggestion="send it first"
                        )
                    provider = request.start.provider
                    comparison = await self._begin(request.start)
                    continue
                if step == "batch":
                    yield _response(await comparison.compare(_lines(request.batch)))
                elif step == "end":
                    async for response in _rest(comparison, request.end):
                        yield response
                    return
                else:
                    raise InvalidArgumentError(
                        "a comparison is begun once", field="start", suggestion="send lines, then the end"
                    )
        finally:
            if comparison is not None and comparison.applied:
                await self._write_down(provider, comparison.applied)

    async def _begin(self, start: reconciliation_pb2.ReportStart) -> Comparison:
        async with self._books() as book:
            known = await book.providers()
        if start.provider not in known:
            raise NotFoundError(
                "nothing was ever handed to a provider of that name",
                field="start.provider",
                suggestion=f"one of {', '.join(known)}" if known else "send something first",
            )
        return Comparison(self._store, self._books, self._clock, start.provider, apply=start.apply)

    async def _write_down(self, provider: str, applied: int) -> None:
        async with self._database.transaction() as raw:
            change = Change("messages.reconcile", f"provider/{provider}", None, {"receipts": applied})
            await write_audit(raw, change)


def _lines(batch: reconciliation_pb2.ReportBatch) -> list[ReportLine]:
    if not batch.lines:
        raise InvalidArgumentError("no line is given", field="batch.lines", suggestion=f"1 to {MOST_LINES}")
    if len(batch.lines) > MOST_LINES:
        raise TooLargeError(
            f"{len(batch.lines)} lines are too many for one batch",
            field="batch.lines",
            suggestion=f"send at most {MOST_LINES} at a time",
        )
    return [_line(place, line) for place, line in enumerate(batch.lines)]


def _line(place: int, line: reconciliation_pb2.ReportLine) -> ReportLine:
    where = f"batch.lines[{place}]"
    if not line.provider_id and not line.reference:
        raise InvalidArgumentError(
            "the line names no message", field=f"{where}.provider_id", suggestion="give one of the two ids"
        )
    if max(len(line.provider_id), len(line.reference)) > _MOST_ID or "\0" in line.provider_id:
        raise InvalidArgumentError(
            f"an id has over {_MOST_ID} characters, or a NUL",
            field=f"{where}.provider_id",
            suggestion="leave the line out",
        )
    if line.state not in _STATES:
        raise InvalidArgumentError(
            f"{line.state} is no state", field=f"{where}.state", suggestion="a value of ReportedState"
        )
    return ReportLine(line.line, line.provider_id, line.reference, _STATES[line.state])


async def _rest(comparison: Comparison, end: reconciliation_pb2.ReportEnd) -> AsyncIterator[Response]:
    if not end.HasField("from_time"):
        yield Response(complete=True)
        return
    if not end.HasField("to_time"):
        raise InvalidArgumentError(
            "the time has no end", field="end.to_time", suggestion="give both times, or neither"
        )
    from_micros, to_micros = end.from_time.ToMicroseconds(), end.to_time.ToMicroseconds()
    if to_micros < from_micros:
        raise InvalidArgumentError(
            "the time ends before it begins", field="end.to_time", suggestion="not before from_time"
        )
    looked_at = 0
    async for looked_at, found in comparison.unknown_there(from_micros, to_micros):
        yield _response(found, looked_at)
    yield Response(looked_at=looked_at, complete=True)


def _response(compared: Compared, looked_at: int = 0) -> Response:
    return Response(
        agreed=compared.agreed,
        findings=[_finding(finding) for finding in compared.findings],
        looked_at=looked_at,
    )


def _finding(finding: Finding) -> reconciliation_pb2.Finding:
    message = finding.message
    return reconciliation_pb2.Finding(
        kind=_KINDS.to_wire(finding.kind),
        line=finding.line,
        message_id="" if message is None else message.message_id,
        here=(
            channel_pb2.MESSAGE_STATE_UNSPECIFIED
            if message is None
            else MESSAGE_STATES.to_wire(message.state)
        ),
        there=_WIRED[finding.there],  # type: ignore[arg-type]
        provider_id=finding.provider_id,
        applied=finding.applied,
    )

"""Feeds events into the profile service over one resumable stream; under a fed clock, six hours at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self
from uuid import uuid4

import grpc
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import event_pb2

from services.cli.cloudevents import LineError, event_from_line
from services.cli.connections import Connections
from services.cli.quiet import Look, wait_quiet
from services.vocabulary import wire

BATCH_EVENTS = 500
BATCH_BYTES = 2 * 1024 * 1024
IN_FLIGHT = 4
"""Batches sent and not yet acknowledged; more only waits in the server."""
STEP_MICROS = 6 * 3600 * wire.SECOND_MICROS


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that was not taken."""

    line: int
    field: str
    reason: str


@dataclass(slots=True)
class FeedReport:
    """What became of the lines so far."""

    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    skipped: int = 0
    """Lines that an earlier attempt had already delivered."""
    rejections: list[Rejection] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event and the number of the line it stood on, from 1."""

    line: int
    event: event_pb2.Event


def read_events(lines: Iterable[bytes], report: FeedReport) -> Iterator[NumberedEvent]:
    """The events of a file; lines that are none are noted in the report and left out."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        report.read += 1
        try:
            event = event_from_line(line)
        except LineError as error:
            report.rejections.append(Rejection(number, error.field, error.message))
            continue
        yield NumberedEvent(number, event)


class Feeder:
    """One stream into the profile service. Use as `async with`."""

    def __init__(
        self, connections: Connections, stream_id: str, report: FeedReport, *, history: bool
    ) -> None:
        self._connections = connections
        self._stream_id = stream_id
        self._report = report
        self._history = history
        self._sent: deque[tuple[int, list[int]]] = deque()
        """(last sequence, line per event) of each batch in flight."""
        self._sequence = 0
        self._acknowledged = 0

    async def __aenter__(self) -> Self:
        self._call = self._connections.profile.StreamEvents()
        opening = profile_pb2.OpenStream(stream_id=self._stream_id)
        await self._call.write(profile_pb2.StreamEventsRequest(open=opening))
        self._acknowledged = (await self._answer()).acknowledged_sequence
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            await self.flush()
            await self._call.done_writing()
        else:
            self._call.cancel()

    async def send(self, events: list[NumberedEvent]) -> None:
        """Sends events in batches; those that an earlier attempt delivered are skipped."""
        for batch in _batches(self._numbered(events)):
            while len(self._sent) >= IN_FLIGHT:
                await self._take_answer()
            first = batch[0][0]
            message = profile_pb2.StreamBatch(
                first_sequence=first, events=[numbered.event for _, numbered in batch], history=self._history
            )
            await self._call.write(profile_pb2.StreamEventsRequest(batch=message))
            self._sent.append((batch[-1][0], [numbered.line for _, numbered in batch]))

    async def flush(self) -> None:
        """Waits until everything sent is acknowledged, that is, committed."""
        while self._sent:
            await self._take_answer()

    def _numbered(self, events: list[NumberedEvent]) -> Iterator[tuple[int, NumberedEvent]]:
        for numbered in events:
            self._sequence += 1
            if self._sequence <= self._acknowledged:
                self._report.skipped += 1
                continue
            yield self._sequence, numbered

    async def _take_answer(self) -> None:
        answer = await self._answer()
        while self._sent and self._sent[0][0] <= answer.acknowledged_sequence:
            _, lines = self._sent.popleft()
            self._report.accepted += answer.accepted
            for exception in answer.exceptions:
                if exception.status == profile_pb2.INGEST_STATUS_DUPLICATE:
                    self._report.duplicates += 1
                else:
                    self._report.rejections.append(
                        Rejection(lines[exception.index], exception.field, exception.message)
                    )

    async def _answer(self) -> profile_pb2.StreamEventsResponse:
        answer = await self._call.read()
        if not isinstance(answer, profile_pb2.StreamEventsResponse):
            # the stream ended: awaiting the call's code raises nothing, awaiting the call would
            raise grpc.aio.UsageError(f"the stream ended early: {await self._call.details()}")
        return answer


async def feed(
    connections: Connections,
    events: Iterable[NumberedEvent],
    report: FeedReport,
    *,
    stream_id: str,
    history: bool = False,
    step: bool = False,
    moved: Callable[[FeedReport, Look | None], None] = lambda _report, _look: None,
) -> FeedReport:
    """Sends everything; with `step`, six hours of events at a time, then moves the clock and waits for quiet.

    Raises grpc.aio.AioRpcError when the service is lost for good; what was acknowledged is kept, and the same
    `stream_id` goes on behind it.
    """
    last: Look | None = None
    async with Feeder(connections, stream_id, report, history=history) as feeder:
        for upto, part in _parts(events, step=step):
            await feeder.send(part)
            if upto is None:
                moved(report, None)
                continue
            await feeder.flush()
            if part or last is None or last.planned:
                last = await advance(connections, upto, seen=lambda look: moved(report, look))
                moved(report, last)
        await feeder.flush()
        moved(report, None)
    return report


async def advance(
    connections: Connections, micros: int, *, seen: Callable[[Look], None] | None = None
) -> Look:
    """Moves business time on and waits until nothing due is pending."""
    await wait_quiet(connections, seen=seen)
    request = profile_pb2.AdvanceClockRequest(request_id=str(uuid4()), time=wire.timestamp(micros))
    await connections.profile.AdvanceClock(request)
    return await wait_quiet(connections, since_micros=micros, seen=seen)


def _parts(
    events: Iterable[NumberedEvent], *, step: bool
) -> Iterator[tuple[int | None, list[NumberedEvent]]]:
    """Lists of events, each with the business time to move to after it (None: leave the clock alone).

    Steps without an event come too, with an empty list: something planned may fall due in them.
    """
    part: list[NumberedEvent] = []
    edge: int | None = None
    for numbered in events:
        if step:
            micros = wire.micros(numbered.event.time)
            if edge is None:
                edge = (micros // STEP_MICROS + 1) * STEP_MICROS
            while micros >= edge:
                yield edge, part
                part = []
                edge += STEP_MICROS
        elif len(part) >= BATCH_EVENTS:
            yield None, part
            part = []
        part.append(numbered)
    if part:
        yield edge, part


def _batches(events: Iterator[tuple[int, NumberedEvent]]) -> Iterator[list[tuple[int, NumberedEvent]]]:
    batch: list[tuple[int, NumberedEvent]] = []
    size = 0
    for sequence, numbered in events:
        octets = numbered.event.ByteSize()
        if batch and (len(batch) >= BATCH_EVENTS or size + octets > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((sequence, numbered))
        size += octets
    if batch:
        yield batch

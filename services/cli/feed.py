"""Feeds events into the profile service over one resumable stream; under a fed clock, six hours at a time."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Self
from uuid import uuid4

import grpc
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import event_pb2

from services.cli.cloudevents import LineError, event_from_line
from services.cli.connections import Connections
from services.cli.patience import FULL_SECONDS, hinted_pause, is_away, patiently
from services.cli.quiet import Look, wait_quiet
from services.vocabulary import wire

BATCH_EVENTS = 500
BATCH_BYTES = 2 * 1024 * 1024
EVENT_BYTES = 128 * 1024
"""Larger events are not even sent; the service takes at most 64 kB and says so of the others."""
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
    """Events answered before, in an earlier attempt or on a stream that broke; what was answered is lost."""
    rests: int = 0
    """How often the service was full and was left in peace for a while."""
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
        if (octets := event.ByteSize()) > EVENT_BYTES:
            reason = f"the event has {octets:,} bytes; at most 64,000 are taken, send only the type's fields"
            report.rejections.append(Rejection(number, "data", reason))
            continue
        yield NumberedEvent(number, event)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Events that travel together, with the sequence of the last of them."""

    last: int
    events: list[NumberedEvent]

    @property
    def first(self) -> int:
        return self.last - len(self.events) + 1


class Feeder:
    """One stream into the profile service, opened again when the service comes back. Use as `async with`."""

    def __init__(
        self, connections: Connections, stream_id: str, report: FeedReport, *, history: bool
    ) -> None:
        self._connections = connections
        self._stream_id = stream_id
        self._report = report
        self._history = history
        self._sent: deque[_Batch] = deque()
        """Batches in flight, oldest first."""
        self._sequence = 0
        self._acknowledged = self._resumed_at = 0
        self._full_at, self._full_since = -1, 0.0
        """Where the service last said that it is full, and since when it is so without taking anything."""

    async def __aenter__(self) -> Self:
        await patiently(self._open)
        self._resumed_at = self._acknowledged
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            await self.flush()
            await self._call.done_writing()
        else:
            self._call.cancel()

    def delivered(self, events: list[NumberedEvent]) -> bool:
        """Whether an earlier attempt delivered all of these, which come next; if none: what comes after."""
        return self._sequence + max(len(events), 1) <= self._resumed_at

    async def send(self, events: list[NumberedEvent]) -> None:
        """Sends events in batches; those that an earlier attempt delivered are skipped."""
        for batch in _batches(self._numbered(events)):
            while len(self._sent) >= IN_FLIGHT:
                await self._take_answer()
            self._sent.append(batch)
            await self._write(batch)

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

    async def _open(self) -> None:
        self._call = self._connections.profile.StreamEvents()
        opening = profile_pb2.OpenStream(stream_id=self._stream_id)
        await self._put(profile_pb2.StreamEventsRequest(open=opening))
        self._acknowledged = (await self._answer()).acknowledged_sequence

    async def _open_again(self) -> None:
        """Goes on behind what was committed; what it answered to that is lost with the stream."""
        await patiently(self._open)
        while self._sent and self._sent[0].last <= self._acknowledged:
            self._report.skipped += len(self._sent.popleft().events)
        for batch in self._sent:
            await self._write(batch)

    async def _write(self, batch: _Batch) -> None:
        message = profile_pb2.StreamBatch(
            first_sequence=batch.first,
            events=[numbered.event for numbered in batch.events],
            history=self._history,
        )
        await self._put(profile_pb2.StreamEventsRequest(batch=message))

    async def _put(self, message: profile_pb2.StreamEventsRequest) -> None:
        # a stream that has ended refuses the message; why it ended is told by the next answer
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(message)

    async def _take_answer(self) -> None:
        try:
            answer = await self._answer()
        except grpc.aio.AioRpcError as error:
            pause = hinted_pause(error)
            if pause is None and not is_away(error):
                raise
            if pause is not None:
                await self._rest(error, pause)
            await self._open_again()
            return
        self._acknowledged = max(self._acknowledged, answer.acknowledged_sequence)
        while self._sent and self._sent[0].last <= answer.acknowledged_sequence:
            events = self._sent.popleft().events
            self._report.accepted += answer.accepted
            for exception in answer.exceptions:
                if exception.status == profile_pb2.INGEST_STATUS_DUPLICATE:
                    self._report.duplicates += 1
                else:
                    self._report.rejections.append(
                        Rejection(events[exception.index].line, exception.field, exception.message)
                    )

    async def _rest(self, error: grpc.aio.AioRpcError, seconds: float) -> None:
        """Leaves a service that is full in peace for as long as it says; raises when it stays so too long."""
        loop = asyncio.get_running_loop()
        if self._full_at != self._acknowledged:
            self._full_at, self._full_since = self._acknowledged, loop.time()
        if loop.time() + seconds > self._full_since + FULL_SECONDS:
            raise error
        self._report.rests += 1
        await asyncio.sleep(seconds)

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
    """Sends everything; with `step`, business time goes along: six hours of events, then on, then quiet.

    Events of a step are sent when business time stands at its beginning; steps without events and without
    anything planned are passed over. Raises grpc.aio.AioRpcError when a service stays away; what was
    acknowledged is kept, and the same `stream_id` goes on behind it.
    """
    quiet: Look | None = None
    """How everything stood when it was quiet, if nothing was sent since."""
    edge: int | None = None

    def seen(look: Look) -> None:
        moved(report, look)

    async with Feeder(connections, stream_id, report, history=history) as feeder:
        for upto, part in _parts(events, step=step):
            edge = upto
            if upto is not None and not feeder.delivered(part):
                quiet = quiet or await wait_quiet(connections, seen=seen)
                if part or quiet.planned:
                    quiet = await advance(connections, upto - STEP_MICROS, quiet=quiet, seen=seen)
            await feeder.send(part)
            moved(report, None)
            if upto is not None and part:
                await feeder.flush()
                quiet = None
        await feeder.flush()
        moved(report, None)
    if edge is not None:
        moved(report, await advance(connections, edge, seen=seen))
    return report


async def advance(
    connections: Connections,
    micros: int,
    *,
    quiet: Look | None = None,
    seen: Callable[[Look], None] | None = None,
) -> Look:
    """Moves business time on, unless it is there already, and waits until nothing due is pending.

    `quiet`: how everything stood when it was quiet, if nothing was sent since; else that is waited for first.
    """
    look = quiet or await wait_quiet(connections, seen=seen)
    if wire.micros(look.progress["profile"].business_time) < micros:
        request = profile_pb2.AdvanceClockRequest(request_id=str(uuid4()), time=wire.timestamp(micros))
        await patiently(partial(connections.profile.AdvanceClock, request))
        look = await wait_quiet(connections, since_micros=micros, seen=seen)
    return look


def _parts(
    events: Iterable[NumberedEvent], *, step: bool
) -> Iterator[tuple[int | None, list[NumberedEvent]]]:
    """Lists of events, each with the end of its step in business time (None: leave the clock alone).

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


def _batches(events: Iterator[tuple[int, NumberedEvent]]) -> Iterator[_Batch]:
    batch: list[NumberedEvent] = []
    size = last = 0
    for sequence, numbered in events:
        octets = numbered.event.ByteSize()
        if batch and (len(batch) >= BATCH_EVENTS or size + octets > BATCH_BYTES):
            yield _Batch(last, batch)
            batch, size = [], 0
        batch.append(numbered)
        size += octets
        last = sequence
    if batch:
        yield _Batch(last, batch)

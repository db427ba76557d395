"""Gathers what callers send at the same time into transactions; answers when committed."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final

from services.profile.app.ports import ContentionError, ProfileStore, Work
from services.profile.app.take_events import ACCEPTED, DUPLICATE, EventTaker, Outcome
from services.profile.domain.errors import RejectedError, RejectionReason
from services.profile.domain.events import CheckedEvent
from services.runtime.caller import current_caller
from services.runtime.tracing import spans, traceparent

MAX_EVENTS: Final = 500
"""Events of one transaction."""

_TRIES: Final = 4

SetAside = Callable[[Work, CheckedEvent, Exception], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class StreamMark:
    """How far a stream will have come once this part is committed."""

    stream_id: str
    sequence: int


@dataclass(slots=True, eq=False)
class _Request:
    events: Sequence[CheckedEvent]
    rejected: int
    mark: StreamMark | None
    trace: str = field(default_factory=traceparent)
    answer: asyncio.Future[list[Outcome]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Intake:
    """Takes events for many callers. `now`: business time; `set_aside` keeps what fails alone."""

    def __init__(
        self,
        store: ProfileStore,
        taker: EventTaker,
        now: Callable[[], int],
        set_aside: SetAside,
        *,
        lanes: int = 2,
    ) -> None:
        self._store = store
        self._taker = taker
        self._now = now
        self._set_aside = set_aside
        self._waiting: deque[_Request] = deque()
        self._free_lanes = lanes
        self._lanes: set[asyncio.Task[None]] = set()

    async def take(
        self, events: Sequence[CheckedEvent], *, rejected: int = 0, mark: StreamMark | None = None
    ) -> list[Outcome]:
        """Take checked events; committed when this returns. `rejected`: how many others were refused before.

        More than one transaction's worth is done in parts, in order; `mark` is committed with the last part.
        """
        caller = current_caller().name
        for event in events:
            event.told_by = caller  # a lane works for many callers
        parts = [events[at : at + MAX_EVENTS] for at in range(0, len(events), MAX_EVENTS)] or [[]]
        outcomes: list[Outcome] = []
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            request = _Request(part, rejected if last else 0, mark if last else None)
            self._waiting.append(request)
            self._open_lane()
            outcomes += await request.answer
        return outcomes

    def _open_lane(self) -> None:
        if self._free_lanes and self._waiting:
            self._free_lanes -= 1
            # it works for many callers: none of them is who asks, and no deadline of theirs is its own
            lane = asyncio.get_running_loop().create_task(self._lane(), name="intake", context=Context())
            self._lanes.add(lane)
            lane.add_done_callback(self._close_lane)

    def _close_lane(self, lane: asyncio.Task[None]) -> None:
        self._lanes.discard(lane)
        self._free_lanes += 1
        self._open_lane()

    async def _lane(self) -> None:
        while self._waiting:
            batch: list[_Request] = []
            room = MAX_EVENTS
            while self._waiting and (not batch or len(self._waiting[0].events) <= room):
                request = self._waiting.popleft()
                if request.answer.cancelled():
                    continue
                batch.append(request)
                room -= len(request.events)
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: Sequence[_Request]) -> None:
        try:
            outcomes = await self._try_together(batch)
        except Exception as error:  # noqa: BLE001 - each caller gets a chance of its own, and its own error
            if len(batch) > 1:
                for request in batch:
                    await self._answer([request])
                return
            await self._answer_alone(batch[0], error)
            return
        for request, outcome in zip(batch, outcomes, strict=True):
            if not request.answer.done():
                request.answer.set_result(outcome)

    async def _answer_alone(self, request: _Request, error: Exception) -> None:
        outcomes: list[Outcome] = []
        failure: Exception | None = error
        if not self._passes(error):
            try:
                with _traced([request]):
                    outcomes = await self._one_by_one(request)
            except Exception as final:  # noqa: BLE001 - it is the caller's
                failure = final
            else:
                failure = None
        if request.answer.done():
            return
        if failure is not None:
            request.answer.set_exception(failure)
        else:
            request.answer.set_result(outcomes)

    def _passes(self, error: Exception) -> bool:
        """Whether an error says nothing of the events, so that the caller may send them again."""
        return self._store.is_away(error) or isinstance(error, ContentionError)

    async def _try_together(self, batch: Sequence[_Request]) -> list[list[Outcome]]:
        tries = 1
        while True:
            try:
                return await self._together(batch)
            except ContentionError:
                # two transactions met in a ring; one was told to try again
                tries += 1
                if tries > _TRIES:
                    raise

    async def _together(self, batch: Sequence[_Request]) -> list[list[Outcome]]:
        events = [event for request in batch for event in request.events]
        with _traced(batch):
            outcomes = await self._commit(batch, events)
        parts: list[list[Outcome]] = []
        at = 0
        for request in batch:
            parts.append(outcomes[at : at + len(request.events)])
            at += len(request.events)
        return parts

    async def _commit(self, batch: Sequence[_Request], events: Sequence[CheckedEvent]) -> list[Outcome]:
        async with self._store.work() as work:
            outcomes = await self._taker.take(work, events, self._now()) if events else []
            for request in batch:
                if request.mark is not None:
                    await work.move_stream(request.mark.stream_id, request.mark.sequence)
            await work.count(totals(outcomes, sum(request.rejected for request in batch)))
        return outcomes

    async def _one_by_one(self, request: _Request) -> list[Outcome]:
        """Each event alone; what fails even so is set aside with its reason, and the others do not wait."""
        outcomes: list[Outcome] = []
        for event in request.events:
            try:
                async with self._store.work() as work:
                    one = await self._taker.take(work, [event], self._now())
                    await work.count(totals(one))
                outcomes += one
            except Exception as error:
                if self._passes(error):
                    raise
                async with self._store.work() as work:
                    await self._set_aside(work, event, error)
                    await work.count({"events.rejected": 1})
                outcomes.append(
                    RejectedError(
                        RejectionReason.MALFORMED,
                        "",
                        "the event could not be taken and was set aside",
                        "operators see why among the dead letters",
                    )
                )
        async with self._store.work() as work:
            if request.mark is not None:
                await work.move_stream(request.mark.stream_id, request.mark.sequence)
            await work.count({"events.rejected": request.rejected})
        return outcomes


@contextmanager
def _traced(batch: Sequence[_Request]) -> Iterator[None]:
    """A span in the trace of each caller, in which the caller's events go on."""
    with spans("take events", {place: request.trace for place, request in enumerate(batch)}) as own:
        for place, trace in own.items():
            for event in batch[place].events:
                event.trace = trace
        yield


def totals(outcomes: Sequence[Outcome], rejected: int = 0) -> dict[str, int]:
    """Exact totals of some outcomes; `rejected`: of events refused before."""
    accepted = sum(1 for outcome in outcomes if outcome is ACCEPTED)
    duplicate = sum(1 for outcome in outcomes if outcome is DUPLICATE)
    return {
        "events.accepted": accepted,
        "events.duplicate": duplicate,
        "events.rejected": rejected + len(outcomes) - accepted - duplicate,
    }

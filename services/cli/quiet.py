"""Waiting until everything that was sent has gone down the whole road."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rapport.operations.v1.operations_pb2 import GetProgressRequest, GetProgressResponse

from services.cli.connections import SERVICES, Connections
from services.cli.patience import patiently
from services.vocabulary import wire

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_PAUSE_SECONDS = 0.02
"""A look costs all three services some milliseconds, which they need for what is looked for."""
LONGEST_PAUSE_SECONDS = 0.25


class StillBusyError(TimeoutError):
    """Something was still on its way when the time was up; the text says what."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the progress of all three services."""

    progress: dict[str, GetProgressResponse]

    @property
    def pending(self) -> int:
        """Everything that is on its way or due."""
        return sum(p.stream_pending + p.outbox_pending + p.due_pending for p in self.progress.values())

    @property
    def awaiting_receipt(self) -> int:
        """Messages handed over whose receipt has not come."""
        return sum(p.awaiting_receipt for p in self.progress.values())

    @property
    def planned(self) -> int:
        """Everything that waits for a later business time."""
        return sum(p.planned for p in self.progress.values())

    @property
    def business_micros(self) -> int:
        """The earliest of the services' business times."""
        return min(wire.micros(p.business_time) for p in self.progress.values())

    def total(self, service: str, name: str) -> int:
        """One of a service's totals; 0 when it was never counted."""
        return int(self.progress[service].totals.get(name, 0))

    def busy_words(self) -> str:
        """What is on its way, in words."""
        parts = [
            f"{service}: {p.stream_pending} on its stream, {p.outbox_pending} in its outbox, "
            f"{p.due_pending} due, {p.awaiting_receipt} without receipt"
            for service, p in self.progress.items()
            if p.stream_pending or p.outbox_pending or p.due_pending or p.awaiting_receipt
        ]
        return "; ".join(parts) or "nothing"


async def look(connections: Connections) -> Look:
    """Asks all three services for their progress at once.

    A service that is away for a moment is waited for. Raises grpc.aio.AioRpcError when it stays away.
    """
    asked = [partial(connections.operations[name].GetProgress, GetProgressRequest()) for name in SERVICES]
    answers = await asyncio.gather(*(patiently(ask) for ask in asked))
    return Look(dict(zip(SERVICES, answers, strict=True)))


async def wait_quiet(
    connections: Connections,
    *,
    since_micros: int = 0,
    receipts: bool = False,
    patience_seconds: float = 120.0,
    seen: "Callable[[Look], None] | None" = None,
) -> Look:
    """Waits until two looks in a row find nothing on its way or moved, and all clocks at `since_micros`.

    One look is not enough: what leaves a service after it was asked may enter the next one before that is
    asked, or after. With `receipts`, receipts that have not come count as on their way.
    `patience_seconds` starts anew whenever something moved. Raises StillBusyError.
    """
    pause = SHORTEST_PAUSE_SECONDS
    before: Look | None = None
    busy_before = 0
    loop = asyncio.get_running_loop()
    moved = loop.time()
    while True:
        now = await look(connections)
        if seen is not None:
            seen(now)
        still = before is not None and all(
            now.progress[name].totals == before.progress[name].totals for name in SERVICES
        )
        busy = now.pending + (now.awaiting_receipt if receipts else 0)
        if still and not busy and not busy_before and now.business_micros >= since_micros:
            return now
        if not still:
            moved = loop.time()
            pause = SHORTEST_PAUSE_SECONDS
        if loop.time() - moved > patience_seconds:
            raise StillBusyError(
                f"nothing moved for {patience_seconds:.0f} s, and still there is {now.busy_words()}"
            )
        if busy or now.business_micros < since_micros:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)
        before, busy_before = now, busy

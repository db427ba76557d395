"""What was planned re-enters as an event of our own when its business time has come.

So do planned actions (`action.due`) and the steps of journeys (`journey.due`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.runtime.clock import Clock
    from services.runtime.database import Database, Transaction

Plan = TypeVar("Plan")
MOST = 500
"""Plans claimed in one transaction."""


class Planned(Protocol[Plan]):
    """What waits for its time."""

    async def take_due(self, transaction: Transaction, now_micros: int, most: int) -> list[Plan]:
        """Claims what is due."""
        ...

    async def next_due(self) -> int | None:
        """When the next falls due; None: nothing is planned."""
        ...


class FallDue(Generic[Plan]):
    """The due loop of a worker; several may run. ``hand_on``: puts what was claimed into the outbox."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        planned: Planned[Plan],
        hand_on: Callable[[Transaction, list[Plan]], Awaitable[None]],
        *,
        channel: str,
        sweep_seconds: float = 2.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._planned = planned
        self._hand_on = hand_on
        self._channel = channel
        self._sweep_seconds = sweep_seconds

    async def take_due(self) -> int:
        """Claims what is due and hands it on in the same transaction; how many."""
        taken = 0
        while True:
            async with self._database.transaction() as transaction:
                due = await self._planned.take_due(transaction, self._clock.now_micros(), MOST)
                await self._hand_on(transaction, due)
            taken += len(due)
            if len(due) < MOST:
                return taken

    async def run(self) -> None:
        """Takes what is due until cancelled: when business time reaches the next plan, or one was added."""
        wake = asyncio.Event()
        listener = asyncio.create_task(self._listen(wake), name=f"{self._channel}-listen")
        try:
            while True:
                wake.clear()
                await self.take_due()
                next_due = await self._planned.next_due()
                if next_due is None:
                    await wake.wait()
                else:
                    await self._clock.wait_until(next_due, wake)
        finally:
            listener.cancel()

    async def _listen(self, wake: asyncio.Event) -> None:
        async for _ in self._database.listen(self._channel, sweep_seconds=self._sweep_seconds):
            wake.set()

"""Planned actions re-enter as `action.due` when their business time has come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.decision.app.ports import Decisions, HandOver
    from services.runtime.clock import Clock
    from services.runtime.database import Database

MOST = 500
"""Plans claimed in one transaction."""


class FallDue:
    """The due loop of a worker; several may run."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        decisions: Decisions,
        hand_over: HandOver,
        *,
        channel: str,
        sweep_seconds: float = 2.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._decisions = decisions
        self._hand_over = hand_over
        self._channel = channel
        self._sweep_seconds = sweep_seconds

    async def take_due(self) -> int:
        """Claims what is due and hands it on in the same transaction; how many."""
        taken = 0
        while True:
            async with self._database.transaction() as transaction:
                due = await self._decisions.take_due(transaction, self._clock.now_micros(), MOST)
                await self._hand_over.fell_due(transaction, due)
            taken += len(due)
            if len(due) < MOST:
                return taken

    async def run(self) -> None:
        """Takes what is due until cancelled: when business time reaches the next plan, or one was added."""
        wake = asyncio.Event()
        listener = asyncio.create_task(self._listen(wake), name="planned-listen")
        try:
            while True:
                wake.clear()
                await self.take_due()
                next_due = await self._decisions.next_due()
                if next_due is None:
                    await wake.wait()
                else:
                    await self._clock.wait_until(next_due, wake)
        finally:
            listener.cancel()

    async def _listen(self, wake: asyncio.Event) -> None:
        async for _ in self._database.listen(self._channel, sweep_seconds=self._sweep_seconds):
            wake.set()

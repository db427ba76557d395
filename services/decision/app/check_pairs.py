"""Checks of pairs that stay open re-enter as `trigger.due` when their business time has come."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from services.runtime.metrics import CALLED
from services.runtime.totals import add_totals

if TYPE_CHECKING:
    from services.decision.app.run_ports import CallHandOver, Runs
    from services.runtime.clock import Clock
    from services.runtime.database import Database

MOST = 500
"""Checks claimed in one transaction."""


class CheckPairs:
    """The loop of a worker; several may run."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        runs: Runs,
        hand_over: CallHandOver,
        *,
        channel: str,
        sweep_seconds: float = 2.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._runs = runs
        self._hand_over = hand_over
        self._channel = channel
        self._sweep_seconds = sweep_seconds

    async def take_due(self) -> int:
        """Claims what is due and hands it on in the same transaction; how many."""
        taken = 0
        while True:
            async with self._database.transaction() as transaction:
                due = await self._runs.take_pairs(transaction, self._clock.now_micros(), MOST)
                await self._hand_over.called(transaction, due)
                await add_totals(transaction, {"pairs.checked": len(due)})
                if due:
                    transaction.after_commit(partial(CALLED.labels("pair").inc, len(due)))
            taken += len(due)
            if len(due) < MOST:
                return taken

    async def run(self) -> None:
        """Takes what is due until cancelled: when business time reaches the next check, or one was added."""
        wake = asyncio.Event()
        listener = asyncio.create_task(self._listen(wake), name="pairs-listen")
        try:
            while True:
                wake.clear()
                await self.take_due()
                following = await self._runs.next_pair()
                if following is None:
                    await wake.wait()
                else:
                    await self._clock.wait_until(following, wake)
        finally:
            listener.cancel()

    async def _listen(self, wake: asyncio.Event) -> None:
        async for _ in self._database.listen(self._channel, sweep_seconds=self._sweep_seconds):
            wake.set()

"""Looks now and then at open runs, for the metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from services.runtime.errors import UnavailableError
from services.runtime.metrics import RUNS_BEHIND, RUNS_OPEN, show

if TYPE_CHECKING:
    from services.decision.adapters.run_store import RunStore
    from services.runtime.clock import Clock


class RunWatch:
    """Keeps the gauges of runs up to date; each worker may run one."""

    def __init__(self, runs: RunStore, clock: Clock, *, every_seconds: float = 5.0) -> None:
        self._runs = runs
        self._clock = clock
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Look until cancelled."""
        show(RUNS_OPEN, RUNS_BEHIND)
        while True:
            with suppress(UnavailableError):
                await self.look()
            await asyncio.sleep(self._every_seconds)

    async def look(self) -> None:
        """Look once."""
        count, seconds = await self._runs.behind(self._clock.now_micros())
        RUNS_OPEN.set(count)
        RUNS_BEHIND.set(seconds)

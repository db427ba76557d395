"""Looks now and then at open runs, for the metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from services.decision.domain.run_room import PAUSED, Wait
from services.runtime.errors import UnavailableError
from services.runtime.metrics import RUNS_BEHIND, RUNS_HELD, RUNS_HELD_SECONDS, RUNS_OPEN, show
from services.vocabulary.values import SECOND

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
        show(RUNS_OPEN, RUNS_BEHIND, RUNS_HELD, RUNS_HELD_SECONDS)
        while True:
            with suppress(UnavailableError):
                await self.look()
            await asyncio.sleep(self._every_seconds)

    async def look(self) -> None:
        """Look once."""
        now = self._clock.now_micros()
        count, seconds = await self._runs.behind(now)
        held = await self._runs.held()
        RUNS_OPEN.set(count)
        RUNS_BEHIND.set(seconds)
        for why in (PAUSED, *Wait):
            many, since = held.get(why, (0, now))
            RUNS_HELD.labels(why).set(many)
            RUNS_HELD_SECONDS.labels(why).set(max(0, now - since) / SECOND)

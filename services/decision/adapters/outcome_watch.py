"""Looks now and then at how far those are behind who take outcomes, for the metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from services.runtime.errors import UnavailableError
from services.runtime.metrics import OUTCOMES_OLDEST

if TYPE_CHECKING:
    from services.decision.adapters.outcome_feed import OutcomeFeed
    from services.runtime.clock import Clock


class OutcomeWatch:
    """Keeps the gauge of consumers up to date; each worker may run one."""

    def __init__(self, feed: OutcomeFeed, clock: Clock, *, every_seconds: float = 10.0) -> None:
        self._feed = feed
        self._clock = clock
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with suppress(UnavailableError):
                await self.look()
            await asyncio.sleep(self._every_seconds)

    async def look(self) -> None:
        """Look once. Whoever was forgotten is shown no more."""
        oldest = await self._feed.oldest()
        now = self._clock.now_micros()
        OUTCOMES_OLDEST.clear()
        for name, micros in oldest.items():
            OUTCOMES_OLDEST.labels(name).set(max(0, now - micros) / 1_000_000 if micros else 0)

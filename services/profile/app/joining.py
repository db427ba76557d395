"""Merges pairs of customers that the catalogue has merged at once, without anybody's being asked."""

import asyncio
from contextlib import suppress

import structlog

from services.profile.app.identities import Suggested
from services.profile.app.ports import ContentionError, ProfileStore
from services.profile.domain.merges import SuggestionState
from services.runtime.clock import Clock
from services.runtime.errors import UnavailableError

_PAGE = 50
_log = structlog.get_logger(__name__)


class Joining:
    """Runs in a worker; several may run: each pair is merged in a transaction of its own, once."""

    def __init__(
        self, store: ProfileStore, suggested: Suggested, clock: Clock, *, every_seconds: float = 2.0
    ) -> None:
        self._store = store
        self._suggested = suggested
        self._clock = clock
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Look at intervals until cancelled."""
        while True:
            with suppress(UnavailableError, ContentionError):
                await self.join()
            await asyncio.sleep(self._every_seconds)

    async def join(self) -> int:
        """Merge all that waits; how many pairs."""
        joined = 0
        while True:
            async with self._store.work() as work:
                waiting = await work.suggestions(SuggestionState.JOINING, 0, _PAGE)
            for one in waiting:
                async with self._store.work() as work:
                    found = await work.suggestion(one.id)
                    if found is not None and found.state is SuggestionState.JOINING:
                        now = self._clock.now_micros()
                        await self._suggested.decide(work, one.id, "", now, accept=True)
                        joined += 1
            if len(waiting) < _PAGE:
                if joined:
                    _log.info("customers_joined", pairs=joined)
                return joined

"""Forgets event keys that no event can bring again, because none that old is taken."""

import asyncio
from contextlib import suppress

from services.profile.domain.events import OLDEST_MICROS
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.errors import UnavailableError

_ROWS = 10_000
_MARGIN_MICROS = 86_400_000_000


class OldKeys:
    """Runs in a worker, now and then."""

    def __init__(self, database: Database, clock: Clock, *, every_seconds: float = 3600.0) -> None:
        self._database = database
        self._clock = clock
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Clear until cancelled."""
        while True:
            with suppress(UnavailableError):
                await self.clear()
            await asyncio.sleep(self._every_seconds)

    async def clear(self) -> int:
        """Delete keys of events older than are taken, and a day more, in short transactions; how many."""
        before = self._clock.now_micros() - OLDEST_MICROS - _MARGIN_MICROS
        gone = 0
        while True:
            async with self._database.transaction() as transaction:
                rows = await transaction.execute(
                    "DELETE FROM event_key WHERE key IN "
                    "(SELECT key FROM event_key WHERE time_micros < %s LIMIT %s)",
                    (before, _ROWS),
                )
            gone += rows
            if rows < _ROWS:
                return gone

"""Back-pressure: new work from outside is refused while too much of the old has not left yet."""

import asyncio

from services.runtime.database import Database
from services.runtime.errors import UnavailableError


class Backlog:
    """Knows, to within half a second, whether the outbox holds more messages than it should.

    Only for what callers send over gRPC; what the services say to each other is always taken.
    """

    def __init__(
        self, database: Database, *, most_messages: int = 20_000, refresh_seconds: float = 0.5
    ) -> None:
        self._database = database
        self._most = most_messages
        self._refresh_seconds = refresh_seconds
        self._known = 0
        self._known_until = 0.0
        self._counting = asyncio.Lock()

    async def check(self) -> None:
        """UnavailableError when there is no room; the caller should come back in a few seconds."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._known_until:
            async with self._counting:
                if loop.time() >= self._known_until:
                    self._known = await self._count()
                    self._known_until = loop.time() + self._refresh_seconds
        if self._known > self._most:
            raise UnavailableError(
                "too much is waiting to be handed on", suggestion="send the same again in a few seconds"
            )

    async def _count(self) -> int:
        async with self._database.transaction() as transaction:
            # no further than the answer needs
            row = await transaction.row(
                "SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT %s) AS waiting", (self._most + 1,)
            )
        return int(row[0]) if row else 0

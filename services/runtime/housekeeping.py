"""Forgets keys that can no longer come again: of stream messages and of requests."""

import asyncio
from contextlib import suppress

import structlog

from services.runtime.database import Database
from services.runtime.errors import UnavailableError

KEPT_DAYS = 30  # far longer than a message can lie in a stream or a caller repeats a request
_ROWS = 10_000
_STATEMENTS = {
    "taken_message": """
        DELETE FROM taken_message WHERE key IN (
            SELECT key FROM taken_message WHERE taken_at < now() - make_interval(days => %s) LIMIT %s)
    """,
    "request_key": """
        DELETE FROM request_key WHERE (rpc, request_id) IN (
            SELECT rpc, request_id FROM request_key
            WHERE created_at < now() - make_interval(days => %s) LIMIT %s)
    """,
}
_log = structlog.get_logger(__name__)


class Housekeeping:
    """Runs in a worker, now and then."""

    def __init__(self, database: Database, *, every_seconds: float = 3600.0) -> None:
        self._database = database
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Clear until cancelled."""
        while True:
            with suppress(UnavailableError):
                await self.clear()
            await asyncio.sleep(self._every_seconds)

    async def clear(self) -> dict[str, int]:
        """Delete what is over 30 days old, in short transactions; how many rows of each table."""
        gone: dict[str, int] = {}
        for table, statement in _STATEMENTS.items():
            gone[table] = 0
            while True:
                async with self._database.transaction() as transaction:
                    rows = await transaction.execute(statement, (KEPT_DAYS, _ROWS))
                gone[table] += rows
                if rows < _ROWS:
                    break
        if any(gone.values()):
            _log.info("old_keys_forgotten", **gone)
        return gone

"""Single statements in binary psycopg, without a transaction around them: one round trip each."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from services.runtime.errors import StorageFullError, UnavailableError

Params = Sequence[Any] | Mapping[str, Any]
AWAY = "the database does not answer"


class Statements:
    """Runs statements on a connection.

    Parameters are psycopg's: `%s` with a sequence, `%(name)s` with a mapping; lists go as binary arrays,
    results come back binary.
    """

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self.driver = driver

    async def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, or of what a statement returns."""
        async with self.driver.cursor(binary=True) as cursor:
            await cursor.execute(sql.encode(), params or None)
            return await cursor.fetchall()

    async def row(self, sql: str, params: Params = ()) -> tuple[Any, ...] | None:
        """The first row; None: there is none."""
        async with self.driver.cursor(binary=True) as cursor:
            await cursor.execute(sql.encode(), params or None)
            return await cursor.fetchone()

    async def execute(self, sql: str, params: Params = ()) -> int:
        """Run a statement; how many rows it touched."""
        async with self.driver.cursor(binary=True) as cursor:
            await cursor.execute(sql.encode(), params or None)
            return cursor.rowcount


class LooseConnections:
    """Connections that commit each statement by itself, kept for whoever needs one next.

    Only for work that runs a few times at once, for there are as many as that.
    """

    def __init__(self, connect: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]]) -> None:
        self._connect = connect
        self._idle: list[psycopg.AsyncConnection[Any]] = []

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Statements]:
        """One of them; UnavailableError: the database is away; StorageFullError: its disk is full."""
        try:
            driver = self._idle.pop() if self._idle else await self._connect()
        except psycopg.OperationalError as error:
            raise UnavailableError(AWAY) from error
        try:
            yield Statements(driver)
        except psycopg.Error as error:
            if driver.closed:
                await self.close()  # the others were most likely cut too
                raise UnavailableError(AWAY) from error
            self._idle.append(driver)
            if isinstance(error, psycopg.errors.DiskFull):
                raise StorageFullError from error
            raise
        except BaseException:
            await driver.close()  # nobody knows what it is in the middle of
            raise
        self._idle.append(driver)

    async def close(self) -> None:
        """Give back those that nobody uses."""
        while self._idle:
            await self._idle.pop().close()

"""A service's PostgreSQL: SQLAlchemy for what is rare, binary psycopg for what is hot."""

import asyncio
import contextlib
import random
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psycopg
import structlog
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.runtime.arrays import ColumnDumper
from services.runtime.errors import SettingError, StorageFullError, UnavailableError
from services.runtime.log import describe_failure
from services.runtime.statements import AWAY, LooseConnections, Statements

_TRANSIENT = (
    UnavailableError,
    TimeoutError,
    PoolTimeoutError,
    psycopg.OperationalError,  # deadlock, serialization failure, lost connection, shutdown, disk full
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.InFailedSqlTransaction,
)
_log = structlog.get_logger(__name__)

# an abandoned transaction must not hold customer rows, nor a machine that has gone the locks of its relay (by
# itself the system notices after hours); parallel plans and JIT only cost on short statements
_SERVER_SETTINGS = " ".join(
    f"-c {setting}"
    for setting in (
        "idle_in_transaction_session_timeout=15s",
        "tcp_keepalives_idle=10",
        "tcp_keepalives_interval=5",
        "tcp_keepalives_count=3",
        "tcp_user_timeout=30s",
        "jit=off",
        "max_parallel_workers_per_gather=0",
        "timezone=UTC",
    )
)
_CONNECT = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # what was sent and is not confirmed: keepalives do not count then
}


class Transaction(Statements):
    """One transaction; `connection` (SQLAlchemy Core) and the methods act in it alike."""

    def __init__(self, connection: AsyncConnection, driver: psycopg.AsyncConnection[Any]) -> None:
        super().__init__(driver)
        self.connection = connection
        self.totals: dict[str, int] = {}
        self.request_id = ""  # of the request that this transaction answers; stands in the audit log
        self._after_commit: list[Callable[[], None]] = []
        self._savepoints = 0

    async def copy_rows(self, copy_sql: str, types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Binary COPY: `copy_sql` is `COPY t (a, b) FROM STDIN (FORMAT BINARY)`, `types` its columns'."""
        async with self.driver.cursor() as cursor, cursor.copy(copy_sql.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                await copy.write_row(row)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What fails inside is undone alone, totals included, and the error goes on to the caller."""
        self._savepoints += 1
        name = f"part_{self._savepoints}"
        totals = dict(self.totals)
        callbacks = len(self._after_commit)
        await self.execute(f"SAVEPOINT {name}")
        try:
            yield
        except Exception:
            self.totals = totals
            del self._after_commit[callbacks:]
            await self.execute(f"ROLLBACK TO SAVEPOINT {name}")
            raise
        await self.execute(f"RELEASE SAVEPOINT {name}")

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when this transaction has been committed; it must not fail or wait."""
        if callback not in self._after_commit:
            self._after_commit.append(callback)

    async def before_commit(self) -> None:
        """Write what was gathered for the end, so that its row locks are held for a moment only."""
        if self.totals:
            from services.runtime.totals import write_totals

            await write_totals(self)

    def committed(self) -> None:
        """Run the callbacks."""
        for callback in self._after_commit:
            callback()


class Database:
    """A pool of connections to one database; `url` is SQLAlchemy's (`postgresql+psycopg://…`).

    A statement that takes longer than `statement_seconds` is ended by the server; 0: none is.
    """

    def __init__(self, url: str, pool_size: int = 8, *, statement_seconds: int = 0) -> None:
        if not url:
            raise SettingError(
                "no database is named", field="RAPPORT_DATABASE_URL", suggestion="postgresql+psycopg://…"
            )
        self._url = make_url(url)
        # what nobody waits for any more must not go on at the server
        self._options = f"{_SERVER_SETTINGS} -c statement_timeout={statement_seconds}s"
        self._engine: AsyncEngine = create_async_engine(
            self._url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=30,
            async_creator=self._connect,
        )
        self._loose = LooseConnections(self.connect_driver)
        event.listen(self._engine.sync_engine, "connect", _prepare)
        self._notices: set[str] = set()
        self._notifier: asyncio.Task[None] | None = None
        self._notify_driver: psycopg.AsyncConnection[Any] | None = None

    @property
    def engine(self) -> AsyncEngine:
        """SQLAlchemy's engine."""
        return self._engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction (READ COMMITTED): committed when the block ends, rolled back when it raises.

        UnavailableError when the database is away, or went away before the commit was confirmed;
        StorageFullError when its disk is full.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self._engine.connect())
                driver: Any = (await connection.get_raw_connection()).driver_connection
            except (OperationalError, InterfaceError, PoolTimeoutError) as error:
                raise UnavailableError(AWAY) from error
            control = await connection.begin()
            transaction = Transaction(connection, driver)
            try:
                yield transaction
                await transaction.before_commit()
                await control.commit()
            except BaseException as error:
                lost = driver.closed
                if lost:
                    # SQLAlchemy has to see it too (in a commit it has): it opens the pool's others anew then
                    with contextlib.suppress(DBAPIError, PendingRollbackError):
                        await connection.exec_driver_sql("SELECT 1")
                with contextlib.suppress(DBAPIError):  # lost only now: the server rolls back by itself
                    await control.rollback()
                if lost and isinstance(error, (psycopg.Error, DBAPIError)):
                    raise UnavailableError(AWAY) from error
                if isinstance(_cause(error), psycopg.errors.DiskFull):
                    raise StorageFullError from error
                raise
        transaction.committed()

    def statements(self) -> AbstractAsyncContextManager[Statements]:
        """Statements of which each is committed when it is answered, whatever becomes of the next.

        For a single one, and for looks that need not fit each other; saves two round trips of a transaction.
        """
        return self._loose.taken()

    def notify(self, channel: str) -> None:
        """Wake those who listen on `channel`, soon and without waiting; many calls may become one.

        On a connection of its own, after the commit: a NOTIFY inside a transaction makes all such commits
        queue behind one lock while each waits for the disk. What is lost when the process dies in between,
        the listeners' sweep finds.
        """
        self._notices.add(channel)
        if self._notifier is None or self._notifier.done():
            self._notifier = asyncio.get_running_loop().create_task(self._send_notices(), name="notify")

    async def _send_notices(self) -> None:
        while self._notices:
            channel = self._notices.pop()
            try:
                if self._notify_driver is None or self._notify_driver.closed:
                    self._notify_driver = await self.connect_driver()
                    await self._notify_driver.execute("SET synchronous_commit = off")  # nothing to keep
                await self._notify_driver.execute("SELECT pg_notify(%s, '')", (channel,))
            except psycopg.Error as error:
                _log.warning("notify_failed", channel=channel, **describe_failure(error))

    async def listen(self, channel: str, *, sweep_seconds: float = 5.0) -> AsyncIterator[str]:
        """Yield the payload at each NOTIFY on `channel`, and "" at each (new) connection and sweep.

        Never ends and never raises for a database that is away: it connects again with back-off.
        """
        failures = 0
        while True:
            driver: psycopg.AsyncConnection[Any] | None = None
            try:
                driver = await self.connect_driver()
                await driver.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                failures = 0
                yield ""
                while True:
                    heard = False
                    async for notice in driver.notifies(timeout=sweep_seconds, stop_after=1):
                        heard = True
                        yield notice.payload
                    if not heard:
                        yield ""
                        await driver.execute("SELECT 1")
            except psycopg.Error as error:
                failures += 1
                _log.warning("listen_lost", channel=channel, **describe_failure(error))
            finally:
                if driver is not None:
                    await driver.close()
            await asyncio.sleep(backoff_seconds(failures))

    async def connect_driver(self) -> psycopg.AsyncConnection[Any]:
        """A psycopg connection of one's own, each statement its own transaction; the caller closes it."""
        driver = await self._connect(autocommit=True)
        driver.adapters.register_dumper(list, ColumnDumper)
        return driver

    async def _connect(self, *, autocommit: bool = False) -> psycopg.AsyncConnection[Any]:
        """A connection; when this is cancelled none stays half open.

        psycopg leaves one to the garbage collector then, and until that comes the server waits for the
        password: a minute, in which no database can be dropped.
        """
        _, arguments = self._url.get_dialect()().create_connect_args(self._url)
        try:
            return await psycopg.AsyncConnection.connect(
                **{**arguments, **_CONNECT}, autocommit=autocommit, options=self._options
            )
        except asyncio.CancelledError as cancelled:
            traceback.clear_frames(cancelled.__traceback__)  # these alone hold it
            raise

    async def close(self) -> None:
        """Give all connections back to the server."""
        if self._notifier is not None:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(self._notifier, 2)
        if self._notify_driver is not None:
            await self._notify_driver.close()
        await self._loose.close()
        await self._engine.dispose()


def is_transient(error: BaseException) -> bool:
    """Whether the same work may pass later unchanged: never a reason to set an item aside."""
    return isinstance(_cause(error), _TRANSIENT)


def _cause(error: BaseException) -> BaseException:
    """The driver's own error where SQLAlchemy wrapped one."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def backoff_seconds(failures: int, *, first: float = 0.1, most: float = 10.0) -> float:
    """How long to wait after so many failures in a row: doubled each time, with jitter."""
    longest = min(most, first * 2.0 ** min(max(failures - 1, 0), 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is not a secret


def _prepare(adapted: Any, _record: Any) -> None:
    adapted.driver_connection.adapters.register_dumper(list, ColumnDumper)

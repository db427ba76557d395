"""What leaves a service is written in its transaction and published in order after the commit."""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import structlog

from services.runtime.database import Database, Transaction, backoff_seconds
from services.runtime.errors import InvalidArgumentError, TooLargeError
from services.runtime.log import describe_failure
from services.runtime.publish import Log, Publisher, Row
from services.runtime.streams import DEAD, WORK_STREAMS
from services.runtime.tracing import trail

OUTBOX_CHANNEL = "outbox"
MAX_PAYLOAD = 256 * 1024
_COMPANY_SECONDS = 0.005
_LOCK_CLASS = 0x5261_7070  # advisory locks (class, partition)
_log = structlog.get_logger(__name__)


class Outbox:
    """Where a use case puts what other services shall hear of."""

    def __init__(self, database: Database, *, partitions: int = 64) -> None:
        self._database = database
        self._partitions = partitions

    async def put(
        self,
        transaction: Transaction,
        stream: str,
        rows: Sequence[tuple[int, bytes]],
        *,
        traces: Mapping[int, str] | None = None,
    ) -> None:
        """Add messages (partition, payload) for a stream in this order; call it after the row locks are held.

        `traces`: the traceparent by partition; None: that of the work in hand. TooLargeError for a payload
        over 256 kB, before anything is written.
        """
        if not rows:
            return
        if stream not in WORK_STREAMS and stream != DEAD:
            raise InvalidArgumentError(
                f"there is no stream {stream!r}",
                field="stream",
                suggestion=f"one of {', '.join(WORK_STREAMS)}",
            )
        for partition, payload in rows:
            if not 0 <= partition < self._partitions:
                raise InvalidArgumentError(
                    f"partition {partition} is outside 0 to {self._partitions - 1}", field="partition"
                )
            if len(payload) > MAX_PAYLOAD:
                raise TooLargeError(
                    f"a message of {len(payload)} bytes for {stream} is over the limit of {MAX_PAYLOAD}",
                    field="payload",
                    suggestion="put fewer items into one message",
                )
        await transaction.execute(
            """
            INSERT INTO outbox (stream, partition, payload, trace)
            SELECT %(stream)s, partition, payload, nullif(trace, '')
            FROM unnest(%(partitions)s::int[], %(payloads)s::bytea[], %(traces)s::text[]) WITH ORDINALITY
                AS row (partition, payload, trace, position)
            ORDER BY position
            """,
            {
                "stream": stream,
                "partitions": [partition for partition, _ in rows],
                "payloads": [payload for _, payload in rows],
                "traces": [
                    trail(partition) if traces is None else traces.get(partition, "") for partition, _ in rows
                ],
            },
        )
        transaction.after_commit(self._wake)

    def _wake(self) -> None:
        self._database.notify(OUTBOX_CHANNEL)


async def outbox_pending(transaction: Transaction) -> int:
    """How many messages are committed and not yet published."""
    row = await transaction.row("SELECT count(*) FROM outbox")
    return int(row[0]) if row else 0


class Relay:
    """Publishes a service's outbox: per partition in order, each message deleted after its ack.

    Several may run; the partitions whose advisory locks one holds are its own until its connection ends.
    """

    def __init__(
        self,
        service: str,
        database: Database,
        jetstream: Log,
        *,
        partitions: int = 64,
        read_rows: int = 256,
        sweep_seconds: float = 2.0,
        publish_timeout_seconds: float = 10.0,
    ) -> None:
        self._service = service
        self._database = database
        self._partitions = partitions
        self._read_rows = read_rows
        self._sweep_seconds = sweep_seconds
        self._publisher = Publisher(jetstream, self._done, timeout_seconds=publish_timeout_seconds)
        self._wake = asyncio.Event()
        self._origin = ""
        self._mine: list[int] = []
        self._read: dict[int, str] = {}  # stream by id
        self._acknowledged: list[int] = []
        self._more = False
        self._deleting: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Relay until cancelled; a database or a NATS that is away is waited for."""
        listener = asyncio.create_task(self._listen(), name="outbox-listen")
        failures = 0
        try:
            while True:
                try:
                    async with await self._database.connect_driver() as driver:
                        await self._relay(driver)
                except (psycopg.Error, OSError) as error:
                    failures = 1 if self._mine else failures + 1
                    _log.warning("relay_lost_database", **describe_failure(error))
                finally:
                    await self._forget()
                await asyncio.sleep(backoff_seconds(failures))
        finally:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener

    async def _listen(self) -> None:
        async for _ in self._database.listen(OUTBOX_CHANNEL, sweep_seconds=self._sweep_seconds):
            self._wake.set()

    async def _relay(self, driver: psycopg.AsyncConnection[Any]) -> None:
        """Work on one connection: its locks make partitions ours; reading and deleting is on it."""
        await driver.execute("SET synchronous_commit = off")  # a message published twice is taken once
        self._origin = await _origin(driver)
        loop = asyncio.get_running_loop()
        lock_again = loop.time()
        while True:
            self._wake.clear()
            if loop.time() >= lock_again:
                await self._lock(driver)
                lock_again = loop.time() + self._sweep_seconds
            self._more = await self._turn(driver)
            # what is read waits behind what is being published, so that neither waits for the other
            if not self._more or self._in_work() >= 2 * self._read_rows:
                await self._wake.wait()

    async def _lock(self, driver: psycopg.AsyncConnection[Any]) -> None:
        missing = sorted(set(range(self._partitions)) - set(self._mine))
        if not missing:
            return
        cursor = await driver.execute(
            "SELECT number FROM unnest(%s::int[]) AS number WHERE pg_try_advisory_lock(%s, number)",
            (missing, _LOCK_CLASS),
        )
        self._mine = sorted({*self._mine, *(row[0] for row in await cursor.fetchall())})

    async def _turn(self, driver: psycopg.AsyncConnection[Any]) -> bool:
        """Delete what was acknowledged, read what is new, hand it to its lanes; True: there may be more."""
        done, self._acknowledged = self._acknowledged, []
        # a stream that takes nothing (full, or nobody there) must not fill our hands and stop the others
        in_hand = Counter(self._read.values())
        in_hand.subtract(self._read[number] for number in done)
        full = [stream for stream, rows in in_hand.items() if rows >= 2 * self._read_rows]
        async with driver.cursor(binary=True) as cursor:
            await cursor.execute(
                """
                WITH gone AS (DELETE FROM outbox WHERE id = ANY(%(done)s::bigint[]))
                SELECT id, stream, partition, payload, trace FROM outbox
                WHERE partition = ANY(%(mine)s::int[]) AND id <> ALL(%(read)s::bigint[])
                    AND stream <> ALL(%(full)s::text[])
                ORDER BY id LIMIT %(limit)s
                """,
                {
                    "done": done,
                    "mine": self._mine,
                    "read": sorted(self._read),
                    "full": full,
                    "limit": self._read_rows,
                },
            )
            rows = await cursor.fetchall()
        for number in done:
            del self._read[number]
        for number, stream, partition, payload, trace in rows:
            self._read[number] = stream
            key = f"{self._service}:{self._origin}:{number}"
            self._publisher.put(stream, Row(number, partition, key, payload, trace))
        return len(rows) == self._read_rows

    def _done(self, numbers: Sequence[int]) -> None:
        self._acknowledged.extend(numbers)
        self._delete_soon()

    def _delete_soon(self) -> None:
        """Deleting can wait a little for company, unless what was read is nearly used up."""
        if len(self._acknowledged) >= self._read_rows or (self._more and self._in_work() < self._read_rows):
            self._wake.set()
        elif self._deleting is None or self._deleting.when() <= asyncio.get_running_loop().time():
            self._deleting = asyncio.get_running_loop().call_later(_COMPANY_SECONDS, self._wake.set)

    def _in_work(self) -> int:
        return len(self._read) - len(self._acknowledged)

    async def _forget(self) -> None:
        """The connection is gone and with it the locks: stop publishing, the next holder reads again."""
        await self._publisher.stop()
        self._mine = []
        self._read, self._acknowledged = {}, []
        self._more = False


async def _origin(driver: psycopg.AsyncConnection[Any]) -> str:
    """Names this database among all, so that another's outbox ids are never taken for ours.

    After a restore it gives out ids again that it gave out before, and is another. One that was never
    restored is named as it was when nobody counted restores: in the middle of an upgrade a message may be
    published once by each version.
    """
    cursor = await driver.execute(
        "SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()), "
        "(SELECT epoch FROM installation) FROM pg_control_system()"
    )
    row = await cursor.fetchone()
    assert row is not None
    *database, epoch = row
    named = (*database, epoch) if epoch > 1 else tuple(database)
    return hashlib.blake2b(repr(named).encode(), digest_size=6).hexdigest()

"""PostgreSQL and NATS go away in the middle and come back: everything waits, nothing is lost or doubled."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.cli.stack.nats import NatsServer
from services.cli.stack.postgres import PostgresServer
from services.runtime.clock import ClockFollower, EventClock, publish_clock
from services.runtime.consumer import StreamConsumer
from services.runtime.database import Database
from services.runtime.errors import UnavailableError
from services.runtime.migrations import migrate
from services.runtime.outbox import Outbox, Relay
from services.runtime.settings import Settings
from services.runtime.streams import EVENTS, connect_bus, ensure_streams
from tests.integration.runtime.conftest import MIGRATIONS, PARTITIONS, until
from tests.integration.runtime.recorder import Recorder


@pytest.fixture
def own_nats(servers_folder: Path) -> Iterator[NatsServer]:
    home = Path(tempfile.mkdtemp(prefix="nats-", dir=servers_folder))
    server = NatsServer(
        home,
        password_file=servers_folder / "secrets" / home.name,
        log=servers_folder / f"{home.name}.log",
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_postgres(servers_folder: Path) -> Iterator[PostgresServer]:
    home = Path(tempfile.mkdtemp(prefix="pg-", dir=servers_folder))
    home.chmod(0o711)  # for PostgreSQL's account
    server = PostgresServer(
        home / "server",
        password_file=servers_folder / "secrets" / home.name,
        log=servers_folder / f"{home.name}.log",
    )
    server.start()
    yield server
    server.stop()


def stop(server: NatsServer | PostgresServer) -> None:
    server.stop()


def kill(server: NatsServer | PostgresServer) -> None:
    assert server._process is not None
    server._process.kill()
    server._process.wait()


@pytest.mark.parametrize("end", [stop, kill])
async def test_everything_waits_for_servers_that_restart(
    own_nats: NatsServer, own_postgres: PostgresServer, end: Callable[[NatsServer | PostgresServer], None]
):
    with own_postgres.connect() as connection:
        connection.execute("CREATE DATABASE road")
    url = own_postgres.url("road", password_file=own_postgres.password_file)
    await asyncio.to_thread(migrate, url, MIGRATIONS)
    database = Database(url, pool_size=3)
    bus = await connect_bus(Settings(service="test", nats_url=own_nats.url))
    await ensure_streams(bus.jetstream, partitions=PARTITIONS, max_bytes=8 << 20)
    outbox, clock = Outbox(database, partitions=PARTITIONS), EventClock()
    consumer = StreamConsumer(bus, EVENTS, Recorder(database), partitions=PARTITIONS)
    running = [
        asyncio.create_task(Relay("test", database, bus.jetstream, partitions=PARTITIONS).run()),
        asyncio.create_task(consumer.run()),
        asyncio.create_task(ClockFollower(bus.nats, bus.jetstream, clock, sweep_seconds=0.2).run()),
    ]
    expected: list[str] = []

    async def put(*words: str) -> None:
        async with database.transaction() as tx:
            await outbox.put(tx, EVENTS, [(0, word.encode()) for word in words])
        expected.extend(words)

    async def all_done() -> bool:
        try:
            async with database.transaction() as tx:
                found = [row[0] for row in await tx.rows("SELECT word FROM done ORDER BY position")]
        except UnavailableError:
            return False
        assert found == expected[: len(found)]
        return found == expected

    async def clock_at(micros: int) -> bool:
        return clock.now_micros() == micros

    try:
        await put("1", "2")
        await until(all_done)
        await publish_clock(bus.jetstream, 1_000)
        await until(lambda: clock_at(1_000))

        await asyncio.to_thread(end, own_nats)
        await put("3", "4")
        await asyncio.to_thread(own_nats.start)
        await until(all_done, seconds=40)
        await publish_clock(bus.jetstream, 2_000)
        await until(lambda: clock_at(2_000))

        await asyncio.to_thread(end, own_postgres)
        with pytest.raises(UnavailableError):
            await put("never")
        await asyncio.to_thread(own_postgres.start)

        async def database_is_back() -> bool:
            try:
                await put("5", "6")
            except UnavailableError:
                return False
            return True

        await until(database_is_back)
        await until(all_done, seconds=40)
        assert [task for task in running if task.done()] == []
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await bus.close()
        await database.close()

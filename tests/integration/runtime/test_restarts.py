"""PostgreSQL and NATS go away in the middle and come back: everything waits, nothing is lost or doubled."""

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from services.cli.stack.nats import NatsServer
from services.cli.stack.ports import free_port
from services.cli.stack.postgres import PostgresServer
from services.cli.stack.processes import start_process
from services.runtime.clock import EventClock
from services.runtime.clock_follower import ClockFollower, publish_clock
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


@pytest.fixture
def tcp_url(servers_folder: Path) -> Iterator[str]:
    """The URL of a PostgreSQL that listens on TCP, as in production; it may still be starting."""
    home = Path(tempfile.mkdtemp(prefix="tcp-", dir=servers_folder))
    home.chmod(0o711)
    server = PostgresServer(
        home / "server",
        password_file=servers_folder / "secrets" / home.name,
        log=servers_folder / f"{home.name}.log",
    )
    server.prepare()
    access, port = home / "access.conf", free_port()
    access.write_text("host all all 127.0.0.1/32 scram-sha-256\n", encoding="utf-8")
    access.chmod(0o644)
    settings = ("listen_addresses=127.0.0.1", f"port={port}", f"hba_file={access}")
    command = [*server.command(), *(word for setting in settings for word in ("-c", setting))]
    process = start_process(command, log=server.log, account=server.account)
    url = make_url(server.url("postgres", password_file=server.password_file))
    yield url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    process.send_signal(signal.SIGINT)
    process.wait()


async def test_both_ends_of_a_connection_notice_when_the_other_machine_has_gone(tcp_url: str):
    """The server too: else a machine that lost its power kept its relay's locks for hours."""
    database = Database(tcp_url)
    found: dict[str, str] = {}

    async def looked() -> bool:
        try:
            async with database.transaction() as tx:
                for name in ("tcp_keepalives_idle", "tcp_keepalives_count", "tcp_user_timeout"):
                    found[name] = (await tx.rows(f"SHOW {name}"))[0][0]
                with socket.socket(fileno=os.dup(tx.driver.fileno())) as ours:
                    told = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                    found["ours"] = str(told)
        except UnavailableError:
            return False
        return True

    try:
        await until(looked)
    finally:
        await database.close()
    assert found == {
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "30000",  # milliseconds
        "ours": "30000",
    }

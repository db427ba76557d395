"""A role as a process and its health port: start in any order, lost dependencies, drain, hanging tasks."""

import asyncio
import json
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from psycopg import sql

from services.cli.stack.nats import NatsServer
from services.cli.stack.ports import free_port
from services.cli.stack.postgres import PostgresServer
from services.runtime.consumer import StreamConsumer
from services.runtime.database import Database
from services.runtime.migrations import migrate
from services.runtime.streams import EVENTS, Bus, subject
from tests.integration.runtime.conftest import MIGRATIONS, PARTITIONS, Start, until
from tests.integration.runtime.recorder import Recorder

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
StartRole = Callable[..., "Running"]


class Running:
    """A role that runs, its log so far, and what it says of its health."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.log: list[dict] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.stub = health_pb2_grpc.HealthStub(self.channel)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line))

    def logged(self, event: str) -> list[dict]:
        return [line for line in list(self.log) if line["event"] == event]

    async def says(self, name: str, seconds: float = 30.0) -> int:
        request = health_pb2.HealthCheckRequest(service=name)
        answer = await self.stub.Check(request, timeout=seconds, wait_for_ready=True)
        return answer.status

    async def comes_to_say(self, seconds: float = 40.0, **wanted: int) -> None:
        """Waits until each name answers so."""

        async def so() -> bool:
            assert self.process.poll() is None, self.log[-3:]
            try:
                return all([await self.says(name) == status for name, status in wanted.items()])
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return False
                raise

        await until(so, seconds=seconds)

    async def ends(self, seconds: float = 20.0) -> int:
        status = await asyncio.to_thread(self.process.wait, seconds)
        await asyncio.to_thread(self._reader.join, 5)
        return status


@pytest.fixture
async def role(start: Start) -> AsyncIterator[StartRole]:
    running: list[Running] = []

    def begin(name: str, **settings: str) -> Running:
        port = free_port()
        process = start(name, health_listen=f"127.0.0.1:{port}", partitions=str(PARTITIONS), **settings)
        running.append(Running(process, port))
        return running[-1]

    yield begin
    for one in running:
        one.process.kill()
        await one.ends()
        await one.channel.close()


@pytest.fixture
def later_nats(servers_folder: Path) -> Iterator[NatsServer]:
    """A nats-server that does not run yet."""
    port = free_port()
    server = NatsServer(
        servers_folder / f"nats-{port}",
        password_file=servers_folder / "secrets" / f"nats-{port}",
        log=servers_folder / f"nats-{port}.log",
        port=port,
        durable=False,
    )
    server.prepare()
    yield server
    server.stop()


async def test_a_role_started_before_everything_waits_says_for_what_and_gets_ready_by_itself(
    role: StartRole, postgres_server: PostgresServer, later_nats: NatsServer
):
    url = postgres_server.url("comes_later", password_file=postgres_server.password_file)
    early = role("road", database_url=url, nats_url=later_nats.url)
    await early.comes_to_say(live=SERVING, ready=NOT_SERVING, database=NOT_SERVING)
    with postgres_server.connect() as connection:
        connection.execute("CREATE DATABASE comes_later")
    await early.comes_to_say(database=SERVING, migrations=NOT_SERVING, ready=NOT_SERVING, live=SERVING)
    await until(lambda: asyncio.to_thread(lambda: "0001" in early.logged("dependency_missing")[-1]["why"]))
    await asyncio.to_thread(migrate, url, MIGRATIONS)
    await early.comes_to_say(migrations=SERVING, nats=NOT_SERVING, ready=NOT_SERVING, live=SERVING)
    await asyncio.to_thread(later_nats.start)
    await early.comes_to_say(ready=SERVING, live=SERVING, nats=SERVING)
    assert await early.says("") == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await early.says("no such thing")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND

    await asyncio.to_thread(later_nats.stop)
    await early.comes_to_say(ready=NOT_SERVING, nats=NOT_SERVING, database=SERVING, live=SERVING)
    await asyncio.to_thread(later_nats.start)
    await early.comes_to_say(ready=SERVING, nats=SERVING)
    with postgres_server.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier("comes_later")))
    await early.comes_to_say(ready=NOT_SERVING, database=NOT_SERVING, nats=SERVING, live=SERVING)
    assert len(early.logged("ready")) == 1, "it never ended and began again"


async def test_who_watches_is_told_of_each_change(role: StartRole, database_url: str, later_nats: NatsServer):
    watched = role("road", database_url=database_url, nats_url=later_nats.url)
    call = watched.stub.Watch(health_pb2.HealthCheckRequest(service="ready"), timeout=60, wait_for_ready=True)
    assert (await call.read()).status == NOT_SERVING
    await asyncio.to_thread(later_nats.start)
    assert (await call.read()).status == SERVING
    watched.process.send_signal(signal.SIGTERM)
    assert (await call.read()).status == NOT_SERVING
    assert await watched.ends() == 0


@asynccontextmanager
async def another(bus: Bus, database: Database) -> AsyncIterator[None]:
    consumer = StreamConsumer(bus, EVENTS, Recorder(database), partitions=PARTITIONS)
    running = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        consumer.stop()
        await running


async def words(database: Database) -> list[str]:
    async with database.transaction() as tx:
        return sorted(row[0] for row in await tx.rows("SELECT word FROM done"))


def says(database: Database, *wanted: str) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        return await words(database) == sorted(wanted)

    return so


async def test_at_the_end_it_is_not_ready_takes_nothing_new_and_ends_what_is_in_work(
    role: StartRole, database: Database, database_url: str, bus: Bus, fresh_streams: str, tmp_path: Path
):
    gate = tmp_path / "gate"
    working = role("road", database_url=database_url, nats_url=fresh_streams, gate_file=str(gate))
    await working.comes_to_say(ready=SERVING)
    await bus.jetstream.publish(subject(EVENTS, 0), b"begun")
    await until(lambda: asyncio.to_thread(lambda: bool(working.logged("in_work"))))
    working.process.send_signal(signal.SIGTERM)
    await working.comes_to_say(ready=NOT_SERVING, live=SERVING)
    await bus.jetstream.publish(subject(EVENTS, 1), b"came-later")
    async with another(bus, database):
        await until(says(database, "came-later"), seconds=10)
        assert working.process.poll() is None
        gate.touch()
        assert await working.ends() == 0
    assert await words(database) == ["begun", "came-later"]
    assert len(working.logged("in_work")) == 1


async def test_what_does_not_end_in_time_is_rolled_back_and_given_to_another_at_once(
    role: StartRole, database: Database, database_url: str, bus: Bus, fresh_streams: str, tmp_path: Path
):
    never = {"gate_file": str(tmp_path / "never"), "drain_seconds": "1"}
    stubborn = role("road", database_url=database_url, nats_url=fresh_streams, **never)
    await stubborn.comes_to_say(ready=SERVING)
    await bus.jetstream.publish(subject(EVENTS, 0), b"stuck")
    await until(lambda: asyncio.to_thread(lambda: bool(stubborn.logged("in_work"))))
    stubborn.process.send_signal(signal.SIGTERM)
    assert await stubborn.ends(15) == 0
    assert [line["task"] for line in stubborn.logged("task_cut_off")] == ["events"]
    async with another(bus, database):
        await until(says(database, "stuck"), seconds=15)  # well under AckWait


async def test_a_second_signal_ends_it_at_once(
    role: StartRole, database_url: str, bus: Bus, fresh_streams: str, tmp_path: Path
):
    never = {"gate_file": str(tmp_path / "never"), "drain_seconds": "60"}
    stubborn = role("road", database_url=database_url, nats_url=fresh_streams, **never)
    await stubborn.comes_to_say(ready=SERVING)
    await bus.jetstream.publish(subject(EVENTS, 0), b"stuck")
    await until(lambda: asyncio.to_thread(lambda: bool(stubborn.logged("in_work"))))
    stubborn.process.send_signal(signal.SIGTERM)
    await stubborn.comes_to_say(ready=NOT_SERVING)
    stubborn.process.send_signal(signal.SIGTERM)
    assert await stubborn.ends(10) == 128 + signal.SIGTERM


async def test_a_role_that_still_waits_ends_when_it_is_asked_to(role: StartRole, later_nats: NatsServer):
    nowhere = "postgresql+psycopg://nobody@/nothing?host=/nowhere"
    waiting = role("road", database_url=nowhere, nats_url=later_nats.url)
    await waiting.comes_to_say(live=SERVING, ready=NOT_SERVING, database=NOT_SERVING)
    waiting.process.send_signal(signal.SIGTERM)
    assert await waiting.ends(10) == 0


async def test_a_task_that_hangs_is_told_as_not_alive(role: StartRole):
    hanging = role("hanging")
    await hanging.comes_to_say(live=NOT_SERVING)
    assert await hanging.says("ready") == SERVING


async def test_a_loop_that_does_not_turn_gives_no_answer(role: StartRole, tmp_path: Path):
    gate = tmp_path / "gate"
    blocking = role("blocking", gate_file=str(gate))
    await blocking.comes_to_say(live=SERVING)
    gate.touch()
    await until(lambda: asyncio.to_thread(lambda: bool(blocking.logged("blocks"))))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await blocking.says("live", seconds=2.0)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

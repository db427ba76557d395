"""A migrated database, a bus with fresh streams, and a wait for a condition."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from services.runtime.database import Database
from services.runtime.settings import Settings
from services.runtime.streams import Bus, connect_bus, ensure_streams
from tests.fakes.trust import trust

MIGRATIONS = Path(__file__).parent / "migrations"
PARTITIONS = 4
ROOT = Path(__file__).parents[3]
Start = Callable[..., subprocess.Popen[str]]


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20.0) -> None:
    """Wait until a condition holds; fail loudly when it does not within the bound."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what others do cannot set an event of ours
            await asyncio.sleep(0.01)


@pytest.fixture
def database_url(make_database: Callable[..., str]) -> str:
    return make_database(MIGRATIONS)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=4)
    yield database
    await database.close()


@pytest.fixture
async def bus(fresh_streams: str) -> AsyncIterator[Bus]:
    bus = await connect_bus(Settings(service="test", nats_url=fresh_streams))
    await ensure_streams(bus.jetstream, partitions=PARTITIONS, max_bytes=64 << 20)
    yield bus
    await bus.close()


@pytest.fixture
def count(database: Database) -> Callable[[str], Awaitable[int]]:
    async def count(table: str) -> int:
        async with database.transaction() as tx:
            row = await tx.row(f"SELECT count(*) FROM {table}")
        assert row is not None
        return int(row[0])

    return count


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a role of the small service as a process, with RAPPORT_ settings by lower-case name."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        environment = {f"RAPPORT_{name.upper()}": value for name, value in settings.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.runtime.small_service", *arguments],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}", **trust().environment(), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()

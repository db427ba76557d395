"""A service as small as can be, to be run as a process by the tests."""

import asyncio
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import structlog

from services.runtime.consumer import Delivery, StreamConsumer
from services.runtime.database import Database
from services.runtime.opening import open_bus, open_database
from services.runtime.process import Role, run_service
from services.runtime.pulse import promised
from services.runtime.server import build_server
from services.runtime.streams import EVENTS
from tests.integration.runtime.recorder import Recorder

MIGRATIONS = Path(__file__).parent / "migrations"
_log = structlog.get_logger(__name__)


async def build_server_role(role: Role) -> None:
    server = build_server(role.settings, [], {})
    role.on_drain(server.stop)
    await server.start()
    role.ready["listen"] = server.address


async def build_worker_role(role: Role) -> None:
    stop = asyncio.Event()
    tries = 0

    async def restless() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ValueError("+33612345678")
        _log.info("restless_runs", tries=tries)
        await asyncio.Event().wait()

    async def drains() -> None:
        await stop.wait()
        _log.info("drained")

    async def close() -> None:
        _log.info("closed")

    role.on_close(close)
    role.supervise("restless", restless)
    role.supervise("drains", drains, stop=stop.set)


async def build_broken_role(role: Role) -> None:
    del role
    raise RuntimeError("user@example.org")


async def build_stuck_role(role: Role) -> None:
    ends = asyncio.Event()
    role.end_when(ends, "the log closed for good")
    ends.set()


async def build_road_role(role: Role) -> None:
    """Takes EVENTS; a message ends when the file named by RAPPORT_GATE_FILE is there."""
    database = await open_database(role, MIGRATIONS)
    bus = await open_bus(role, needed=True)
    partitions = role.settings.partitions
    consumer = StreamConsumer(
        bus, EVENTS, Gated(database, Path(role.settings.extra.get("gate_file", ""))), partitions=partitions
    )
    role.supervise("events", consumer.run, stop=consumer.stop)


class Gated(Recorder):
    """A recorder whose messages end when a file is there."""

    def __init__(self, database: Database, file: Path) -> None:
        super().__init__(database)
        self._file = file
        self.gate.clear()

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        opening = asyncio.create_task(self._open())
        try:
            _log.info("in_work", messages=len(deliveries))
            await super().handle(deliveries)
        finally:
            opening.cancel()

    async def _open(self) -> None:
        while not self._file.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
        self.gate.set()


async def build_hanging_role(role: Role) -> None:
    """A task that does not keep its promise."""

    async def hangs() -> None:
        with promised("what was begun", 0.5):
            await asyncio.Event().wait()

    role.supervise("hangs", hangs)


async def build_blocking_role(role: Role) -> None:
    """A task that keeps the event loop from turning once the file named by RAPPORT_GATE_FILE is there."""

    file = Path(role.settings.extra.get("gate_file", ""))

    async def blocks() -> None:
        while not await asyncio.to_thread(file.exists):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
        _log.info("blocks")
        threading.Event().wait(60)

    role.supervise("blocks", blocks)


if __name__ == "__main__":
    roles = {
        "road": build_road_role,
        "hanging": build_hanging_role,
        "blocking": build_blocking_role,
        "server": build_server_role,
        "worker": build_worker_role,
        "broken": build_broken_role,
        "stuck": build_stuck_role,
    }
    sys.exit(run_service("small", roles, MIGRATIONS))

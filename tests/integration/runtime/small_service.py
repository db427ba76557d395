"""A service as small as can be, to be run as a process by the tests."""

import asyncio
import sys
from pathlib import Path

import structlog

from services.runtime.process import Role, run_service
from services.runtime.server import build_server

_log = structlog.get_logger(__name__)


async def build_server_role(role: Role) -> None:
    server = build_server(role.settings, [], {})
    role.on_close(server.stop)
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


if __name__ == "__main__":
    roles = {
        "server": build_server_role,
        "worker": build_worker_role,
        "broken": build_broken_role,
        "stuck": build_stuck_role,
    }
    sys.exit(run_service("small", roles, Path(__file__).parent / "migrations"))

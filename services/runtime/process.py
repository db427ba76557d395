"""Runs one role of one service as a process: settings, log, tasks that come back, a clean end."""

import asyncio
import contextlib
import gc
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import structlog
import uvloop

from services.runtime.database import backoff_seconds
from services.runtime.errors import RapportError
from services.runtime.log import configure_logging, describe_failure
from services.runtime.migrations import migrate
from services.runtime.settings import Settings

DRAIN_SECONDS = 10.0
Run = Callable[[], Awaitable[None]]
_log = structlog.get_logger(__name__)


class Role:
    """A running role: what it supervises and what must be closed at the end.

    `stopping` is set at SIGTERM or SIGINT; `ready` holds what the ready line says beside service and role.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = asyncio.Event()
        self.ready: dict[str, str] = {}
        self.failed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._cut: list[asyncio.Task[None]] = []
        self._stops: list[Callable[[], None]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []

    def supervise(self, name: str, run: Run, *, stop: Callable[[], None] | None = None) -> None:
        """Run a task until the role ends; when it fails it starts again after a back-off.

        At the end `stop` is called and the task has 10 s to return by itself; without `stop` it is cancelled.
        """
        self._tasks.append(asyncio.create_task(self._keep(name, run), name=name))
        if stop is not None:
            self._stops.append(stop)
        else:
            self._cut.append(self._tasks[-1])

    def on_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Await `close` when the role ends; the last one added is closed first."""
        self._closers.append(close)

    def end_when(self, event: asyncio.Event, reason: str) -> None:
        """End the process as failed when `event` is set, for example a NATS client that closed for good."""

        async def watch() -> None:
            await event.wait()
            if not self.stopping.is_set():
                _log.error("role_cannot_go_on", reason=reason)
                self.failed = True
                self.stopping.set()

        self.supervise(reason, watch)

    async def end(self) -> None:
        """Stop tasks, then close in reverse order; nothing that fails here keeps the rest from closing."""
        for stop in self._stops:
            stop()
        for task in self._cut:
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=DRAIN_SECONDS)
            for task in late:
                _log.warning("task_cut_off", task=task.get_name())
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for close in reversed(self._closers):
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await close()
            except Exception as error:  # noqa: BLE001 - the others must still be closed
                _log.warning("close_failed", **describe_failure(error))

    async def _keep(self, name: str, run: Run) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while not self.stopping.is_set():
            began = loop.time()
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - a task that fails comes back
                failures = 1 if loop.time() - began > 60 else failures + 1
                _log.error("task_failed", task=name, failures=failures, **describe_failure(error))
            else:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), backoff_seconds(failures, most=15.0))


Build = Callable[[Role], Awaitable[None]]


async def run_role(settings: Settings, build: Build, *, stop: asyncio.Event | None = None) -> int:
    """Build a role, say that it is ready, run until a signal (or `stop`), and end it; the exit status."""
    role = Role(settings)
    if stop is not None:
        role.stopping = stop
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, role.stopping.set)
    try:
        building = asyncio.ensure_future(build(role))
        stopped = asyncio.create_task(role.stopping.wait())
        await asyncio.wait({building, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if building.done():
            building.result()
            # what start-up made stays, so the collector need not look at it again
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            ready = {"ready": True, "service": settings.service, "role": settings.role, **role.ready}
            sys.stdout.write(json.dumps(ready) + "\n")
            sys.stdout.flush()
            _log.info("ready", **role.ready)
            await role.stopping.wait()
        else:
            building.cancel()
            await asyncio.gather(building, return_exceptions=True)
    except Exception as error:  # noqa: BLE001 - the edge of the process
        _log.error("role_did_not_start", **describe_failure(error))
        role.failed = True
    finally:
        _log.info("stopping")
        await role.end()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return 1 if role.failed else 0


def run_service(
    service: str, roles: Mapping[str, Build], migrations: Path, arguments: Sequence[str] | None = None
) -> int:
    """What `python -m services.<service>.main server|worker|migrate` does; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    known = [*roles, "migrate"]
    if len(given) != 1 or given[0] not in known:
        sys.stderr.write(f"usage: python -m services.{service}.main {'|'.join(known)}\n")
        return 2
    name = given[0]
    try:
        settings = Settings.from_environment(service, name)
    except RapportError as error:
        sys.stderr.write(f"{error.message}; {error.suggestion}\n")
        return 2
    configure_logging(service, name, settings.log_level)
    if name == "migrate":
        try:
            migrate(settings.database_url, migrations)
        except Exception as error:  # noqa: BLE001 - the edge of the process
            _log.error("migration_failed", **describe_failure(error))
            return 1
        return 0
    return uvloop.run(run_role(settings, roles[name]))

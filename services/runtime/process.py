"""Runs one role of one service as a process: settings, log, tasks that come back, a clean end."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import grpc
import structlog
import uvloop
from nats.errors import Error as NatsError
from sqlalchemy.exc import DBAPIError

from services.runtime.database import Database, backoff_seconds, is_transient
from services.runtime.errors import RapportError
from services.runtime.garbage import collect_seldom
from services.runtime.health import Check, Health, HealthPort, reason_of, serve_health
from services.runtime.log import configure_logging, describe_failure
from services.runtime.metrics import TASK_FAILURES
from services.runtime.observing import Observing
from services.runtime.recovery import mark_restored
from services.runtime.settings import Settings

Run = Callable[[], Awaitable[None]]
Result = TypeVar("Result")
_CLOSE_SECONDS = 3.0
"""What closing may take beyond the drain's own time."""
_OUR_FILES = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
"""A file of ours that is not there is a mistake in the settings; it does not come by waiting."""
_log = structlog.get_logger(__name__)


class Role:
    """A running role: what it supervises and what must be closed at the end.

    `stopping` is set at SIGTERM or SIGINT; `ready` holds what the ready line says beside service and role.
    """

    def __init__(self, settings: Settings, health: Health | None = None) -> None:
        self.settings = settings
        self.stopping = asyncio.Event()
        self.health = health or Health()
        self.ready: dict[str, str] = {}
        self.failed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._cut: list[asyncio.Task[None]] = []
        self._stops: list[Callable[[], None]] = []
        self._drains: list[Callable[[float], Awaitable[None]]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []

    def supervise(self, name: str, run: Run, *, stop: Callable[[], None] | None = None) -> None:
        """Run a task until the role ends; when it fails it starts again after a back-off.

        At the end `stop` is called and the task may return by itself while the drain lasts; without `stop` it
        is cancelled when the others have returned.
        """
        self._tasks.append(asyncio.create_task(self._keep(name, run), name=name))
        if stop is not None:
            self._stops.append(stop)
        else:
            self._cut.append(self._tasks[-1])

    def depend(self, name: str, check: Check, *, needed: bool = True) -> None:
        """Keep asking something that the role needs; `needed=False`: it is ready without it all the same."""
        self.health.expect(name, needed=needed)
        self.supervise(f"health-{name}", lambda: self.health.keep_asking(name, check))

    async def reach(self, name: str, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """What `attempt` gives, tried until it does, with back-off and jitter: live meanwhile, but not ready.

        Only what passes is waited for (`is_away`); any other error is raised.
        """
        self.health.expect(name)
        failures = 0
        while True:
            try:
                result = await attempt()
            except Exception as error:
                if not is_away(error):
                    raise
                failures += 1
                self.health.tell(name, up=False, why=reason_of(error))
                if failures in {1, 10} or failures % 100 == 0:
                    _log.warning("waiting_for", dependency=name, failures=failures, **describe_failure(error))
                await asyncio.sleep(backoff_seconds(failures, most=5.0))
            else:
                self.health.tell(name, up=True)
                return result

    def on_drain(self, drain: Callable[[float], Awaitable[None]]) -> None:
        """Await `drain` first of all when the role ends; it is told how many seconds it has."""
        self._drains.append(drain)

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
        """Not ready at once; take nothing new, end what is in work within RAPPORT_DRAIN_SECONDS, and close.

        What is still in work then is cut off: its transaction rolls back, and it comes again elsewhere.
        """
        self.health.drain()
        await self.clear(self.settings.drain_seconds)

    async def clear(self, seconds: float) -> None:
        """End all that was built, in so many seconds; nothing that fails here keeps the rest from ending."""
        for stop in self._stops:
            stop()
        drains = [asyncio.create_task(_drain(drain, seconds), name="drain") for drain in self._drains]
        wanted = [*drains, *(task for task in self._tasks if task not in self._cut)]
        if wanted:
            _, late = await asyncio.wait(wanted, timeout=seconds)
            for task in late:
                _log.warning("task_cut_off", task=task.get_name())
        for task in (*drains, *self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait((*drains, *self._tasks), timeout=_CLOSE_SECONDS)
        loop = asyncio.get_running_loop()
        until = loop.time() + _CLOSE_SECONDS
        for close in reversed(self._closers):
            try:
                async with asyncio.timeout_at(max(until, loop.time() + 1.0)):
                    await close()
            except Exception as error:  # noqa: BLE001 - the others must still be closed
                _log.warning("close_failed", **describe_failure(error))
        for kept in (self._tasks, self._cut, self._stops, self._drains, self._closers):
            kept.clear()

    async def _keep(self, name: str, run: Run) -> None:
        self.health.promises.adopt()
        failures = 0
        loop = asyncio.get_running_loop()
        while not self.stopping.is_set():
            began = loop.time()
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - a task that fails comes back
                failures = 1 if loop.time() - began > 60 else failures + 1
                TASK_FAILURES.labels(name).inc()
                _log.error("task_failed", task=name, failures=failures, **describe_failure(error))
            else:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), backoff_seconds(failures, most=15.0))


async def _drain(drain: Callable[[float], Awaitable[None]], seconds: float) -> None:
    try:
        await drain(seconds)
    except Exception as error:  # noqa: BLE001 - what else runs must still be ended
        _log.warning("drain_failed", **describe_failure(error))


def is_away(error: BaseException) -> bool:
    """Whether something does not answer now and may later: a reason to wait, not to end."""
    if isinstance(error, _OUR_FILES):
        return False
    return is_transient(error) or isinstance(error, (DBAPIError, NatsError, OSError, grpc.RpcError))


Build = Callable[[Role], Awaitable[None]]


async def run_role(settings: Settings, build: Build, *, stop: asyncio.Event | None = None) -> int:
    """Build a role, say that it is ready, run until a signal (or `stop`), and end it; the exit status.

    A second signal ends the process at once, with what is in work.
    """
    role = Role(settings)
    if stop is not None:
        role.stopping = stop
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _asked_to_end, role, number)
    port: HealthPort | None = None
    observing: Observing | None = None
    last_end: asyncio.TimerHandle | None = None
    try:
        if settings.health_listen:
            port = await serve_health(role.health, settings.health_listen)
            role.ready["health"] = port.address
        observing = Observing(settings)
        observing.start()
        if observing.address:
            role.ready["metrics"] = observing.address
        building = asyncio.ensure_future(_build(role, build))
        stopped = asyncio.create_task(role.stopping.wait())
        await asyncio.wait({building, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if building.done():
            building.result()
            collect_seldom()
            role.health.built()
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
        _log.info("stopping", seconds=settings.drain_seconds)
        last_end = loop.call_later(
            settings.drain_seconds + 3 * _CLOSE_SECONDS, _end_at_once, "drain_overran", 1
        )
        await role.end()
        if port is not None:
            await port.close()
        if observing is not None:
            await observing.stop()
        last_end.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return 1 if role.failed else 0


async def _build(role: Role, build: Build) -> None:
    """Build; what was away in the middle of it is waited for, and everything is built anew."""
    failures = 0
    while True:
        try:
            await build(role)
        except Exception as error:
            if not is_away(error):
                raise
            failures += 1
            _log.warning("start_again", failures=failures, **describe_failure(error))
            await role.clear(_CLOSE_SECONDS)
            await asyncio.sleep(backoff_seconds(failures, most=15.0))
        else:
            return


def _asked_to_end(role: Role, number: int) -> None:
    if role.stopping.is_set():
        _end_at_once("ended_at_once", 128 + number)
    role.health.drain()
    role.stopping.set()


def _end_at_once(event: str, status: int) -> None:
    """What is in work is lost as in a crash: it rolls back and comes again."""
    _log.warning(event)
    sys.stderr.flush()
    os._exit(status)


def run_service(
    service: str,
    roles: Mapping[str, Build],
    migrations: Path,
    arguments: Sequence[str] | None = None,
    *,
    once_restored: Sequence[str] = (),
) -> int:
    """What `python -m services.<service>.main server|worker|migrate|restored` does; the exit status.

    `restored` is for a database that comes from a backup, before anything uses it: it migrates, and notes the
    restore, with the service's own statements `once_restored` (see `mark_restored`).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    known = [*roles, "migrate", "restored"]
    if len(given) != 1 or given[0] not in known:
        sys.stderr.write(f"usage: python -m services.{service}.main {'|'.join(known)}\n")
        return 2
    name = given[0]
    if name == "migrate":
        from services.runtime import migrating  # no role that only runs needs what it imports

        return migrating.run(service, migrations)
    try:
        settings = Settings.from_environment(service, name)
    except RapportError as error:
        sys.stderr.write(f"{error.message}; {error.suggestion}\n")
        return 2
    configure_logging(service, name, settings.log_level)
    if name == "restored":
        from services.runtime.migrations import migrate

        try:
            migrate(settings.database_url, migrations)
            uvloop.run(_mark_restored(settings, once_restored))
        except Exception as error:  # noqa: BLE001 - the edge of the process
            _log.error("migration_failed", **describe_failure(error))
            return 1
        return 0
    return uvloop.run(run_role(settings, roles[name]))


async def _mark_restored(settings: Settings, statements: Sequence[str]) -> None:
    database = Database(settings.database_url, 1)
    try:
        await mark_restored(database, statements)
    finally:
        await database.close()

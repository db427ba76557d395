"""What a role says about itself: that it is alive, whether it takes work, and what it misses.

Answered over gRPC health checking (grpc.health.v1) on a port of its own, without credentials: "" and "ready"
for readiness, "live" for liveness, and the name of each dependency ("database", "nats", "profile", …).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
import structlog
from grpc_health.v1 import health_pb2_grpc

from services.runtime import metrics
from services.runtime.errors import SettingError
from services.runtime.health_answers import HealthAnswers
from services.runtime.pulse import Promises

READY = "ready"
LIVE = "live"
CHECK_SECONDS = 2.0
"""How long a check may take; one that takes longer has failed."""
EVERY_SECONDS = 1.0
_FAILURES = 2
"""So many failed checks in a row mean that a dependency is missing; one may be a hiccup."""
_SETTLE_SECONDS = 60.0
_CLOSE_SECONDS = 1.0
Check = Callable[[], Awaitable[object]]
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Dependency:
    """Something that a role needs (without it the role is not ready) or only wants (its work waits)."""

    name: str
    needed: bool
    up: bool = False
    why: str = ""
    """Why it is missing; empty: it is not, or nothing was heard of it yet."""


class Health:
    """The state of one role; every change is logged, counted and told to whoever watches.

    Ready means: built, not draining, and nothing missing that it needs. Live means: the event loop turns
    (else nobody answers) and no promise is overdue; while something needed is missing nothing counts as
    overdue, because a new process would have to wait for it just the same.
    """

    def __init__(self) -> None:
        self.promises = Promises()
        self._dependencies: dict[str, Dependency] = {}
        self._built = False
        self._draining = False
        self.ended = False
        self._ready = False
        self._settled = 0.0
        self._changed = asyncio.Event()
        metrics.role_ready(False)

    # telling

    def expect(self, name: str, *, needed: bool = True) -> None:
        """From now on this dependency counts; it is missing until something is heard of it."""
        if name not in self._dependencies:
            self._dependencies[name] = Dependency(name, needed)
            metrics.dependency_up(name, False)
        self._dependencies[name].needed = needed
        self._change()

    def tell(self, name: str, *, up: bool, why: str = "") -> None:
        """What was found out about a dependency; `why` it is missing, without anything personal."""
        dependency = self._dependencies[name]
        news = dependency.up is not up or (not up and not dependency.why)
        dependency.up, dependency.why = up, "" if up else why
        if not news:
            return
        metrics.dependency_up(name, up)
        if up:
            _log.info("dependency_answers", dependency=name)
        else:
            _log.warning("dependency_missing", dependency=name, why=why, needed=dependency.needed)
        self._change()

    def built(self) -> None:
        """The role has started all that it consists of."""
        self._built = True
        self._change()

    def drain(self) -> None:
        """From now on the role is not ready, whatever comes."""
        self._draining = True
        self._change()

    def end(self) -> None:
        """Whoever watches is told how things stand, and no more."""
        self.ended = True
        self._change()

    def _change(self) -> None:
        if not self._all_needed:
            self._settled = asyncio.get_running_loop().time() + _SETTLE_SECONDS
        if self.ready != self._ready:
            self._ready = self.ready
            metrics.role_ready(self._ready)
            _log.info("role_ready" if self._ready else "role_not_ready", missing=self.missing)
        self._changed.set()
        self._changed = asyncio.Event()

    # asking

    @property
    def ready(self) -> bool:
        """Whether the role takes work."""
        return self._built and not self._draining and self._all_needed

    @property
    def _all_needed(self) -> bool:
        return all(dependency.up for dependency in self._dependencies.values() if dependency.needed)

    @property
    def missing(self) -> list[str]:
        """The dependencies that do not answer, needed or only wanted."""
        return sorted(dependency.name for dependency in self._dependencies.values() if not dependency.up)

    @property
    def hung(self) -> list[str]:
        """What should have ended long ago, though nothing was missing that it could wait for."""
        now = asyncio.get_running_loop().time()
        return [] if not self._all_needed or now < self._settled else self.promises.overdue(now)

    def serving(self, name: str) -> bool | None:
        """The answer to a health check of this name; None: there is no such name."""
        if name in {"", READY}:
            return self.ready
        if name == LIVE:
            return not self.hung
        dependency = self._dependencies.get(name)
        return None if dependency is None else dependency.up

    async def changed(self, seconds: float) -> None:
        """Until something has changed, at most so long."""
        event = self._changed
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return

    # finding out

    async def keep_asking(self, name: str, check: Check) -> None:
        """Ask a dependency again and again until cancelled; whatever `check` raises means that it is away."""
        failures = 0
        asking: asyncio.Task[object] | None = None
        try:
            while True:
                # one that was given up may take its time to end (a database that hangs): never two at once
                asking = asking or asyncio.create_task(_run(check), name=f"ask-{name}")
                await asyncio.wait({asking}, timeout=CHECK_SECONDS)
                if asking.done():
                    error, asking = (TimeoutError() if asking.cancelled() else asking.exception()), None
                else:
                    asking.cancel()
                    error = TimeoutError()
                failures = failures + 1 if error else 0
                if error is None:
                    self.tell(name, up=True)
                elif failures >= _FAILURES:
                    self.tell(name, up=False, why=reason_of(error))
                await asyncio.sleep(EVERY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
        finally:
            if asking is not None:
                asking.cancel()


async def _run(check: Check) -> object:
    return await check()


def reason_of(error: BaseException) -> str:
    """Why something is away, in few words: our own text, a gRPC or database code, or the error's class."""
    own = getattr(error, "message", None)
    if isinstance(own, str) and hasattr(error, "suggestion"):
        return own
    if isinstance(error, TimeoutError):
        return f"no answer within {CHECK_SECONDS:.0f} s"
    code = getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
    if code is None and isinstance(error, grpc.aio.AioRpcError):
        code = error.code().name
    code = code or getattr(error, "err_code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__


class HealthPort:
    """Serves a role's health in plain gRPC, and nothing else; no caller has to show who it is."""

    def __init__(self, health: Health, server: grpc.aio.Server, address: str) -> None:
        self._health = health
        self._server = server
        self.address = address

    async def close(self) -> None:
        """Answer no more."""
        self._health.end()
        await self._server.stop(_CLOSE_SECONDS)


async def serve_health(health: Health, listen: str) -> HealthPort:
    """Answer on `listen` (host:port) from now on; SettingError when that is not possible."""
    server = grpc.aio.server(
        maximum_concurrent_rpcs=64,
        options=[("grpc.max_receive_message_length", 4096), ("grpc.so_reuseport", 0)],
    )
    health_pb2_grpc.add_HealthServicer_to_server(HealthAnswers(health), server)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise SettingError(
            f"cannot listen on {listen}",
            field="RAPPORT_HEALTH_LISTEN",
            suggestion="name an address of this machine and a free port",
        ) from error
    await server.start()
    return HealthPort(health, server, f"{listen.rsplit(':', 1)[0]}:{port}")

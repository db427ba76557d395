"""Asks a role of the local stack on its health port, where nobody has to show who they are."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.stack.calls import hold_threads

LIVE = "live"
READY = "ready"
RECOVERY = "recovery"
"""What a worker waits for, by design, after its database was restored."""
_SECONDS = 3.0
_FORGET_SECONDS = 20.0
"""After so long without a question another process may have taken the place of the one that was asked."""


def serves(target: str, name: str, *, seconds: float = _SECONDS) -> bool:
    """Whether the health port at `target` says that `name` serves; False also when nobody answers in time."""
    return _asked(target, name, seconds) == health_pb2.HealthCheckResponse.SERVING


def misses(target: str, name: str, *, seconds: float = _SECONDS) -> bool:
    """Whether the health port at `target` says that `name` does not serve; False also when nobody answers."""
    return _asked(target, name, seconds) == health_pb2.HealthCheckResponse.NOT_SERVING


def _asked(target: str, name: str, seconds: float) -> int | None:
    hold_threads()  # the supervisor asks for as long as it lives
    # a pool of its own: shared with a channel that failed a moment ago it would wait before it tries again
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(target, options=options) as grpc_channel:
        stub = health_pb2_grpc.HealthStub(grpc_channel)
        try:
            answer = stub.Check(  # type: ignore[attr-defined]  # the stub file leaves it out
                health_pb2.HealthCheckRequest(service=name), timeout=seconds
            )
        except grpc.RpcError:
            return None
    return int(answer.status)


@dataclass
class Liveness:
    """Tells that a role is alive no more, though its process runs: it says so, or nothing, for too long."""

    target: str
    patience: float
    """Seconds without a sign of life, from the first question on; 0: it is never given up."""
    now: Callable[[], float] = time.monotonic
    alive: Callable[[str, str], bool] = serves
    _asked: float = 0.0
    _silent_since: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self) -> str:
        """Why the role must be started anew; "": it must not. To be asked every few seconds."""
        if not self.patience:
            return ""
        with self._lock:
            began = self.now()
            if began - self._asked > _FORGET_SECONDS:
                self._silent_since = None
            alive = self.alive(self.target, LIVE)
            self._asked = self.now()
            if alive:
                self._silent_since = None
                return ""
            if self._silent_since is None:
                self._silent_since = began
            if self._asked - self._silent_since < self.patience:
                return ""
            self._silent_since = None
            return f"it has not said that it is alive for {self.patience:.0f} s"

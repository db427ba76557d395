"""What every role shows of itself from its first moment to its last: metrics, traces, certificates."""

import asyncio
import contextlib
import threading
from importlib.metadata import PackageNotFoundError, version

from services.runtime import metrics
from services.runtime.clock import WallClock
from services.runtime.recent import watch_rates
from services.runtime.scrape import MetricsServer
from services.runtime.settings import Settings
from services.runtime.tracing import start_tracing, stop_tracing
from services.runtime.watch import certificate_files, watch_certificates

_EXPORT_SECONDS = 3.0


class Observing:
    """Serves metrics where `settings.metrics_listen` says so, and traces where an endpoint is set.

    SettingError when metrics are to be served and there is no certificate, or the port is taken.
    """

    def __init__(self, settings: Settings) -> None:
        metrics.BUILD.labels(_version()).set(1)
        self._server = MetricsServer(settings) if settings.metrics_listen else None
        self.address = self._server.address if self._server is not None else ""
        """Where metrics are served; "": nowhere."""
        self._tasks: list[asyncio.Task[None]] = []
        self._settings = settings

    def start(self) -> None:
        """Begin; needs a running event loop."""
        start_tracing(self._settings)
        if self._server is not None:
            self._server.start()
        certificates = watch_certificates(certificate_files(self._settings), WallClock())
        self._tasks = [asyncio.ensure_future(watch) for watch in (certificates, watch_rates())]

    async def stop(self) -> None:
        """Export what was traced, if that is quickly done, and answer no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.stop()
        await _export_the_rest()


async def _export_the_rest() -> None:
    """In a thread that nobody waits for longer: a collector that is away must not keep the role."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def export() -> None:
        stop_tracing()
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits any more
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=export, name="traces", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_EXPORT_SECONDS):
            await done.wait()


def _version() -> str:
    try:
        return version("rapport")
    except PackageNotFoundError:
        return "unknown"

"""The small web endpoint: links that customers follow, and reports that mail services post.

It stands in the open: no cookies, no scripts, one request a connection, which has 15 seconds for all of it,
and bounds on bodies, connections and requests. What it answers tells nothing about anybody.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, cast

import structlog
from aiohttp import web

from services.channel.entrypoints.web_pages import STYLE_SOURCE
from services.runtime import metrics
from services.runtime.errors import SettingError

CONNECTION_SECONDS = 15.0
MOST_CONNECTIONS = 512
_HANDSHAKE_SECONDS = 5.0
_PER_SECOND, _BURST = 100.0, 400.0
_PEERS = 4_096
_END_SECONDS = 5.0
RETRY_SECONDS: Final = "30"
HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src {STYLE_SOURCE}; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Connection": "close",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = structlog.get_logger(__name__)


class Paces:
    """How many requests each peer may make: 100 a second, 400 at once. Behind an ingress all are one peer."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._room: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def lets(self, peer: str) -> bool:
        """Whether one more may be answered now."""
        now = self._monotonic()
        room, since = self._room.pop(peer, (_BURST, now))
        room = min(_BURST, room + (now - since) * _PER_SECOND)
        self._room[peer] = (max(room - 1, 0.0), now)
        if len(self._room) > _PEERS:
            self._room.popitem(last=False)
        return room >= 1


class WebEndpoint:
    """Listens and answers; parts add their routes."""

    def __init__(
        self,
        routes: Sequence[web.RouteDef],
        *,
        most_octets: int,
        connection_seconds: float = CONNECTION_SECONDS,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        """`most_octets`: of the longest body that any route takes."""
        self._paces = Paces(lambda: asyncio.get_running_loop().time())
        self._app = web.Application(
            middlewares=[self._answer], client_max_size=most_octets, handler_args={"access_log": None}
        )
        self._app.add_routes(routes)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_END_SECONDS)
        self._seconds = connection_seconds
        self._most = most_connections
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self.address = ""

    @property
    def paths(self) -> frozenset[str]:
        """What is answered."""
        return frozenset(resource.canonical for resource in self._app.router.resources())

    async def start(self, listen: str, *, cert_file: str = "", key_file: str = "") -> None:
        """Answer on `listen` (host:port) from now on; SettingError when that is not possible."""
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise SettingError(
                f"RAPPORT_WEB_LISTEN is {listen!r}", field="RAPPORT_WEB_LISTEN", suggestion="say host:port"
            )
        context = _tls(cert_file, key_file) if cert_file else None
        await self._runner.setup()
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._connection,
                host.strip("[]"),
                int(port),
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if context is not None else None,
            )
        except OSError as error:
            raise SettingError(
                f"cannot listen on {listen}",
                field="RAPPORT_WEB_LISTEN",
                suggestion="name an address of this machine and a free port",
            ) from error
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self, seconds: float = _END_SECONDS) -> None:
        """Take no more; what is being answered has so long to end."""
        if self._server is not None:
            self._server.close()
        async with asyncio.timeout(seconds + _END_SECONDS):
            await self._runner.cleanup()

    def _connection(self) -> asyncio.Protocol:
        server = cast("Callable[[], asyncio.Protocol]", self._runner.server)
        return _Connection(server(), self._seconds, self._open, self._most)

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Bounds and headers for all answers; whatever fails is told as away, and never in words of ours."""
        if not self._paces.lets(request.remote or ""):
            response: web.StreamResponse = web.Response(status=429, headers={"Retry-After": "1"})
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = web.Response(status=error.status, text=f"{error.status}\n")
                if "Allow" in error.headers:
                    response.headers["Allow"] = error.headers["Allow"]
            except Exception as error:  # noqa: BLE001 - the edge of the process
                _log.error("web_request_failed", error=type(error).__name__)
                response = web.Response(status=503, headers={"Retry-After": RETRY_SECONDS})
        response.headers.update(HEADERS)
        response.headers["Server"] = "rapport"
        metrics.WEB_REQUESTS.labels(_part(request), str(response.status)).inc()
        return response


class _Connection(asyncio.Protocol):
    """A connection that ends after its time, whatever its peer does or does not send."""

    def __init__(
        self, inner: asyncio.Protocol, seconds: float, connections: "set[_Connection]", most: int
    ) -> None:
        self._inner = inner
        self._seconds = seconds
        self._connections = connections
        self._most = most
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Turned away when there are too many."""
        made = cast("asyncio.Transport", transport)
        if len(self._connections) >= self._most:
            made.abort()
            return
        self._connections.add(self)
        self._end = asyncio.get_running_loop().call_later(self._seconds, made.abort)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self in self._connections:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self in self._connections else None

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._connections:
            self._connections.discard(self)
            self._inner.connection_lost(exc)
        if self._end is not None:
            self._end.cancel()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


def _part(request: web.Request) -> str:
    """Which part answered; paths hold tokens."""
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical.strip("/").partition("/")[0] or "none"


def _tls(cert_file: str, key_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(
            "the web endpoint's certificate cannot be used",
            field="RAPPORT_WEB_CERT_FILE",
            suggestion="name a certificate and its key in PEM that this user may read",
        ) from error
    return context

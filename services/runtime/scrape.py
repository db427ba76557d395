"""Serves what a role counted to Prometheus: HTTPS, for callers with a certificate of our authority only.

In threads of its own, so that it also answers while the role's event loop does not.
"""

import asyncio
import ipaddress
import socket
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog

from services.runtime.credentials import CertificateFiles
from services.runtime.errors import SettingError
from services.runtime.log import describe_failure
from services.runtime.metrics import CONTENT_TYPE, exposition
from services.runtime.settings import Settings

PATH = "/metrics"
_CALLER_SECONDS = 10.0
_POLL_SECONDS = 0.25  # how long stopping may take
_log = structlog.get_logger(__name__)


class _Secured:
    """TLS as the certificate files say, which are read again when they are renewed."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._stamp = files.stamp()
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """What a connection that begins now is held to; files that do not fit together change nothing."""
        with self._lock:
            stamp = self._files.stamp()
            if stamp != self._stamp:
                try:
                    self._context = self._read()
                    self._stamp = stamp
                except (SettingError, OSError) as error:  # ssl.SSLError is an OSError
                    _log.warning("certificate_not_taken", **describe_failure(error))
            return self._context

    def _read(self) -> ssl.SSLContext:
        self._files.read()  # which says what is wrong with them
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._files.chain, self._files.key)
        context.load_verify_locations(self._files.authority)
        return context


class MetricsServer:
    """Answers GET /metrics for one role from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        host, _, port = settings.metrics_listen.rpartition(":")
        secured = _Secured(CertificateFiles.of(settings))
        try:
            self._server = _HttpsServer(
                (host.strip("[]"), int(port)), secured, settings.service, settings.role
            )
        except (OSError, ValueError) as error:
            raise SettingError(
                f"cannot listen on {settings.metrics_listen}",
                field="RAPPORT_METRICS_LISTEN",
                suggestion="name an address of this machine and a free port",
            ) from error
        self.address = f"{host}:{self._server.server_address[1]}"

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="metrics", daemon=True
        ).start()

    async def stop(self) -> None:
        """Answer no more."""
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()


class _HttpsServer(ThreadingHTTPServer):
    """Each caller's handshake and request have their own thread and a time limit."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], secured: _Secured, service: str, role: str) -> None:
        self.secured = secured
        self.service = service
        self.role = role
        if _is_ipv6(address[0]):
            self.address_family = socket.AF_INET6
        super().__init__(address, _Scrape)

    def server_bind(self) -> None:
        """Without the look-up of a host name that HTTPServer makes."""
        socketserver.TCPServer.server_bind(self)

    def finish_request(self, request: object, client_address: object) -> None:
        """Shake hands in the caller's own thread; a caller without a certificate gets no further."""
        assert isinstance(request, socket.socket)
        request.settimeout(_CALLER_SECONDS)
        try:
            with self.secured.context().wrap_socket(request, server_side=True) as shaken:
                self.RequestHandlerClass(shaken, client_address, self)  # type: ignore[arg-type]
        except OSError as error:
            _log.info("scrape_refused", error=type(error).__name__)


class _Scrape(BaseHTTPRequestHandler):
    """GET /metrics, and nothing else."""

    server: _HttpsServer
    server_version = "rapport"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with everything that was counted."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, f"only {PATH} is here")
            return
        body = exposition(self.server.service, self.server.role)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's signature
        """Scrapes leave no line in the log."""


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False

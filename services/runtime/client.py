"""Connections to services: as whom, TLS, keepalive, a deadline on every call, safe retries."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc

from services.runtime.credentials import CertificateFiles, KeptCertificate, file_stamp
from services.runtime.deadline import within
from services.runtime.errors import SettingError
from services.runtime.tracing import HEADER, traceparent

MAX_MESSAGE = 4 * 1024 * 1024
"""Of a request or an answer, in bytes; servers hold to the same."""
_LOOK_SECONDS = 1.0
_OLD_SECONDS = 60.0  # what calls in flight on an old connection have to end
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],  # each server behind the name gets its share of calls
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 1),
    ("grpc.service_config", _SERVICE_CONFIG),
)
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TokenFiles:
    """A caller with a JWT: the file that holds it, and the authorities that we trust (PEM)."""

    token: Path
    authority: Path


Identity = CertificateFiles | TokenFiles
"""As whom we call."""


class _CertificateHolder:
    """Calls as a service: its certificate, the newest there is."""

    def __init__(self, files: CertificateFiles) -> None:
        self._kept = KeptCertificate(files)

    def look(self) -> bool:
        """Whether connections must be opened anew."""
        return self._kept.renew()

    def credentials(self) -> grpc.ChannelCredentials:
        """For a new connection."""
        certificate = self._kept.current
        return grpc.ssl_channel_credentials(certificate.authority, certificate.key, certificate.chain)

    def metadata(self) -> Metadata:
        """What every call carries."""
        return ()


class _TokenHolder:
    """Calls with a token: what the file holds, read again when it changes."""

    def __init__(self, files: TokenFiles) -> None:
        self._files = files
        self._authority = _read(files.authority)
        self._stamp = (file_stamp(files.token), file_stamp(files.authority))
        self._metadata = self._read_token()

    def look(self) -> bool:
        """Whether connections must be opened anew."""
        stamp = (file_stamp(self._files.token), file_stamp(self._files.authority))
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._metadata = self._read_token()
        before, self._authority = self._authority, _read(self._files.authority)
        return self._authority != before

    def credentials(self) -> grpc.ChannelCredentials:
        """For a new connection."""
        return grpc.ssl_channel_credentials(self._authority)

    def metadata(self) -> Metadata:
        """What every call carries."""
        return self._metadata

    def _read_token(self) -> Metadata:
        return (("authorization", "Bearer " + _read(self._files.token).decode("ascii", "replace").strip()),)


class _Calls:
    """One method of a service, called on whichever connection is the newest."""

    def __init__(
        self,
        connection: "RenewingChannel",
        make: Callable[[grpc.aio.Channel], Any],
        deadline_seconds: float | None,
    ) -> None:
        self._connection = connection
        self._make = make
        self._deadline_seconds = deadline_seconds
        self._on: grpc.aio.Channel | None = None
        self._calls: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        current = self._connection.newest()
        if current is not self._on:
            self._on, self._calls = current, self._make(current)
        own = self._connection.metadata()
        if trace := traceparent():
            own = (*own, (HEADER, trace))
        if own:
            options["metadata"] = (*(options.get("metadata") or ()), *own)
        if options.get("timeout") is None and self._deadline_seconds is not None:
            options["timeout"] = self._deadline_seconds
        options["timeout"] = within(options.get("timeout"))
        return self._calls(*arguments, **options)


class RenewingChannel(grpc.aio.Channel):
    """A connection that says on every call who calls, and is opened anew when its certificate is renewed."""

    def __init__(self, target: str, identity: Identity, deadline_seconds: float) -> None:
        self._target = target
        self._deadline_seconds = deadline_seconds
        self._holder = (
            _CertificateHolder(identity) if isinstance(identity, CertificateFiles) else _TokenHolder(identity)
        )
        self._looked = time.monotonic()
        self._current = self._open()
        self._closing: set[asyncio.Task[None]] = set()

    def newest(self) -> grpc.aio.Channel:
        """The connection for the next call."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            if self._holder.look():
                old, self._current = self._current, self._open()
                closing = asyncio.ensure_future(old.close(_OLD_SECONDS))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
        return self._current

    def metadata(self) -> Metadata:
        """What every call carries."""
        return self._holder.metadata()

    async def close(self, grace: float | None = None) -> None:
        """End all calls, after `grace` seconds at most, and the connection."""
        for closing in tuple(self._closing):
            closing.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._current.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - grpc's
        """The state of the newest connection."""
        return self._current.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return when the newest connection is in another state."""
        await self._current.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return when the newest connection stands."""
        await self._current.channel_ready()

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """A method: one request, one answer."""
        return _Calls(
            self, lambda on: on.unary_unary(*arguments, **options), deadline_seconds=self._deadline_seconds
        )

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """A method: one request, many answers."""
        return _Calls(self, lambda on: on.unary_stream(*arguments, **options), None)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """A method: many requests, one answer."""
        return _Calls(self, lambda on: on.stream_unary(*arguments, **options), None)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """A method: many requests, many answers."""
        return _Calls(self, lambda on: on.stream_stream(*arguments, **options), None)

    def _open(self) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(self._target, self._holder.credentials(), options=_OPTIONS)


def connect(target: str, identity: Identity, *, deadline_seconds: float = 10.0) -> grpc.aio.Channel:
    """A connection to `target` ("host:port") for stubs; it connects by itself, also again; close it.

    With a certificate go to a service's port for certificates, with a token to that for tokens.
    Unary calls without a timeout get `deadline_seconds`; streams have none. UNAVAILABLE is tried four times.
    SettingError: the certificate or the token cannot be read.
    """
    return RenewingChannel(target, identity, deadline_seconds)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingError(
            f"{path.name} cannot be read ({error.strerror})",
            suggestion="name a file that this user may read",
        ) from error

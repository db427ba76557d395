"""Builds a service's gRPC server: TLS, the gate, limits, health, reflection and one way of telling errors."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.runtime.access import AccessInterceptor
from services.runtime.access_policy import AccessPolicyFile, declared_scopes
from services.runtime.client import MAX_MESSAGE
from services.runtime.clock import Clock, WallClock
from services.runtime.credentials import CertificateFiles, server_credentials
from services.runtime.deadline import DeadlineInterceptor
from services.runtime.draining import DrainInterceptor
from services.runtime.errors import ErrorTable, InvalidArgumentError, SettingError
from services.runtime.handlers import MadeOnce
from services.runtime.health_answers import HealthAnswers
from services.runtime.log import describe_failure
from services.runtime.observed_calls import ObservingInterceptor
from services.runtime.settings import Settings
from services.runtime.status import DETAILS_KEY, failure_status, unknown_status
from services.runtime.tokens import TokenVerifier

MAX_CALLS_AT_ONCE = 1000
"""Calls in flight on one connection; the next waits in its client."""
MAX_CALLS = 4000
"""Calls in flight on all connections together; the next is refused with RESOURCE_EXHAUSTED."""
CONNECTION_SECONDS = 1800.0
"""A connection is asked to go after about so long: its calls go on, the next one shows credentials anew."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """One gRPC service to serve: its full name and what adds its servicer to a server."""

    name: str
    add: Callable[[grpc.aio.Server], None]


class _Standing:
    """Whether a server's services are served: all of them, or none."""

    def __init__(self, names: Sequence[str]) -> None:
        self.ended = False
        self._names = {"", *names}
        self._up = False
        self._changed = asyncio.Event()

    def tell(self, *, up: bool, ended: bool = False) -> None:
        self._up, self.ended = up, ended
        self._changed.set()
        self._changed = asyncio.Event()

    def serving(self, name: str) -> bool | None:
        return self._up if name in self._names else None

    async def changed(self, seconds: float) -> None:
        event = self._changed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()


class Server:
    """A gRPC server that runs or will run; `port` is known once it was built.

    `address` is for callers with a certificate, `token_address` for those with a token ("": not served).
    """

    def __init__(
        self,
        server: grpc.aio.Server,
        standing: "_Standing",
        address: str,
        token_address: str,
        draining: DrainInterceptor,
    ) -> None:
        self._server = server
        self._draining = draining
        self._standing = standing
        self.address = address
        self.token_address = token_address

    @property
    def port(self) -> int:
        """The port it listens on, also when 0 was asked for."""
        return int(self.address.rsplit(":", 1)[1])

    async def start(self) -> None:
        """Start to answer; health says SERVING for each service and for the whole ("")."""
        await self._server.start()
        self._standing.tell(up=True)

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Say NOT_SERVING, take no more calls, end streams, and give calls that run time to end."""
        self._standing.tell(up=False, ended=True)
        self._draining.begin()
        await self._server.stop(grace_seconds)


def build_server(
    settings: Settings, served: Sequence[Served], errors: ErrorTable, clock: Clock | None = None
) -> Server:
    """A server for the services given; start it with `await server.start()`.

    It listens on `settings.listen` with a certificate demanded of callers (mutual TLS), and on
    `settings.token_listen`, if set, with TLS for callers with a token. `clock` judges tokens and rates.
    SettingError: there is no certificate, policy or key set to serve with, or a port is taken.
    """
    clock = clock or WallClock()
    files = CertificateFiles.of(settings)
    names = [part.name for part in served]
    gate = AccessInterceptor(
        {method: scope for name in names for method, scope in declared_scopes(name).items()},
        policy=AccessPolicyFile(settings.rules_folder, clock),
        tokens=TokenVerifier.of(settings, clock) if settings.token_listen else None,
        trust_domain=settings.trust_domain,
        clock=clock,
    )
    draining = DrainInterceptor()
    server = grpc.aio.server(
        interceptors=[
            ObservingInterceptor(),
            _ErrorInterceptor(errors),
            gate,
            DeadlineInterceptor(),
            draining,
        ],
        maximum_concurrent_rpcs=MAX_CALLS,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.max_concurrent_streams", MAX_CALLS_AT_ONCE),
            ("grpc.max_connection_age_ms", int(CONNECTION_SECONDS * 1000)),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a second listener
        ],
    )
    standing = _Standing(names)
    health_pb2_grpc.add_HealthServicer_to_server(HealthAnswers(standing), server)
    for part in served:
        part.add(server)
    reflection.enable_server_reflection(
        [*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME], server
    )
    address = _listen(server, settings.listen, "RAPPORT_LISTEN", files, callers_have_certificates=True)
    token_address = ""
    if settings.token_listen:
        token_address = _listen(
            server, settings.token_listen, "RAPPORT_TOKEN_LISTEN", files, callers_have_certificates=False
        )
    return Server(server, standing, address, token_address, draining)


def _listen(
    server: grpc.aio.Server,
    address: str,
    setting: str,
    files: CertificateFiles,
    *,
    callers_have_certificates: bool,
) -> str:
    credentials = server_credentials(files, callers_have_certificates=callers_have_certificates)
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise SettingError(
            f"cannot listen on {address}",
            field=setting,
            suggestion="name an address of this machine and a free port",
        ) from error
    return f"{address.rsplit(':', 1)[0]}:{port}"


Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Any]


class _ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Tells known errors with details and hides all others behind a correlation id."""

    def __init__(self, errors: ErrorTable) -> None:
        self._errors = errors
        self._made = MadeOnce(self._telling)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        found: grpc.RpcMethodHandler[Any, Any] = self._made.of(handler_call_details.method, handler)
        return found

    def _telling(self, method: str, handler: Any) -> Any:
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(self._many(method, handler.stream_stream), **codec)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(self._one(method, handler.stream_unary), **codec)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._many(method, handler.unary_stream), **codec)
        return grpc.unary_unary_rpc_method_handler(self._one(method, handler.unary_unary), **codec)

    def _one(self, method: str, behaviour: Handler) -> Handler:
        async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                return await behaviour(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
                await self._abort(method, context, error)

        return answer

    def _many(self, method: str, behaviour: Handler) -> Handler:
        async def answers(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                async for answer in behaviour(request, context):
                    yield answer
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - the edge: everything becomes a status
                await self._abort(method, context, error)

        return answers

    async def _abort(
        self, method: str, context: grpc.aio.ServicerContext[Any, Any], error: Exception
    ) -> None:
        if isinstance(error, DecodeError):
            error = InvalidArgumentError(
                "what was sent is no message of this method", suggestion="generate stubs from our protos"
            )
        status = failure_status(error, self._errors)
        if status is None:
            correlation = uuid.uuid4().hex
            status = unknown_status(correlation)
            _log.error("call_failed", method=method, correlation_id=correlation, **describe_failure(error))
        await context.abort(
            _code(status), status.message, trailing_metadata=((DETAILS_KEY, status.SerializeToString()),)
        )


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _code(status: status_pb2.Status) -> grpc.StatusCode:
    return _CODES.get(status.code, grpc.StatusCode.UNKNOWN)

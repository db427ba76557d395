"""Counts, times and traces every call that a server answers, refused ones among them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from services.runtime import metrics
from services.runtime.handlers import MadeOnce
from services.runtime.tracing import HEADER, SERVER, failed, span, tracing_on

if TYPE_CHECKING:
    from opentelemetry.trace import Span

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[Any, Context], Any]
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class ObservingInterceptor(grpc.aio.ServerInterceptor):
    """The outermost interceptor. A unary call is one span; a stream has none, what it does may have some.

    Methods that are not served are not counted: their names come from outside.
    """

    def __init__(self) -> None:
        self._made = MadeOnce(_observed)

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Wrap what answers the call."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        found: grpc.RpcMethodHandler[Any, Any] = self._made.of(handler_call_details.method, handler)
        return found


def _observed(path: str, handler: Any) -> Any:
    method = path.removeprefix("/")
    codec = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(_many(method, handler.stream_stream), **codec)
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(_one(method, handler.stream_unary), **codec)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(_many(method, handler.unary_stream), **codec)
    return grpc.unary_unary_rpc_method_handler(_one(method, _traced(method, handler.unary_unary)), **codec)


def caller_trace(context: Context) -> str:
    """The traceparent that a call came with; "": none."""
    for key, value in context.invocation_metadata() or ():
        if key == HEADER:
            return value if isinstance(value, str) else ""
    return ""


def _traced(method: str, behaviour: Handler) -> Handler:
    service, _, name = method.rpartition("/")
    about: dict[str, str | int] = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}

    async def answer(request: Any, context: Context) -> Any:
        if not tracing_on():
            return await behaviour(request, context)
        with span(method, parent=caller_trace(context), kind=SERVER, attributes=about) as made:
            try:
                return await behaviour(request, context)
            except BaseException as error:
                if made is not None:
                    _tell(made, _code(context, error))
                raise

    return answer


def _tell(made: "Span", code: str) -> None:
    made.set_attribute("rpc.grpc.status", code)
    failed(made, code)


def _one(method: str, behaviour: Handler) -> Handler:
    async def answer(request: Any, context: Context) -> Any:
        with _counted(method, context):
            return await behaviour(request, context)

    return answer


def _many(method: str, behaviour: Handler) -> Handler:
    async def answers(request: Any, context: Context) -> AsyncIterator[Any]:
        with _counted(method, context):
            async for answer in behaviour(request, context):
                yield answer

    return answers


@contextmanager
def _counted(method: str, context: Context) -> Iterator[None]:
    in_flight = metrics.RPC_IN_FLIGHT.labels(method)
    in_flight.inc()
    began = time.perf_counter()
    code = "OK"
    try:
        yield
        code = _code(context, None)
    except BaseException as error:
        code = _code(context, error)
        raise
    finally:
        in_flight.dec()
        metrics.RPC_SECONDS.labels(method, code).observe(time.perf_counter() - began)


def _code(context: Context, error: BaseException | None) -> str:
    """How the call ended, as a name of grpc.StatusCode."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        left = context.time_remaining()
        return "DEADLINE_EXCEEDED" if left is not None and left <= 0 else "CANCELLED"
    told: Any = context.code()
    number = told.value[0] if isinstance(told, grpc.StatusCode) else told or 0
    if error is not None and number == 0:
        return "UNKNOWN"
    return _CODES.get(number, "UNKNOWN")

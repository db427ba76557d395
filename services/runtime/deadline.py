"""Deadlines go down the road: what a call makes others do ends before the call itself must be answered."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc

from services.runtime.errors import DeadlineError, UnavailableError
from services.runtime.handlers import Handler, MadeOnce

MOST_SECONDS = 120.0
"""For a call whose caller gave no deadline."""
_KEPT_SHARE = 0.1
_KEPT_SECONDS = 0.05
"""Kept back for the way of the answer: a tenth of the time, at most so much."""
_PASSED_ON = 0.95
_NEARLY_OVER = 0.2
"""What a call asks for may fail this much earlier: each on the way keeps something back."""
_ends: ContextVar[float | None] = ContextVar("deadline", default=None)
Context = grpc.aio.ServicerContext[Any, Any]


def seconds_left() -> float | None:
    """What is left of the call in hand, in seconds, 0 when it is over; None: it has no deadline."""
    end = _ends.get()
    return None if end is None else max(0.0, end - time.monotonic())


def within(seconds: float | None) -> float | None:
    """How long a call made for the one in hand may take, if it could take `seconds` (None: any time).

    A little less than what is left, so that its failure can still be told.
    """
    left = seconds_left()
    if left is None:
        return seconds
    left *= _PASSED_ON
    return left if seconds is None else min(seconds, left)


def lift_deadline() -> None:
    """From here on, in this task, the work is for several callers, and no caller's deadline holds for it."""
    _ends.set(None)


class DeadlineInterceptor(grpc.aio.ServerInterceptor):
    """Answers a unary call DEADLINE_EXCEEDED a little before its caller stops to wait; its work is let go.

    What was not committed then is rolled back. Streams have no such limit.
    """

    def __init__(self) -> None:
        self._made = MadeOnce(_within_deadline)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler, limited."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.response_streaming:
            return handler
        return self._made.of(handler_call_details.method, handler)


def _within_deadline(_method: str, handler: Handler) -> Handler:
    coding = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(_limited(handler.stream_unary), **coding)
    return grpc.unary_unary_rpc_method_handler(_limited(handler.unary_unary), **coding)


def _limited(behaviour: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    async def answer(request: Any, context: Context) -> Any:
        given = context.time_remaining()
        left = MOST_SECONDS if given is None else min(given, MOST_SECONDS)
        left -= min(left * _KEPT_SHARE, _KEPT_SECONDS)
        _ends.set(time.monotonic() + left)
        try:
            async with asyncio.timeout(left) as limit:
                return await behaviour(request, context)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise _over() from error
        except (UnavailableError, grpc.aio.AioRpcError) as error:
            # what was asked for this call had what was left of its time, and did not answer in it
            if (seconds_left() or 0.0) > left * _NEARLY_OVER:
                raise
            raise _over() from error

    return answer


def _over() -> DeadlineError:
    return DeadlineError(
        "it was not done in the time that the caller gave",
        suggestion="give more time; a request with a request_id may be sent again with the same one",
    )

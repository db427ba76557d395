"""Streams end when their server is to end: the client goes on elsewhere instead of being cut off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from services.runtime.errors import UnavailableError

WATCH = "/grpc.health.v1.Health/Watch"
"""Ends by itself, with the news that the server goes: cut off before, nobody would hear of it."""
Handler = Any
Context = grpc.aio.ServicerContext[Any, Any]


class DrainInterceptor(grpc.aio.ServerInterceptor):
    """From `begin` on, streams get no further message: what came before is answered, then UNAVAILABLE.

    A stream of answers alone ends between two answers. Unary calls end by themselves.
    """

    def __init__(self) -> None:
        self._begun = asyncio.Event()

    def begin(self) -> None:
        """Streams end from now on."""
        self._begun.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler, which ends when the drain begins."""
        handler = await continuation(handler_call_details)
        streams = handler is not None and (handler.request_streaming or handler.response_streaming)
        if not streams or handler_call_details.method == WATCH:
            return handler
        coding = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if not handler.request_streaming:
            return grpc.unary_stream_rpc_method_handler(self._answering(handler.unary_stream), **coding)
        if handler.response_streaming:
            behaviour = handler.stream_stream

            def answers(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
                found: AsyncIterator[Any] = behaviour(self._until_begun(requests), context)
                return found

            return grpc.stream_stream_rpc_method_handler(answers, **coding)
        last = handler.stream_unary

        async def answer(requests: AsyncIterator[Any], context: Context) -> Any:
            return await last(self._until_begun(requests), context)

        return grpc.stream_unary_rpc_method_handler(answer, **coding)

    def _answering(
        self, behaviour: Callable[[Any, Context], AsyncIterator[Any]]
    ) -> Callable[[Any, Context], AsyncIterator[Any]]:
        async def answers(request: Any, context: Context) -> AsyncIterator[Any]:
            async for found in self._until_begun(behaviour(request, context)):
                yield found

        return answers

    async def _until_begun(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        source = aiter(messages)
        begun = asyncio.create_task(self._begun.wait(), name="drain-begun")
        following: asyncio.Task[Any] | None = None
        try:
            while True:
                following = asyncio.ensure_future(_next(source))
                await asyncio.wait({following, begun}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    raise UnavailableError(
                        "this server is being stopped",
                        suggestion="open the stream again; go on behind what was acknowledged",
                    )
                try:
                    message = following.result()
                except StopAsyncIteration:
                    return
                yield message
        finally:
            for task in (begun, following):
                if task is not None:
                    task.cancel()
            if following is not None:
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                    await following


async def _next(source: AsyncIterator[Any]) -> Any:
    return await anext(source)

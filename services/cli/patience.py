"""Calls that wait for a service that is away for a moment: killed and restarted, or just starting."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc

PATIENCE_SECONDS: Final = 60.0
"""How long a service may be away; the supervisor restarts one within a few seconds."""

_LONGEST_PAUSE: Final = 1.0
_WRITE_FAILED: Final = "Internal error from Core"
"""What gRPC says of a stream that broke while we wrote to it; no server says this."""
T = TypeVar("T")


def is_away(error: grpc.aio.AioRpcError) -> bool:
    """Whether the service, or the way to it, was lost, so that the same may be asked again."""
    code = error.code()
    return code is grpc.StatusCode.UNAVAILABLE or (
        code is grpc.StatusCode.INTERNAL and error.details() == _WRITE_FAILED
    )


async def patiently(ask: Callable[[], Awaitable[T]], *, seconds: float = PATIENCE_SECONDS) -> T:
    """What `ask` gives, asked anew while its service is away; only for calls that may be repeated.

    Raises the last grpc.aio.AioRpcError when the service stays away, any other at once.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    pause = 0.05
    while True:
        try:
            return await ask()
        except grpc.aio.AioRpcError as error:
            if not is_away(error) or loop.time() + pause > end:
                raise
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)

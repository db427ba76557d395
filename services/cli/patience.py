"""Calls that wait for a service that is away for a moment: killed and restarted, or just starting."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc

from services.runtime.status import read_failure

PATIENCE_SECONDS: Final = 60.0
"""How long a service may be away; the supervisor restarts one within a few seconds."""

FULL_SECONDS: Final = 600.0
"""How long a service may say that it has no room, without taking anything."""

_LONGEST_PAUSE: Final = 1.0
_LONGEST_HINT: Final = 60.0
_WRITE_FAILED: Final = "Internal error from Core"
"""What gRPC says of a stream that broke while we wrote to it; no server says this."""
T = TypeVar("T")


def is_away(error: grpc.aio.AioRpcError) -> bool:
    """Whether the service, or the way to it, was lost, so that the same may be asked again."""
    code = error.code()
    return code is grpc.StatusCode.UNAVAILABLE or (
        code is grpc.StatusCode.INTERNAL and error.details() == _WRITE_FAILED
    )


def hinted_pause(error: grpc.aio.AioRpcError) -> float | None:
    """How many seconds to wait, if the service has no room now and says when to come back; else None."""
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return None
    seconds = read_failure(error).retry_seconds
    return None if seconds is None else min(seconds, _LONGEST_HINT)


async def patiently(ask: Callable[[], Awaitable[T]], *, seconds: float = PATIENCE_SECONDS) -> T:
    """What `ask` gives, asked anew while its service is away or full; only for calls that may be repeated.

    A service that is full says when to come back, and is waited for that long, up to ten minutes in all.
    Raises the last grpc.aio.AioRpcError when the service stays so, any other at once.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    pause = 0.05
    while True:
        try:
            return await ask()
        except grpc.aio.AioRpcError as error:
            hint = hinted_pause(error)
            if hint is None and not is_away(error):
                raise
            rest = pause if hint is None else hint
            if loop.time() + rest > began + (seconds if hint is None else FULL_SECONDS):
                raise
        await asyncio.sleep(rest)
        pause = min(pause * 2, _LONGEST_PAUSE)

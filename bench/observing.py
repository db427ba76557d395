"""What counting and tracing cost: processor time of a call and of a batch, without, with, and traced.

Measured around the handler alone, the least of many rounds: what else runs then disturbs least.

Usage: python -m bench.observing [rounds]
"""

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import uvloop
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from services.runtime import tracing
from services.runtime.observed_calls import ObservingInterceptor
from services.runtime.settings import Settings
from services.runtime.tally import observed_batch

PARENT = f"00-{'a' * 32}-{'1' * 16}-01"
BATCH = {f"key:{number}": 20 for number in range(20)}
"""Twenty messages of twenty events: a batch of a busy road."""
_ROUND = 200


class Nowhere(SpanExporter):
    """Takes spans and forgets them."""

    def export(self, spans: object) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is kept."""


class Call:
    """As much of a call's context as is looked at."""

    def __init__(self, traceparent: str) -> None:
        self._metadata = (("user-agent", "bench"), (tracing.HEADER, traceparent))

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """What came with it."""
        return self._metadata

    def code(self) -> None:
        """Nothing was set."""


async def call_micros(rounds: int, traceparent: str = "") -> float:
    """What a call costs more for being counted and traced."""

    async def answer(request: Any, context: Any) -> Any:
        del context
        return request

    handler: Any = grpc.unary_unary_rpc_method_handler(answer)

    async def served(_details: object) -> Any:
        return handler

    class Details:
        method = "/bench.Reference/Empty"

    interceptor, context = ObservingInterceptor(), Call(traceparent)

    async def bare() -> None:
        await handler.unary_unary(None, context)

    async def observed() -> None:
        found: Any = await interceptor.intercept_service(served, Details())  # type: ignore[arg-type]
        await found.unary_unary(None, context)

    return await _micros(observed, rounds) - await _micros(bare, rounds)


async def batch_micros(rounds: int, traceparent: str = "") -> float:
    """What a batch of BATCH costs more."""
    traces = dict.fromkeys(range(len(BATCH)), traceparent)

    async def once() -> None:
        with observed_batch("EVENTS", traces, BATCH):
            pass

    return await _micros(once, rounds)


async def _micros(once: Callable[[], Awaitable[None]], rounds: int) -> float:
    least = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(_ROUND):
            await once()
        least = min(least, (time.process_time() - began) / _ROUND * 1e6)
    return least


async def main(rounds: int) -> None:
    """Measures and prints."""
    size = sum(BATCH.values())

    async def show(name: str, traceparent: str = "") -> None:
        call, batch = await call_micros(rounds, traceparent), await batch_micros(rounds, traceparent)
        print(f"{name}: {call:.1f} µs a call, {batch:.1f} µs a batch of {size} events")

    await show("counted")
    for name, traceparent in (("tracing on, not this one", ""), ("traced", PARENT)):
        tracing.start_tracing(Settings(service="bench", trace_ratio=0.0), Nowhere())
        await show(name, traceparent)
        tracing.stop_tracing()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if sys.argv[1:] else 50))

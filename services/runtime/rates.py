"""How much each caller may ask: a bucket of calls for each, and the streams that it holds open."""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from services.runtime.access_policy import Rate
from services.runtime.clock import Clock
from services.runtime.errors import TooManyCallsError

_MOST_CALLERS = 10_000
_STREAM_SECONDS = 1.0
"""When to try again where too many streams are open; nobody knows when one ends."""


class Rates:
    """A bucket for each caller; the 10,000 that asked last are known. Streams are counted while they last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._streams: Counter[str] = Counter()

    def spend(self, caller: str, rate: Rate) -> None:
        """Take one call from the caller's bucket; TooManyCallsError says when there will be one."""
        now = self._clock.monotonic()
        left, since = self._left.get(caller, (math.inf, now))
        left = min(rate.burst, left + (now - since) * rate.calls_per_second)
        if left < 1.0:
            raise TooManyCallsError(
                f"this caller may ask {rate.calls_per_second:g} times a second here, {rate.burst:g} at once",
                retry_seconds=(1.0 - left) / rate.calls_per_second,
                suggestion="wait as long as RetryInfo says, and send more in one call",
            )
        self._left[caller] = (left - 1.0, now)
        self._left.move_to_end(caller)
        if len(self._left) > _MOST_CALLERS:
            self._left.popitem(last=False)

    @contextmanager
    def stream(self, caller: str, rate: Rate) -> Iterator[None]:
        """A stream of the caller's, open while the block runs; TooManyCallsError: it holds enough of them."""
        if self._streams[caller] >= rate.streams:
            raise TooManyCallsError(
                f"this caller may hold {rate.streams} streams open here",
                retry_seconds=_STREAM_SECONDS,
                suggestion="end one first, or send through those that are open",
            )
        self._streams[caller] += 1
        try:
            yield
        finally:
            self._streams[caller] -= 1
            if not self._streams[caller]:
                del self._streams[caller]

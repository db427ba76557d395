"""How often each caller may ask: a token bucket for each (no relation to JWTs)."""

import math
from collections import OrderedDict

from services.runtime.access_policy import Rate
from services.runtime.clock import Clock
from services.runtime.errors import TooManyCallsError

_MOST_CALLERS = 10_000


class Rates:
    """A bucket for each caller; the 10,000 that asked last are known."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

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

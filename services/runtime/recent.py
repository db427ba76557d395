"""How much was done per second over the last minute, for whoever looks now and keeps no history."""

import asyncio
from collections import deque
from collections.abc import Mapping

from prometheus_client import Counter

from services.runtime import metrics

WINDOW_SECONDS = 60.0
_EVERY_SECONDS = 5.0


class RecentRates:
    """Rates of counters that only grow, over the last minute or as long as has been looked."""

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window = window_seconds
        self._looks: deque[tuple[float, Mapping[str, float]]] = deque()

    def look(self, now: float, counted: Mapping[str, float]) -> dict[str, float]:
        """Per second, by name; `now` in seconds of a clock that never goes back."""
        self._looks.append((now, dict(counted)))
        while len(self._looks) > 2 and self._looks[1][0] <= now - self._window:
            self._looks.popleft()
        began, before = self._looks[0]
        seconds = now - began
        if seconds <= 0:
            return {}
        return {name: (value - before.get(name, 0.0)) / seconds for name, value in counted.items()}


async def watch_rates(*, every_seconds: float = _EVERY_SECONDS) -> None:
    """Keep the gauge of rates up to date until cancelled."""
    rates = RecentRates()
    loop = asyncio.get_running_loop()
    while True:
        for name, rate in rates.look(loop.time(), counted()).items():
            metrics.RECENT.labels(name).set(rate)
        await asyncio.sleep(every_seconds)


def counted() -> dict[str, float]:
    """What this process has done so far; what it never does is not there."""
    found: dict[str, float] = {}
    for labels, value in _samples(metrics.INGESTED):
        if labels["outcome"] == "accepted":
            found["events"] = value
    for labels, value in _samples(metrics.ITEMS):
        found[labels["stream"]] = found.get(labels["stream"], 0.0) + value
    for labels, value in _samples(metrics.DECISIONS):
        if labels["result"] != "nothing":
            found["decisions"] = found.get("decisions", 0.0) + value
    for labels, value in _samples(metrics.MESSAGES):
        if labels["state"] == "sent":
            found["messages"] = found.get("messages", 0.0) + value
    return found


def _samples(counter: Counter) -> list[tuple[dict[str, str], float]]:
    return [
        (sample.labels, sample.value)
        for metric in counter.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    ]

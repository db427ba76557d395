"""Calls at planned times, however long the answers take; and what their latencies come to.

A caller that waits for each answer before it asks again asks less while the server is slow, and never
sees how long those would have waited who did not ask (coordinated omission). Here each call has its time
beforehand, and its latency counts from that time, whenever it was really sent.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.measure import percentile

Call = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds from when each call was due until its answer; `failed` calls have none."""

    seconds: tuple[float, ...]
    failed: int

    def millis(self, percent: float) -> float:
        """A percentile, in milliseconds."""
        return percentile(self.seconds, percent) * 1e3


def plan_arrivals(per_second: float, seconds: float, seed: int = 1) -> list[float]:
    """When each call is due, in seconds from the start: as independent callers come, the same for a seed.

    Exactly `per_second * seconds` calls, at random (Poisson arrivals): some at once, then none for a while.
    """
    draw = random.Random(seed)
    return sorted(draw.uniform(0.0, seconds) for _ in range(round(per_second * seconds)))


async def call_as_planned(arrivals: Sequence[float], call: Call) -> Latencies:
    """Makes the calls (given their places), each at its time, and waits for all answers."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    took: dict[int, float] = {}

    async def one(place: int, due: float) -> None:
        try:
            await call(place)
        except Exception:  # noqa: BLE001  counted; the bench shows how many
            return
        took[place] = loop.time() - began - due

    tasks: list[asyncio.Task[None]] = []
    for place, due in enumerate(arrivals):
        wait = began + due - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(place, due)))
    await asyncio.gather(*tasks)
    return Latencies(tuple(took.values()), len(arrivals) - len(took))


async def call_without_pause(callers: int, seconds: float, call: Call) -> tuple[float, int]:
    """So many callers ask again as soon as they are answered; answers a second, and how many calls failed.

    The first fifth of the time is no part of it.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds * 1.2
    places = iter(range(1 << 60))
    done = failed = 0

    async def caller() -> None:
        nonlocal done, failed
        while loop.time() < end:
            try:
                await call(next(places))
            except Exception:  # noqa: BLE001  counted; the bench shows how many
                failed += 1
            else:
                done += 1

    tasks = [asyncio.create_task(caller()) for _ in range(callers)]
    await asyncio.sleep(seconds * 0.2)
    before, began = done, loop.time()
    await asyncio.gather(*tasks)
    return (done - before) / (loop.time() - began), failed

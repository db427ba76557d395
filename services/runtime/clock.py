"""Business time: the wall's, or what the feeder of events announces to every process alike."""

import asyncio
import contextlib
import time
from typing import Protocol

MICROS = 1_000_000


class Clock(Protocol):
    """Where time comes from; nothing else in the product asks the machine for it."""

    def now_micros(self) -> int:
        """Business time: whole microseconds since 1970-01-01T00:00:00Z; 0: not known yet."""
        ...

    def wall_micros(self) -> int:
        """The machine's time, for records of running only, never for a decision."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever grow, for measuring durations."""
        ...

    async def wait_until(self, micros: int, wake: asyncio.Event | None = None) -> None:
        """Return when business time has reached `micros`, or when `wake` is set, whichever is first."""
        ...

    async def wait_changed(self, seen_micros: int) -> int:
        """Return business time once it is later than `seen_micros`."""
        ...


class WallClock:
    """Business time is the wall's."""

    def now_micros(self) -> int:
        """Now, by the machine."""
        return time.time_ns() // 1000

    def wall_micros(self) -> int:
        """Now, by the machine."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    async def wait_until(self, micros: int, wake: asyncio.Event | None = None) -> None:
        """Sleep in steps of at most a minute, so that a corrected machine time is noticed."""
        while not (wake is not None and wake.is_set()):
            left = (micros - self.now_micros()) / MICROS
            if left <= 0:
                return
            if wake is None:
                await asyncio.sleep(min(left, 60))
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), min(left, 60))

    async def wait_changed(self, seen_micros: int) -> int:
        """Wait until the wall has passed `seen_micros`."""
        await self.wait_until(seen_micros + 1)
        return self.now_micros()


class EventClock:
    """Business time is what was last announced; it never goes back."""

    def __init__(self, start_micros: int = 0) -> None:
        self._now = start_micros
        self._changed = asyncio.Event()

    def now_micros(self) -> int:
        """The latest time announced; 0: none yet."""
        return self._now

    def wall_micros(self) -> int:
        """Now, by the machine."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()

    def advance_to(self, micros: int) -> bool:
        """Go to a later time and wake all who wait for it; an earlier one changes nothing (False)."""
        if micros <= self._now:
            return False
        self._now = micros
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return True

    async def wait_until(self, micros: int, wake: asyncio.Event | None = None) -> None:
        """Wait for an announcement of `micros` or later, or for `wake`."""
        while self._now < micros and not (wake is not None and wake.is_set()):
            changed = self._changed
            if wake is None:
                await changed.wait()
                continue
            waits = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(wake.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def wait_changed(self, seen_micros: int) -> int:
        """Wait for an announcement later than `seen_micros`."""
        await self.wait_until(seen_micros + 1)
        return self._now


def make_clock(kind: str) -> WallClock | EventClock:
    """The clock of a process by the setting RAPPORT_CLOCK, "wall" or "events"."""
    return EventClock() if kind == "events" else WallClock()

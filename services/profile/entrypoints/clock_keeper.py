"""Keeps the fed clock: what the database says is what every process is told, also after NATS lost it."""

import asyncio

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from services.profile.app.ports import ProfileStore
from services.runtime.clock import EventClock
from services.runtime.clock_follower import publish_clock

_log = structlog.get_logger(__name__)


class ClockKeeper:
    """Publishes business time after it was moved, and again when it changed without us."""

    def __init__(
        self,
        store: ProfileStore,
        jetstream: JetStreamContext,
        clock: EventClock,
        *,
        every_seconds: float = 5.0,
    ) -> None:
        self._store = store
        self._jetstream = jetstream
        self._clock = clock
        self._every = every_seconds
        self._published = 0

    async def moved(self, micros: int) -> None:
        """Business time is kept as `micros`: tell everyone. A NATS that is away is told later."""
        self._clock.advance_to(micros)
        try:
            await publish_clock(self._jetstream, max(micros, self._clock.now_micros()))
            self._published = max(self._published, micros)
        except (NatsError, OSError, TimeoutError) as error:
            _log.warning("clock_not_published", error=type(error).__name__)

    async def restore(self) -> None:
        """Go to where the clock stood."""
        async with self._store.work() as work:
            kept = await work.clock()
        if kept:
            await self.moved(kept)

    async def run(self) -> None:
        """Look at intervals until cancelled."""
        while True:
            async with self._store.work() as work:
                kept = await work.clock()
            if kept > self._published:
                await self.moved(kept)
            await asyncio.sleep(self._every)

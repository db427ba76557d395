"""How announced business time reaches every process: over NATS, which keeps the last word."""

import asyncio
import contextlib

import structlog
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError as NoMessageError

from services.runtime.clock import EventClock

CLOCK_STREAM = "CLOCK"
CLOCK_SUBJECT = "rapport.clock"
_log = structlog.get_logger(__name__)


async def publish_clock(jetstream: JetStreamContext, micros: int) -> None:
    """Tell every process of every service the business time; kept for those that start later."""
    await jetstream.publish(CLOCK_SUBJECT, str(micros).encode("ascii"))


class ClockFollower:
    """Keeps an EventClock at what was last published; survives restarts of NATS."""

    def __init__(
        self, nats: NatsClient, jetstream: JetStreamContext, clock: EventClock, *, sweep_seconds: float = 2.0
    ) -> None:
        self._nats = nats
        self._jetstream = jetstream
        self._clock = clock
        self._sweep_seconds = sweep_seconds

    async def run(self) -> None:
        """Follow until cancelled: what comes now, and at intervals the last that was kept."""
        subscription = await self._nats.subscribe(CLOCK_SUBJECT, cb=self._take)
        try:
            # soon again at first: what was published just before we subscribed may not be stored yet
            pause = 0.05
            while True:
                await self._catch_up()
                await asyncio.sleep(min(pause, self._sweep_seconds))
                pause = min(2 * pause, self._sweep_seconds)
        finally:
            with contextlib.suppress(NatsError):
                await subscription.unsubscribe()

    async def _catch_up(self) -> None:
        try:
            last = await self._jetstream.get_last_msg(CLOCK_STREAM, CLOCK_SUBJECT)
        except NoMessageError:
            return
        except (NatsError, TimeoutError, OSError) as error:
            _log.warning("clock_not_read", error=type(error).__name__)
            return
        self._advance(last.data or b"")

    async def _take(self, message: Msg) -> None:
        self._advance(message.data)

    def _advance(self, payload: bytes) -> None:
        if payload.isdigit():
            self._clock.advance_to(int(payload))
        else:
            _log.warning("clock_message_not_a_number", size=len(payload))

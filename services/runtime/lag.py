"""Whether events that happen now wait on their way: then what could as well be done later waits."""

from nats.errors import Error as NatsError

from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.streams import EVENTS, OUTCOMES, Bus
from services.runtime.watch import stream_backlog

_MOST_SECONDS = 1.0
"""An event is to be handed over within a second."""
_MOST_OUTBOX = 500
_LOOK_SECONDS = 0.25


class Lag:
    """Looks at the streams that every event takes, and at our own outbox, now and then."""

    def __init__(self, database: Database, bus: Bus, clock: Clock) -> None:
        self._database = database
        self._bus = bus
        self._clock = clock
        self._looked_at = float("-inf")
        self._behind = False

    async def behind(self) -> bool:
        """Whether the oldest event waits for over a second, or cannot be seen."""
        if self._clock.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._behind = await self._full_outbox() or await self._old_messages()
            self._looked_at = self._clock.monotonic()
        return self._behind

    async def _full_outbox(self) -> bool:
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                "SELECT count(*) FROM (SELECT FROM outbox LIMIT %s) AS waiting", (_MOST_OUTBOX + 1,)
            )
        return row is not None and row[0] > _MOST_OUTBOX

    async def _old_messages(self) -> bool:
        for stream in (EVENTS, OUTCOMES):
            try:
                backlog = await stream_backlog(self._bus, stream, self._clock.wall_micros())
            except (NatsError, OSError, TimeoutError):
                return True
            if backlog.oldest_seconds > _MOST_SECONDS:
                return True
        return False

"""Back-pressure: new work from outside is refused while too much of the old has not come to its end."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from services.runtime.database import Database
from services.runtime.errors import OverloadedError
from services.runtime.log import describe_failure
from services.runtime.settings import Settings
from services.runtime.streams import WORK_STREAMS, Bus

LOOK_SECONDS = 0.5
_OLD_SECONDS = 2.0
"""What was seen longer ago says nothing."""
_ANSWER_SECONDS = 1.0
_STUCK_SECONDS = 10
"""One that is older than this does not only wait for its turn: the log between the services takes nothing."""
_SHORTEST_RETRY, _LONGEST_RETRY = 1.0, 8.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BacklogLimits:
    """How much may wait: messages in the outbox, messages of a work stream, percent of a stream's bytes."""

    outbox_messages: int = 20_000
    stream_messages: int = 100_000
    stream_percent: int = 50

    @classmethod
    def of(cls, settings: Settings) -> "BacklogLimits":
        """RAPPORT_BACKLOG_OUTBOX_MESSAGES, _STREAM_MESSAGES and _STREAM_PERCENT."""
        return cls(
            settings.backlog_outbox_messages,
            settings.backlog_stream_messages,
            settings.backlog_stream_percent,
        )


class Backlog:
    """Knows, to within a second, whether the outbox or a stream holds more than it should.

    Only for what callers send over gRPC; what the services say to each other is always taken, or the road
    would block itself. While NATS or the database does not tell, what was seen last holds.
    """

    def __init__(self, database: Database, bus: Bus, limits: BacklogLimits) -> None:
        self._database = database
        self._bus = bus
        self._limits = limits
        self._full = ""
        self._full_since = 0.0
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def check(self, patience_seconds: float = 0.0) -> None:
        """OverloadedError, with the time to come back, when there is no room even after so much waiting."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_seconds
        while True:
            await self._look()
            if not self._full:
                return
            if loop.time() >= end:
                raise OverloadedError(
                    f"too much waits to be handed on: {self._full}",
                    retry_seconds=self._retry_seconds(),
                    suggestion="send the same again after the time in RetryInfo",
                )
            await asyncio.sleep(min(LOOK_SECONDS, end - loop.time()))

    async def _look(self) -> None:
        """Look again where the last look is half a second old; nobody waits for it while it is not stale."""
        loop = asyncio.get_running_loop()
        age = loop.time() - self._looked_at
        if age < LOOK_SECONDS or (age < _OLD_SECONDS and self._looking.locked()):
            return
        async with self._looking:
            if loop.time() - self._looked_at < LOOK_SECONDS:
                return
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    full = await self._outbox() or await self._streams()
            except Exception as error:  # noqa: BLE001 - not knowing is no reason to refuse
                _log.warning("backlog_not_seen", **describe_failure(error))
                full = self._full
            self._looked_at = loop.time()
        if bool(full) is not bool(self._full):
            self._full_since = self._looked_at
            _log.warning("no_room", full=full) if full else _log.info("room_again")
        self._full = full

    async def _outbox(self) -> str:
        """What is over its limit in the outbox; empty: nothing."""
        most = self._limits.outbox_messages
        async with self._database.transaction() as transaction:
            # no further than the answer needs
            row = await transaction.row(
                "SELECT count(*) FROM (SELECT FROM outbox LIMIT %s) AS waiting", (most + 1,)
            )
            if not row or row[0] <= most:
                return ""
            oldest = await transaction.row(
                "SELECT extract(epoch FROM clock_timestamp() - created_at)::int "
                "FROM outbox ORDER BY id LIMIT 1"
            )
        full = f"over {most} messages in the outbox"
        if oldest and oldest[0] >= _STUCK_SECONDS:
            full += f", the oldest for {oldest[0]} s (see that NATS runs and has room on its disk)"
        return full

    async def _streams(self) -> str:
        """Which stream holds more than it should; empty: none."""
        most, percent = self._limits.stream_messages, self._limits.stream_percent
        for name in WORK_STREAMS:
            found = await self._bus.jetstream.stream_info(name)
            if found.state.messages > most:
                return f"over {most} messages in {name}"
            if found.state.bytes * 100 > (found.config.max_bytes or 0) * percent > 0:
                return f"over {percent} % of the bytes of {name}"
        return ""

    def _retry_seconds(self) -> float:
        """Later the longer it is full; spread, so that those turned away do not all come back at once."""
        full_for = asyncio.get_running_loop().time() - self._full_since
        seconds = min(_LONGEST_RETRY, max(_SHORTEST_RETRY, full_for / 4))
        return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load


class InHand:
    """How many bytes of requests are in memory at once, over all callers; more are turned away."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Count a request while it is worked on; OverloadedError when there is no room beside the others."""
        if self._bytes and self._bytes + size > self._most:
            raise OverloadedError(
                f"requests of over {self._most >> 20} MiB are in work",
                retry_seconds=_SHORTEST_RETRY * random.uniform(0.8, 1.2),  # noqa: S311 - spreads load
                suggestion="send the same again after the time in RetryInfo, and fewer batches at a time",
            )
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size

"""Looks now and then at what waits (stream, outbox, dead letters) and at what expires, for the metrics."""

import asyncio
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from nats.errors import Error as NatsError

from services.runtime import metrics
from services.runtime.clock import Clock, WallClock
from services.runtime.credentials import certificate_expiry
from services.runtime.database import Database, is_transient
from services.runtime.log import describe_failure
from services.runtime.settings import Settings
from services.runtime.streams import Bus, subject

_MOST_OUTBOX = 100_000
"""Counted no further: more than this is too much all the same."""
_OUTBOX = f"""
    SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT {_MOST_OUTBOX}) AS waiting),
        (SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 FROM outbox ORDER BY id LIMIT 1),
        (SELECT count(*) FROM dead_letter WHERE resent_at IS NULL)
"""  # noqa: S608 - our own number
_MICROS = 1_000_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StreamBacklog:
    """What a work stream holds: messages by partition, and the age of the oldest in seconds (0: none)."""

    waiting: dict[int, int]
    oldest_seconds: float


async def stream_backlog(bus: Bus, stream: str, now_micros: int) -> StreamBacklog:
    """Ask the server; a work queue holds exactly what waits or is taken and not acknowledged.

    NatsError or TimeoutError when it does not answer, or there is no such stream.
    """
    answer = await bus.nats.request(
        f"$JS.API.STREAM.INFO.{stream}",
        json.dumps({"subjects_filter": f"{subject(stream, 0).rsplit('.', 1)[0]}.*"}).encode(),
        timeout=5.0,
    )
    told = json.loads(answer.data)
    if "state" not in told:
        raise NatsError(f"there is no stream {stream}")
    state = told["state"]
    waiting = {int(name.rsplit(".", 1)[1]): count for name, count in (state.get("subjects") or {}).items()}
    oldest = 0.0
    if state["messages"]:
        began = dt.datetime.fromisoformat(state["first_ts"]).timestamp()
        oldest = max(now_micros / _MICROS - began, 0.0)
    return StreamBacklog(waiting, oldest)


class BacklogWatch:
    """Keeps the gauges of one service's stream, outbox and dead letters up to date; each role may run one."""

    def __init__(
        self,
        database: Database,
        bus: Bus,
        stream: str,
        *,
        partitions: int,
        clock: Clock | None = None,
        every_seconds: float = 5.0,
    ) -> None:
        self._database = database
        self._bus = bus
        self._stream = stream
        self._partitions = partitions
        self._clock = clock or WallClock()
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Look until cancelled; what does not answer keeps its last figures."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_seconds)

    async def look(self) -> None:
        """Look once."""
        try:
            await self._look_at_database()
        except Exception as error:
            if not is_transient(error):
                raise
            _log.info("backlog_not_seen", of="database", **describe_failure(error))
        try:
            await self._look_at_stream()
        except (NatsError, OSError, TimeoutError) as error:
            _log.info("backlog_not_seen", of=self._stream, **describe_failure(error))

    async def _look_at_database(self) -> None:
        async with self._database.transaction() as transaction:
            row = await transaction.row(_OUTBOX)
        assert row is not None
        messages, oldest, letters = row
        metrics.show(metrics.OUTBOX_MESSAGES, metrics.OUTBOX_OLDEST, metrics.DEAD_LETTERS)
        metrics.OUTBOX_MESSAGES.set(messages)
        metrics.OUTBOX_OLDEST.set(max(oldest or 0.0, 0.0))
        metrics.DEAD_LETTERS.set(letters)

    async def _look_at_stream(self) -> None:
        backlog = await stream_backlog(self._bus, self._stream, self._clock.wall_micros())
        for partition in {*range(self._partitions), *backlog.waiting}:
            metrics.STREAM_LAG.labels(self._stream, partition).set(backlog.waiting.get(partition, 0))
        metrics.STREAM_OLDEST.labels(self._stream).set(backlog.oldest_seconds)


def certificate_files(settings: Settings) -> list[Path]:
    """The certificates that a role is told of."""
    return [
        Path(name) for name in (settings.tls_cert_file, settings.tls_ca_file, settings.nats_ca_file) if name
    ]


async def watch_certificates(files: Sequence[Path], clock: Clock, *, every_seconds: float = 60.0) -> None:
    """Keep saying how long our certificates are still valid, until cancelled."""
    while True:
        for path in files:
            try:
                expiry = certificate_expiry(path)
            except (OSError, ValueError) as error:
                _log.warning("certificate_not_read", file=path.name, error=type(error).__name__)
                continue
            metrics.CERTIFICATE_EXPIRY.labels(path.name).set(
                expiry.timestamp() - clock.wall_micros() / _MICROS
            )
        await asyncio.sleep(every_seconds)

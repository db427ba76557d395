"""Gathers from the profiles what finding customers needs: their zones, and last times of event types.

What events change is written with them from then on (see `PostgresWork`); of what was there before, a worker
takes a page of customers after the other. Nothing counts before the last page is in.
"""

from collections.abc import Mapping
from contextlib import suppress

import structlog
from rapport.profile.v1 import stored_pb2

from services.profile.adapters.audience import ZONES, last_times
from services.runtime.database import Database, Transaction
from services.runtime.errors import UnavailableError

_ROWS = 1_000
_GONE_ROWS = 10_000
_LAST = last_times("")
_log = structlog.get_logger(__name__)


class Gathering:
    """Runs in a worker; several may run."""

    def __init__(self, database: Database, *, channel: str, sweep_seconds: float = 5.0) -> None:
        self._database = database
        self._channel = channel
        self._sweep_seconds = sweep_seconds

    async def run(self) -> None:
        """Gather until cancelled: what is missing when it starts, and what is asked for later."""
        async for _ in self._database.listen(self._channel, sweep_seconds=self._sweep_seconds):
            with suppress(UnavailableError):
                await self.gather()

    async def gather(self) -> None:
        """Gather all that is wanted and free."""
        async with self._database.transaction() as transaction:
            await transaction.execute(
                "INSERT INTO gathering (name, state) VALUES (%s, 'filling') ON CONFLICT DO NOTHING", (ZONES,)
            )
        more = True
        while more:
            more = await self.step()

    async def step(self) -> bool:
        """One page of one thing; whether there was one."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                "SELECT name, state, reached FROM gathering WHERE state <> 'ready' "
                "ORDER BY name LIMIT 1 FOR UPDATE SKIP LOCKED"
            )
            if row is None:
                return False
            name, state, reached = row
            if state == "leaving":
                await _leave(transaction, name)
                return True
            last = await _fill(transaction, name, reached)
            await transaction.execute(
                "UPDATE gathering SET reached = %s, state = %s WHERE name = %s",
                (reached if last is None else last, "ready" if last is None else "filling", name),
            )
            if last is None:
                _log.info("gathered", what=name)
            return True


async def _leave(transaction: Transaction, name: str) -> None:
    """The next few thousand of what nobody asks for any more, and at the end its name."""
    rows = await transaction.execute(
        "DELETE FROM last_time WHERE type = %(type)s AND customer IN "
        "(SELECT customer FROM last_time WHERE type = %(type)s ORDER BY customer LIMIT %(most)s)",
        {"type": name.removeprefix(_LAST), "most": _GONE_ROWS},
    )
    if rows < _GONE_ROWS:
        await transaction.execute("DELETE FROM gathering WHERE name = %s", (name,))


async def _fill(transaction: Transaction, name: str, reached: int) -> int | None:
    """What the next customers after one have; the last of them, None: there are no more."""
    rows = await transaction.rows(
        "SELECT id, hot FROM customer WHERE id > %s ORDER BY id LIMIT %s", (reached, _ROWS)
    )
    profiles = [(customer, stored_pb2.StoredHot.FromString(hot)) for customer, hot in rows]
    if name == ZONES:
        zones = [(customer, hot.zone) for customer, hot in profiles if hot.zone]
        await transaction.execute(
            "INSERT INTO customer_zone (customer, zone) SELECT * FROM unnest(%s::bigint[], %s::text[]) "
            "ON CONFLICT DO NOTHING",
            ([customer for customer, _ in zones], [zone for _, zone in zones]),
        )
    else:
        event_type = name.removeprefix(_LAST)
        times = [
            (customer, item.last_time_micros)
            for customer, hot in profiles
            for item in hot.activity
            if item.type == event_type and item.last_time_micros
        ]
        await write_last_times(transaction, {(event_type, customer): time for customer, time in times})
    return rows[-1][0] if len(rows) == _ROWS else None


async def write_last_times(transaction: Transaction, times: Mapping[tuple[str, int], int]) -> None:
    """Keep last times by (event type, customer); an earlier one than is known changes nothing."""
    keys = sorted(times)
    if keys:
        await transaction.execute(
            "INSERT INTO last_time (type, customer, time_micros) "
            "SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) "
            "ON CONFLICT (type, customer) DO UPDATE SET time_micros = excluded.time_micros "
            "WHERE last_time.time_micros < excluded.time_micros",
            (
                [event_type for event_type, _ in keys],
                [customer for _, customer in keys],
                [times[key] for key in keys],
            ),
        )

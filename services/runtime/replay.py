"""Hands on again, in recovery, what a service handed on since a moment: in steps, as the relay publishes."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.runtime.database import Database, Transaction
from services.runtime.errors import UnavailableError
from services.runtime.recovery import HANDED_AGAIN, RECOVERY_NOTICE, Gap
from services.runtime.totals import add_totals

_MOST_WAITING = 2_000
_REST_SECONDS = 0.2
_NEXT = """
    SELECT number, position, gap_start_micros, gap_end_micros, replay_start_micros, began_micros FROM recovery
    WHERE ended_at IS NULL AND replayed_at IS NULL FOR UPDATE SKIP LOCKED
"""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step came to: where the next begins ("": all is done), and what was handed on, by kind."""

    position: str
    counts: Mapping[str, int] = field(default_factory=dict)


class Replayer(Protocol):
    """What a service hands on again; a message twice on its way changes nothing at its consumer."""

    async def step(self, transaction: Transaction, gap: Gap, position: str) -> Step:
        """Put the next few hundred items into the outbox; `position` is the last step's, "" at first."""
        ...


class Replay:
    """Runs in every worker; one of them works at a time, and a step is done once."""

    def __init__(self, database: Database, replayer: Replayer) -> None:
        self._database = database
        self._replayer = replayer

    async def run(self) -> None:
        """Run until cancelled."""
        async for _ in self._database.listen(RECOVERY_NOTICE):
            with suppress(UnavailableError):
                while await self.turn():
                    pass

    async def turn(self) -> bool:
        """One step, if there is one to do; while too much waits to be published it rests."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(_NEXT)
            if row is None:
                return False
            room = await _room(transaction)
            if room:
                await self._step(transaction, row)
        if not room:
            await asyncio.sleep(_REST_SECONDS)
        return True

    async def _step(self, transaction: Transaction, row: tuple[Any, ...]) -> None:
        number, position, *times = row
        step = await self._replayer.step(transaction, Gap(*times), position)
        await transaction.execute(
            "UPDATE recovery SET position = %s, "
            "replayed_at = CASE WHEN %s = '' THEN clock_timestamp() END WHERE number = %s",
            (step.position, step.position, number),
        )
        await add_totals(transaction, {f"{HANDED_AGAIN}{kind}": count for kind, count in step.counts.items()})


async def _room(transaction: Transaction) -> bool:
    row = await transaction.row(
        "SELECT count(*) FROM (SELECT FROM outbox LIMIT %s) AS waiting", (_MOST_WAITING,)
    )
    return row is not None and row[0] < _MOST_WAITING


async def first_number(transaction: Transaction, table: str, column: str, since_micros: int) -> int:
    """The first `number` of a table whose `column` is about `since_micros` or later, found by halving.

    For tables to which rows are added in the order of both, or nearly: begin a little earlier.
    """
    row = await transaction.row(f"SELECT coalesce(min(number), 1), coalesce(max(number), 0) FROM {table}")  # noqa: S608
    assert row is not None
    low, high = row[0], row[1] + 1
    while low < high:
        middle = (low + high) // 2
        found = await transaction.row(
            f"SELECT {column} FROM {table} WHERE number >= %s ORDER BY number LIMIT 1",  # noqa: S608 - our own names
            (middle,),
        )
        if found is None or found[0] >= since_micros:
            high = middle
        else:
            low = middle + 1
    return int(low)

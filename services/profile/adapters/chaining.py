"""Puts lines of the consent ledger that a version before wrote into their customers' chains."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from services.profile.adapters.postgres import PostgresStore
from services.profile.app.ports import ContentionError
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.errors import UnavailableError

OPEN_MICROS: Final = 3_600_000_000
"""So long after it began roles of the version before may still write; then no such line is taken any more."""
_log = structlog.get_logger(__name__)


async def still_chaining(database: Database) -> bool:
    """Whether lines that stand in no chain may still be those of a version before."""
    async with database.transaction() as transaction:
        row = await transaction.row("SELECT over FROM consent_chaining")
    return row is None or not row[0]


class Chaining:
    """Runs in a worker; several may run. It goes on where it was broken off, and is over once for all.

    A line that turns up outside of any chain afterwards was written by nobody who may: it stays where it is,
    and `rapport consent verify` names it.
    """

    def __init__(self, store: PostgresStore, clock: Clock, *, every_seconds: float = 60.0) -> None:
        self._store = store
        self._clock = clock
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Chain until cancelled."""
        while True:
            with suppress(UnavailableError, ContentionError):
                await self.chain()
            await asyncio.sleep(self._every_seconds)

    async def chain(self) -> int:
        """Chain all that there is, some customers at a time; gives how many lines."""
        chained = 0
        while more := await self.step():
            chained += more
        if chained:
            _log.info("consents_chained", lines=chained)
        return chained

    async def step(self) -> int:
        """The lines of the next customers; 0: there are none, or it is over."""
        async with self._store.work() as work:
            now = self._clock.wall_micros()
            await work.transaction.execute(
                "INSERT INTO consent_chaining (one, began_micros, over) VALUES (true, %s, false) "
                "ON CONFLICT DO NOTHING",
                (now,),
            )
            row = await work.transaction.row("SELECT began_micros, over FROM consent_chaining FOR UPDATE")
            assert row is not None, "it was inserted"
            began, over = row
            if over:
                return 0
            customers = await work.customers_to_chain()
            if customers:
                await work.customers(customers, ())
                return await work.chain_old(customers)
            if now - began > OPEN_MICROS:
                await work.transaction.execute("UPDATE consent_chaining SET over = true")
            return 0

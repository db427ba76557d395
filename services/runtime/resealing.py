"""Seals anew what an older data key sealed, and what stood open before there were keys, page by page.

One worker at a time walks through all parts; where it is stands in the database, so that it goes on after a
crash.
When a whole walk has found nothing more to seal, the data keys before the current one are destroyed.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from services.runtime.data_keys import DataKeys
from services.runtime.database import Database, Transaction
from services.runtime.errors import UnavailableError
from services.runtime.keys import Sealer, sealed_by

PAGE: Final = 1_000
_NEXT: Final = """
    SELECT number, part, place, sealed, ended_at IS NOT NULL FROM resealing FOR UPDATE SKIP LOCKED
"""
_KEEP: Final = """
    UPDATE resealing SET number = %(number)s, part = %(part)s, place = %(place)s, sealed = %(sealed)s,
        ended_at = CASE WHEN %(ended)s THEN clock_timestamp() END,
        began_at = CASE WHEN %(begins)s THEN clock_timestamp() ELSE began_at END
"""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a part: where the next begins (None: this was the last); how many values were sealed."""

    place: str | None
    sealed: int


class Part(Protocol):
    """Some rows that hold sealed values."""

    @property
    def name(self) -> str:
        """What stands in `resealing.part` while they are walked through."""
        ...

    async def page(self, transaction: Transaction, place: str) -> Page:
        """Seal anew what needs it on the page that begins behind `place` ("": the first)."""
        ...


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed values; `key` names the columns of the primary key with their SQL types.

    `context` tells from the key by what its value is bound. What is no sealed value is sealed if `open_too`,
    else left alone.
    """

    sealer: Sealer
    table: str
    key: Sequence[tuple[str, str]]
    context: Callable[..., str]
    column: str = "sealed"
    open_too: bool = False

    @property
    def name(self) -> str:
        """The table and the column."""
        return f"{self.table}.{self.column}"

    async def page(self, transaction: Transaction, place: str) -> Page:
        """The next thousand rows; a row that somebody changed meanwhile was sealed by them."""
        names = ", ".join(name for name, _ in self.key)
        behind = ", ".join(f"%s::{kind}" for _, kind in self.key)
        where = f"WHERE ({names}) > ({behind})" if place else ""
        rows = await transaction.rows(
            f"SELECT {names}, {self.column} FROM {self.table} {where} ORDER BY {names} LIMIT {PAGE}",  # noqa: S608
            _unpack(place),
        )
        stale = [row for row in rows if row[-1] and self._needs(row[-1])]
        if stale:
            await self._write(transaction, stale)
        return Page(_pack(rows[-1][:-1]) if len(rows) == PAGE else None, len(stale))

    def _needs(self, value: bytes) -> bool:
        number = sealed_by(value)
        return number != self.sealer.current if number else self.open_too

    async def _write(self, transaction: Transaction, rows: Sequence[tuple[Any, ...]]) -> None:
        columns = [f"key_{number}" for number in range(len(self.key))]
        given = ", ".join([*(f"%s::{kind}[]" for _, kind in self.key), "%s::bytea[]", "%s::bytea[]"])
        same = " AND ".join(
            f"{self.table}.{name} = new.{column}" for (name, _), column in zip(self.key, columns, strict=True)
        )
        anew = [reseal(self.sealer, row[-1], self.context(*row[:-1])) for row in rows]
        await transaction.execute(
            f"UPDATE {self.table} SET {self.column} = new.sealed "  # noqa: S608  our own words
            f"FROM unnest({given}) AS new ({', '.join(columns)}, before, sealed) "
            f"WHERE {same} AND {self.table}.{self.column} = new.before",
            [*(list(column) for column in zip(*rows, strict=True)), anew],
        )


def reseal(sealer: Sealer, sealed: bytes, context: str) -> bytes:
    """The same value sealed by the current data key, also if it stood open; SealError names the row."""
    plain = sealer.open(sealed, context) if sealed_by(sealed) else sealed
    return sealer.seal(plain, context)


class Resealing:
    """Runs in a worker; several may run."""

    def __init__(
        self,
        database: Database,
        keys: DataKeys,
        sealer: Sealer,
        parts: Sequence[Part],
        *,
        every_seconds: float = 5.0,
    ) -> None:
        self._database = database
        self._keys = keys
        self._sealer = sealer
        self._parts = parts
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Wrap and seal anew what is wanted, until cancelled."""
        while True:
            with suppress(UnavailableError):
                await self._keys.wrap_again()
                await self._keys.follow()
                more = True
                while more:
                    more = await self.step()
            await asyncio.sleep(self._every_seconds)

    async def step(self) -> bool:
        """One page; whether there was one to do."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(_NEXT)
            if row is None:
                return False
            number, part, place, sealed, ended = row
            current = self._sealer.current
            begins = number != current
            if ended and not begins:
                return False
            if begins:
                if not await self._keys.settled(transaction, current):
                    return False
                part, place, sealed = self._parts[0].name, "", 0
            at = next((at for at, known in enumerate(self._parts) if known.name == part), 0)
            page = await self._parts[at].page(transaction, place)
            sealed += page.sealed
            place, done = page.place or "", False
            if page.place is None:
                at += 1
                if at == len(self._parts):
                    at = 0
                    done = sealed == 0
                    if not done:
                        _log.info("sealed_anew", number=current, values=sealed)
                    sealed = 0
            if done:
                await self._keys.destroy_before(transaction, current)
            await transaction.execute(
                _KEEP,
                {
                    "number": current,
                    "part": self._parts[at].name,
                    "place": place,
                    "sealed": sealed,
                    "ended": done,
                    "begins": begins,
                },
            )
            return not done


def _pack(key: Sequence[Any]) -> str:
    return json.dumps(["\\x" + part.hex() if isinstance(part, bytes) else part for part in key])


def _unpack(place: str) -> list[Any]:
    """Bytes go as PostgreSQL writes them; the statement names each type."""
    return json.loads(place) if place else []

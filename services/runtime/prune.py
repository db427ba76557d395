"""Takes away what is kept no longer, class by class, in small transactions."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from services.runtime.audit import Change, write_audit
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import SettingError, UnavailableError

EVERY_SECONDS = 6 * 3600.0
_LOCK = 0x5261_7070_02
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """What one small transaction took away, by table, and where the next one goes on; None: all was seen."""

    rows: Mapping[str, int]
    next: int | None


@dataclass(frozen=True, slots=True)
class Cut:
    """What is older goes: by business time, or by the wall's for what knows no other; in microseconds."""

    business_micros: int
    wall_micros: int


class Prunable(Protocol):
    """One retention class of a service; `name` is the one in the policy file.

    `by_wall`: its rows know the wall clock's time alone.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - said above

    @property
    def by_wall(self) -> bool: ...  # noqa: D102 - said above

    def kept_at_least(self) -> int:
        """Microseconds for which it is kept whatever the policy says, because something else needs it."""
        ...

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """How many rows are older, by table."""
        ...

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """Take some of what is older away, from that place on; 0: from the beginning."""
        ...


@dataclass(slots=True)
class Pruned:
    """What a class came to: how long it is kept, which time that is now, and rows by table."""

    name: str
    kept_micros: int
    cut: Cut
    by_wall: bool = False
    rows: Counter[str] = field(default_factory=Counter)

    @property
    def before_micros(self) -> int:
        """What is older goes, by the clock that the class is judged by."""
        return self.cut.wall_micros if self.by_wall else self.cut.business_micros


class Pruner:
    """Prunes one service. `policy` reads the periods anew at each run; business time decides.

    Several workers may run one each: whoever holds the lock of a class goes on with it, the others leave it.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        classes: Sequence[Prunable],
        policy: Callable[[], Mapping[str, int]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._classes = classes
        self._policy = policy
        self._places: dict[str, int] = {}

    async def run(self) -> None:
        """Prune now and every six hours until cancelled, at most half of the time at work."""
        while True:
            with suppress(UnavailableError):
                try:
                    await self.prune(rest=True)
                except SettingError as error:
                    _log.error("retention_not_read", reason=error.message)
            await asyncio.sleep(EVERY_SECONDS)

    async def preview(self) -> list[Pruned]:
        """What would go now."""
        found = self._due()
        async with self._database.transaction() as transaction:
            for one, prunable in found:
                one.rows.update(await prunable.count(transaction, one.cut))
        return [one for one, _ in found]

    async def prune(
        self, *, limit_seconds: float | None = None, rest: bool = False
    ) -> tuple[list[Pruned], bool]:
        """Take away what is due; also whether the time was up before everything was seen.

        `rest`: after each transaction wait as long as it took.
        """
        loop = asyncio.get_running_loop()
        end = None if limit_seconds is None else loop.time() + limit_seconds
        found = self._due()
        more = False
        for one, prunable in found:
            while True:
                began = loop.time()
                if end is not None and began >= end:
                    more = True
                    break
                place = await self._step(one, prunable)
                if place is None:
                    break
                await asyncio.sleep(loop.time() - began if rest else 0)
            if one.rows.total():
                await self._note(one)
        return [one for one, _ in found], more

    def _due(self) -> list[tuple[Pruned, Prunable]]:
        policy = self._policy()
        now, wall = self._clock.now_micros(), self._clock.wall_micros()
        found: list[tuple[Pruned, Prunable]] = []
        for prunable in self._classes:
            period = policy.get(prunable.name, 0)
            if period:
                kept = max(period, prunable.kept_at_least())
                cut = Cut(now - kept, wall - kept)
                found.append((Pruned(prunable.name, kept, cut, prunable.by_wall), prunable))
        return found

    async def _step(self, one: Pruned, prunable: Prunable) -> int | None:
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                "SELECT pg_try_advisory_xact_lock(%s + hashtext(%s))", (_LOCK, prunable.name)
            )
            if row is None or not row[0]:
                return None  # another worker is at it
            step = await prunable.remove(transaction, one.cut, self._places.get(one.name, 0))
        one.rows.update(step.rows)
        self._places[one.name] = step.next or 0
        return step.next

    async def _note(self, one: Pruned) -> None:
        async with self._database.transaction() as transaction:
            await write_audit(
                transaction,
                Change(
                    "prune",
                    f"retention/{one.name}",
                    after={"rows": dict(one.rows), "before_micros": one.before_micros},
                ),
            )
        _log.info("pruned", retention_class=one.name, rows=dict(one.rows))


@dataclass(frozen=True, slots=True)
class ByPages:
    """A class that is one table, walked through page by page: no index is needed, and no page is read twice.

    `condition` is SQL in which `%(before)s` and `%(before_wall)s` are microseconds; `least` says how long the
    class is kept at least.
    """

    name: str
    table: str
    condition: str
    by_wall: bool = False
    least: Callable[[], int] = lambda: 0
    pages: int = 500

    def kept_at_least(self) -> int:
        """What was said."""
        return self.least()

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """Rows that are older."""
        row = await transaction.row(
            f"SELECT count(*) FROM {self.table} WHERE {self.condition}",  # noqa: S608  our own words
            _times(cut),
        )
        return {self.table: int(row[0]) if row else 0}

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """Of the next pages, what is older."""
        size = await transaction.row(
            "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::int", (self.table,)
        )
        following = place + self.pages
        rows = await transaction.execute(
            f"DELETE FROM {self.table} WHERE ctid >= %(from)s::text::tid AND ctid < %(to)s::text::tid "  # noqa: S608
            f"AND ({self.condition})",
            {"from": f"({place},0)", "to": f"({following},0)", **_times(cut)},
        )
        return Step({self.table: rows}, following if size is not None and following < size[0] else None)


DEAD_LETTERS = ByPages(
    "dead_letters",
    "dead_letter",
    "created_at < to_timestamp(%(before_wall)s::numeric / 1000000)",
    by_wall=True,
)
"""Of every service: items that were set aside."""


def _times(cut: Cut) -> dict[str, int]:
    return {"before": cut.business_micros, "before_wall": cut.wall_micros}

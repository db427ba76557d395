"""What of the profile's database is kept for a time only: events as they came, activity of the dormant."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from rapport.profile.v1 import stored_pb2

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packing import pack_activity, unpack_activity
from services.profile.domain.activity import MICROS_PER_DAY, SLACK_MICROS, TypeActivity
from services.profile.domain.customer import local_day, retention_of
from services.runtime.clock import Clock
from services.runtime.database import Transaction
from services.runtime.prune import Cut, Step
from services.runtime.retention import EVENTS_BY_TYPE

ACTIVITY: Final = "activity"
DORMANT_MICROS: Final = 31 * MICROS_PER_DAY
"""A customer who had no event of a type for so long is dormant in it: no event will fold what is old."""
_ROWS = 5_000
_CUSTOMERS = 500
_BREATHE = 50
_SLICE_MICROS = MICROS_PER_DAY
_TABLES = ("event", "thing_event")
_OLD_HOMES = """
    FROM household_past AS old WHERE accepted_micros < %(before)s AND EXISTS (
        SELECT FROM household_past AS next WHERE next.household = old.household
            AND next.number > old.number AND next.accepted_micros < %(before)s)
"""
"""What households were before the oldest time of which events are kept."""


class Events:
    """Events of customers and things, and what households were then.

    What rules look back on is kept with the profile itself.
    """

    name = "events"
    by_wall = False

    def kept_at_least(self) -> int:
        """Nothing else needs them."""
        return 0

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """Events accepted earlier."""
        found: dict[str, int] = {}
        for table in _TABLES:
            row = await transaction.row(
                f"SELECT count(*) FROM {table} WHERE accepted_micros < %s",  # noqa: S608  our own words
                (cut.business_micros,),
            )
            found[table] = int(row[0]) if row else 0
        row = await transaction.row(f"SELECT count(*) {_OLD_HOMES}", {"before": cut.business_micros})
        return found | ({"household_past": int(row[0])} if row and row[0] else {})

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """The next few thousand of one table after the other; the place is the table."""
        if place == len(_TABLES):
            rows = await transaction.execute(
                "DELETE FROM household_past WHERE number = ANY (ARRAY("  # noqa: S608  our own words
                f"SELECT number {_OLD_HOMES} LIMIT {_ROWS}))",
                {"before": cut.business_micros},
            )
            return Step({"household_past": rows} if rows else {}, place if rows == _ROWS else None)
        table = _TABLES[place]
        rows = await transaction.execute(
            f"DELETE FROM {table} WHERE ctid = ANY (ARRAY("  # noqa: S608  our own words
            f"SELECT ctid FROM {table} WHERE accepted_micros < %s LIMIT %s))",
            (cut.business_micros, _ROWS),
        )
        if rows == _ROWS:
            return Step({table: rows}, place)
        return Step({table: rows}, place + 1)


class EventsByType:
    """Events of types that are kept for a shorter time than others.

    Types with the same period are looked through together, a day of acceptance (or several that hold nothing)
    after the other, and none twice: how far that has come is kept (`pruned_until`). `periods` are read anew
    at each run.
    """

    name = EVENTS_BY_TYPE
    by_wall = False

    def __init__(self, clock: Clock, periods: Callable[[], Mapping[str, int]]) -> None:
        self._clock = clock
        self._periods = periods
        self._wide_micros = _SLICE_MICROS

    def shortest(self) -> int:
        """The shortest of all periods; 0: no type has one of its own."""
        return min(self._periods().values(), default=0)

    def kept_at_least(self) -> int:
        """Nothing else needs them."""
        return 0

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """Events of these types that were accepted too long ago."""
        del cut  # each type has its own
        found: dict[str, int] = {}
        for kept, types in self._groups():
            for table in _TABLES:
                row = await transaction.row(
                    f"SELECT count(*) FROM {table} "  # noqa: S608  our own words
                    "WHERE accepted_micros >= %s AND accepted_micros < %s AND type = ANY(%s::text[])",
                    (await self._reached(transaction, kept, types), self._clock.now_micros() - kept, types),
                )
                found[table] = found.get(table, 0) + (int(row[0]) if row else 0)
        return found

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """The next few thousand of one day; the place is the group of types."""
        del cut
        groups = self._groups()
        if place >= len(groups):
            return Step({}, None)
        kept, types = groups[place]
        start = await self._reached(transaction, kept, types)
        end = self._clock.now_micros() - kept
        if start >= end:
            return Step({}, place + 1 if place + 1 < len(groups) else None)
        until = min(start + self._wide_micros, end)
        rows: dict[str, int] = {}
        for table in _TABLES:
            rows[table] = await transaction.execute(
                f"DELETE FROM {table} WHERE ctid = ANY (ARRAY("  # noqa: S608  our own words
                f"SELECT ctid FROM {table} WHERE accepted_micros >= %s AND accepted_micros < %s "
                "AND type = ANY(%s::text[]) LIMIT %s))",
                (start, until, types, _ROWS),
            )
        if max(rows.values()) < _ROWS:
            await self._reach(transaction, kept, types, until)
        # as wide as events are rare
        self._wide_micros = _SLICE_MICROS if any(rows.values()) else 2 * self._wide_micros
        return Step(rows, place)

    def _groups(self) -> list[tuple[int, list[str]]]:
        groups: dict[int, list[str]] = {}
        for name, kept in sorted(self._periods().items()):
            groups.setdefault(kept, []).append(name)
        return sorted(groups.items())

    async def _reached(self, transaction: Transaction, kept: int, types: Sequence[str]) -> int:
        row = await transaction.row(
            "SELECT reached_micros FROM pruned_until WHERE kept_micros = %s AND types = %s::text[]",
            (kept, list(types)),
        )
        return 0 if row is None else int(row[0])

    async def _reach(self, transaction: Transaction, kept: int, types: Sequence[str], until: int) -> None:
        await transaction.execute(
            "INSERT INTO pruned_until (kept_micros, types, reached_micros) VALUES (%s, %s::text[], %s) "
            "ON CONFLICT (kept_micros) DO UPDATE SET types = excluded.types, "
            "reached_micros = excluded.reached_micros",
            (kept, list(types), until),
        )


class DormantActivity:
    """What profiles know of recent events, where no further event takes care that it does not stay too long.

    An event folds what its type's `keep` no longer covers; who has had none of a type for a month is looked
    at here: entries and days older than the catalogue keeps them, seen from business time, go. So nothing is
    kept for longer than `keep` says and a month and two days.
    """

    name = ACTIVITY
    by_wall = False

    def __init__(self, clock: Clock, types: Types) -> None:
        self._clock = clock
        self._types = types

    def shortest(self) -> int:
        """The shortest time for which activity of any type is kept."""
        keeps = [retention_of(known) for known in self._types.catalogue.events.values()]
        return min((max(keep.each_micros, keep.by_day_micros) for keep in keeps), default=0)

    def kept_at_least(self) -> int:
        """Nothing else needs it."""
        return 0

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """Customers of whom something would go."""
        del cut
        found, place = 0, 0
        while True:
            rows = await self._page(transaction, place)
            found += len(await self._stale(rows))
            if len(rows) < _CUSTOMERS:
                return {"customer": found}
            place = rows[-1][0]

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """Of the next few hundred customers; the place is the last one seen."""
        del cut
        rows = await self._page(transaction, place)
        stale = await self._stale(rows)
        if stale:
            locked = await transaction.rows(
                "SELECT id, hot FROM customer WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE", (stale,)
            )
            await self._write(transaction, locked)
        following = rows[-1][0] if len(rows) == _CUSTOMERS else None
        return Step({"customer": len(stale)}, following)

    async def _page(self, transaction: Transaction, after: int) -> list[tuple[int, bytes]]:
        rows = await transaction.rows(
            "SELECT id, hot FROM customer WHERE id > %s ORDER BY id LIMIT %s", (after, _CUSTOMERS)
        )
        return [(row[0], row[1]) for row in rows]

    async def _stale(self, rows: Sequence[tuple[int, bytes]]) -> list[int]:
        found: list[int] = []
        for number, (customer, hot) in enumerate(rows, start=1):
            if self._folded(stored_pb2.StoredHot.FromString(hot)):
                found.append(customer)
            if number % _BREATHE == 0:
                await asyncio.sleep(0)
        return found

    async def _write(self, transaction: Transaction, rows: Sequence[tuple[int, bytes]]) -> None:
        changed: list[tuple[int, bytes]] = []
        gone: list[tuple[str, int]] = []
        for customer, packed in rows:
            hot = stored_pb2.StoredHot.FromString(packed)
            folded = self._folded(hot)
            if not folded:
                continue  # an event came in between
            for item in list(hot.activity):
                left = folded.get(item.type)
                if left is None:
                    continue
                if left.times or left.days:
                    item.activity = pack_activity(left)
                    item.last_sequence = left.sequences[-1] if left.sequences else 0
                    item.last_time_micros = left.last_time_micros
                else:
                    hot.activity.remove(item)
                    gone.append((item.type, customer))
            changed.append((customer, hot.SerializeToString()))
        if changed:
            await transaction.execute(
                "UPDATE customer SET hot = new.hot FROM unnest(%s::bigint[], %s::bytea[]) AS new (id, hot) "
                "WHERE customer.id = new.id",
                ([customer for customer, _ in changed], [hot for _, hot in changed]),
            )
        if gone:
            await transaction.execute(
                "DELETE FROM last_time USING unnest(%s::text[], %s::bigint[]) AS gone (type, customer) "
                "WHERE last_time.type = gone.type AND last_time.customer = gone.customer",
                ([name for name, _ in gone], [customer for _, customer in gone]),
            )

    def _folded(self, hot: stored_pb2.StoredHot) -> dict[str, TypeActivity]:
        """The types of which something is too old, each with what is left of it."""
        now = self._clock.now_micros()
        zone = hot.zone or self._types.catalogue.default_zone
        found: dict[str, TypeActivity] = {}
        for item in hot.activity:
            known = self._types.catalogue.events.get(item.type)
            if known is None or item.last_time_micros > now - DORMANT_MICROS:
                continue
            activity = unpack_activity(item.type, item.activity)
            if activity.forget_until(
                now - SLACK_MICROS, retention_of(known), lambda micros: local_day(micros, zone)
            ):
                found[item.type] = activity
        return found

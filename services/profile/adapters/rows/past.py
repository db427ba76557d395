"""What is kept of the past, read for replays: some customers at a time, nothing is locked."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from services.profile.adapters.packing import Kept
from services.profile.adapters.rows.households import HouseholdRows
from services.profile.adapters.rows.kept import open_event
from services.profile.adapters.rows.ledger import LedgerRows
from services.profile.adapters.rows.merges import MergeRows
from services.profile.app.ports import ThingKey
from services.profile.domain.merges import MergeKind
from services.profile.domain.replaying import KeptRow, Kinds, Life

_EVENT: Final = "sequence, time_micros, accepted_micros, type, source, event_id, line, hops, history, data"
_ROOTS: Final = "FROM customer WHERE id > %(after)s AND merged_into = 0 AND id %% %(shards)s = %(shard)s"


class PastRows(MergeRows, HouseholdRows, LedgerRows):
    """Tables `customer`, `customer_record`, `customer_merge`, `event`, `thing_event` and `consent_ledger`."""

    async def roots(self, after: int, shard: int, shards: int, most: int) -> list[tuple[int, int]]:
        """The next customers of a share who are not merged into another, with their numbers of events."""
        rows = await self.transaction.rows(
            f"SELECT id, sequence {_ROOTS} ORDER BY id LIMIT %(most)s",
            {"after": after, "shard": shard, "shards": shards, "most": most},
        )
        return [(customer, sequence) for customer, sequence in rows]

    async def roots_of(self, customers: Collection[int]) -> dict[int, int]:
        """Who these customers are today; unknown ones are left out."""
        into: dict[int, int] = {}
        wanted = set(customers)
        while wanted:
            rows = await self.transaction.rows(
                "SELECT id, merged_into FROM customer WHERE id = ANY(%s::bigint[])", (list(wanted),)
            )
            into |= dict(rows)
            wanted = {merged_into for _, merged_into in rows} - {0} - into.keys()
        return {customer: _end(customer, into) for customer in customers if customer in into}

    async def count_roots(self, after: int, shard: int, shards: int) -> int:
        """How many customers of a share were not merged into another."""
        row = await self.transaction.row(
            f"SELECT count(*) {_ROOTS}",
            {"after": after, "shard": shard, "shards": shards},
        )
        return 0 if row is None else int(row[0])

    async def count_erased(self) -> int:
        """How many persons were erased."""
        row = await self.transaction.row("SELECT count(*) FROM erasure")
        return 0 if row is None else int(row[0])

    async def lives(self, roots: Collection[int]) -> dict[int, Life]:
        """All that is kept of these customers, and of all that were merged into them."""
        lives = await self._records_of(roots)
        new = set(lives)
        while new:
            others: set[int] = set()
            for merge in await self.merges_of(new):
                into, other = lives.get(merge.into_customer), merge.from_customer
                if merge.kind is MergeKind.MERGE and not merge.undone_micros:
                    if into is not None and merge.into_customer in new:
                        into.joined.append(merge)
                        others.add(other)
                    continue
                torn = merge.undone_micros or merge.time_micros
                for customer in (merge.into_customer, other):
                    if customer in new:
                        lives[customer].torn_micros = max(lives[customer].torn_micros, torn)
            found = await self._records_of(others - lives.keys())
            lives |= found
            new = set(found)
        for life in lives.values():
            for merge in life.joined:
                if merge.from_customer in lives:
                    lives[merge.from_customer].merged = merge
        await self._read_events(lives)
        await self._read_ledgers(lives)
        await self._read_homes(lives)
        return lives

    async def _records_of(self, customers: Collection[int]) -> dict[int, Life]:
        if not customers:
            return {}
        rows = await self.transaction.rows(
            "SELECT id, coalesce(record, '') FROM customer "
            "LEFT JOIN customer_record ON customer_record.customer = customer.id "
            "WHERE id = ANY(%s::bigint[])",
            (list(customers),),
        )
        sealer = self._store.types.sealer
        found: dict[int, Life] = {}
        for number, record in rows:
            kept = Kept(b"", record, number, sealer)
            found[number] = Life(number, kept.open_identities(), Kinds(kept.open_kinds()))
        return found

    async def _read_events(self, lives: Mapping[int, Life]) -> None:
        sealer = self._store.types.sealer
        rows = await self.transaction.rows(
            f"SELECT customer, {_EVENT}, via, retracted_micros, xmin FROM event "  # noqa: S608  our own words
            "WHERE customer = ANY(%s::bigint[]) ORDER BY customer, sequence",
            (list(lives),),
        )
        for row in rows:
            kept = KeptRow(*row)
            kept.data = open_event(sealer, kept.customer, kept.sequence, kept.data)
            lives[kept.customer].rows.append(kept)

    async def _read_ledgers(self, lives: Mapping[int, Life]) -> None:
        found = await self.ledgers(list(lives))
        for customer, entries in found.unchained.items():
            lives[customer].ledger += entries
        for customer, lines in found.lines.items():
            lives[customer].ledger += [line.entry for line in lines]

    async def _read_homes(self, lives: Mapping[int, Life]) -> None:
        rows = await self.past_homes(lives)
        ever: dict[int, set[int]] = {}
        for row in rows:
            ever.setdefault(row.home.id, set()).update(row.members & lives.keys())
        for row in rows:
            for customer in ever[row.home.id]:
                lives[customer].homes.append(row)

    async def past_things(self, keys: Collection[ThingKey]) -> Mapping[ThingKey, list[KeptRow]]:
        """The kept events of things, by sequence."""
        found: dict[ThingKey, list[KeptRow]] = {key: [] for key in keys}
        by_text = {f"{kind}:{key}": (kind, key) for kind, key in keys}
        rows = await self.transaction.rows(
            f"SELECT {_EVENT}, thing FROM thing_event "  # noqa: S608  our own words
            "WHERE thing = ANY(%s::text[]) ORDER BY thing, sequence",
            (list(by_text),),
        )
        for kept in _of_things(rows):
            found[by_text[kept.thing]].append(kept)
        return found

    async def thing_events(
        self, types: Collection[str], since_micros: int, until_micros: int
    ) -> list[KeptRow]:
        """Kept events about things that happened then, in the order in which they were accepted."""
        rows = await self.transaction.rows(
            f"SELECT {_EVENT}, thing FROM thing_event "  # noqa: S608  our own words
            "WHERE type = ANY(%s::text[]) AND time_micros >= %s AND time_micros < %s "
            "ORDER BY accepted_micros, thing, sequence",
            (list(types), since_micros, until_micros),
        )
        return _of_things(rows)


def _of_things(rows: Iterable[Sequence[Any]]) -> list[KeptRow]:
    found = []
    for *event, thing in rows:
        row = KeptRow(0, *event)
        row.thing = thing
        found.append(row)
    return found


def _end(customer: int, into: Mapping[int, int]) -> int:
    while into.get(customer):
        customer = into[customer]
    return customer

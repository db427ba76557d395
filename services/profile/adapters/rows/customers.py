"""Customers: what changes with every event, what changes rarely, and what follows from both for queries."""

from collections.abc import Collection, Mapping, Sequence

import orjson

from services.profile.adapters.gathering import write_last_times
from services.profile.adapters.packed_record import pack_record
from services.profile.adapters.packing import Kept, pack_hot
from services.profile.adapters.rows.households import HouseholdRows
from services.profile.domain.customer import Customer, zone_of
from services.profile.domain.traits import values_of
from services.vocabulary.values import Value, ValueType, to_json


class CustomerRows(HouseholdRows):
    """Tables `customer`, `customer_record`, `customer_traits`, `customer_zone` and `last_time`."""

    async def add_customers(self, customers: Sequence[int]) -> None:
        """Begin with these customers, who stand there once they are saved."""
        self.unwritten.update(customers)

    async def customers(self, ids: Collection[int], records: Collection[int]) -> dict[int, Customer]:
        """Lock, then read: what is read after the lock is what the last writer left."""
        sealer = self._store.types.sealer
        new = self.unwritten.intersection(ids)
        began = {number: Customer(number, 0, Kept(b"", b"", number, sealer)) for number in new}
        written = sorted(number for number in ids if number not in new)
        if not written:
            return began
        rows = await self.transaction.rows(
            "SELECT id, sequence, hot, merged_into FROM customer WHERE id = ANY(%s::bigint[]) "
            "ORDER BY id FOR UPDATE",
            (written,),
        )
        read = [number for number in records if number not in new]
        kept_records = await self._records(read) if read else {}
        return began | await self._at_home(
            {
                number: Customer(
                    number,
                    sequence,
                    Kept(hot, kept_records.get(number, b""), number, sealer),
                    merged_into=merged_into,
                )
                for number, sequence, hot, merged_into in rows
            }
        )

    async def read_customers(self, ids: Collection[int]) -> dict[int, Customer]:
        """Both parts in one statement, so that they are of one moment."""
        rows = await self.transaction.rows(
            "SELECT id, sequence, hot, coalesce(record, ''), merged_into FROM customer "
            "LEFT JOIN customer_record ON customer_record.customer = customer.id "
            "WHERE id = ANY(%s::bigint[])",
            (list(ids),),
        )
        sealer = self._store.types.sealer
        return await self._at_home(
            {
                number: Customer(number, sequence, Kept(hot, record, number, sealer), merged_into=merged_into)
                for number, sequence, hot, record, merged_into in rows
            }
        )

    async def _at_home(self, customers: dict[int, Customer]) -> dict[int, Customer]:
        """The customers with their households, where they belong to any."""
        wanted = {customer.kept.household for customer in customers.values()} - {0}
        if wanted:
            homes = await self.homes(wanted, lock=False)
            for customer in customers.values():
                customer.home = homes.get(customer.kept.household)
        return customers

    async def _records(self, customers: Collection[int]) -> dict[int, bytes]:
        rows = await self.transaction.rows(
            "SELECT customer, record FROM customer_record WHERE customer = ANY(%s::bigint[])",
            (list(customers),),
        )
        return dict(rows)

    async def save(self, customers: Collection[Customer], now_micros: int) -> None:
        """Write what changed: always what events change, the rest only where it did."""
        types = self._store.types
        new = self.unwritten.intersection(customer.id for customer in customers)
        self.unwritten -= new
        if new:
            await self.transaction.copy_rows(
                "COPY customer (id, sequence, hot) FROM STDIN (FORMAT BINARY)",
                ("int8", "int8", "bytea"),
                [(one.id, one.sequence, pack_hot(one, types)) for one in customers if one.id in new],
            )
        changed = [
            one
            for one in customers
            if one.id not in new and (one.sequence != one.before or one.taken_back or one.home_changed)
        ]
        if changed:
            await self.transaction.execute(
                "UPDATE customer SET sequence = new.sequence, hot = new.hot "
                "FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS new (id, sequence, hot) "
                "WHERE customer.id = new.id",
                (
                    [customer.id for customer in changed],
                    [customer.sequence for customer in changed],
                    [pack_hot(customer, types) for customer in changed],
                ),
            )
        await self._save_records(customers, new, now_micros)
        await self._save_traits([customer for customer in customers if customer.values_changed])
        await self._save_zones([customer for customer in customers if customer.zone_changed])

    async def _save_records(
        self, customers: Collection[Customer], new: Collection[int], now_micros: int
    ) -> None:
        sealer = self._store.types.sealer
        for one in customers:
            if one.record_changed:
                one.record.note_kinds(one.before)
        records = [
            (one.id, pack_record(one.record, now_micros, one.id, sealer))
            for one in customers
            if one.record_changed
        ]
        added = [row for row in records if row[0] in new]
        if added:
            await self.transaction.copy_rows(
                "COPY customer_record (customer, record) FROM STDIN (FORMAT BINARY)",
                ("int8", "bytea"),
                added,
            )
        changed = [row for row in records if row[0] not in new]
        if changed:
            await self.transaction.execute(
                "INSERT INTO customer_record (customer, record) "
                "SELECT * FROM unnest(%s::bigint[], %s::bytea[]) "
                "ON CONFLICT (customer) DO UPDATE SET record = excluded.record",
                ([customer for customer, _ in changed], [record for _, record in changed]),
            )

    async def _save_traits(self, customers: Sequence[Customer]) -> None:
        """The projection for queries: values by name, further lines' by name@line; none that is sealed.

        Of a trait of which several sources say something else all their values stand there, as a list: which
        of them holds changes as a word grows old, while nothing is written. Queries find too many rather than
        too few; who asks for an audience asks again of each.
        """
        if not customers:
            return
        types, direct = self._store.types.trait_types, self._store.types.direct
        documents = [
            orjson.dumps(
                {
                    f"{name}@{line}" if line else name: _found_by(values, types.get(name))
                    for (name, line), trait in customer.traits.items()
                    if name not in direct and (values := values_of(trait))
                }
            ).decode()
            for customer in customers
        ]
        await self.transaction.execute(
            "INSERT INTO customer_traits (customer, traits) "
            "SELECT customer, traits::jsonb FROM unnest(%s::bigint[], %s::text[]) AS new (customer, traits) "
            "ON CONFLICT (customer) DO UPDATE SET traits = excluded.traits",
            ([customer.id for customer in customers], documents),
        )

    async def _save_zones(self, customers: Sequence[Customer]) -> None:
        """The zone of each, by which customers of a zone are found; those without one are not in it."""
        if not customers:
            return
        zones = {customer.id: zone_of(customer.traits) for customer in customers}
        told = {number: zone for number, zone in zones.items() if zone}
        await self.transaction.execute(
            "INSERT INTO customer_zone (customer, zone) SELECT * FROM unnest(%s::bigint[], %s::text[]) "
            "ON CONFLICT (customer) DO UPDATE SET zone = excluded.zone",
            (list(told), list(told.values())),
        )
        await self.transaction.execute(
            "DELETE FROM customer_zone WHERE customer = ANY(%s::bigint[])",
            ([number for number, zone in zones.items() if not zone],),
        )

    async def save_last_times(self, times: Mapping[tuple[str, int], int]) -> None:
        """Keep times of last events; never an earlier one."""
        await write_last_times(self.transaction, times)


def _found_by(values: Sequence[Value], value_type: ValueType | None) -> object:
    """The value by which a customer is found, or all that may come to hold."""
    found = [to_json(value, value_type) for value in values]
    return found[0] if len(found) == 1 else found

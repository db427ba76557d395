"""Households: who belongs to one, and what its members share."""

from collections.abc import Collection, Sequence

from services.profile.adapters.account_packing import (
    pack_household,
    pack_past_household,
    unpack_household,
    unpack_past_household,
)
from services.profile.adapters.rows.base import Rows
from services.profile.domain.accounts import Key
from services.profile.domain.households import Household
from services.profile.domain.replaying import HomeRow

_READ = "SELECT id, lookup, packed FROM household WHERE id = ANY(%s::bigint[]) ORDER BY id"
_LOCKED = f"{_READ} FOR UPDATE"


class HouseholdRows(Rows):
    """Table `household`. Its ids are of the same sequence as customers'."""

    def household_key(self, name: str) -> Key:
        """The look-up of a household that an operator names."""
        return self._store.types.sealer.lookup(f"household:{name}")

    async def homes(self, ids: Collection[int], *, lock: bool) -> dict[int, Household]:
        """Households by id."""
        if not ids:
            return {}
        rows = await self.transaction.rows(_LOCKED if lock else _READ, (sorted(ids),))
        return {number: unpack_household(number, key, packed) for number, key, packed in rows}

    async def homes_by_key(self, keys: Collection[Key]) -> dict[int, Household]:
        """Households by id, found by their keys."""
        if not keys:
            return {}
        rows = await self.transaction.rows(
            "SELECT id, lookup, packed FROM household WHERE lookup = ANY(%s::bytea[])", (list(keys),)
        )
        return {number: unpack_household(number, key, packed) for number, key, packed in rows}

    async def make_homes(self, keys: Collection[Key]) -> None:
        """Make those that are not there yet, in order."""
        await self.transaction.execute(
            "INSERT INTO household (id, lookup, members, packed) "
            "SELECT nextval('customer_id'), new.key, '{}', '' FROM unnest(%s::bytea[]) AS new (key) "
            "WHERE NOT EXISTS (SELECT 1 FROM household WHERE household.lookup = new.key) "
            "ON CONFLICT DO NOTHING",
            (sorted(keys),),
        )

    async def save_homes(self, homes: Sequence[Household], now_micros: int) -> None:
        """Write households, new ones too, and what they are from now on for telling the past."""
        types = self._store.types
        ids = [home.id for home in homes]
        members = [" ".join(str(one) for one in sorted(home.members)) for home in homes]
        # members travel as one text, because arrays of arrays must be rectangular
        await self.transaction.execute(
            "INSERT INTO household (id, lookup, members, packed) "
            "SELECT id, lookup, string_to_array(members, ' ')::bigint[], packed "
            "FROM unnest(%s::bigint[], %s::bytea[], %s::text[], %s::bytea[]) "
            "AS new (id, lookup, members, packed) "
            "ON CONFLICT (id) DO UPDATE SET members = excluded.members, packed = excluded.packed",
            (ids, [home.key for home in homes], members, [pack_household(home, types) for home in homes]),
        )
        await self.transaction.execute(
            "INSERT INTO household_past (household, accepted_micros, members, packed) "
            "SELECT id, %s, string_to_array(members, ' ')::bigint[], packed "
            "FROM unnest(%s::bigint[], %s::text[], %s::bytea[]) AS new (id, members, packed)",
            (now_micros, ids, members, [pack_past_household(home, types) for home in homes]),
        )

    async def past_homes(self, customers: Collection[int]) -> list[HomeRow]:
        """What became of the households to which any of these customers ever belonged, in order."""
        rows = await self.transaction.rows(
            "SELECT household, accepted_micros, members, packed, xmin FROM household_past WHERE household IN "
            "(SELECT household FROM household_past WHERE members && %s::bigint[]) ORDER BY number",
            (list(customers),),
        )
        return [
            HomeRow(unpack_past_household(household, packed), frozenset(members), accepted, written)
            for household, accepted, members, packed, written in rows
        ]

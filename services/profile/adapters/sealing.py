"""What of the profile's database holds sealed values, for sealing it anew and for what stood open before."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import orjson
from rapport.profile.v1 import stored_pb2

from services.profile.adapters.account_packing import ACCOUNT, SUBSCRIPTION, facts_context
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packed_record import RECORD, seal_identities
from services.profile.adapters.packed_traits import HOT
from services.profile.adapters.packing import Kept, pack_hot
from services.profile.adapters.rows.identities import (
    CLAIM,
    conflict_context,
    conflict_key,
    identity_context,
    seal_identity,
)
from services.profile.adapters.rows.kept import event_context, open_event
from services.profile.adapters.rows.merges import merge_context, suggestion_context
from services.profile.domain.customer import PROFILE_UPDATED, Customer
from services.runtime.database import Transaction
from services.runtime.dead_letters import DEAD_LETTER
from services.runtime.keys import sealed_by
from services.runtime.resealing import PAGE, Page, Part, SealedColumn, reseal
from services.vocabulary.identities import Identity

_EVENTS_OF: Final = 200
"""Customers whose events are looked through at once."""


def sealed_parts(types: Types) -> list[Part]:
    """All of them, in the order in which they are walked through."""
    sealer = types.sealer
    lookup = ("lookup", "bytea")
    return [
        _PlainIdentities(types),
        _PlainConflicts(types),
        SealedColumn(sealer, "identity", [lookup], identity_context),
        SealedColumn(
            sealer,
            "identity_past",
            [lookup, ("until_micros", "bigint")],
            lambda found, _until: identity_context(found),
        ),
        SealedColumn(
            sealer,
            "identity_conflict",
            [("customer", "bigint"), ("identities", "text")],
            lambda customer, _identities: conflict_context(customer),
        ),
        *(
            SealedColumn(sealer, table, [lookup], partial(facts_context, table))
            for table in (ACCOUNT, SUBSCRIPTION)
        ),
        SealedColumn(
            sealer, "identity_suggestion", [("low", "bigint"), ("high", "bigint")], suggestion_context
        ),
        SealedColumn(sealer, "customer_merge", [("id", "bigint")], merge_context, "base"),
        _Profiles(types),
        _Records(types),
        _Events(types),
        SealedColumn(
            sealer, "dead_letter", [("id", "bigint")], lambda _id: DEAD_LETTER, "payload", open_too=True
        ),
    ]


class _PlainIdentities:
    """Identities as they stood before they were sealed."""

    name = "identity_plain"

    def __init__(self, types: Types) -> None:
        self._sealer = types.sealer

    async def page(self, transaction: Transaction, place: str) -> Page:
        """Move the next thousand."""
        del place
        rows = await transaction.rows(
            "DELETE FROM identity_plain WHERE identity IN (SELECT identity FROM identity_plain LIMIT %s) "
            "RETURNING identity, customer, line",
            (PAGE,),
        )
        rows.sort()
        keyed = [seal_identity(self._sealer, text) for text, _, _ in rows]
        if rows:
            await transaction.rows(
                CLAIM,
                (
                    [lookup for lookup, _ in keyed],
                    [customer for _, customer, _ in rows],
                    [line for _, _, line in rows],
                    [sealed for _, sealed in keyed],
                ),
            )
        return Page("more" if len(rows) == PAGE else None, len(rows))


class _PlainConflicts:
    """Conflicts of identities as they stood before they were sealed."""

    name = "identity_conflict"

    def __init__(self, types: Types) -> None:
        self._sealer = types.sealer

    async def page(self, transaction: Transaction, place: str) -> Page:
        """Seal the next thousand; they are few."""
        del place
        rows = await transaction.rows(
            "DELETE FROM identity_conflict WHERE ctid = ANY (ARRAY("
            "SELECT ctid FROM identity_conflict WHERE sealed IS NULL LIMIT %s)) "
            "RETURNING customer, identities, time_micros",
            (PAGE,),
        )
        keyed = [conflict_key(self._sealer, text.split(" ")) for _, text, _ in rows]
        if rows:
            await transaction.execute(
                "INSERT INTO identity_conflict (customer, identities, time_micros, sealed) "
                "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bytea[]) "
                "ON CONFLICT DO NOTHING",
                (
                    [customer for customer, _, _ in rows],
                    [key for key, _ in keyed],
                    [time for _, _, time in rows],
                    [
                        self._sealer.seal_text(text, conflict_context(row[0]))
                        for row, (_, text) in zip(rows, keyed, strict=True)
                    ],
                ),
            )
        return Page("more" if len(rows) == PAGE else None, len(rows))


class _Rows(ABC):
    """Rows by customer whose bytes are looked into; those that need it are locked, read again, rewritten."""

    table = ""
    key = ""
    column = ""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._sealer = types.sealer

    @property
    def name(self) -> str:
        """The table."""
        return self.table

    async def page(self, transaction: Transaction, place: str) -> Page:
        """The next thousand customers."""
        select = f"SELECT {self.key}, {self.column} FROM {self.table} WHERE {self.key}"  # noqa: S608  our own
        rows = await transaction.rows(f"{select} > %s ORDER BY {self.key} LIMIT {PAGE}", (int(place or 0),))
        stale = [customer for customer, packed in rows if self.needs(packed)]
        if stale:
            locked = await transaction.rows(
                f"{select} = ANY(%s::bigint[]) ORDER BY {self.key} FOR UPDATE", (stale,)
            )
            found = [(customer, packed) for customer, packed in locked if self.needs(packed)]
            await transaction.execute(
                f"UPDATE {self.table} SET {self.column} = new.packed "  # noqa: S608  our own words
                f"FROM unnest(%s::bigint[], %s::bytea[]) AS new (customer, packed) "
                f"WHERE {self.table}.{self.key} = new.customer",
                ([customer for customer, _ in found], [self.anew(*row) for row in found]),
            )
            await self.also(transaction, [customer for customer, _ in found])
        return Page(str(rows[-1][0]) if len(rows) == PAGE else None, len(stale))

    @abstractmethod
    def needs(self, packed: bytes) -> bool:
        """Whether something stands open, or is sealed by an older data key."""

    @abstractmethod
    def anew(self, customer: int, packed: bytes) -> bytes:
        """The row's bytes with all of it sealed by the current data key."""

    async def also(self, transaction: Transaction, customers: Sequence[int]) -> None:
        """What follows from these rows elsewhere; of most nothing does."""
        del transaction, customers


class _Profiles(_Rows):
    table, key, column = HOT, "id", "hot"

    def needs(self, packed: bytes) -> bool:
        hot = stored_pb2.StoredHot.FromString(packed)
        if hot.direct:
            return not self._sealer.is_current(hot.direct)
        return bool(hot.traits) and hot.grouping != self._types.grouping

    def anew(self, customer: int, packed: bytes) -> bytes:
        hot = stored_pb2.StoredHot.FromString(packed)
        if hot.direct and hot.grouping == self._types.grouping:
            hot.direct = reseal(self._sealer, hot.direct, f"{HOT}/{customer}")
            return hot.SerializeToString()
        kept = Kept(packed, b"", customer, self._sealer)
        return pack_hot(Customer(customer, 0, kept), self._types)

    async def also(self, transaction: Transaction, customers: Sequence[int]) -> None:
        await transaction.execute(
            "UPDATE customer_traits SET traits = (SELECT coalesce(jsonb_object_agg(name, value), '{}') "
            "FROM jsonb_each(traits) AS each (name, value) "
            "WHERE split_part(name, '@', 1) <> ALL(%s::text[])) "
            "WHERE customer = ANY(%s::bigint[])",
            (sorted(self._types.direct), list(customers)),
        )


class _Records(_Rows):
    table, key, column = RECORD, "customer", "record"

    def needs(self, packed: bytes) -> bool:
        stored = stored_pb2.StoredRecord.FromString(packed)
        return bool(stored.identities) or (bool(stored.sealed) and not self._sealer.is_current(stored.sealed))

    def anew(self, customer: int, packed: bytes) -> bytes:
        stored = stored_pb2.StoredRecord.FromString(packed)
        if stored.sealed:
            stored.sealed = reseal(self._sealer, stored.sealed, f"{RECORD}/{customer}")
        elif stored.identities:
            held = [(Identity(item.kind, item.value), item.line) for item in stored.identities]
            stored.sealed = seal_identities(held, customer, self._sealer)
        del stored.identities[:]
        return stored.SerializeToString()


class _Events:
    """Events whose types may say what identifies a person."""

    name = "event"

    def __init__(self, types: Types) -> None:
        self._types = types
        self._sealer = types.sealer
        known = types.catalogue.events.values()
        self._names = [kind.name for kind in known if types.direct_fields(kind)] + [PROFILE_UPDATED]

    async def page(self, transaction: Transaction, place: str) -> Page:
        """Those of the next customers."""
        after = int(place or 0)
        customers = await transaction.rows(
            "SELECT id FROM customer WHERE id > %s ORDER BY id LIMIT %s", (after, _EVENTS_OF)
        )
        if not customers:
            return Page(None, 0)
        last = customers[-1][0]
        rows = await transaction.rows(
            "SELECT customer, sequence, type, data FROM event "
            "WHERE customer > %s AND customer <= %s AND type = ANY(%s::text[])",
            (after, last, self._names),
        )
        stale = [row for row in rows if self._needs(row[2], row[3])]
        if stale:
            await self._write(transaction, stale)
        return Page(str(last) if len(customers) == _EVENTS_OF else None, len(stale))

    def _needs(self, event_type: str, data: bytes) -> bool:
        number = sealed_by(data)
        if number:
            return number != self._sealer.current
        return self._types.is_direct(self._types.catalogue.events[event_type], orjson.loads(data))

    async def _write(self, transaction: Transaction, rows: Sequence[tuple[Any, ...]]) -> None:
        anew = [
            self._sealer.seal(
                open_event(self._sealer, customer, sequence, data), event_context(customer, sequence)
            )
            for customer, sequence, _, data in rows
        ]
        await transaction.execute(
            "UPDATE event SET data = new.data "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS new (customer, sequence, data) "
            "WHERE event.customer = new.customer AND event.sequence = new.sequence",
            ([row[0] for row in rows], [row[1] for row in rows], anew),
        )

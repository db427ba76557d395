"""The profile's PostgreSQL: binary arrays and COPY, one statement per step of a batch, nothing row by row."""

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from services.profile.adapters.audience import last_times
from services.profile.adapters.gathering import write_last_times
from services.profile.adapters.packing import Kept, Types, pack_hot, pack_record
from services.profile.adapters.snapshots import event_batches, pack_thing, traces_of, unpack_thing
from services.profile.app.ports import (
    ContentionError,
    Handed,
    LedgerEntry,
    ListenedTypes,
    TakenEvent,
    ThingKey,
)
from services.profile.domain.consent import Consent
from services.profile.domain.customer import Customer, zone_of
from services.profile.domain.identities import Owner
from services.profile.domain.things import ThingState
from services.runtime.audit import Change, write_audit
from services.runtime.database import Database, Transaction, is_transient
from services.runtime.errors import UnavailableError
from services.runtime.outbox import Outbox
from services.runtime.streams import EVENTS
from services.runtime.totals import add_totals
from services.vocabulary.identities import Identity
from services.vocabulary.values import to_json

GATHERING_CHANNEL = "gathering"
"""Notified when something else is to be gathered from the profiles."""
_LISTENED_LOCK = 0x5261_7070_01
_EVENT_COLUMNS = (
    "customer, sequence, time_micros, accepted_micros, type, source, event_id, line, hops, history, data"
)
_EVENT_TYPES = ("int8", "int8", "int8", "int8", "text", "text", "text", "text", "int2", "bool", "bytea")


class PostgresStore:
    """Where profiles are kept; implements the port `ProfileStore`."""

    def __init__(self, database: Database, outbox: Outbox, types: Types, *, partitions: int = 64) -> None:
        self.database = database
        self.outbox = outbox
        self.types = types
        self.partitions = partitions

    @asynccontextmanager
    async def work(self) -> AsyncIterator["PostgresWork"]:
        """A transaction; ContentionError when it lost against another, UnavailableError without a server."""
        try:
            async with self.database.transaction() as transaction:
                yield PostgresWork(self, transaction)
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
            raise ContentionError from error
        except (psycopg.Error, SQLAlchemyError) as error:
            if not is_transient(error):
                raise
            raise UnavailableError(
                "the profile's database does not answer", suggestion="try again"
            ) from error

    def is_away(self, error: Exception) -> bool:
        """Whether an error says nothing of what was to be done."""
        return is_transient(error)

    def join(self, transaction: Transaction) -> "PostgresWork":
        """The same in a transaction that somebody else began."""
        return PostgresWork(self, transaction)


class PostgresWork:
    """One transaction; implements the port `Work`."""

    def __init__(self, store: PostgresStore, transaction: Transaction) -> None:
        self._store = store
        self.transaction = transaction

    # listened types

    async def listened(self) -> ListenedTypes:
        """The list in force: a shared lock, taken before it is read, keeps it until this transaction ends."""
        await self.transaction.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LISTENED_LOCK,))
        return await self._read_listened()

    async def set_listened(
        self, types: frozenset[str], absence: frozenset[str] = frozenset()
    ) -> ListenedTypes:
        """Put lists in force; every transaction that read those before has ended by then."""
        await self.transaction.execute("SELECT pg_advisory_xact_lock(%s)", (_LISTENED_LOCK,))
        before = await self._read_listened()
        if before.version and (before.types, before.absence) == (types, absence):
            return before
        after = ListenedTypes(before.version + 1, types, absence)
        await self.transaction.execute(
            "INSERT INTO listened (one, version, types, absence) VALUES (true, %s, %s, %s) "
            "ON CONFLICT (one) DO UPDATE SET version = excluded.version, types = excluded.types, "
            "absence = excluded.absence",
            (after.version, sorted(types), sorted(absence)),
        )
        await self._gather(before.absence, absence)
        await write_audit(
            self.transaction,
            Change(
                "listened_types.set",
                "listened_types",
                before=_listened_state(before) if before.version else None,
                after=_listened_state(after),
            ),
        )
        return after

    async def _read_listened(self) -> ListenedTypes:
        row = await self.transaction.row("SELECT version, types, absence FROM listened")
        return ListenedTypes() if row is None else ListenedTypes(row[0], frozenset(row[1]), frozenset(row[2]))

    async def _gather(self, before: frozenset[str], after: frozenset[str]) -> None:
        """Have the last times of new types gathered, and those of types that are gone forgotten."""
        new, gone = sorted(after - before), sorted(before - after)
        if not (new or gone):
            return
        await self.transaction.execute(
            "INSERT INTO gathering (name, state) SELECT name, 'filling' FROM unnest(%s::text[]) AS name "
            "ON CONFLICT (name) DO UPDATE SET state = 'filling', reached = 0",
            ([last_times(name) for name in new],),
        )
        await self.transaction.execute(
            "UPDATE gathering SET state = 'leaving' WHERE name = ANY(%s::text[])",
            ([last_times(name) for name in gone],),
        )
        self.transaction.after_commit(self._gathering_changed)

    def _gathering_changed(self) -> None:
        self._store.database.notify(GATHERING_CHANNEL)

    # identities and keys

    async def owners(self, identities: Collection[Identity]) -> dict[Identity, Owner]:
        """Whose these identities are."""
        by_text = {identity.text: identity for identity in identities}
        rows = await self.transaction.rows(
            "SELECT identity, customer, line FROM identity WHERE identity = ANY(%s::text[])", (list(by_text),)
        )
        return {by_text[text]: Owner(customer, line) for text, customer, line in rows}

    async def new_keys(self, keys: Mapping[bytes, int]) -> set[bytes]:
        """Keep event keys, in order, so that two transactions never wait for each other in a ring."""
        ordered = sorted(keys)
        rows = await self.transaction.rows(
            "INSERT INTO event_key (key, time_micros) SELECT * FROM unnest(%s::bytea[], %s::bigint[]) "
            "ON CONFLICT DO NOTHING RETURNING key",
            (ordered, [keys[key] for key in ordered]),
        )
        return {row[0] for row in rows}

    async def forget_keys(self, keys: Sequence[bytes]) -> None:
        """Undo `new_keys`."""
        await self.transaction.execute("DELETE FROM event_key WHERE key = ANY(%s::bytea[])", (list(keys),))

    async def new_customer_ids(self, count: int) -> list[int]:
        """Ids that nobody has."""
        rows = await self.transaction.rows(
            "SELECT nextval('customer_id') FROM generate_series(1, %s)", (count,)
        )
        return [row[0] for row in rows]

    async def claim(self, claims: Sequence[tuple[Identity, Owner]]) -> set[Identity]:
        """Make identities their owners'."""
        by_text = {identity.text: identity for identity, _ in claims}
        rows = await self.transaction.rows(
            "INSERT INTO identity (identity, customer, line) "
            "SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[]) "
            "ON CONFLICT DO NOTHING RETURNING identity",
            (
                [identity.text for identity, _ in claims],
                [owner.customer for _, owner in claims],
                [owner.line for _, owner in claims],
            ),
        )
        return {by_text[row[0]] for row in rows}

    async def note_conflicts(
        self, conflicts: Sequence[tuple[int, Sequence[Identity]]], now_micros: int
    ) -> None:
        """Record that identities of several customers came together; the same again is recorded once."""
        await self.transaction.execute(
            "INSERT INTO identity_conflict (customer, identities, time_micros) "
            "SELECT customer, identities, %s "
            "FROM unnest(%s::bigint[], %s::text[]) AS found (customer, identities) "
            "ON CONFLICT DO NOTHING",
            (
                now_micros,
                [customer for customer, _ in conflicts],
                [" ".join(sorted(identity.text for identity in identities)) for _, identities in conflicts],
            ),
        )

    # customers

    async def add_customers(self, customers: Sequence[int]) -> None:
        """Begin with these customers."""
        await self.transaction.execute(
            "INSERT INTO customer (id, sequence, hot) SELECT id, 0, '' FROM unnest(%s::bigint[]) AS id",
            (list(customers),),
        )

    async def customers(self, ids: Collection[int], records: Collection[int]) -> dict[int, Customer]:
        """Lock, then read: what is read after the lock is what the last writer left."""
        rows = await self.transaction.rows(
            "SELECT id, sequence, hot FROM customer WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE",
            (sorted(ids),),
        )
        kept_records = await self._records(records) if records else {}
        return {
            number: Customer(number, sequence, Kept(hot, kept_records.get(number, b"")))
            for number, sequence, hot in rows
        }

    async def read_customers(self, ids: Collection[int]) -> dict[int, Customer]:
        """Both parts in one statement, so that they are of one moment."""
        rows = await self.transaction.rows(
            "SELECT id, sequence, hot, coalesce(record, '') FROM customer "
            "LEFT JOIN customer_record ON customer_record.customer = customer.id "
            "WHERE id = ANY(%s::bigint[])",
            (list(ids),),
        )
        return {
            number: Customer(number, sequence, Kept(hot, record)) for number, sequence, hot, record in rows
        }

    async def _records(self, customers: Collection[int]) -> dict[int, bytes]:
        rows = await self.transaction.rows(
            "SELECT customer, record FROM customer_record WHERE customer = ANY(%s::bigint[])",
            (list(customers),),
        )
        return dict(rows)

    async def save(self, customers: Collection[Customer], now_micros: int) -> None:
        """Write what changed: always what events change, the rest only where it did."""
        changed = [customer for customer in customers if customer.sequence != customer.before]
        if changed:
            types = self._store.types
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
        await self._save_records(customers, now_micros)
        await self._save_traits([customer for customer in customers if customer.trait_changes])
        await self._save_zones([customer for customer in customers if customer.zone_changed])

    async def _save_records(self, customers: Collection[Customer], now_micros: int) -> None:
        changed = [customer for customer in customers if customer.record_changed]
        if changed:
            await self.transaction.execute(
                "INSERT INTO customer_record (customer, record) "
                "SELECT * FROM unnest(%s::bigint[], %s::bytea[]) "
                "ON CONFLICT (customer) DO UPDATE SET record = excluded.record",
                (
                    [customer.id for customer in changed],
                    [pack_record(customer.record, now_micros) for customer in changed],
                ),
            )

    async def _save_traits(self, customers: Sequence[Customer]) -> None:
        """The projection for queries: values by name, those of further lines by name@line."""
        if not customers:
            return
        types = self._store.types.trait_types
        documents = [
            json.dumps(
                {
                    f"{name}@{line}" if line else name: to_json(trait.value, types.get(name))
                    for (name, line), trait in customer.traits.items()
                    if trait.value is not None
                }
            )
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

    # things

    async def things(
        self, keys: Collection[ThingKey], lock: Collection[ThingKey]
    ) -> dict[ThingKey, ThingState]:
        """Things as they stand; the rows of those in `lock` are made and locked in order first."""
        found: dict[ThingKey, ThingState] = {key: ThingState(*key) for key in keys}
        ordered = sorted(lock)
        if ordered:
            await self.transaction.execute(
                "INSERT INTO thing (kind, key, sequence, attributes) "
                "SELECT kind, key, 0, '' FROM unnest(%s::text[], %s::text[]) AS new (kind, key) "
                "ON CONFLICT DO NOTHING",
                ([kind for kind, _ in ordered], [key for _, key in ordered]),
            )
            await self.transaction.rows(
                "SELECT 1 FROM thing WHERE (kind, key) IN (SELECT * FROM unnest(%s::text[], %s::text[])) "
                "ORDER BY kind, key FOR UPDATE",
                ([kind for kind, _ in ordered], [key for _, key in ordered]),
            )
        wanted = list(keys)
        rows = await self.transaction.rows(
            "SELECT kind, key, sequence, attributes FROM thing "
            "WHERE (kind, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
            ([kind for kind, _ in wanted], [key for _, key in wanted]),
        )
        for kind, key, sequence, packed in rows:
            found[kind, key] = unpack_thing(kind, key, sequence, packed)
        return found

    async def save_things(self, things: Collection[ThingState]) -> None:
        """Write things; their rows are there and locked."""
        if not things:
            return
        types = self._store.types
        await self.transaction.execute(
            "UPDATE thing SET sequence = new.sequence, attributes = new.attributes "
            "FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bytea[]) "
            "AS new (kind, key, sequence, attributes) WHERE thing.kind = new.kind AND thing.key = new.key",
            (
                [thing.kind for thing in things],
                [thing.key for thing in things],
                [thing.sequence for thing in things],
                [pack_thing(thing, types) for thing in things],
            ),
        )

    # what is kept and handed on

    async def keep(self, handed: Handed) -> None:
        """Write events and ledger, and put the events on their way, in this order."""
        await self._keep_events([item for item in handed.events if item.event.thing is None])
        await self._keep_thing_events([item for item in handed.events if item.event.thing is not None])
        await self._keep_ledger(handed.ledger)
        await self.hand_on(handed.events)

    async def hand_on(self, events: Sequence[TakenEvent]) -> None:
        """Put events on their way to the decision service."""
        store = self._store
        await store.outbox.put(
            self.transaction,
            EVENTS,
            event_batches(events, store.types, store.partitions),
            traces=traces_of(events, store.partitions),
        )

    async def _keep_events(self, items: Sequence[TakenEvent]) -> None:
        if items:
            await self.transaction.copy_rows(
                f"COPY event ({_EVENT_COLUMNS}) FROM STDIN (FORMAT BINARY)",
                _EVENT_TYPES,
                [(item.customer, item.sequence, *_event_row(item)) for item in items],
            )

    async def _keep_thing_events(self, items: Sequence[TakenEvent]) -> None:
        if items:
            await self.transaction.copy_rows(
                f"COPY thing_event (thing, {_EVENT_COLUMNS.removeprefix('customer, ')}) "
                "FROM STDIN (FORMAT BINARY)",
                ("text", *_EVENT_TYPES[1:]),
                [
                    (item.event.thing.text, item.sequence, *_event_row(item))
                    for item in items
                    if item.event.thing is not None
                ],
            )

    async def _keep_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        if entries:
            await self.transaction.copy_rows(
                "COPY consent_ledger (customer, purpose, channel, state, said_by, time_micros, "
                "expiry_micros, evidence, wording, source, event_id) FROM STDIN (FORMAT BINARY)",
                ("int8", "text", "text", "text", "text", "int8", "int8", "text", "text", "text", "text"),
                [
                    (
                        entry.customer,
                        entry.consent.purpose.value,
                        None if entry.consent.channel is None else entry.consent.channel.value,
                        entry.consent.state.value,
                        entry.consent.by.value,
                        entry.consent.time_micros,
                        entry.consent.expiry_micros,
                        entry.evidence,
                        entry.wording,
                        entry.source,
                        entry.event_id,
                    )
                    for entry in entries
                ],
            )
            await write_audit(self.transaction, *map(_consent_change, entries))

    async def count(self, totals: Mapping[str, int]) -> None:
        """Add to the exact totals."""
        await add_totals(self.transaction, totals)

    # streams and clock

    async def stream_position(self, stream_id: str) -> int:
        """The last sequence acknowledged on a stream; 0: none."""
        row = await self.transaction.row(
            "SELECT acknowledged FROM stream_position WHERE stream_id = %s", (stream_id,)
        )
        return 0 if row is None else row[0]

    async def move_stream(self, stream_id: str, sequence: int) -> None:
        """Set the last sequence acknowledged; it never goes back."""
        await self.transaction.execute(
            "INSERT INTO stream_position (stream_id, acknowledged) VALUES (%s, %s) ON CONFLICT (stream_id) "
            "DO UPDATE SET acknowledged = greatest(stream_position.acknowledged, excluded.acknowledged)",
            (stream_id, sequence),
        )

    async def clock(self) -> int:
        """Business time as fed; 0: never."""
        row = await self.transaction.row("SELECT business_micros FROM clock")
        return 0 if row is None else row[0]

    async def set_clock(self, micros: int) -> int:
        """Move business time on; it never goes back."""
        rows = await self.transaction.rows(
            "INSERT INTO clock (one, business_micros) VALUES (true, %s) ON CONFLICT (one) "
            "DO UPDATE SET business_micros = greatest(clock.business_micros, excluded.business_micros) "
            "RETURNING business_micros",
            (micros,),
        )
        return int(rows[0][0])


def _listened_state(listened: ListenedTypes) -> dict[str, Any]:
    state: dict[str, Any] = {"version": listened.version, "types": sorted(listened.types)}
    return state | ({"absence_types": sorted(listened.absence)} if listened.absence else {})


def _consent_change(entry: LedgerEntry) -> Change:
    """A line of the ledger as the audit log knows it: whose by id, and what counted before and since."""
    channel = "all" if entry.consent.channel is None else entry.consent.channel.value
    after = _consent_state(entry.after) or {}
    if entry.after != entry.consent:
        after["without_effect"] = _consent_state(entry.consent)
    return Change(
        "consent.record",
        f"customer/{entry.customer}/consent/{entry.consent.purpose.value}/{channel}",
        before=_consent_state(entry.before),
        after=after | {"source": entry.source},
        actor=entry.actor,
    )


def _consent_state(consent: Consent | None) -> dict[str, Any] | None:
    if consent is None:
        return None
    return {
        "state": consent.state.value,
        "by": consent.by.value,
        "time_micros": consent.time_micros,
        "expiry_micros": consent.expiry_micros,
    }


def _event_row(item: TakenEvent) -> tuple[int, int, str, str, str, str, int, bool, bytes]:
    event = item.event
    return (
        event.time_micros,
        item.accepted_micros,
        event.type.name,
        event.source,
        event.id,
        item.line,
        event.hops,
        event.history,
        event.data,
    )

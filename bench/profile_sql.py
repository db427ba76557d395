"""Plain SQL for what the profile service writes and reads: the same rows, as large, in the same batches.

Each statement that the service needs for what a batch is about is here, in the service's order, with binary
parameters and COPY. What the service computes is not: values are taken from rows that stand there.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bench.plain_sql import connect
from services.cli.stack.postgres import PostgresServer

LANES = 2
BATCH = 500
EVENT_COLUMNS = (
    "customer, sequence, time_micros, accepted_micros, type, source, event_id, line, hops, history, data, via"
)
EVENT_TYPES = (
    "int8",
    "int8",
    "int8",
    "int8",
    "text",
    "text",
    "text",
    "text",
    "int2",
    "bool",
    "bytea",
    "int8",
)
PARTITIONS = 64
LISTENED = "payment.received"
"""The type of event that travels with a snapshot."""
SETS_TRAIT = "network.call_dropped"
"""The type of event that names a thing, and changes a trait."""
_KEYS = (
    "INSERT INTO event_key (key, time_micros) SELECT key, %s FROM unnest(%s::bytea[]) AS key "
    "ON CONFLICT DO NOTHING RETURNING key"
)
_OWNERS = "SELECT lookup, customer, line, since_micros, via FROM identity WHERE lookup = ANY(%s::bytea[])"
_RECORDS = "SELECT customer, record FROM customer_record WHERE customer = ANY(%s::bigint[])"
_THINGS = (
    "SELECT kind, key, sequence, attributes FROM thing "
    "WHERE (kind, key) IN (SELECT 'cell', key FROM unnest(%s::text[]) AS key)"
)
_OUTBOX = (
    "INSERT INTO outbox (stream, partition, payload) SELECT 'EVENTS', partition, payload "
    "FROM unnest(%s::int[], %s::bytea[]) AS row (partition, payload)"
)
_TOTALS = (
    "INSERT INTO total (name, shard, value) VALUES ('events.accepted', %s, %s) "
    "ON CONFLICT (name, shard) DO UPDATE SET value = total.value + excluded.value"
)


@dataclass(frozen=True, slots=True)
class Said:
    """One event: its type, the place of its customer's look-up, its data, and the cell that it names."""

    kind: str
    place: int
    data: bytes
    cell: str = ""


@dataclass(slots=True)
class Known:
    """What stands there: look-ups by place, cells by customer, and how large a snapshot and traits are."""

    lookups: Sequence[bytes]
    snapshot: bytes = b""
    traits: str = "{}"
    cells: Mapping[int, str] = field(default_factory=dict)


def in_lanes(
    server: PostgresServer,
    database: str,
    batches: Sequence[Any],
    work: Callable[[psycopg.Connection[Any], Any], None],
) -> float:
    """Do all batches on two connections at once; the seconds it took."""
    waiting = list(reversed(batches))
    failed: list[BaseException] = []

    def lane(connection: psycopg.Connection[Any]) -> None:
        try:
            while True:
                try:
                    batch = waiting.pop()
                except IndexError:
                    return
                work(connection, batch)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    connections = [connect(server, database) for _ in range(LANES)]
    threads = [threading.Thread(target=lane, args=(connection,)) for connection in connections]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    for connection in connections:
        connection.close()
    if failed:
        raise failed[0]
    return took


def ingest(known: Known, micros: int) -> Callable[[psycopg.Connection[Any], Any], None]:
    """One batch of events of known customers."""

    def work(connection: psycopg.Connection[Any], said: Sequence[Said]) -> None:
        name = os.urandom(6).hex()
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            _begin(cursor)
            wanted = [known.lookups[one.place] for one in said]
            cursor.execute(_OWNERS, (list(set(wanted)),))
            owner = {row[0]: row[1] for row in cursor.fetchall()}
            cursor.execute("SELECT 1 FROM erased_identity LIMIT 1")
            cursor.execute(_KEYS, (micros, sorted(os.urandom(16) for _ in said)))
            cursor.fetchall()
            cursor.execute(
                "SELECT id, sequence, hot, merged_into FROM customer WHERE id = ANY(%s::bigint[]) "
                "ORDER BY id FOR UPDATE",
                (sorted(set(owner.values())),),
            )
            found = {row[0]: row for row in cursor.fetchall()}
            events = [(owner[lookup], one) for lookup, one in zip(wanted, said, strict=True)]
            cursor.execute(_RECORDS, (list({who for who, one in events if one.kind == LISTENED}),))
            cursor.fetchall()
            cursor.execute(_THINGS, (list({one.cell for one in said if one.cell}),))
            cursor.fetchall()
            cursor.execute(
                "UPDATE customer SET sequence = new.sequence, hot = new.hot "
                "FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS new (id, sequence, hot) "
                "WHERE customer.id = new.id",
                (
                    list(found),
                    [row[1] + BATCH for row in found.values()],
                    [row[2] for row in found.values()],
                ),
            )
            changed = list({who for who, one in events if one.kind == SETS_TRAIT})
            cursor.execute(
                "INSERT INTO customer_traits (customer, traits) SELECT customer, traits::jsonb "
                "FROM unnest(%s::bigint[], %s::text[]) AS new (customer, traits) "
                "ON CONFLICT (customer) DO UPDATE SET traits = excluded.traits",
                (changed, [known.traits] * len(changed)),
            )
            _copy_events(
                cursor,
                [
                    (who, found[who][1] + 1 + number, f"{name}-{number}", one.kind, one.data)
                    for number, (who, one) in enumerate(events)
                ],
                micros,
            )
            _put_out(
                cursor,
                [(who, one.data, known.snapshot if one.kind == LISTENED else b"") for who, one in events],
            )
            _count(connection, cursor, len(said))

    return work


def bulk(row: dict[str, Any], micros: int) -> Callable[[psycopg.Connection[Any], Any], None]:
    """One batch of new customers, each with identity, state, record, traits, event, key and message."""

    def work(connection: psycopg.Connection[Any], numbers: Sequence[int]) -> None:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            _begin(cursor)
            lookups = sorted(os.urandom(16) for _ in numbers)
            cursor.execute(_OWNERS, (lookups,))
            cursor.fetchall()
            cursor.execute("SELECT 1 FROM erased_identity LIMIT 1")
            cursor.execute(_KEYS, (micros, sorted(os.urandom(16) for _ in numbers)))
            cursor.fetchall()
            cursor.execute("SELECT nextval('customer_id') FROM generate_series(1, %s)", (len(numbers),))
            ids = [found[0] for found in cursor.fetchall()]
            cursor.execute(
                "INSERT INTO identity (lookup, customer, line, sealed) "
                "SELECT lookup, customer, '', sealed FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[]) "
                "AS new (lookup, customer, sealed) ON CONFLICT DO NOTHING RETURNING lookup",
                (lookups, ids, [row["sealed"]] * len(ids)),
            )
            cursor.fetchall()
            _copy(
                cursor,
                "customer (id, sequence, hot)",
                ("int8", "int8", "bytea"),
                [(i, 1, row["hot"]) for i in ids],
            )
            _copy(
                cursor,
                "customer_record (customer, record)",
                ("int8", "bytea"),
                [(i, row["record"]) for i in ids],
            )
            cursor.execute(
                "INSERT INTO customer_traits (customer, traits) SELECT customer, traits::jsonb "
                "FROM unnest(%s::bigint[], %s::text[]) AS new (customer, traits)",
                (ids, [row["traits"]] * len(ids)),
            )
            data = row["data"]
            events = [(i, 1, os.urandom(16).hex(), "profile.updated", data) for i in ids]
            _copy_events(cursor, events, micros, history=True)
            _put_out(cursor, [(i, data, b"") for i in ids])
            _count(connection, cursor, len(ids))

    return work


def snapshots(known: Known) -> Callable[[psycopg.Connection[Any], Any], None]:
    """Read what a snapshot is made of: owners, both rows of each customer, and the cells that these name."""

    def work(connection: psycopg.Connection[Any], places: Sequence[int]) -> None:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursor.execute(_OWNERS, ([known.lookups[place] for place in places],))
            ids = [row[1] for row in cursor.fetchall()]
            cursor.execute(
                "SELECT id, sequence, hot, coalesce(record, ''), merged_into FROM customer "
                "LEFT JOIN customer_record ON customer_record.customer = customer.id "
                "WHERE id = ANY(%s::bigint[])",
                (ids,),
            )
            cursor.fetchall()
            cursor.execute(_THINGS, (list({known.cells[i] for i in ids if i in known.cells}),))
            cursor.fetchall()

    return work


def consents(known: Known) -> Callable[[psycopg.Connection[Any], Any], None]:
    """Read what a consent is answered from: owners, then the record of each customer."""

    def work(connection: psycopg.Connection[Any], places: Sequence[int]) -> None:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursor.execute(_OWNERS, ([known.lookups[place] for place in places],))
            ids = [row[1] for row in cursor.fetchall()]
            cursor.execute(
                "SELECT id, merged_into, coalesce(record, '') FROM customer "
                "LEFT JOIN customer_record ON customer_record.customer = customer.id "
                "WHERE id = ANY(%s::bigint[])",
                (ids,),
            )
            cursor.fetchall()

    return work


def places(count: int, of: int, seed: int) -> list[list[int]]:
    """Batches of random places."""
    draw = random.Random(seed)
    return [[draw.randrange(of) for _ in range(BATCH)] for _ in range(count // BATCH)]


def _copy(cursor: Any, into: str, types: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with cursor.copy(f"COPY {into} FROM STDIN (FORMAT BINARY)".encode()) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _begin(cursor: Any) -> None:
    """The lock under which the list of types that travel with a snapshot is read, and the list."""
    cursor.execute("SELECT pg_advisory_xact_lock_shared(1)")
    cursor.execute("SELECT version, types, absence FROM listened")
    cursor.fetchall()


def _copy_events(
    cursor: Any, rows: Sequence[tuple[int, int, str, str, bytes]], micros: int, *, history: bool = False
) -> None:
    _copy(
        cursor,
        f"event ({EVENT_COLUMNS})",
        EVENT_TYPES,
        [
            (customer, sequence, micros, micros, kind, "bench", identity, "", 0, history, data, 0)
            for customer, sequence, identity, kind, data in rows
        ],
    )


def _put_out(cursor: Any, events: Sequence[tuple[int, bytes, bytes]]) -> None:
    """What goes on to the next service, by partition: some 90 bytes, data and snapshot of each event."""
    bodies: dict[int, list[bytes]] = {}
    for customer, data, snapshot in events:
        bodies.setdefault(customer % PARTITIONS, []).append(bytes(90) + data + snapshot)
    cursor.execute(_OUTBOX, (list(bodies), [b"".join(parts) for parts in bodies.values()]))


def _count(connection: psycopg.Connection[Any], cursor: Any, events: int) -> None:
    cursor.execute(_TOTALS, (connection.info.backend_pid % 16, events))

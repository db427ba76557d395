"""Plain SQL for what the profile service writes and reads: the same rows, batches and connections."""

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg.types.array import ListBinaryDumper

from services.cli.stack.postgres import ADMIN, PostgresServer

LANES = 2
BATCH = 500
EVENT_COLUMNS = (
    "customer, sequence, time_micros, accepted_micros, type, source, event_id, line, hops, history, data"
)
EVENT_TYPES = ("int8", "int8", "int8", "int8", "text", "text", "text", "text", "int2", "bool", "bytea")
PARTITIONS = 64
_KEYS = (
    "INSERT INTO event_key (key, time_micros) SELECT key, %s FROM unnest(%s::bytea[]) AS key "
    "ON CONFLICT DO NOTHING RETURNING key"
)
_OUTBOX = (
    "INSERT INTO outbox (stream, partition, payload) SELECT 'EVENTS', partition, payload "
    "FROM unnest(%s::int[], %s::bytea[]) AS row (partition, payload)"
)


def connect(server: PostgresServer, database: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(
        host=str(server.socket_folder),
        user=ADMIN,
        password=server.password_file.read_text(encoding="utf-8").strip(),
        dbname=database,
        autocommit=True,
    )
    connection.adapters.register_dumper(list, ListBinaryDumper)
    return connection


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


def ingest(
    lookups: Sequence[bytes], data: bytes, micros: int
) -> Callable[[psycopg.Connection[Any], Any], None]:
    """One batch of events of known customers, by the places of their look-ups."""

    def work(connection: psycopg.Connection[Any], places: Sequence[int]) -> None:
        name = os.urandom(6).hex()
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            wanted = [lookups[place] for place in places]
            cursor.execute(
                "SELECT lookup, customer, line FROM identity WHERE lookup = ANY(%s::bytea[])",
                (list(set(wanted)),),
            )
            owner = {row[0]: row[1] for row in cursor.fetchall()}
            cursor.execute(_KEYS, (micros, sorted(os.urandom(16) for _ in places)))
            cursor.fetchall()
            cursor.execute(
                "SELECT id, sequence, hot FROM customer WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE",
                (sorted(set(owner.values())),),
            )
            found = {row[0]: row for row in cursor.fetchall()}
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
            events = [(owner[lookup], place) for place, lookup in enumerate(wanted)]
            _copy_events(
                cursor,
                [(customer, found[customer][1] + 1 + place, f"{name}-{place}") for customer, place in events],
                data,
                micros,
            )
            _put_out([customer for customer, _ in events], data, cursor)

    return work


def bulk(row: dict[str, Any], micros: int) -> Callable[[psycopg.Connection[Any], Any], None]:
    """One batch of new customers, each with identity, state, record, traits, event, key and message."""

    def work(connection: psycopg.Connection[Any], numbers: Sequence[int]) -> None:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            keys = sorted(os.urandom(16) for _ in numbers)
            cursor.execute(_KEYS, (micros, keys))
            cursor.fetchall()
            cursor.execute("SELECT nextval('customer_id') FROM generate_series(1, %s)", (len(numbers),))
            ids = [found[0] for found in cursor.fetchall()]
            cursor.execute(
                "INSERT INTO identity (lookup, customer, line, sealed) "
                "SELECT lookup, customer, '', sealed FROM unnest(%s::bytea[], %s::bigint[], %s::bytea[]) "
                "AS new (lookup, customer, sealed) ON CONFLICT DO NOTHING RETURNING lookup",
                (sorted(os.urandom(16) for _ in ids), ids, [row["sealed"]] * len(ids)),
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
            _copy(
                cursor,
                "customer_traits (customer, traits)",
                ("int8", "jsonb"),
                [(i, row["traits"]) for i in ids],
            )
            _copy_events(cursor, [(i, 1, os.urandom(16).hex()) for i in ids], row["data"], micros)
            _put_out(ids, row["data"], cursor)

    return work


def snapshots(lookups: Sequence[bytes]) -> Callable[[psycopg.Connection[Any], Any], None]:
    """Read what a snapshot is made of: owners, then both rows of each customer."""

    def work(connection: psycopg.Connection[Any], places: Sequence[int]) -> None:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursor.execute(
                "SELECT lookup, customer, line FROM identity WHERE lookup = ANY(%s::bytea[])",
                ([lookups[place] for place in places],),
            )
            ids = [row[1] for row in cursor.fetchall()]
            cursor.execute(
                "SELECT id, sequence, hot, coalesce(record, '') FROM customer LEFT JOIN customer_record "
                "ON customer_record.customer = customer.id WHERE id = ANY(%s::bigint[])",
                (ids,),
            )
            cursor.fetchall()

    return work


def consents(lookups: Sequence[bytes]) -> Callable[[psycopg.Connection[Any], Any], None]:
    """Read what a consent is answered from: owners, then the record of each customer."""

    def work(connection: psycopg.Connection[Any], places: Sequence[int]) -> None:
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursor.execute(
                "SELECT lookup, customer, line FROM identity WHERE lookup = ANY(%s::bytea[])",
                ([lookups[place] for place in places],),
            )
            ids = [row[1] for row in cursor.fetchall()]
            cursor.execute(
                "SELECT customer, record FROM customer_record WHERE customer = ANY(%s::bigint[])", (ids,)
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


def _copy_events(cursor: Any, rows: Sequence[tuple[int, int, str]], data: bytes, micros: int) -> None:
    kind = "usage.data_used"
    _copy(
        cursor,
        f"event ({EVENT_COLUMNS})",
        EVENT_TYPES,
        [
            (customer, sequence, micros, micros, kind, "bench", identity, "", 0, False, data)
            for customer, sequence, identity in rows
        ],
    )


def _put_out(customers: Sequence[int], data: bytes, cursor: Any) -> None:
    """What goes on to the next service: some 90 bytes and the data of each event, by partition."""
    counts = [0] * PARTITIONS
    for customer in customers:
        counts[customer % PARTITIONS] += 1
    filled = [(partition, count) for partition, count in enumerate(counts) if count]
    body = bytes(90) + data
    cursor.execute(_OUTBOX, ([partition for partition, _ in filled], [body * count for _, count in filled]))

"""The reference for speed into PostgreSQL: the rows that the road writes per event, by plain SQL in batches.

Usage: python -m bench.plain_sql [seconds] [profiles] [bytes of a customer's row]
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.array import ListBinaryDumper

from services.cli.stack.account import database_account
from services.cli.stack.layout import CHECKOUT, Layout
from services.cli.stack.postgres import ADMIN, PostgresServer
from services.runtime.migrations import migrate

BATCH = 500
LANES = 2
"""Connections at a time; as many as the profile service has transactions of ingest."""
EVENTS_PER_DECISION = 10
MATERIAL_BYTES = 250
"""Compressed event and snapshot of a decision, beside the customer's row."""
RECORD_BYTES = 350
"""Compressed result of a decision."""
FOLDER = CHECKOUT / "var" / "bench" / "plain-sql"

_COPY_EVENT = (
    "COPY event (customer, sequence, time_micros, accepted_micros, type, source, event_id, line, hops, "
    "history, data) FROM STDIN (FORMAT BINARY)"
)
_EVENT_TYPES = ("int8", "int8", "int8", "int8", "text", "text", "text", "text", "int2", "bool", "bytea")
_COPY_DECISION = (
    "COPY decision (customer, decision_id, event_id, event_source, event_type, event_micros, decided_micros, "
    "program, material, record) FROM STDIN (FORMAT BINARY)"
)
_DECISION_TYPES = ("int8", "uuid", "text", "text", "text", "int8", "int8", "int8", "bytea", "bytea")


@dataclass(frozen=True, slots=True)
class PlainSql:
    """What the reference reached."""

    events_per_s: float
    """Events whose rows were all committed, a second."""
    rows_per_s: float
    commits_per_s: float


class _Lane(threading.Thread):
    """One connection to each database, writing batch after batch until told to stop."""

    def __init__(
        self, server: PostgresServer, place: int, profiles: int, hot_bytes: int, start: threading.Event
    ) -> None:
        super().__init__(name=f"lane-{place}")
        self._profile = connect(server, "profile")
        self._decision = connect(server, "decision")
        self._place = place
        self._profiles = profiles
        self._hot_bytes = hot_bytes
        self._begin = start
        self.stop = threading.Event()
        self.events = self.rows = self.commits = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._begin.wait()
            number = 0
            while not self.stop.is_set():
                self._write(number)
                number += 1
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for the lane
            self.error = error
        finally:
            self._profile.close()
            self._decision.close()

    def _write(self, number: int) -> None:
        # lanes keep to customers of their own, as locks taken in order do for the road
        first = (number * BATCH * LANES + self._place * BATCH) % self._profiles
        customers = [1 + (first + offset) % self._profiles for offset in range(BATCH)]
        name = f"{self._place}-{number}"
        micros = number * 1_000_000
        with self._profile.transaction(), self._profile.cursor(binary=True) as cursor:
            keys = sorted(os.urandom(16) for _ in customers)
            cursor.execute(
                "INSERT INTO event_key (key, time_micros) "
                "SELECT key, %s FROM unnest(%s::bytea[]) AS key ON CONFLICT DO NOTHING RETURNING key",
                (micros, keys),
            )
            cursor.fetchall()
            cursor.execute(
                "SELECT id, sequence, hot FROM customer WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE",
                (customers,),
            )
            found = cursor.fetchall()
            fresh = os.urandom(16)
            cursor.execute(
                "UPDATE customer SET sequence = new.sequence, hot = new.hot "
                "FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS new (id, sequence, hot) "
                "WHERE customer.id = new.id",
                (
                    [row[0] for row in found],
                    [row[1] + 1 for row in found],
                    [fresh + row[2][16:] for row in found],
                ),
            )
            kind, data = "usage.data_used", b'{"mb":120.5,"country":"FR","cycle":"2026-10"}'
            with cursor.copy(_COPY_EVENT) as copy:
                copy.set_types(_EVENT_TYPES)
                for customer, sequence, _ in found:
                    identity = f"e-{name}-{customer}"
                    copy.write_row(
                        (customer, sequence + 1, micros, micros, kind, "bench", identity, "", 0, False, data)
                    )
        decided = found[::EVENTS_PER_DECISION]
        material = os.urandom(MATERIAL_BYTES + self._hot_bytes)
        with self._decision.transaction(), self._decision.cursor(binary=True) as cursor:
            rows = [(row[0], uuid4(), uuid4()) for row in decided]
            with cursor.copy(_COPY_DECISION) as copy:
                copy.set_types(_DECISION_TYPES)
                for customer, decision, _ in rows:
                    event = (f"e-{name}-{customer}", "bench", "payment.received", micros)
                    copy.write_row((customer, decision, *event, micros, 1, material, material[:RECORD_BYTES]))
            with cursor.copy(
                "COPY decision_action (customer, decision_id, action_id, rule_set, rule, outcome, reason) "
                "FROM STDIN (FORMAT BINARY)"
            ) as copy:
                copy.set_types(("int8", "uuid", "uuid", "text", "text", "text", "text"))
                for customer, decision, action in rows:
                    copy.write_row((customer, decision, action, "bench-payments", "thanks", "dispatched", ""))
        self.events += len(found)
        self.rows += 3 * len(found) + 2 * len(rows)
        self.commits += 2


def measure_plain_sql(seconds: float, profiles: int, hot_bytes: int, folder: Path = FOLDER) -> PlainSql:
    """Events a second whose rows two connections commit in batches of 500.

    Per event a key, the event and the customer's row, read, locked and rewritten with `hot_bytes` in it; per
    tenth event a decision with its action, in a database of its own. The tables are the services' own.
    """
    with bench_server(folder) as server:
        for service in ("profile", "decision"):
            with server.connect() as connection:
                connection.execute(f"CREATE DATABASE {service}".encode())
            migrate(
                server.url(service, password_file=server.password_file),
                CHECKOUT / "services" / service / "migrations",
            )
        _fill(server, profiles, hot_bytes)
        start = threading.Event()
        lanes = [_Lane(server, place, profiles, hot_bytes, start) for place in range(LANES)]
        for lane in lanes:
            lane.start()
        start.set()
        _pause(seconds * 0.2)
        before = [(lane.events, lane.rows, lane.commits) for lane in lanes]
        began = time.perf_counter()
        _pause(seconds)
        after = [(lane.events, lane.rows, lane.commits) for lane in lanes]
        took = time.perf_counter() - began
        for lane in lanes:
            lane.stop.set()
        for lane in lanes:
            lane.join()
            if lane.error is not None:
                raise lane.error
        events, rows, commits = (
            sum(now[kind] - then[kind] for now, then in zip(after, before, strict=True)) / took
            for kind in range(3)
        )
    return PlainSql(events, rows, commits)


@contextmanager
def bench_server(folder: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL as the stack runs one, empty, gone afterwards."""
    layout = Layout(folder)
    layout.prepare()
    account = database_account()
    home = layout.database_home(account)
    shutil.rmtree(home, ignore_errors=True)
    server = PostgresServer(
        home,
        password_file=layout.secret("database-admin"),
        log=layout.log("postgres"),
        account=account,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


def connect(server: PostgresServer, database: str) -> psycopg.Connection[Any]:
    """As the database's administrator; each statement is a transaction of its own."""
    connection = psycopg.connect(
        host=str(server.socket_folder),
        user=ADMIN,
        password=server.password_file.read_text(encoding="utf-8").strip(),
        dbname=database,
        autocommit=True,
    )
    connection.adapters.register_dumper(list, ListBinaryDumper)
    return connection


def _fill(server: PostgresServer, profiles: int, hot_bytes: int) -> None:
    """Customers' rows of that size; their content does not compress, as packed arrays hardly do."""
    body = os.urandom(hot_bytes)
    with connect(server, "profile") as connection:
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY customer (id, sequence, hot) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(("int8", "int8", "bytea"))
            for customer in range(1, profiles + 1):
                copy.write_row((customer, 0, body))
        connection.execute("VACUUM (ANALYZE) customer")
        connection.execute("CHECKPOINT")


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


if __name__ == "__main__":
    told = sys.argv[1:]
    seconds_, profiles_, bytes_ = (*told, *("5", "100000", "600")[len(told) :])
    print(measure_plain_sql(float(seconds_), int(profiles_), int(bytes_)))

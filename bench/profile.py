"""What the profile service takes and answers a second, beside plain SQL doing the same writes and reads.

Usage: python -m bench.profile [--sizes 10000,100000,1000000] [--events 30000] [--json FILE]

For each number of profiles an empty database is loaded in bulk, as `rapport import` does it: a file read by
DuckDB, mapped, checked and taken; then events come in, snapshots and consents are asked for. Each is done in
batches of 500 by two at a time, in this process, without gRPC, next to the same done by plain SQL.

Plain SQL reads and writes the same: the same events, the same rows of every table that a batch touches, keys,
sealed values, traits, totals and messages with their snapshots, as large as those that the service wrote. It
computes nothing: no JSON is read, no identity hashed or sealed, nothing checked, no state changed and packed.
The ratio tells how much of what the database could do remains for those who need all this. The collector of
garbage is set as in the services. The processor's time is told beside the rates: it moves less with load.
"""

import argparse
import asyncio
import atexit
import gc
import os
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import orjson
import uvloop

from bench import profile_sql as sql
from bench.measure import Measure, table, write_json
from bench.plain_sql import bench_server, connect
from bench.profile_ingest import server_cpu_seconds
from bench.traffic import MIX, event_data, msisdn
from services.cli.importing.checking import Findings, Report, check, taken_events
from services.cli.importing.mapping_reader import read_mapping
from services.cli.importing.reading import opened
from services.cli.importing.rows import RowReader
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.postgres import PostgresServer
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.consent_questions import ConsentQuestion, ConsentQuestions
from services.profile.app.intake import Intake
from services.profile.app.questions import Questions
from services.profile.app.take_events import ACCEPTED, EventTaker
from services.profile.domain.events import CheckedEvent, EventChecker, RawEvent
from services.profile.entrypoints.translation import raw_event
from services.runtime.database import Database
from services.runtime.garbage import collect_seldom
from services.runtime.keys import KEY_BYTES, Keyring, Sealer
from services.runtime.migrations import migrate
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.words import Channel, Purpose

FOLDER = CHECKOUT / "var" / "bench" / "profile"
START = 1_790_000_000_000_000
_TOLD = 50_000
MAPPING = """\
source: crm
subject: {msisdn: phone}
time: {column: since, zone: Europe/Paris}
traits:
  {plan: plan, plan_price: {column: fee, currency: EUR}, tenure_months: months, prepaid: paid, cycle_day: d}
"""
_SAMPLE = (
    "SELECT hot, record, traits::text, data, sealed FROM customer JOIN customer_record r ON r.customer = id "
    "JOIN customer_traits t ON t.customer = id JOIN event e ON e.customer = id "
    "JOIN identity i ON i.customer = id LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Took:
    """How long something took, in seconds of the wall, of this process and of the database's."""

    count: int
    wall: float
    ours: float
    database: float

    @property
    def rate(self) -> float:
        return self.count / self.wall

    @property
    def cpu_micros(self) -> float:
        return (self.ours + self.database) / self.count * 1e6

    def __str__(self) -> str:
        return (
            f"{self.rate:,.0f}/s, processor {self.cpu_micros:.0f} µs each "
            f"({self.ours / self.count * 1e6:.0f} client, {self.database / self.count * 1e6:.0f} PostgreSQL)"
        )


class Bed:
    """The service's parts over one database."""

    def __init__(self, server: PostgresServer, name: str, folder: Path) -> None:
        with server.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        self.server, self.name, self.folder = server, name, folder
        self.moments = count(START, 1000)
        """When each event happens: one after the other, as live ones do."""
        url = server.url(name, password_file=server.password_file)
        migrate(url, CHECKOUT / "services/profile/migrations")
        self.catalogue = load_catalogue(CHECKOUT / "rules")
        self.sealer = Sealer.with_key(Keyring.make(), secrets.token_bytes(KEY_BYTES))
        types = Types(self.catalogue, self.sealer)
        self.database = Database(url, pool_size=4)
        packer = SnapshotPacker(types)
        self.store = PostgresStore(self.database, Outbox(self.database), types)
        self.checker = EventChecker(self.catalogue, orjson.loads, orjson.dumps, wall=False)
        self.questions = Questions(self.catalogue, packer)
        mac = partial(self.sealer.ring.mac, "consent ledger")
        self.consent_questions = ConsentQuestions(self.catalogue, self.questions, mac)
        self.intake = Intake(
            self.store, EventTaker(self.catalogue, packer), lambda: START, _fails, lanes=sql.LANES
        )

    async def close(self) -> None:
        await self.database.close()
        with self.server.connect() as connection:
            connection.execute(f"DROP DATABASE {self.name} WITH (FORCE)".encode())

    @contextmanager
    def timed(self, items: int) -> Iterator[list[Took]]:
        found: list[Took] = []
        database, ours, wall = (
            server_cpu_seconds(self.server.cluster),
            time.process_time(),
            time.perf_counter(),
        )
        yield found
        wall, ours = time.perf_counter() - wall, time.process_time() - ours
        found.append(Took(items, wall, ours, server_cpu_seconds(self.server.cluster) - database))

    async def in_lanes(self, batches: Sequence[Any], work: Callable[[Any], Awaitable[None]]) -> None:
        waiting = list(reversed(batches))

        async def lane() -> None:
            while waiting:
                await work(waiting.pop())

        await asyncio.gather(*(lane() for _ in range(sql.LANES)))

    async def empty_outbox(self) -> None:
        async with self.database.transaction() as tx:
            await tx.execute("TRUNCATE outbox")


async def _fails(work: object, event: CheckedEvent, error: Exception) -> None:
    del work, event
    raise error


# --- bulk -----------------------------------------------------------------------------------------------


def make_file(folder: Path, profiles: int) -> Path:
    """A CSV of so many customers, as another system would write it."""
    file = folder / f"customers-{profiles}.csv"
    plans = "['s-5gb', 'm-10gb', 'm-20gb', 'l-50gb']"
    since = "DATE '2026-09-01' + (i % 20)::INT AS since"
    duckdb.execute(
        "COPY (SELECT '+336' || lpad(i::VARCHAR, 8, '0') AS phone, "
        f"{since}, {plans}[1 + i % 4] AS plan, (9.99 + 5 * (i % 5))::DECIMAL(9, 2) AS fee, "
        "i % 120 AS months, i % 3 = 0 AS paid, 1 + i % 28 AS d "
        f"FROM range(1, {profiles + 1}) t(i)) TO '{file}' (HEADER)"
    )
    return file


async def bulk(bed: Bed, profiles: int) -> Took:
    """Look through a file and take it, as the command does."""
    file = make_file(bed.folder, profiles)
    rules = bed.folder / "mapping.yaml"
    rules.write_text(MAPPING, encoding="utf-8")
    mapping = read_mapping(rules, bed.catalogue.default_zone).of(file)
    assert mapping is not None
    with bed.timed(profiles) as took, opened(file, mapping) as rows:
        reader = RowReader(mapping, rows.columns, bed.catalogue)
        findings = Findings(file.name)
        check(rows, reader, findings, Report(None), partial(_far, "looked through", profiles))
        assert not findings.refused
        events = taken_events(rows, reader, findings.unreadable)
        batches = _by(
            sql.BATCH, (bed.checker.check(raw_event(one.event), START, history=True) for one in events)
        )

        done = 0

        async def lane() -> None:
            nonlocal done
            for batch in batches:
                outcomes = await bed.intake.take(batch)
                assert all(outcome is ACCEPTED for outcome in outcomes)
                done += len(batch)
                _far("loaded", profiles, done)

        await asyncio.gather(*(lane() for _ in range(sql.LANES)))
    file.unlink()
    return took[0]


def _far(what: str, of: int, done: int) -> None:
    """Say now and then how far a long load has come."""
    if done % _TOLD == 0:
        print(f"  {time.strftime('%H:%M:%S')} {what} {done:,} of {of:,} rows", flush=True)


def _by(size: int, items: Iterator[CheckedEvent]) -> Iterator[list[CheckedEvent]]:
    batch: list[CheckedEvent] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


async def plain_bulk(bed: Bed, profiles: int) -> Took:
    """So many more customers, each as large as one of those that are there."""
    async with bed.database.transaction() as tx:
        sample = await tx.row(_SAMPLE)
    assert sample is not None
    row = dict(zip(("hot", "record", "traits", "data", "sealed"), sample, strict=True))
    numbers = [list(range(sql.BATCH)) for _ in range(profiles // sql.BATCH)]
    with bed.timed(len(numbers) * sql.BATCH) as took:
        await asyncio.to_thread(sql.in_lanes, bed.server, bed.name, numbers, sql.bulk(row, START))
    return took[0]


# --- events, snapshots, consents --------------------------------------------------------------------------


def traffic(profiles: int, events: int, seed: int) -> list[list[sql.Said]]:
    """Batches of the benchmark's mix, one in ten of a type that travels with a snapshot."""
    draw = random.Random(seed)
    said: list[sql.Said] = []
    for number in range(events // sql.BATCH * sql.BATCH):
        kind = MIX[number % len(MIX)]
        data = event_data(kind, f"{seed}-{number}", draw, "2026-10")
        cell = orjson.loads(data)["cell"] if kind == sql.SETS_TRAIT else ""
        said.append(sql.Said(kind, draw.randrange(profiles), data, cell))
    return [said[at : at + sql.BATCH] for at in range(0, len(said), sql.BATCH)]


async def ingest(bed: Bed, said: Sequence[Sequence[sql.Said]]) -> Took:
    name = os.urandom(4).hex()
    batches = [
        [
            RawEvent(f"{name}-{at}-{n}", "bench", one.kind, at, f"msisdn:{msisdn(one.place + 1)}", one.data)
            for n, one in enumerate(batch)
            for at in (next(bed.moments),)
        ]
        for batch in said
    ]

    async def work(batch: list[RawEvent]) -> None:
        await bed.intake.take([bed.checker.check(raw, START) for raw in batch])

    with bed.timed(len(batches) * sql.BATCH) as took:
        await bed.in_lanes(batches, work)
    return took[0]


async def known(bed: Bed, profiles: int) -> sql.Known:
    """What plain SQL has to know of the customers, and how large it writes what the service makes."""
    found = sql.Known([bed.sealer.lookup(f"msisdn:{msisdn(number)}") for number in range(1, profiles + 1)])
    async with bed.store.work() as work:
        rows = await work.transaction.rows(
            "SELECT customer, traits->>'last_cell', traits::text FROM customer_traits "
            "WHERE traits ? 'last_cell'"
        )
        found.cells = {row[0]: row[1] for row in rows}
        found.traits = rows[0][2]
        some = [f"msisdn:{msisdn(number)}" for number in range(1, min(profiles, 1000) + 1)]
        snapshots = [
            one for one in await bed.questions.snapshots(work, some, START) if isinstance(one, bytes)
        ]
        found.snapshot = sorted(snapshots, key=len)[len(snapshots) // 2]
    return found


async def snapshots(bed: Bed, places: Sequence[Sequence[int]]) -> Took:
    async def work(batch: Sequence[int]) -> None:
        async with bed.store.work() as work:
            subjects = [f"msisdn:{msisdn(place + 1)}" for place in batch]
            found = await bed.questions.snapshots(work, subjects, START)
        assert all(isinstance(one, bytes) for one in found)

    with bed.timed(len(places) * sql.BATCH) as took:
        await bed.in_lanes(places, work)
    return took[0]


async def consents(bed: Bed, places: Sequence[Sequence[int]]) -> Took:
    """Whether each of these may be written to for marketing; all of them have said something first."""
    said = sorted({place for batch in places for place in batch})
    data = b'{"purpose":"marketing","channel":"sms","state":"granted","by":"person"}'
    name = os.urandom(4).hex()

    async def say(batch: Sequence[int]) -> None:
        await bed.intake.take(
            [
                bed.checker.check(
                    RawEvent(
                        f"{name}-{place}",
                        "bench",
                        "consent.changed",
                        START,
                        f"msisdn:{msisdn(place + 1)}",
                        data,
                    ),
                    START,
                )
                for place in batch
            ]
        )

    await bed.in_lanes([said[at : at + sql.BATCH] for at in range(0, len(said), sql.BATCH)], say)

    async def work(batch: Sequence[int]) -> None:
        async with bed.store.work() as work:
            asked = [
                ConsentQuestion(f"msisdn:{msisdn(place + 1)}", Purpose.MARKETING, Channel.SMS)
                for place in batch
            ]
            found = await bed.consent_questions.check(work, asked, START)
        assert all(one.allowed for one in found)

    with bed.timed(len(places) * sql.BATCH) as took:
        await bed.in_lanes(places, work)
    return took[0]


async def measure(server: PostgresServer, folder: Path, profiles: int, events: int) -> list[Measure]:
    """All figures at one number of profiles, each beside its reference on the same tables."""
    bed = Bed(server, f"bench_{profiles}", folder)
    found: list[Measure] = []
    load = os.getloadavg()[0]

    def tell(name: str, unit: str, ours: Took, plain: Took) -> None:
        found.append(Measure(name, ours.rate, unit, "plain SQL", plain.rate))
        found.append(Measure(f"{name}.cpu_micros", ours.cpu_micros, "µs", "plain SQL", plain.cpu_micros))
        print(f"{name} (load {load:.1f})\n  rapport   {ours}\n  plain SQL {plain}", flush=True)

    try:
        async with bed.store.work() as work:
            await work.set_listened(frozenset({sql.LISTENED}))
        loaded = await bulk(bed, profiles)
        await bed.empty_outbox()
        with connect(server, bed.name) as connection:
            for name in ("customer", "customer_record", "identity", "customer_traits", "event", "event_key"):
                connection.execute(f"VACUUM (ANALYZE) {name}".encode())
            connection.execute("CHECKPOINT")
        places = partial(sql.places, events, profiles)

        async def plain(batches: Sequence[Any], work: Any) -> Took:
            with bed.timed(len(batches) * sql.BATCH) as took:
                await asyncio.to_thread(sql.in_lanes, server, bed.name, batches, work)
            return took[0]

        await ingest(bed, traffic(profiles, events // 10, 0))
        ours = await ingest(bed, traffic(profiles, events, 1))
        await bed.empty_outbox()
        there = await known(bed, profiles)
        tell(
            f"profile.ingest_events_per_s.{profiles}",
            "events/s",
            ours,
            await plain(traffic(profiles, events, 2), sql.ingest(there, START)),
        )
        await bed.empty_outbox()
        tell(
            f"profile.snapshots_per_s.{profiles}",
            "snapshots/s",
            await snapshots(bed, places(2)),
            await plain(places(2), sql.snapshots(there)),
        )
        tell(
            f"profile.consent_checks_per_s.{profiles}",
            "checks/s",
            await consents(bed, places(3)),
            await plain(places(3), sql.consents(there)),
        )
        reference = await plain_bulk(bed, min(profiles, 100_000))
        tell(f"profile.bulk_rows_per_s.{profiles}", "rows/s", loaded, reference)
        print(f"  {profiles:,} profiles loaded in {loaded.wall:.1f} s", flush=True)
    finally:
        await bed.close()
    return found


async def main(sizes: Sequence[int], events: int) -> list[Measure]:
    found: list[Measure] = []
    collect_seldom()  # as the services do
    atexit.register(gc.unfreeze)  # DuckDB prints what is not collected by the end
    with tempfile.TemporaryDirectory(prefix="rapport-bench-") as folder, bench_server(FOLDER) as server:
        for profiles in sizes:
            found += await measure(server, Path(folder), profiles, events)
    largest = next(m for m in found if m.name == f"profile.bulk_rows_per_s.{max(sizes)}")
    found.append(
        Measure(
            "profile.bulk_rows_per_s", largest.value, largest.unit, largest.reference, largest.reference_value
        )
    )
    costs = {
        m.name.split(".")[-2]: m.value for m in found if "ingest" in m.name and m.name.endswith("cpu_micros")
    }
    if len(sizes) > 1:
        first, last = str(min(sizes)), str(max(sizes))
        found.append(Measure("profile.cost_growth", costs[last] / costs[first], f"× from {first} to {last}"))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--events", type=int, default=30_000, help="events, and questions, of each measure")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    told = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    figures = uvloop.run(main([int(size) for size in told.sizes.split(",")], told.events))
    print(table(figures))
    if told.json is not None:
        write_json(figures, told.json)

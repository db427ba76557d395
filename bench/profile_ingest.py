"""Events per second through the ingest transaction alone: check, transaction, outbox; one client.

Usage: python -m bench.profile_ingest [profiles] [activity bytes] [events]
"""

import json
import os
import random
import resource
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

import orjson
import uvloop

from services.cli.stack.postgres import PostgresServer
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.take_events import EventTaker
from services.profile.domain.events import EventChecker, RawEvent
from services.runtime.database import Database
from services.runtime.keys import KEY_BYTES, Keyring, Sealer
from services.runtime.migrations import migrate
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue

ROOT = Path(__file__).parent.parent
START = 1_790_000_000_000_000
BATCH = 500


def raw_events(
    count: int, profiles: int, random_: random.Random, first: int, time_micros: int
) -> list[RawEvent]:
    kinds = (
        "usage.data_used",
        "usage.data_used",
        "usage.data_used",
        "network.call_dropped",
        "topup.received",
    )
    events = []
    for number in range(first, first + count):
        kind = kinds[number % len(kinds)]
        if kind == "usage.data_used":
            data = {"mb": round(random_.random() * 500, 1), "cycle": "2026-10"}
        elif kind == "topup.received":
            data = {"amount": {"amount": "10.00", "currency": "EUR"}}
        else:
            data = {"cell": f"FR-{random_.randrange(2000):04d}", "technology": "LTE"}
        msisdn = f"msisdn:+336{random_.randrange(profiles):08d}"
        events.append(
            RawEvent(f"e-{number}", "bench", kind, time_micros + number * 1000, msisdn, orjson.dumps(data))
        )
    return events


def server_cpu_seconds(cluster: Path) -> float:
    """Processor of the database's backends and helpers together, those that have ended included (Linux)."""
    postmaster = (cluster / "postmaster.pid").read_text().split()[0]
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[1] == postmaster:
            ticks += int(fields[11]) + int(fields[12])
        elif stat.parent.name == postmaster:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="rapport-bench-"))
    folder.chmod(0o711)
    (folder / "secrets").mkdir(mode=0o700)
    return folder


async def main(profiles: int, activity_bytes: int, count: int) -> None:
    folder = private_folder()
    server = PostgresServer(
        folder / "postgres", password_file=folder / "secrets" / "admin", log=folder / "log", durable=True
    )
    server.start()
    try:
        with server.connect() as connection:
            connection.execute("CREATE DATABASE bench")
        url = server.url("bench", password_file=server.password_file)
        migrate(url, ROOT / "services/profile/migrations")
        database = Database(url, pool_size=4)
        catalogue = load_catalogue(ROOT / "rules")
        types = Types(catalogue, Sealer.with_key(Keyring.make(), secrets.token_bytes(KEY_BYTES)))
        store = PostgresStore(database, Outbox(database), types)
        taker = EventTaker(catalogue, SnapshotPacker(types))
        checker = EventChecker(catalogue, orjson.loads, orjson.dumps, wall=False)
        random_ = random.Random(7)
        async with store.work() as work:
            await work.set_listened(frozenset({"network.call_dropped"}))

        async def feed(raws: list[RawEvent]) -> None:
            for at in range(0, len(raws), BATCH):
                checked = [checker.check(raw, START) for raw in raws[at : at + BATCH]]
                async with store.work() as work:
                    await taker.take(work, checked, START)
                    await work.count({"events.accepted": len(checked)})

        # fill: every profile, until the hot value has the size asked for
        number = 0
        while True:
            raws = raw_events(max(profiles, BATCH), profiles, random_, number, START)
            number += len(raws)
            await feed(raws)
            async with database.transaction() as tx:
                row = await tx.row("SELECT avg(length(hot))::float8, count(*) FROM customer")
                await tx.execute("TRUNCATE outbox")
            assert row is not None
            if row[0] >= activity_bytes:
                break
        async with database.transaction() as tx:
            before = await tx.row("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        raws = raw_events(count, profiles, random_, number, START)
        server_before = server_cpu_seconds(server.cluster)
        began, processor = time.perf_counter(), time.process_time()
        await feed(raws)
        took, used = time.perf_counter() - began, time.process_time() - processor
        server_used = server_cpu_seconds(server.cluster) - server_before
        async with database.transaction() as tx:
            after = await tx.row("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
            sizes = await tx.row("SELECT avg(length(payload))::float8, count(*) FROM outbox")
        assert before is not None
        assert after is not None
        assert sizes is not None
        print(
            json.dumps(
                {
                    "profiles": row[1],
                    "hot_bytes": round(row[0]),
                    "events_per_s": round(count / took),
                    "client_cpu_us": round(used / count * 1e6, 1),
                    "server_cpu_us": round(server_used / count * 1e6, 1),
                    "wall_us": round(took / count * 1e6, 1),
                    "wal_bytes": round(float(after[0] - before[0]) / count),
                    "outbox_row_bytes": round(sizes[0]),
                    "outbox_rows": sizes[1],
                    "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                }
            )
        )
        await database.close()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    profiles, activity, events = ([*map(int, sys.argv[1:]), 0, 0, 0])[:3]
    uvloop.run(main(profiles or 10_000, activity or 400, events or 20_000))

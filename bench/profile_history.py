"""Events of the past that one core folds in a second, beside what the same events cost when they were live.

A database is filled through the live road; then all of its history is replayed, once with a snapshot for
every event and once for the last month only. What is told is compared with what went out, byte for byte.

Usage: python -m bench.profile_history [customers] [events]
"""

import gc
import json
import random
import secrets
import shutil
import sys
import time
from pathlib import Path

import orjson
import uvloop

from bench.profile_ingest import private_folder, raw_events
from services.cli.stack.postgres import PostgresServer
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.past_packing import PastSnapshots
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.replaying import Replaying, Share
from services.profile.app.take_events import EventTaker
from services.profile.domain.events import EventChecker
from services.profile.domain.replaying import FOREVER, Wanted
from services.runtime.database import Database
from services.runtime.keys import KEY_BYTES, Keyring, Sealer
from services.runtime.migrations import migrate
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue
from tests.integration.profile.histories import differences, told

ROOT = Path(__file__).parent.parent
START = 1_780_000_000_000_000
DAY = 86_400_000_000
DAYS, BATCH = 120, 100
LISTENED = frozenset({"usage.data_used", "network.call_dropped", "topup.received"})


async def fill(
    store: PostgresStore, taker: EventTaker, checker: EventChecker, customers: int, events: int
) -> float:
    """The processor's time for an event taken live, in microseconds."""
    random_ = random.Random(7)
    began = time.process_time()
    for first in range(0, events, BATCH):
        now = START + DAYS * DAY * first // events
        raws = raw_events(BATCH, customers, random_, first, now)
        async with store.work() as work:
            await taker.take(work, [checker.check(raw, now) for raw in raws], now)
    return (time.process_time() - began) / events * 1e6


async def replay(replaying: Replaying, since: int) -> tuple[float, int, list[bytes]]:
    """Microseconds of the processor for each event read; how many were told, and all that was."""
    wanted = Wanted(since, FOREVER, LISTENED)
    read = count = 0
    payloads: list[bytes] = []
    began = time.process_time()
    async for page in replaying.pages(Share(), wanted):
        read += page.events_read
        count += sum(past.events for past in page.pasts)
        payloads += [past.payload for past in page.pasts]
    return (time.process_time() - began) / read * 1e6, count, payloads


async def main(customers: int, events: int) -> None:
    folder = private_folder()
    server = PostgresServer(
        folder / "postgres", password_file=folder / "secrets" / "admin", log=folder / "log", durable=False
    )
    server.start()
    try:
        with server.connect() as connection:
            connection.execute("CREATE DATABASE bench")
        url = server.url("bench", password_file=server.password_file)
        migrate(url, ROOT / "services/profile/migrations")
        database = Database(url, pool_size=2)
        catalogue = load_catalogue(ROOT / "rules")
        types = Types(catalogue, Sealer.with_key(Keyring.make(), secrets.token_bytes(KEY_BYTES)))
        store = PostgresStore(database, Outbox(database), types)
        async with store.work() as work:
            await work.set_listened(LISTENED)
        live = await fill(
            store,
            EventTaker(catalogue, SnapshotPacker(types)),
            EventChecker(catalogue, orjson.loads, orjson.dumps, wall=False),
            customers,
            events,
        )
        replaying = Replaying(store, catalogue, PastSnapshots(types), orjson.loads, page_events=20_000)
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        whole, count, payloads = await replay(replaying, 0)
        month, last, _ = await replay(replaying, START + (DAYS - 30) * DAY)
        async with database.transaction() as tx:
            rows = await tx.rows("SELECT payload FROM outbox WHERE stream = 'EVENTS' ORDER BY id")
        found = differences(told([payload for (payload,) in rows]), told(payloads))
        print(
            json.dumps(
                {
                    "history.events_per_s_per_core": round(1e6 / whole),
                    "history.month_events_per_s_per_core": round(1e6 / month),
                    "live_events_per_s_per_core": round(1e6 / live),
                    "events": events,
                    "told": count,
                    "told_of_month": last,
                    "bytes_per_event": round(sum(map(len, payloads)) / max(count, 1)),
                    "differences": len(found),
                }
            )
        )
        await database.close()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    given = [*map(int, sys.argv[1:]), 0, 0]
    uvloop.run(main(given[0] or 500, given[1] or 50_000))

"""What an installation needs, to 20 million customers: computed from what was measured.

Usage: python -m bench.capacity [--measure] [--events-per-day N] [--messages-per-day N] [--peak N]
"""

import argparse
import asyncio
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from bench.latency import SmscRecord
from bench.road import run_full, traffic_named
from bench.seed import seed_profiles
from bench.stack import FOLDER, bench_stack, make_live
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.state import Stack
from services.runtime.clock import WallClock
from services.runtime.retention import read_retention

MEASURED = Path(__file__).parent / "capacity.json"
CUSTOMERS = (100_000, 1_000_000, 5_000_000, 10_000_000, 20_000_000)
PROFILES = 20_000
ACTIVITY_BYTES = 400
FEED_SECONDS = 8.0
DAY_SECONDS = 86_400
TAKEN_KEPT_DAYS = 30
EVENT_KEYS_KEPT_DAYS = 763
LEAST_REPLICAS = 2
_GIGA = 1e9
_TABLES = {
    "profile": ("customer", "customer_record", "customer_traits", "identity", "event", "event_key"),
    "decision": ("decision", "decision_action", "decision_lookup"),
    "channel": ("message", "message_body", "contact", "receipt"),
}
_PER_CUSTOMER = ("customer", "customer_record", "customer_traits", "identity")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run told, at 400 bytes of activity and one event in ten leading to a message.

    `cpu_us`: processor time of an event by program. `row_bytes`: of a row with its indexes, by table.
    `taken_bytes`: what keys of stream messages take, and `wal_bytes` what is logged, for an event.
    """

    source: str
    cpu_us: Mapping[str, float]
    row_bytes: Mapping[str, float]
    taken_bytes: float
    wal_bytes: float

    @property
    def customer_bytes(self) -> float:
        """What a customer takes in the profile's database without events."""
        return sum(self.row_bytes[table] for table in _PER_CUSTOMER)

    @property
    def decision_bytes(self) -> float:
        """What a decision with one action takes: both are looked up by their ids."""
        return (
            self.row_bytes["decision"]
            + self.row_bytes["decision_action"]
            + 2 * self.row_bytes["decision_lookup"]
        )


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of an installation; `busy`: the share of a processor that may be used at the peak.

    Events and messages a day are a customer's.
    """

    customers: int
    events_per_day: float = 10.0
    messages_per_day: float = 0.2
    peak: float = 4.0
    busy: float = 0.6

    @property
    def mean_per_second(self) -> float:
        """Events a second over the day."""
        return self.customers * self.events_per_day / DAY_SECONDS

    @property
    def peak_per_second(self) -> float:
        """Events a second in the busiest hour."""
        return self.mean_per_second * self.peak


@dataclass(frozen=True, slots=True)
class Need:
    """What it takes."""

    load: Load
    cores: Mapping[str, float]
    """Processors at the peak by program, with room left."""
    replicas: Mapping[str, int]
    """Processes of each role."""
    profile_bytes: float
    decision_bytes: float
    channel_bytes: float
    wal_bytes_per_day: float

    @property
    def all_cores(self) -> float:
        """Of everything together."""
        return sum(self.cores.values())


def need(measured: Measured, load: Load, kept_days: Mapping[str, float]) -> Need:
    """What a load needs; `kept_days`: the retention policy, in days by class."""
    cores = {
        program: load.peak_per_second * micros / 1e6 / load.busy
        for program, micros in measured.cpu_us.items()
    }
    replicas = {
        program: max(LEAST_REPLICAS, math.ceil(used / threads_of(program)))
        for program, used in cores.items()
        if program.endswith(("-server", "-worker"))
    }
    size = measured.row_bytes
    daily = load.customers * load.events_per_day
    said = load.customers * load.messages_per_day
    taken = daily * TAKEN_KEPT_DAYS * measured.taken_bytes / len(_TABLES)
    profile = (
        load.customers * measured.customer_bytes
        + daily * kept_days["events"] * size["event"]
        + daily * EVENT_KEYS_KEPT_DAYS * size["event_key"]
        + taken
    )
    decision = said * kept_days["decisions"] * measured.decision_bytes + taken
    kept_of_message = {"message": "messages", "message_body": "message_texts"} | {
        "contact": "contacts",
        "receipt": "receipts",
    }
    channel = said * sum(kept_days[kept] * size[table] for table, kept in kept_of_message.items()) + taken
    return Need(load, cores, replicas, profile, decision, channel, daily * measured.wal_bytes)


def threads_of(program: str) -> float:
    """How many processors one process of a role can fill: the decision worker has the engine beside it."""
    return 1.5 if program.startswith("decision") else 1.0


def read_measured(path: Path = MEASURED) -> Measured:
    """The figures of the last measuring run."""
    return Measured(**json.loads(path.read_text(encoding="utf-8")))


def kept_days(rules: Path) -> dict[str, float]:
    """The retention policy in days by class."""
    return {name: micros / 86_400_000_000 for name, micros in read_retention(rules).items()}


async def measure(folder: Path) -> Measured:
    """Runs the road for some seconds and looks at processors and tables before and after."""
    async with bench_stack(folder) as (connections, files):
        stack = connections.stack
        now = WallClock().wall_micros()
        seeded = await asyncio.to_thread(seed_profiles, stack, stack.rules, PROFILES, ACTIVITY_BYTES, now)
        await make_live(connections, files)
        record = SmscRecord(stack.layout.record("smsc"))
        try:
            await run_full(connections, record, traffic_named("warm-up", PROFILES), 3.0)
            before = await asyncio.to_thread(_log_bytes, stack)
            ran = await run_full(connections, record, traffic_named("capacity", PROFILES), FEED_SECONDS)
            wal = await asyncio.to_thread(_log_bytes, stack) - before
        finally:
            record.close()
        tables = await asyncio.to_thread(_table_sizes, stack)
    events = tables["event"][0]
    providers = {"bench", "smsc", "smtp-sink"}
    return Measured(
        source=(
            f"{ran.events:,} events over {PROFILES:,} customers with {seeded.activity_bytes} bytes "
            f"of activity, on {os.cpu_count()} processors at a load of {os.getloadavg()[0]:.0f}"
        ),
        cpu_us={
            program: round(used / ran.events * 1e6, 1)
            for program, used in ran.used.items()
            if program not in providers and used / ran.events * 1e6 >= 1
        },
        row_bytes={
            table: round(size / rows, 1) for table, (rows, size) in tables.items() if table != "taken_message"
        },
        taken_bytes=round(tables["taken_message"][1] / events, 1),
        wal_bytes=round(wal / ran.events, 1),
    )


def _connect(stack: Stack, service: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(stack.database_socket),
        user=service,
        password=stack.database_password(service).read_text(encoding="utf-8").strip(),
        dbname=service,
        autocommit=True,
    )


def _log_bytes(stack: Stack) -> int:
    with _connect(stack, "profile") as connection:
        row = connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    return int(row[0])


def _table_sizes(stack: Stack) -> dict[str, tuple[int, int]]:
    """Rows and bytes, with indexes, by table; `taken_message` of all three databases together."""
    found: dict[str, tuple[int, int]] = {"taken_message": (0, 0)}
    for service, tables in _TABLES.items():
        with _connect(stack, service) as connection:
            for table in (*tables, "taken_message"):
                row = connection.execute(
                    f"SELECT count(*), pg_total_relation_size('{table}') FROM {table}".encode()
                ).fetchone()
                assert row is not None
                known = found.get(table, (0, 0))
                found[table] = (known[0] + max(row[0], 1), known[1] + row[1])
    return found


def table_of(needs: Sequence[Need], measured: Measured) -> str:
    """For people, in Markdown."""
    roles = sorted(program for program in measured.cpu_us if program.endswith(("-server", "-worker")))
    lines = [
        "| customers | events/s mean, peak | cores, together | "
        + " | ".join(roles)
        + " | PostgreSQL cores | NATS cores | profile | decision | channel | WAL a day |",
        "|---|---|---|" + "---|" * (len(roles) + 6),
    ]
    for one in needs:
        database = sum(used for program, used in one.cores.items() if program.startswith("postgres"))
        cells = [
            f"{one.load.customers:,}",
            f"{one.load.mean_per_second:,.0f}, {one.load.peak_per_second:,.0f}",
            f"{one.all_cores:,.1f}",
            *(str(one.replicas[role]) for role in roles),
            f"{database:,.1f}",
            f"{one.cores.get('nats', 0.0):,.1f}",
            *(_size(size) for size in (one.profile_bytes, one.decision_bytes, one.channel_bytes)),
            _size(one.wal_bytes_per_day),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _size(size: float) -> str:
    giga = size / _GIGA
    return (
        f"{giga / 1000:,.1f} TB" if giga >= 1000 else f"{giga:,.0f} GB" if giga >= 10 else f"{giga:,.1f} GB"
    )


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.capacity", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--measure", action="store_true", help=f"measure anew, into {MEASURED.name}")
    parser.add_argument("--events-per-day", type=float, default=10.0, help="of a customer (10)")
    parser.add_argument("--messages-per-day", type=float, default=0.2, help="to a customer (0.2)")
    parser.add_argument("--peak", type=float, default=4.0, help="the busiest hour by the day's mean (4)")
    parser.add_argument("--busy", type=float, default=0.6, help="share of a processor used at the peak (0.6)")
    told = parser.parse_args()
    if told.measure:
        measured = uvloop.run(measure(FOLDER / "capacity"))
        MEASURED.write_text(json.dumps(_as_json(measured), indent=1) + "\n", encoding="utf-8")
    measured = read_measured()
    kept = kept_days(CHECKOUT / "rules")
    needs = [
        need(
            measured, Load(customers, told.events_per_day, told.messages_per_day, told.peak, told.busy), kept
        )
        for customers in CUSTOMERS
    ]
    micros = sum(measured.cpu_us.values())
    print(f"measured: {measured.source}")
    print(
        f"{micros:,.0f} µs of processor an event, {measured.customer_bytes:,.0f} bytes a customer, "
        f"{measured.wal_bytes:,.0f} bytes of WAL an event"
    )
    print(table_of(needs, measured))
    return 0


def _as_json(measured: Measured) -> dict[str, Any]:
    return {name: getattr(measured, name) for name in Measured.__slots__}


if __name__ == "__main__":
    sys.exit(main())

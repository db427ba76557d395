"""The whole road on one machine: sustained events a second, time to hand-over, and where the time goes.

Usage: python -m bench.road [--json FILE] [--seconds N] [--profiles N] [--activity BYTES …]
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.cost import cost_table, spent, stack_cost
from bench.empty_grpc import EmptyCalls, measure_empty_grpc
from bench.latency import HandOvers, SmscRecord, hand_overs
from bench.measure import Measure, percentile, table, write_json
from bench.plain_sql import PlainSql, measure_plain_sql
from bench.seed import Seeded, seed_profiles
from bench.stack import FOLDER, ONE_IN, bench_stack, make_live, rule_sets
from bench.traffic import Sent, Traffic, send_at_rate, send_steadily_full
from services.cli.connections import Connections
from services.cli.quiet import wait_quiet
from services.runtime.clock import WallClock

SIZES = (400, 2500)
WINDOW_EVENTS = 10_000
"""Events on the road at most: more are sent only as messages arrive at its end."""
WARM_UP_SECONDS = 3.0
PATIENCE_SECONDS = 60.0
_CLOCK = WallClock()


@dataclass(frozen=True, slots=True)
class Sustained:
    """As fast as the road goes: from the first event until nothing was on its way any more."""

    events: int
    seconds: float
    hand_overs: HandOvers
    used: dict[str, float]
    """Processor seconds by program."""

    @property
    def per_second(self) -> float:
        """Events a second through the whole road."""
        return self.events / self.seconds


@dataclass(frozen=True, slots=True)
class Road:
    """What the road reached at one size of activity."""

    seeded: Seeded
    sustained: Sustained
    steady: HandOvers
    steady_rate: float
    answers: Sent


async def measure_road(folder: Path, profiles: int, activity_bytes: int, seconds: float) -> Road:
    """Starts a stack with that many profiles and the 50 rules, fills it, then half as much with times."""
    async with bench_stack(folder) as (connections, files):
        stack = connections.stack
        _say(f"writing {profiles:,} profiles with {activity_bytes} bytes of activity")
        seeded = await asyncio.to_thread(
            seed_profiles, stack, stack.rules, profiles, activity_bytes, _CLOCK.wall_micros()
        )
        _say(
            f"  {seeded.hot_bytes} bytes a customer, {seeded.activity_bytes} of them activity "
            f"of {seeded.entries} events"
        )
        await make_live(connections, files)
        record = SmscRecord(stack.layout.record("smsc"))
        try:
            await run_full(connections, record, traffic_named("warm-up", profiles), WARM_UP_SECONDS)
            sustained = await run_full(connections, record, traffic_named("full", profiles), seconds)
            rate = sustained.per_second / 2
            _say(f"{sustained.per_second:,.0f} events/s; now {rate:,.0f} events/s for {seconds:.0f} s")
            steady = traffic_named("steady", profiles)
            answers = await send_at_rate(connections.profile, steady, rate, seconds + WARM_UP_SECONDS)
            await _all_received(record, steady)
            await wait_quiet(connections, receipts=True)
            record.read_on()
            over = hand_overs(steady.expected, record, round(WARM_UP_SECONDS * 1_000_000))
            if record.repeated:
                raise SystemExit(f"{record.repeated} messages were handed over twice")
        finally:
            record.close()
    return Road(seeded, sustained, over, rate, answers)


async def run_full(
    connections: Connections, record: SmscRecord, traffic: Traffic, seconds: float
) -> Sustained:
    """Feeds as fast as the road goes for so long, and waits until nothing is on its way any more."""
    before_count = record.read_on()
    looked = time.monotonic()

    def held_back() -> bool:
        nonlocal looked
        if time.monotonic() - looked > 0.02:
            looked = time.monotonic()
            record.read_on()
        return traffic.sent - ONE_IN * (len(record.received) - before_count) > WINDOW_EVENTS

    before, began = stack_cost(connections.stack), time.monotonic()
    sent = await send_steadily_full(connections.profile, traffic, seconds, held_back)
    fed = time.monotonic() - began
    await _all_received(record, traffic)
    await wait_quiet(connections, receipts=True)
    took = time.monotonic() - began
    record.read_on()
    over = hand_overs(traffic.expected, record)
    _say(
        f"  {traffic.name}: {sent.accepted:,} events taken in {fed:.1f} s, all done after {took:.1f} s; "
        f"{over.expected - over.lost:,} of {over.expected:,} messages handed over"
    )
    if sent.refused or over.lost:
        raise SystemExit(f"{sent.refused} events were refused, {over.lost} messages are missing")
    return Sustained(sent.accepted, took, over, spent(before, stack_cost(connections.stack)))


async def _all_received(record: SmscRecord, traffic: Traffic) -> None:
    """Returns when every message has come, or none has for so long that something must be wrong."""
    came, moved = record.read_on(), time.monotonic()
    while (
        not traffic.expected.keys() <= record.received.keys() and time.monotonic() - moved < PATIENCE_SECONDS
    ):
        await asyncio.sleep(0.05)  # asking the services would take their time
        now = record.read_on()
        if now != came:
            came, moved = now, time.monotonic()


def traffic_named(name: str, profiles: int) -> Traffic:
    """Events of the benchmark's mix; the same name gives the same ones."""
    return Traffic(name, profiles, random.Random(name))


def measures(size: int, road: Road, calls: EmptyCalls, plain: PlainSql) -> list[Measure]:
    """The figures of one size under their names; the first size has no suffix."""
    suffix = "" if size == SIZES[0] else f".{size}b"
    per_second = road.sustained.per_second
    rows = [
        Measure(f"road.events_per_s{suffix}", per_second, "events/s", "empty_grpc_calls", calls.calls_per_s),
        Measure(
            f"road.events_per_s.vs_sql{suffix}", per_second, "events/s", "plain_sql_rows", plain.events_per_s
        ),
        Measure(f"road.handover_p50_ms{suffix}", road.steady.p50_ms, "ms"),
        Measure(f"road.handover_p99_ms{suffix}", road.steady.p99_ms, "ms"),
        Measure(f"road.handover_rate{suffix}", road.steady_rate, "events/s"),
        Measure(f"road.ingest_answer_p50_ms{suffix}", percentile(road.answers.answer_micros, 50) / 1e3, "ms"),
        Measure(f"plain_sql.commits_per_s{suffix}", plain.commits_per_s, "commits/s"),
        Measure(f"plain_sql.rows_per_s{suffix}", plain.rows_per_s, "rows/s"),
        Measure(f"road.customer_bytes{suffix}", road.seeded.hot_bytes, "bytes"),
    ]
    return rows + [
        Measure(
            f"road.cpu_us_per_event.{name.replace(': ', '.')}{suffix}",
            used / road.sustained.events * 1e6,
            "µs/event",
        )
        for name, used in road.sustained.used.items()
    ]


def run(sizes: Sequence[int], profiles: int, seconds: float) -> list[Measure]:
    """References, then the road, at each size."""
    short = min(5.0, seconds)
    _say(f"an empty gRPC method, {short:.0f} s")
    calls = measure_empty_grpc(short)
    found: list[Measure] = []
    for size in sizes:
        folder = FOLDER / f"{size}b"
        road = uvloop.run(measure_road(folder, profiles, size, seconds))
        _say(f"the same rows by plain SQL, {short:.0f} s")
        plain = measure_plain_sql(short, profiles, road.seeded.hot_bytes)
        found += measures(size, road, calls, plain)
        _say("")
        _say(f"where the time goes at {size} bytes of activity, {road.sustained.events:,} events")
        _say(cost_table(road.sustained.used, road.sustained.events, road.sustained.seconds))
        _say("")
    return found


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.road", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each part is fed (20)")
    parser.add_argument("--profiles", type=int, default=100_000, help="how many profiles there are (100000)")
    parser.add_argument(
        "--activity", type=int, nargs="+", default=list(SIZES), help="bytes of activity (400 2500)"
    )
    told = parser.parse_args()
    rules = sum(text.count("\n  - id: ") for text in rule_sets().values())
    _say(f"{told.profiles:,} profiles, {rules} live rules, one event in {ONE_IN} leads to a text message")
    found = run(told.activity, told.profiles, told.seconds)
    _say(table(found))
    if told.json is not None:
        write_json(found, told.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

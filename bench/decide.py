"""How fast Decide answers: over gRPC, on a whole stack, 200 live rules, arbitration and explanation on.

Usage: python -m bench.decide [--json FILE] [--seconds N] [--profiles N] [--folder DIR]

PEEK, which a care desk asks whenever a customer calls: the decision server takes a fresh snapshot from
the profile server, runs all 200 rules, arbitrates over what they ask for with what earlier decisions
left, says why, and writes down who looked. First 300 calls a second at random times planned beforehand,
latencies counted from those times; then 64 callers that ask again as soon as they are answered, for the
highest rate that is sustained. The callers are processes of their own. The reference, an empty gRPC
method without TLS, tokens or counting, is called by 64 callers likewise, before and after; the mean
counts. Processor time of a call (all programs of the stack but the callers) stands beside it too: it moves
less with what else the machine does.

Beside them, in processor time of one process: events that a simulation walks through, and what
arbitration costs.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench import arbitrate, decide_simulation
from bench.cost import cost_table, spent, stack_cost
from bench.decide_rules import count_rules, rule_sets
from bench.empty_grpc import CALLERS, measure_empty_grpc
from bench.measure import Measure, table, write_json
from bench.open_loop import Latencies
from bench.seed import seed_profiles
from bench.stack import FOLDER, bench_stack, make_live, write_rules
from services.cli.connections import Connections
from services.cli.stack.programs import python_command, python_environment
from services.runtime.clock import WallClock

RATE = 300.0
ACTIVITY_BYTES = 2500
"""Weeks of a busy customer: what the rules' windows look at."""
WARM_UP_SECONDS = 3.0
REFERENCE = "empty_grpc_calls"
_CALLERS_OWN = "bench"


@dataclass(frozen=True, slots=True)
class Deciding:
    """What Decide reached."""

    latencies: Latencies
    calls_per_s: float
    failed: int
    actions: float
    """Mean number of actions in an answer."""
    explained: float
    """The share of them that say why."""
    used: dict[str, float]
    """Processor seconds by program, while the highest rate was asked for."""
    seconds: float

    @property
    def calls(self) -> int:
        """How many were answered in that time, about."""
        return max(1, round(self.calls_per_s * self.seconds))


async def measure_decide(folder: Path, profiles: int, seconds: float) -> Deciding:
    """Starts a stack, fills it, asks."""
    async with bench_stack(folder, partial(write_rules, texts=rule_sets())) as (connections, files):
        _say(f"writing {profiles:,} profiles")
        stack = connections.stack
        await asyncio.to_thread(
            seed_profiles, stack, stack.rules, profiles, ACTIVITY_BYTES, WallClock().wall_micros()
        )
        _say(f"making {count_rules()} rules live")
        await make_live(connections, files)
        return await ask(connections, folder, profiles, seconds)


async def ask(connections: Connections, folder: Path, profiles: int, seconds: float) -> Deciding:
    """Asks a stack that stands: a warm-up, then at a rate, then as fast as it answers."""
    await _caller(folder, "closed", 8, WARM_UP_SECONDS, profiles, 1)
    _say(f"{RATE:.0f} calls a second for {seconds:.0f} s")
    planned = await _caller(folder, "open", RATE, seconds, profiles, 2)
    latencies = Latencies(tuple(planned["seconds"]), planned["failed"])
    _say(f"{CALLERS} callers without a pause for {seconds:.0f} s")
    before = stack_cost(connections.stack)
    fastest = await _caller(folder, "closed", CALLERS, seconds, profiles, 3)
    used = spent(before, stack_cost(connections.stack))
    return Deciding(
        latencies,
        fastest["rate"],
        latencies.failed + fastest["failed"],
        fastest["actions"],
        fastest["explained"],
        used,
        seconds * 1.2,
    )


async def _caller(
    folder: Path, mode: str, amount: float, seconds: float, profiles: int, seed: int
) -> dict[str, Any]:
    """A process that asks, and what it found."""
    told = (str(folder), mode, str(amount), str(seconds), str(profiles), str(seed))
    process = await asyncio.create_subprocess_exec(
        *python_command("bench.decide_caller", *told),
        env=python_environment(),
        stdout=subprocess.PIPE,
    )
    answer, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"the caller ended with {process.returncode}")
    found: dict[str, Any] = orjson.loads(answer)
    return found


def measures(found: Deciding, empty: float, empty_cpu_us: float) -> list[Measure]:
    """The figures of Decide under their names."""
    servers = sum(used for name, used in found.used.items() if name != _CALLERS_OWN)
    cpu_us = servers / found.calls * 1e6
    return [
        Measure("decide.calls_per_s", found.calls_per_s, "calls/s", REFERENCE, empty),
        Measure("decide.cpu_us_per_call", cpu_us, "µs", "empty_grpc_cpu_us", empty_cpu_us),
        Measure("decide.p50_ms", found.latencies.millis(50), "ms"),
        Measure("decide.p99_ms", found.latencies.millis(99), "ms"),
        Measure("decide.failed_calls", found.failed, "calls"),
        Measure("decide.actions_per_answer", found.actions, "actions"),
    ]


def run(folder: Path, profiles: int, seconds: float) -> list[Measure]:
    """References, Decide, and the parts that stand alone."""
    short = min(5.0, seconds)
    _say(f"an empty gRPC method, {short:.0f} s")
    before = measure_empty_grpc(short)
    found = uvloop.run(measure_decide(folder, profiles, seconds))
    _say(f"an empty gRPC method again, {short:.0f} s")
    after = measure_empty_grpc(short)
    _say(f"  {before.calls_per_s:,.0f} and {after.calls_per_s:,.0f} calls/s")
    _say("where the time goes at the highest rate, a call as an event")
    _say(cost_table(found.used, found.calls, found.seconds))
    _say("a simulation's events, and what arbitration costs")
    return [
        *measures(
            found,
            (before.calls_per_s + after.calls_per_s) / 2,
            (before.server_cpu_us + after.server_cpu_us) / 2,
        ),
        *decide_simulation.measure(),
        *arbitrate.measure(),
    ]


def _say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.decide", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each part is asked (20)")
    parser.add_argument("--profiles", type=int, default=20_000, help="how many profiles there are (20000)")
    parser.add_argument("--folder", type=Path, default=FOLDER / "decide", help="where the stack runs")
    told = parser.parse_args(arguments)
    found = run(told.folder, told.profiles, told.seconds)
    _say("")
    _say(table(found))
    if told.json is not None:
        write_json(found, told.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Decisions a second on one core, beside the bare engine and three other rule engines in the same run.

Usage: python -m bench.engine [--json FILE] [--sizes N …] [--events N] [--rounds N] [--decisions N]

Engine level: from a snapshot that is ready to the rules that fire. Decision level: from the bytes of an event
and its customer to the record, windows, facts and explanation included. Times are processor time of this
process and all its threads, pinned to one core; each figure is the best of some rounds, in which all engines
take turns over the same events. Before any of it, all engines must fire the same rules for every event.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.engine.activation import Activation, measure_activation
from bench.engine.clips_engine import ClipsEngine
from bench.engine.drools_engine import DroolsEngine
from bench.engine.levels import Cost, Levels
from bench.engine.others import NotHereError, OtherEngine
from bench.engine.population import RULES, make_population
from bench.engine.zen_engine import ZenEngine
from bench.measure import Measure, table, write_json
from services.cli.stack.layout import CHECKOUT
from services.decision.adapters.engine_child import keep_memory
from services.vocabulary.catalogue import Catalogue, load_catalogue

SIZES = (10, 50, 200, 1000)
_OTHERS: tuple[Callable[[], OtherEngine], ...] = (ClipsEngine, ZenEngine, DroolsEngine)
_MEGABYTE = 1e6


def measure_costs(
    sizes: Sequence[int], events: int, rounds: int, catalogue: Catalogue, others: Sequence[OtherEngine]
) -> dict[int, Cost]:
    """Every level at every size."""
    found = {}
    for size in sizes:
        levels = Levels(make_population(size, events), catalogue, others)
        found[size] = cost = levels.measure(rounds)
        levels.close()
        _say(
            f"{size} rules: an event's type triggers {cost.rules:.1f} of them, {cost.fired:.2f} fire; "
            f"µs an event: bare {cost.bare:.1f}, engine {cost.engine:.1f}, decision {cost.decision:.1f}, "
            f"in the worker {cost.worker:.1f}; "
            + ", ".join(f"{name} {micros:.1f}" for name, micros in cost.others.items())
        )
    return found


def cost_measures(costs: dict[int, Cost]) -> list[Measure]:
    """The figures of all sizes."""
    rows: list[Measure] = []
    for size, cost in costs.items():
        bare = ("bare_engine", 1e6 / cost.bare)
        rows.append(Measure(f"engine.decisions_per_s.{size}", 1e6 / cost.decision, "decisions/s", *bare))
        rows.append(Measure(f"engine.worker_events_per_s.{size}", 1e6 / cost.worker, "events/s", *bare))
        rows.append(Measure(f"engine.runs_per_s.{size}", 1e6 / cost.engine, "runs/s", *bare))
        rows += [
            Measure(
                f"engine.rules_per_s.{size}.vs_{name}",
                1e6 * cost.rules / cost.engine,
                "rules/s",
                name,
                1e6 * cost.rules / micros,
            )
            for name, micros in cost.others.items()
        ]
    if 50 in costs and 1000 in costs:
        few, many = costs[50], costs[1000]
        rows.append(
            Measure(
                "engine.growth_50_1000",
                many.decision / few.decision,
                "×",
                "bare_engine",
                many.bare / few.bare,
            )
        )
    return rows


def activation_measures(found: Activation) -> list[Measure]:
    """A new version of one rule set beside a thousand live rules; all of them compiled and tried afresh."""
    return [
        Measure("engine.activation_1000_rules_s", found.activate, "s"),
        Measure("engine.compile_1000_rules_s", found.compile, "s"),
        Measure("engine.trial_1000_rules_s", found.trial, "s"),
    ]


def measure_growth(decisions: int) -> list[Measure]:
    """Resident memory after so many decisions, beside that after the first twentieth."""
    command = [sys.executable, "-m", "bench.engine.memory", str(decisions)]
    seen: list[tuple[int, int]] = []
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            done, resident = (int(word) for word in line.split())
            seen.append((done, resident))
            _say(f"  {done:,} decisions, {resident / _MEGABYTE:.1f} MB")
    if child.returncode or len(seen) < 2:
        raise SystemExit("the process whose memory was measured did not come through")
    (_, first), (_, last) = seen[0], seen[-1]
    growth = (last - first) / _MEGABYTE
    return [Measure("engine.rss_growth_mb", growth, "MB", "rss_after_warm_up_mb", first / _MEGABYTE)]


def others_here() -> list[OtherEngine]:
    """The engines that can take part; the table leaves the others out, and says why."""
    found = []
    for make in _OTHERS:
        try:
            found.append(make())
        except NotHereError as missing:
            _say(f"left out: {missing}")
    return found


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.engine", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=list(SIZES), help="live rules (10 50 200 1000)"
    )
    parser.add_argument(
        "--events", type=int, default=1200, help="events of a round, over thirty types (1200)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="of which the fastest counts (7)")
    parser.add_argument(
        "--decisions",
        type=int,
        default=1_000_000,
        help="over which memory is watched (1000000); 0: not at all",
    )
    parser.add_argument("--core", type=int, default=-1, help="the core to run on (the last)")
    told = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[told.core]})
    keep_memory()
    catalogue = load_catalogue(RULES)
    rows: list[Measure] = []
    _say("activation: 1,000 rules")
    rows += activation_measures(measure_activation(make_population(1000, 100), catalogue))
    rows += cost_measures(measure_costs(told.sizes, told.events, told.rounds, catalogue, others_here()))
    if told.decisions:
        _say(f"memory over {told.decisions:,} decisions")
        rows += measure_growth(told.decisions)
    _say("")
    _say(table(rows))
    if told.json is not None:
        write_json(rows, told.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What one event costs the decision service's engine process, without pipes, database or network.

Usage: python -m bench.evaluate [--json FILE] [--events N] [--profile]

50 rules look at every data session of synthetic customers; one session in ten leads to a message. Times are
processor time of this process, so that another program on the machine disturbs them little.
"""

import argparse
import cProfile
import mmap
import pstats
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson
from rapport.types.v1 import stream_pb2, vocabulary_pb2

from bench.measure import Measure, table, write_json
from bench.traffic import PLANS
from services.cli.stack.layout import CHECKOUT
from services.decision.adapters.engine import DurableEngine
from services.decision.adapters.engine_child import Progress, keep_memory
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.situations import situation_of
from services.decision.adapters.workbench import Workbench
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import Source
from services.decision.domain.compiler import compile_program
from services.decision.domain.problems import Severity
from services.decision.domain.program import RuleSetText
from services.runtime.garbage import collect_seldom
from services.vocabulary.catalogue import Catalogue, load_catalogue
from services.vocabulary.values import DAY, HOUR, Value, make_money
from services.vocabulary.wire import PURPOSES, value_to_wire
from services.vocabulary.words import Purpose

RULES = CHECKOUT / "rules"
_SHARED = RULES / "open-complaint.yaml"
TYPE = "usage.data_used"
BATCH = 100
ONE_IN = 10
ROUNDS = 5
"""Each figure is the least of so many rounds: what disturbs a round only ever adds."""
SESSIONS = 40
_NOW = 1_790_000_000_000_000
_QUIET = 20.5
_LOUD = 900.5
_SPACING = 16 * HOUR

_HEAD = """\
ruleset: evaluate-{place}
title: What data sessions show, {place}
owner: bench
stage: bill
active: {{from: 2020-01-01}}
trigger: usage.data_used
windows:
  mb_7d: {{sum: usage.data_used.mb, last: 7d}}
  sessions_24h: {{count: usage.data_used, last: 24h}}
  mb_cycle: {{sum: usage.data_used.mb, last: 1 cycle}}
infer:
  - {{fact: heavy, when: [windows.mb_7d >= 400000]}}
rules:
"""
_RULE = """\
  - id: rule-{number:02}
    priority: {priority}
    when: [{condition}]
    do: {{message: quota-80, category: service, channels: [sms]}}
    once: 7d
"""
_CONDITIONS = (
    "windows.mb_cycle crosses profile.plan_data_mb * {more}, not fact heavy",
    "fact heavy, windows.sessions_24h >= {many}, profile.tenure_months >= {number}",
    "event.mb > 5000, profile.plan is m-20gb, windows.sessions_24h < {many}",
    "profile.prepaid is true, event.country is not FR, windows.mb_7d >= {many}",
    "windows.mb_cycle >= profile.plan_data_mb * {more}, profile.churn_risk >= 0.5",
)
_DECIDING = "event.mb >= 900"


@dataclass(frozen=True, slots=True)
class Evaluating:
    """What was found, in microseconds of processor time."""

    quiet_micros: float
    """An event that triggers and comes to nothing."""
    deciding_micros: float
    """An event that leads to a decision."""
    mixed_micros: float
    """An event of the mix, in which one in ten decides."""
    withheld_micros: float
    """An event of the mix, of customers who withheld the use of their location."""
    engine_micros: float
    """The bare engine on the same rules and properties."""


def rule_sets() -> tuple[Source, ...]:
    """Five rule sets of ten rules each, the last of which decides; and the product's shared one."""
    sources = [Source("open-complaint", 1, "open-complaint.yaml", _SHARED.read_text(encoding="utf-8"))]
    for place in range(5):
        text = _HEAD.format(place=place)
        for number in range(10):
            shape = _DECIDING if (place, number) == (4, 9) else _CONDITIONS[number % len(_CONDITIONS)]
            condition = shape.format(number=number, more=10 + number, many=1000 + number)
            text += _RULE.format(number=number, priority=10 + number, condition=condition)
        sources.append(Source(f"evaluate-{place}", 1, f"evaluate-{place}.yaml", text))
    return tuple(sources)


def make_snapshot(
    customer: int, draw: random.Random, withheld: Sequence[vocabulary_pb2.Purpose.ValueType] = ()
) -> bytes:
    """A customer with a dozen traits and weeks of activity."""
    snapshot = stream_pb2.Snapshot(customer=customer, sequence=2 * SESSIONS, withheld_purposes=withheld)
    traits: dict[str, Value] = {
        "name": "Camille",
        "language": "en",
        "zone": "Europe/Paris",
        "plan": draw.choice(PLANS),
        "plan_data_mb": 50_000_000,
        "plan_price": make_money("19.99", "EUR"),
        "cycle_day": draw.randint(1, 28),
        "tenure_months": draw.randrange(120),
        "prepaid": False,
        "churn_risk": 0.25,
        "stage": "use",
        "brand": "bench",
    }
    for name, value in traits.items():
        snapshot.traits.add(name=name, value=value_to_wire(value), time_micros=_NOW - 90 * DAY, source="crm")
    for kind, column in ((TYPE, "mb"), ("usage.voice_used", "minutes"), ("topup.received", "amount")):
        activity = snapshot.activity.add(type=kind)
        activity.time_delta_micros.extend([_NOW - SESSIONS * _SPACING, *[_SPACING] * (SESSIONS - 1)])
        activity.sequence_deltas.extend([1] * SESSIONS)
        activity.columns.add(field=column, numbers=[draw.random() * 500 for _ in range(SESSIONS)])
    return snapshot.SerializeToString()


def make_batches(
    events: int, is_loud: Callable[[int], bool], withheld: Sequence[vocabulary_pb2.Purpose.ValueType] = ()
) -> list[bytes]:
    """Messages of EVENTS, each with the snapshots of its customers; some sessions are large."""
    draw = random.Random(events)
    snapshots = [make_snapshot(customer, draw, withheld) for customer in range(1, BATCH + 1)]
    batches = []
    for start in range(0, events, BATCH):
        batch = stream_pb2.EventBatch(snapshots=snapshots)
        for number in range(start, start + BATCH):
            place = number % BATCH
            megabytes = _LOUD if is_loud(number) else _QUIET
            batch.events.add(
                id=f"e-{number}",
                source="bench",
                type=TYPE,
                time_micros=_NOW + number * 1000,
                accepted_micros=_NOW + number * 1000,
                data=orjson.dumps({"mb": megabytes, "country": "FR"}),
                customer=place + 1,
                sequence=2 * SESSIONS + 1,
                snapshot=place + 1,
            )
        batches.append(batch.SerializeToString())
    return batches


def measure_evaluate(events: int) -> Evaluating:
    """Evaluates so many events of each kind, in rounds, of which the fastest counts."""
    catalogue = load_catalogue(RULES)
    workbench = make_workbench(catalogue)
    location = [PURPOSES.to_wire(Purpose.PROFILING_LOCATION), PURPOSES.to_wire(Purpose.PROFILING_WEB)]
    kinds = {
        "quiet": make_batches(events, lambda _: False),
        "deciding": make_batches(events, lambda _: True),
        "mixed": make_batches(events, one_in),
        "withheld": make_batches(events, one_in, location),
    }
    found = dict.fromkeys(kinds, float("inf"))
    engine = float("inf")
    for _ in range(ROUNDS):
        for name, batches in kinds.items():
            found[name] = min(found[name], _micros(partial(workbench.evaluate, batches), events))
        engine = min(engine, engine_micros(catalogue, events))
    return Evaluating(found["quiet"], found["deciding"], found["mixed"], found["withheld"], engine)


def make_workbench(catalogue: Catalogue) -> Workbench:
    """The engine process's inside, with the 50 rules loaded."""
    keep_memory()
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        workbench = Workbench(SievingEngine(), catalogue, read_yaml, Progress(file.fileno()))
    loaded = workbench.load(1, rule_sets())
    if TYPE not in loaded.triggers:
        mistakes = [problem for problem in loaded.problems if problem.severity is Severity.ERROR]
        raise SystemExit(f"the rules of the benchmark do not compile: {mistakes}")
    collect_seldom()  # as the engine's process does
    return workbench


def one_in(number: int) -> bool:
    """Whether this event of the mix leads to a decision."""
    return number % ONE_IN == 0


def engine_micros(catalogue: Catalogue, runs: int) -> float:
    """Microseconds of a run of the bare engine, on the 50 rules and one customer's properties."""
    texts = [RuleSetText(source.file, source.text, source.version) for source in rule_sets()]
    program = compile_program(texts, catalogue, read_yaml).program
    if program is None:
        raise SystemExit("the rules of the benchmark do not compile")
    engine = DurableEngine()
    batch = stream_pb2.EventBatch.FromString(make_batches(BATCH, lambda _: False)[0])
    snapshot = stream_pb2.Snapshot.FromString(batch.snapshots[0])
    situation = situation_of(batch.events[0], snapshot, catalogue, arms={})
    shards = [(shard, shard.properties_of(situation)) for shard in program.shards[TYPE]]

    def run() -> None:
        for _ in range(runs):
            for shard, properties in shards:
                engine.run(shard, properties)

    for shard, properties in shards:
        engine.run(shard, properties)  # loads it
    return _micros(run, runs)


def _micros(work: Callable[[], object], events: int) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1_000_000 / events


def measures_of(found: Evaluating) -> list[Measure]:
    """The figures, each beside the bare engine on the same rules."""
    beside = ("bare engine, same 50 rules, µs a run", found.engine_micros)
    return [
        Measure("event that comes to nothing, µs", found.quiet_micros, "µs", *beside),
        Measure("event that leads to a decision, µs", found.deciding_micros, "µs", *beside),
        Measure("event of which one in ten decides, µs", found.mixed_micros, "µs", *beside),
        Measure("the same, location and web withheld, µs", found.withheld_micros, "µs", *beside),
    ]


def _profile(events: int) -> None:
    workbench = make_workbench(load_catalogue(RULES))
    batches = make_batches(events, one_in)
    workbench.evaluate(batches)
    profile = cProfile.Profile()
    profile.runcall(workbench.evaluate, batches)
    pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(45)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and shows or writes what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--events", type=int, default=5000, help="events of each kind, a multiple of 100")
    parser.add_argument("--profile", action="store_true", help="show where the time of the mix goes instead")
    chosen = parser.parse_args(arguments)
    events = max(BATCH, chosen.events // BATCH * BATCH)
    if chosen.profile:
        _profile(events)
        return
    measures = measures_of(measure_evaluate(events))
    sys.stdout.write(table(measures) + "\n")
    if chosen.json is not None:
        write_json(measures, chosen.json)


if __name__ == "__main__":
    main()

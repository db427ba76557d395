"""Events a second that one process of a simulation walks through, beside the bare engine on its rules."""

import mmap
import random
import tempfile
import time
from dataclasses import replace

import orjson
from rapport.types.v1 import stream_pb2

from bench.evaluate import RULES, TYPE, engine_micros, make_snapshot, one_in, rule_sets
from bench.measure import Measure
from services.decision.adapters.engine_child import Progress, keep_memory
from services.decision.adapters.simulation_bench import SimulationBench
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.simulation_jobs import DRAFT, LIVE, CustomerPast, Span
from services.runtime.garbage import collect_seldom
from services.vocabulary.catalogue import Catalogue, load_catalogue
from services.vocabulary.values import HOUR

NAME, REFERENCE = "simulate.events_per_s_per_core", "bare_engine"
EVENTS_OF_ONE = 50
ROUNDS = 3
"""Each figure is the best of so many rounds: what disturbs a round only ever adds."""
_BEGAN = 1_790_000_000_000_000


def make_pasts(customers: int) -> list[CustomerPast]:
    """Customers with a few weeks of data sessions, each with what was known of the customer then."""
    draw = random.Random(customers)
    pasts = []
    for customer in range(1, customers + 1):
        batch = stream_pb2.EventBatch()
        for number in range(EVENTS_OF_ONE):
            loud = one_in(customer * EVENTS_OF_ONE + number)
            batch.snapshots.append(make_snapshot(customer, draw))
            batch.events.add(
                id=f"e-{customer}-{number}",
                source="bench",
                type=TYPE,
                time_micros=_BEGAN + number * 12 * HOUR,
                accepted_micros=_BEGAN + number * 12 * HOUR,
                data=orjson.dumps({"mb": 900.5 if loud else 20.5, "country": "FR"}),
                customer=customer,
                sequence=80 + number,
                snapshot=number + 1,
            )
        pasts.append(CustomerPast(customer, (batch.SerializeToString(),)))
    return pasts


def make_bench(catalogue: Catalogue, *, beside: bool) -> SimulationBench:
    """The inside of a simulation's process, with the 50 rules of `bench.evaluate` as drafts.

    ``beside``: a draft of one of the rule sets, beside all of them as what is live.
    """
    keep_memory()
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        bench = SimulationBench(catalogue, read_yaml, Progress(file.fileno()), lambda: catalogue.arbitration)
    sources = rule_sets()
    if beside:
        draft = replace(sources[-1], text=sources[-1].text.replace("event.mb >= 900", "event.mb >= 901"))
        prepared = bench.prepare([draft], sources, (DRAFT, LIVE))
    else:
        prepared = bench.prepare(sources, (), (DRAFT,))
    if TYPE not in prepared.types:
        raise SystemExit(f"the rules of the benchmark do not compile: {prepared.problems}")
    return bench


def measure(customers: int = 100) -> list[Measure]:
    """Events a second of one process, of a draft alone and of one beside what is live."""
    catalogue = load_catalogue(RULES)
    pasts = make_pasts(customers)
    events = customers * EVENTS_OF_ONE
    span = Span(_BEGAN, _BEGAN + EVENTS_OF_ONE * 12 * HOUR)
    benches = {NAME: make_bench(catalogue, beside=False)}
    benches[f"{NAME}.beside_live"] = make_bench(catalogue, beside=True)
    collect_seldom()
    seconds = dict.fromkeys(benches, float("inf"))
    engine = float("inf")
    for _ in range(ROUNDS):
        for name, bench in benches.items():
            began = time.process_time()
            walked = bench.walk(pasts, span, {})
            seconds[name] = min(seconds[name], time.process_time() - began)
            if walked.events != events or walked.failed or walked.missing:
                raise SystemExit(f"{walked.events} of {events} events were walked, {walked.failed} failed")
        engine = min(engine, engine_micros(catalogue, events))
    return [
        Measure(name, events / took, "events/s", REFERENCE, 1e6 / engine) for name, took in seconds.items()
    ]

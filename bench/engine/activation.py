"""How long a program of rules takes from its texts until it may run live."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.engine.levels import compiled
from bench.engine.population import Population
from services.decision.adapters.checking import check_text
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.generated import generated_runs
from services.vocabulary.catalogue import Catalogue

SNAPSHOTS = 1000
"""Generated for each shard in a trial, as an activation does."""


@dataclass(frozen=True, slots=True)
class Activation:
    """In seconds of processor time, in a process that has just started.

    `check`: one rule set checked beside all others, as an activation does: all compiled, its shards tried.
    `again`: the same in a process that has all but that one text in mind. `compile`: all from their texts.
    `load`: every network made.
    """

    check: float
    again: float
    compile: float
    load: float


def measure_activation(population: Population, catalogue: Catalogue) -> Activation:
    """Checks the last rule set beside the others, then compiles and loads all."""
    engine = SievingEngine()
    last = population.sources[-1]
    check = partial(
        check_text, engine, catalogue, read_yaml, population.sources[:-1], last.text, last.file, 1, SNAPSHOTS
    )
    first = _seconds(check)
    read_yaml.cache_clear() if hasattr(read_yaml, "cache_clear") else None
    again = _seconds(check)
    compile_seconds = _seconds(partial(compiled, population.sources, catalogue))
    program = compiled(population.sources, catalogue)
    shards = {shard.key: shard for shards in program.shards.values() for shard in shards}
    fresh = SievingEngine()

    def load() -> None:
        for shard in (*program.shared, *shards.values()):
            for properties, given in generated_runs(shard, 3):
                fresh.run(shard, properties, given)

    load_seconds = _seconds(load)
    fresh.close()
    engine.close()
    return Activation(first, again, compile_seconds, load_seconds)


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began

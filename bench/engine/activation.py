"""How long a program of rules takes from its texts until it may run live."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.engine.levels import compiled, make_workbench
from bench.engine.population import Population
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.app.jobs import Source
from services.decision.domain.generated import generated_runs
from services.decision.domain.plain_rules import run_plainly
from services.decision.domain.program import Program
from services.vocabulary.catalogue import Catalogue

SNAPSHOTS = 1000
"""Generated for each shard in a trial, as an activation does."""


@dataclass(frozen=True, slots=True)
class Activation:
    """In seconds of processor time.

    `compile`: all rules from their texts, in a process that has just started. `activate`: with all live, a
    new version of one rule set is checked as an activation does (all compiled, its tests, the shards it is in
    tried on a thousand snapshots) and all are loaded again; every network made. `trial`: what of it was the
    trial of all shards, were all rules new.
    """

    compile: float
    activate: float
    trial: float


def measure_activation(population: Population, catalogue: Catalogue) -> Activation:
    """Compiles all, makes them live, and activates a new version of the last rule set."""
    compile_seconds = _seconds(partial(compiled, population.sources, catalogue))
    workbench = make_workbench(population.sources, catalogue)
    last = population.sources[-1]
    text = last.text.replace("title: What", "title: All that")
    changed = (*population.sources[:-1], Source(last.name, 2, last.file, text))

    def activate() -> None:
        checked = workbench.check(population.sources, text, last.file, 2, SNAPSHOTS)
        if checked.differences or checked.rule_set is None:
            raise SystemExit(f"the rule set of the benchmark does not pass: {checked}")
        workbench.load(2, changed)

    activate_seconds = _seconds(activate)
    program, engine = compiled(changed, catalogue), SievingEngine()
    trial_seconds = _seconds(partial(_try, program, engine))
    engine.close()
    return Activation(compile_seconds, activate_seconds, trial_seconds)


def _try(program: Program, engine: SievingEngine) -> None:
    """The trial of every shard, as an activation tries those of one rule set."""
    shards = {shard.key: shard for shards in program.shards.values() for shard in shards}
    for shard in (*program.shared, *shards.values()):
        for properties, given in generated_runs(shard, SNAPSHOTS):
            if engine.run(shard, properties, given) != run_plainly(shard, properties, given):
                raise SystemExit(f"engine and oracle differ in {shard.key}")


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began

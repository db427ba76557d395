"""One generated case: a program and customers, run by every implementation, which must come to the same."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from hypothesis import HealthCheck, Phase, assume, given, note, seed, settings
from hypothesis import strategies as st

from services.decision.adapters.engine import DurableEngine
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.domain.engine import Fired, Property
from services.decision.domain.generated import generated_runs
from services.decision.domain.oracle import Oracle
from services.decision.domain.plain_rules import run_plainly
from services.decision.domain.program import LazyProperties, Program, Shard
from services.decision.domain.run import run_if_asked, run_program
from services.decision.domain.situation import Situation
from tests.fuzz.clips_rules import Clips
from tests.fuzz.customers import customers
from tests.fuzz.reference import reference, told
from tests.fuzz.writing import Written, programs
from tests.unit.decision.generators import compiled

# What a rule may be refused for although every line of it can be written.
_SAID_IN_VAIN = frozenset({"never-fires", "shadowed"})
_TOO_MUCH = frozenset({"too-many-alternatives", "too-many-facts"})


class Compared:
    """Runs each shard on the engine in C as it is and behind the sieve, plainly, and by the oracle."""

    def __init__(self) -> None:
        self._engine, self._sieving, self._oracle = DurableEngine(), SievingEngine(), Oracle()

    def run(self, shard: Shard, properties: Mapping[str, Property], given_facts: Collection[str]) -> Fired:
        """What all of them come to."""
        whole = properties.whole() if isinstance(properties, LazyProperties) else properties
        plainly = run_plainly(shard, dict(whole), given_facts)
        by_engine = self._engine.run(shard, whole, given_facts)
        assert by_engine == plainly, f"the engine does not what shard {shard.key} says"
        by_sieve = self._sieving.run(shard, properties, given_facts)
        assert by_sieve == plainly, f"the sieve does not what shard {shard.key} says"
        by_oracle = self._oracle.run(shard, whole, given_facts)
        assert by_oracle == plainly, f"shard {shard.key} says not what is written: {dict(whole)}"
        return by_engine

    def close(self) -> None:
        """Gives back the memory of all shards."""
        self._engine.close()
        self._sieving.close()


def program_of(sets: Sequence[Written]) -> tuple[Program | None, tuple[Written, ...]]:
    """The program, and the rule sets it was compiled from: rules that never fire have been mended.

    Any other refusal is a failure; None: it could not be mended.
    """
    written = list(sets)
    for _ in range(6):
        compilation = compiled(*(one.text for one in written))
        if compilation.program is not None:
            return compilation.program, tuple(written)
        if any(problem.check in _TOO_MUCH for problem in compilation.errors):
            break
        lines: dict[int, list[int]] = {}
        for problem in compilation.errors:
            assert problem.check in _SAID_IN_VAIN, problem.sentence()
            lines.setdefault(int(problem.file.removesuffix(".yaml")) - 1, []).append(problem.line)
        for number, found in lines.items():
            written[number] = written[number].mended(found)
    return None, tuple(written)


def agree(program: Program, situations: Sequence[Situation], seen: Counter[str]) -> None:
    """Asserts that every implementation comes to the same; counts what was seen."""
    compared, by_clips = Compared(), Clips(program)
    try:
        for situation in situations:
            outcome = run_program(program, compared, situation)
            asked = run_if_asked(program, compared, replace(situation, cache={}))
            assert asked == (outcome if outcome.rules or outcome.withheld else None)
            found, expected = told(program, outcome), reference(program, situation)
            assert found == expected
            assert by_clips.run(situation) == replace(expected, withheld=())
            seen["decisions"] += 1
            seen["decisions with facts"] += bool(outcome.facts)
            seen["decisions on which rules fired"] += bool(outcome.rules)
            seen["decisions with withheld rules"] += bool(outcome.withheld)
            seen["facts inferred"] += len(outcome.facts)
            seen["rules fired"] += len(outcome.rules)
        shards = list({id(shard): shard for group in program.shards.values() for shard in group}.values())
        for shard in shards[:1]:
            for properties, given in generated_runs(shard, 3):
                compared.run(shard, properties, given)
        seen["programs"] += 1
        seen["programs of several shards"] += max(map(len, program.shards.values()), default=0) > 1
        seen["programs with negation over several strata"] += any(shard.strata > 2 for shard in shards)
    finally:
        compared.close()


def run_round(seed_of_round: int, programs_of_round: int, seen: Counter[str], *, shrink: bool = True) -> None:
    """So many generated programs on four customers each; raises with one that shows a disagreement.

    Shrunk to the smallest such program, which takes up to five minutes.
    """

    @seed(seed_of_round)
    @settings(
        max_examples=programs_of_round,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
    )
    @given(st.data(), programs())
    def round_of(data: st.DataObject, sets: tuple[Written, ...]) -> None:
        program, written = program_of(sets)
        assume(program is not None)
        assert program is not None
        if written != sets:
            note("with what could never fire mended:" + "".join(map(repr, written)))
        whom = customers(sorted(program.triggers))
        agree(program, data.draw(st.lists(whom, min_size=4, max_size=4)), seen)

    round_of()

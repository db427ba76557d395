"""What the compiler gives the engine never leaves the safe subset, whatever rule set was written.

Each test holds a row of the engine's facts (test_engine_facts) for generated rule sets and for those shipped.
"""

import re
from collections import Counter
from functools import cache

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from services.decision.adapters.engine import DurableEngine
from services.decision.domain.program import Program, Shard
from services.decision.domain.situation import Situation
from tests.fuzz.agreement import program_of
from tests.fuzz.customers import customers
from tests.fuzz.writing import SETS, Written, rule_sets, shared_rule_sets
from tests.unit.decision.generators import NOW, RULES, compiled

pytestmark = pytest.mark.xdist_group("engine-guards")  # what is drawn is drawn once
SNAPSHOT = {"$and", "$or", "$lt", "$lte", "$gt", "$gte", "$neq", "$ex", "$nex"}


@cache
def examples() -> tuple[tuple[Program, tuple[Situation, ...]], ...]:
    """Some generated programs, one of them big, and the shipped one; each with customers."""
    found: list[tuple[Program, tuple[Situation, ...]]] = []

    @seed(2028)
    @settings(
        max_examples=8,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def draw(data: st.DataObject) -> None:
        sets: tuple[Written, ...] = (
            data.draw(shared_rule_sets("common")),
            data.draw(rule_sets(SETS[0], big=not found)),
            data.draw(rule_sets(SETS[1])),
        )
        program, _ = program_of(sets)
        if program is not None:
            whom = customers(sorted(program.triggers))
            found.append((program, tuple(data.draw(st.lists(whom, min_size=4, max_size=4)))))

    draw()
    shipped = compiled(*(path.read_text() for path in sorted(RULES.glob("*.yaml")))).program
    assert shipped is not None
    found.append((shipped, tuple(situation for _, situations in found for situation in situations[:1])))
    return tuple(found)


def shards() -> list[Shard]:
    return [
        shard
        for program, _ in examples()
        for shard in (*program.shared, *(one for group in program.shards.values() for one in group))
    ]


def snapshots() -> list[tuple[Shard, dict[str, object]]]:
    return [
        (shard, dict(shard.properties_of(situation)))
        for program, situations in examples()
        for situation in situations
        for shard in program.shards.get(situation.trigger, ())
    ]


def comparisons(pattern):
    """Every (operator, property, value) in a pattern of the snapshot."""
    ((word, inside),) = pattern.items()
    if word in {"$and", "$or"}:
        for part in inside:
            yield from comparisons(part)
    elif word.startswith("$"):
        ((name, value),) = inside.items()
        yield word, name, value
    else:
        yield "", word, inside


def patterns(shard):
    for rule in shard.engine_rules.values():
        yield from (next(iter(entry.items())) for entry in rule["all"])


def test_there_is_something_to_look_at():
    seen = Counter(shard.key.partition("#")[2] for shard in shards())
    assert seen["1"] >= 1  # a set that took several shards
    assert sum(len(shard.engine_rules) for shard in shards()) > 200
    assert len(snapshots()) > 20
    assert any(shard.strata > 2 for shard in shards())


def test_no_pattern_refers_to_another_and_no_operator_is_unknown():
    for shard in shards():
        for name, pattern in patterns(shard):
            if name == "s":
                for word, _, value in comparisons(pattern):
                    assert word in SNAPSHOT | {""}
                    assert isinstance(value, bool | int | float | str), (word, value)
            else:
                assert list(pattern) in (["gate"], ["fact"])
                assert isinstance(pattern[next(iter(pattern))], int | str)


def test_the_gate_stands_first_and_negation_asks_only_for_what_is_settled():
    for shard in shards():
        settled = {fact.fact: fact.stratum for fact in shard.facts.values()}
        for name, rule in shard.engine_rules.items():
            gate, *others = (next(iter(entry.items())) for entry in rule["all"])
            assert gate[0] == "g"
            assert 0 <= gate[1]["gate"] < shard.strata, name
            for pattern_name, pattern in others:
                if pattern_name.endswith("$not"):
                    assert settled.get(pattern["fact"], -1) < gate[1]["gate"]


def test_a_shard_has_at_most_60_engine_rules_and_no_more_properties_than_are_taken():
    for shard in shards():
        assert 1 <= len(shard.engine_rules) <= 60
        assert len(shard.properties) <= 251


def test_no_two_engine_rules_of_a_shard_have_one_priority():
    for shard in shards():
        ranks = [rule["pri"] for rule in shard.engine_rules.values()]
        assert len(set(ranks)) == len(ranks)
        by_rank = sorted(shard.engine_rules.items(), key=lambda item: item[1]["pri"])
        rules = {**shard.facts, **shard.rules}
        priorities = [rules[shard.rule_of[name]].priority for name, _ in by_rank]
        assert priorities == sorted(priorities, reverse=True)


def test_is_not_always_says_that_a_missing_value_will_do():
    def alone(pattern, *, beside_missing=False):
        ((word, inside),) = pattern.items()
        if word == "$neq":
            return not beside_missing
        if word == "$or":
            missing = any("$nex" in part for part in inside)
            return any(alone(part, beside_missing=missing) for part in inside)
        return word == "$and" and any(alone(part, beside_missing=beside_missing) for part in inside)

    asked = [pattern for shard in shards() for name, pattern in patterns(shard) if name == "s"]
    assert any("$neq" in str(pattern) for pattern in asked)
    assert not any(alone(pattern) for pattern in asked)


def test_a_snapshot_has_no_nulls_and_every_value_is_of_the_type_it_is_compared_with():
    for shard, properties in snapshots():
        for name, pattern in patterns(shard):
            for word, path, value in comparisons(pattern) if name == "s" else ():
                if path == "kind" or path not in properties or word in {"$ex", "$nex"}:
                    continue
                assert sort_of(properties[path]) is sort_of(value), (path, properties[path], value)
        assert None not in properties.values()


def sort_of(value):
    return bool if isinstance(value, bool) else str if isinstance(value, str) else float


def test_no_number_is_written_with_an_exponent():
    written = [orjson.dumps(properties).decode() for _, properties in snapshots()]
    written += [orjson.dumps(shard.engine_rules).decode() for shard in shards()]
    assert not [text for text in written if re.search(r"[0-9]e[-+]?[0-9]", text)]


@pytest.mark.parametrize("risk", [1e-9, 1e-300, -1e-9])
def test_a_very_small_number_reaches_the_engine_and_compares_as_it_is(risk):
    text = """
ruleset: small
trigger: complaint.opened
rules:
  - {id: over, when: [profile.cei > 0], do: {task: call-back, category: service}}
  - {id: under, when: [profile.cei < 0], do: {task: call-back, category: service}}
  - {id: near, when: [profile.cei < 0.001, profile.cei > -0.001], do: {task: call-back, category: service}}
"""
    program = compiled(text).program
    assert program is not None
    situation = Situation("complaint.opened", {}, NOW, 1, NOW, NOW, traits={"cei": risk})
    ((shard,),) = program.shards.values()
    engine = DurableEngine()
    fired = list(engine.run(shard, shard.properties_of(situation), ()).rules)
    engine.close()
    assert fired == ["small/over" if risk > 0 else "small/under", "small/near"]


def test_unlike_types_are_refused_before_the_engine_sees_them():
    text = (
        "ruleset: unlike\ntrigger: usage.data_used\nrules:\n"
        "  - {id: r, when: [event.mb is many], do: {task: call-back, category: service}}\n"
    )
    assert [problem.check for problem in compiled(text).errors] == ["unlike-types"]


def test_a_rule_joined_by_two_facts_in_two_ways_fires_once():
    text = """
ruleset: either
trigger: complaint.opened
infer:
  - {fact: a, when: []}
  - {fact: b, when: []}
rules:
  - {id: r, when: [{any: [fact a, fact b]}], do: {task: call-back, category: service}}
"""
    program = compiled(text).program
    assert program is not None
    ((shard,),) = program.shards.values()
    assert [shard.rule_of[name] for name in shard.engine_rules].count("either/r") == 2
    engine = DurableEngine()
    situation = Situation("complaint.opened", {}, NOW, 1, NOW, NOW)
    assert engine.run(shard, shard.properties_of(situation), ()).rules.count("either/r") == 1
    engine.close()

"""What the product relies on in durable_rules 2.0.28; one that fails is a reason to think again."""

import os
import resource
import subprocess
import sys

import durable_rules_engine
import orjson
import pytest

from services.decision.adapters.engine import DurableEngine
from services.decision.domain.errors import EngineRefusedError, RunawayRulesError
from tests.conformance.handmade_shards import engine_rule, shard


@pytest.fixture
def engine():
    engine = DurableEngine()
    yield engine
    engine.close()


def test_a_rule_fires_only_once_its_gate_is_open(engine):
    late = shard({"r": engine_rule(stratum=1)}, strata=1)
    assert engine.run(late, {}, ()).rules == ()
    assert engine.run(shard({"r": engine_rule(stratum=1)}, strata=2), {}, ()).rules == ("r",)


def test_low_pri_runs_first_so_high_priority_fires_first(engine):
    three = shard({name: engine_rule(priority=p) for name, p in (("low", 1), ("high", 900), ("mid", 50))})
    assert engine.run(three, {}, ()).rules == ("high", "mid", "low")


def test_facts_chain_within_a_stratum_and_negation_waits_for_the_next(engine):
    chained = shard(
        {
            "a": engine_rule(snapshot=[{"x": 1}]),
            "b": engine_rule(facts=["fa"]),
            "when-b": engine_rule(stratum=1, facts=["fb"]),
            "unless-b": engine_rule(stratum=1, absent=["fb"]),
        },
        infers={"a": "fa", "b": "fb"},
        strata=2,
    )
    with_x, without = engine.run(chained, {"x": 1}, ()), engine.run(chained, {"x": 2}, ())
    assert (with_x.facts, with_x.rules) == (("fa", "fb"), ("a", "b", "when-b"))
    assert (without.facts, without.rules) == ((), ("unless-b",))


def test_a_given_fact_counts_and_is_not_reported_again(engine):
    given = shard({"a": engine_rule(), "b": engine_rule(facts=["fa"])}, infers={"a": "fa"})
    fired = engine.run(given, {}, ("fa",))
    assert fired.facts == ()
    assert set(fired.rules) == {"a", "b"}
    needs = shard({"b": engine_rule(facts=["shared"])}, key="needs")
    assert engine.run(needs, {}, ("shared",)).rules == ("b",)
    assert engine.run(needs, {}, ()).rules == ()


def test_an_or_over_two_facts_is_deduplicated_by_rule(engine):
    either = shard(
        {
            "a": engine_rule(),
            "b": engine_rule(),
            "r": {
                "pri": 999,
                "all": [
                    {"g": {"gate": 0}},
                    {"s": {"kind": "snap"}},
                    {"f": {"$or": [{"fact": "fa"}, {"fact": "fb"}]}},
                ],
            },
        },
        infers={"a": "fa", "b": "fb"},
    )
    assert engine.run(either, {}, ()).rules.count("r") == 1


def test_neq_does_not_match_a_missing_property_and_the_or_with_nex_does(engine):
    bare = shard({"r": engine_rule(snapshot=[{"$neq": {"p": 1}}])}, key="bare")
    both = shard({"r": engine_rule(snapshot=[{"$or": [{"$nex": {"p": 1}}, {"$neq": {"p": 1}}]}])}, key="both")
    assert engine.run(bare, {}, ()).rules == ()
    assert engine.run(both, {}, ()).rules == ("r",)
    assert engine.run(both, {"p": 2}, ()).rules == ("r",)
    assert engine.run(both, {"p": 1}, ()).rules == ()


@pytest.mark.parametrize(
    ("literal", "value", "matches"),
    [(True, True, True), (True, False, False), ('é "x"', 'é "x"', True), (-1.5, -1.5, True), (3, 3, True)],
)
def test_values_of_every_type_compare_to_their_like(engine, literal, value, matches):
    one = shard({"r": engine_rule(snapshot=[{"p": literal}])})
    assert bool(engine.run(one, {"p": value}, ()).rules) is matches


def test_values_of_unlike_types_compare_strangely_which_is_why_the_snapshot_is_typed(engine):
    one = shard({"r": engine_rule(snapshot=[{"p": 1}])})
    assert engine.run(one, {"p": True}, ()).rules == ("r",)


def test_a_null_counts_as_existing_which_is_why_nulls_are_dropped(engine):
    one = shard({"r": engine_rule(snapshot=[{"$ex": {"p": 1}}])})
    assert engine.run(one, {"p": None}, ()).rules == ("r",)
    assert engine.run(one, {}, ()).rules == ()


def test_a_number_with_an_exponent_is_refused_with_words(engine):
    one = shard({"r": engine_rule(snapshot=[{"p": 1}])})
    with pytest.raises(EngineRefusedError, match=r"hand.*204"):
        engine.run(one, {"p": 1e-9}, ())
    assert engine.run(one, {"p": 1}, ()).rules == ("r",)


def test_an_unknown_operator_is_refused_with_words(engine):
    with pytest.raises(EngineRefusedError, match=r"hand.*202"):
        engine.run(shard({"r": engine_rule(snapshot=[{"$no": {"p": 1}}])}), {}, ())


def test_too_many_properties_are_refused(engine):
    one = shard({"r": engine_rule()})
    with pytest.raises(EngineRefusedError, match="302"):
        engine.run(one, {f"p{number}": number for number in range(300)}, ())


def test_sixty_rules_all_firing_fit_one_shard(engine):
    full = shard({f"r{number}": engine_rule(priority=number) for number in range(60)})
    assert engine.run(full, {}, ()).rules == tuple(f"r{number}" for number in reversed(range(60)))


def test_firings_are_bounded():
    engine = DurableEngine(firing_limit=3)
    many = shard({f"r{number}": engine_rule() for number in range(5)})
    with pytest.raises(RunawayRulesError, match=r"over 3 activations.*last rule was r"):
        engine.run(many, {}, ())
    assert len(engine.run(shard({"r": engine_rule()}, key="few"), {}, ()).rules) == 1
    engine.close()


def test_nothing_is_left_behind_by_a_run_or_a_failed_run(engine):
    one = shard({"r": engine_rule(snapshot=[{"p": 1}])})
    for _ in range(3):
        with pytest.raises(EngineRefusedError):
            engine.run(one, {"p": 1e-9}, ())
    for number in range(1_500):  # more than the 1,024 contexts that the module can hold
        assert engine.run(one, {"p": number % 2}, ()).rules == (("r",) if number % 2 else ())


def test_contexts_that_are_not_deleted_run_out_which_is_why_they_are():
    handle = durable_rules_engine.create_ruleset("leaks", orjson.dumps({"r": engine_rule()}).decode())

    def leak():
        for number in range(1_200):
            text = orjson.dumps({"sid": str(number), "kind": "snap"}).decode()
            durable_rules_engine.assert_fact(handle, text)

    with pytest.raises(MemoryError):
        leak()
    durable_rules_engine.delete_ruleset(handle)


RAW = """
import durable_rules_engine as engine
handle = engine.create_ruleset("raw", '{"r": {"pri": 1, "all": [{"g": {"gate": 1}}]}}')
engine.assert_fact(handle, '{"sid": "1", "kind": "snap"}')
engine.delete_state(handle, "1")
"""
WARMED = """
from services.decision.adapters.engine import DurableEngine
from tests.conformance.handmade_shards import engine_rule, shard
engine = DurableEngine()
for number in range(20):
    assert engine.run(shard({"r": engine_rule(snapshot=[{"p": 1}])}, key=str(number)), {"p": 2}, ()).rules
    == () assert engine.run(shard({"r": engine_rule()}, key=str(number)), {"p": 2}, ()).rules == ("r",)
"""


@pytest.mark.parametrize(("program", "crashes"), [(RAW, True), (WARMED, False)])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's MALLOC_PERTURB_ fills fresh memory")
def test_deleting_a_context_in_which_nothing_fired_crashes_unless_the_network_was_warmed_up(program, crashes):
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"MALLOC_PERTURB_": "165", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode < 0) is crashes, ended.stderr.decode()


def test_memory_does_not_grow_with_decisions(engine):
    one = shard({"a": engine_rule(), "b": engine_rule(facts=["fa"])}, infers={"a": "fa"})

    def run(times):
        for number in range(times):
            engine.run(one, {"p": number, "q": f"text {number}"}, ())
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = run(5_000)
    assert run(20_000) - before < 4_096  # kB


def test_a_new_shard_under_an_old_key_takes_its_place(engine):
    assert engine.run(shard({"old": engine_rule()}), {}, ()).rules == ("old",)
    assert engine.run(shard({"new": engine_rule()}), {}, ()).rules == ("new",)
    engine.keep_only(())
    assert engine.run(shard({"newer": engine_rule()}), {}, ()).rules == ("newer",)

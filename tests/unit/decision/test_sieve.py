"""What the tests on the snapshot come to reaches the network as flags, and it does the rest."""

import random

import pytest

from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.domain.engine import Fired
from services.decision.domain.plain_rules import run_plainly
from services.decision.domain.program import LazyProperties
from services.decision.domain.sieve import sieve_of
from services.decision.domain.situation import Situation
from tests.conformance.handmade_shards import engine_rule, shard


@pytest.fixture
def engine():
    engine = SievingEngine()
    yield engine
    engine.close()


def test_what_chains_and_what_does_not_fire_in_one_order(engine):
    mixed = shard(
        {
            "last": engine_rule(priority=1),
            "c": engine_rule(facts=["fb"], priority=900),
            "before": engine_rule(priority=800),
            "b": engine_rule(facts=["fa"], priority=7),
            "between": engine_rule(priority=6),
            "a": engine_rule(priority=5),
            "then": engine_rule(stratum=1, facts=["fc"], absent=["fd"]),
            "never": engine_rule(stratum=1, absent=["fa"]),
        },
        infers={"a": "fa", "b": "fb", "c": "fc", "before": "fx"},
        strata=2,
    )
    assert engine.run(mixed, {}, ()) == Fired(
        ("fx", "fa", "fb", "fc"), ("before", "between", "a", "b", "c", "last", "then")
    )


def test_a_chain_begins_from_a_fact_that_was_given(engine):
    chained = shard(
        {
            "a": engine_rule(snapshot=[{"x": 1}]),
            "b": engine_rule(facts=["fa"]),
            "c": engine_rule(facts=["fb"]),
        },
        infers={"a": "fa", "b": "fb", "c": "fc"},
    )
    assert engine.run(chained, {}, ("fa",)) == Fired(("fb", "fc"), ("b", "c"))
    assert engine.run(chained, {"x": 1}, ("fa",)) == Fired(("fb", "fc"), ("a", "b", "c"))
    assert engine.run(chained, {}, ()) == Fired((), ())


def test_a_rule_written_in_several_ways_fires_once_at_its_first(engine):
    either = shard(
        {"r0": engine_rule(facts=["fa"]), "r1": engine_rule(), "r2": engine_rule(facts=["fb"], priority=9)},
        strata=1,
    )
    object.__setattr__(either, "rule_of", {"r0": "r", "r1": "other", "r2": "r"})
    assert engine.run(either, {}, ("fa", "fb")).rules == ("r", "other")


def test_any_mix_of_strata_chains_and_priorities_comes_to_what_the_rules_say(engine):
    chance = random.Random(5)
    for number in range(150):
        strata = chance.randint(1, 3)
        rules, infers = {}, {}
        for place in range(chance.randint(1, 9)):
            stratum = chance.randrange(strata)
            own = [f"f{stratum}{letter}" for letter in "abc"]
            lower = [f"f{below}{letter}" for below in range(stratum) for letter in "abc"]
            asked = chance.sample([*own, *lower, "given"], chance.choice((0, 0, 1, 1, 2)))
            others = [fact for fact in lower if fact not in asked]  # the compiler drops what excludes itself
            rules[f"r{place}"] = engine_rule(
                stratum,
                snapshot=[{"x": chance.randrange(2)}] if chance.random() < 0.5 else [],
                facts=asked,
                absent=chance.sample(others, min(len(others), chance.choice((0, 0, 1)))),
                priority=place * 7 % 10,
            )
            if chance.random() < 0.8:
                infers[f"r{place}"] = chance.choice(own)
        drawn = shard(rules, infers=infers, strata=strata, key=f"drawn-{number}")
        for properties in ({"x": 0}, {"x": 1}):
            for given in ((), ("given",)):
                expected = run_plainly(drawn, properties, given)
                assert engine.run(drawn, properties, given) == expected, (rules, infers)


def test_what_no_test_asks_for_is_not_computed(engine):
    asked = []

    def computed(name, value):
        return lambda _: asked.append(name) or value

    one = shard({"r": engine_rule(snapshot=[{"$gte": {"p": 3}}, {"w": "no"}, {"b0": True}])})
    object.__setattr__(
        one, "properties", {"p": computed("p", 4), "w": computed("w", "yes"), "b0": computed("b0", True)}
    )
    situation = Situation(
        event_type="t", event={}, event_micros=0, sequence=0, accepted_micros=0, now_micros=0
    )
    lazy = one.lazily(situation)
    assert engine.run(one, lazy, ()) == Fired((), ())
    assert asked == ["w"], "the word tells most for least"
    assert isinstance(lazy, LazyProperties)
    assert lazy.whole() == {"p": 4, "w": "yes", "b0": True}


@pytest.mark.parametrize(
    "rule",
    [
        {"pri": 1, "all": [{"g": {"gate": 0}}, {"s": {"$and": [{"kind": "other"}]}}]},
        engine_rule(snapshot=[{"$no": {"p": 1}}]),
        engine_rule(absent=["fa"]),
    ],
)
def test_what_the_compiler_never_makes_is_not_guessed_at(rule):
    with pytest.raises(ValueError, match=r"never writes|own stratum"):
        sieve_of(shard({"r": rule, "a": engine_rule()}, infers={"a": "fa"}))

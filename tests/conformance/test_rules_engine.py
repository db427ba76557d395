"""One suite for both RulesEngines, the one in C and the oracle; tests/fuzz sets one against the other."""

import pytest

from services.decision.adapters.engine import DurableEngine
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.domain.engine import Fired
from services.decision.domain.oracle import Oracle
from tests.conformance.handmade_shards import engine_rule, shard


@pytest.fixture(params=[DurableEngine, SievingEngine, Oracle], ids=["durable", "sieving", "oracle"])
def engine(request):
    return request.param()


def test_nothing_fires_on_nothing(engine):
    needs = shard({"r": engine_rule(snapshot=[{"p": 1}])})
    assert engine.run(needs, {}, ()) == Fired((), ())


def test_a_rule_without_conditions_always_fires(engine):
    assert engine.run(shard({"r": engine_rule()}), {"unrelated": 1}, ()) == Fired((), ("r",))


@pytest.mark.parametrize(
    ("condition", "properties", "holds"),
    [
        ({"$gte": {"p": 3}}, {"p": 3}, True),
        ({"$gte": {"p": 3}}, {"p": 2.5}, False),
        ({"$gte": {"p": 3}}, {}, False),
        ({"$lt": {"p": 3}}, {"p": -1}, True),
        ({"p": "ES"}, {"p": "ES"}, True),
        ({"p": "ES"}, {"p": "PT"}, False),
        ({"p": True}, {"p": False}, False),
        ({"$ex": {"p": 1}}, {"p": 0}, True),
        ({"$nex": {"p": 1}}, {}, True),
        ({"$or": [{"p": 1}, {"p": 2}]}, {"p": 2}, True),
        ({"$or": [{"$nex": {"p": 1}}, {"$neq": {"p": 1}}]}, {}, True),
        ({"$or": [{"$nex": {"p": 1}}, {"$neq": {"p": 1}}]}, {"p": 1}, False),
        ({"$and": [{"$gt": {"p": 1}}, {"$lte": {"q": 2}}]}, {"p": 2, "q": 2}, True),
    ],
)
def test_every_operator_means_what_it_says(engine, condition, properties, holds):
    one = shard({"r": engine_rule(snapshot=[condition])})
    assert bool(engine.run(one, properties, ()).rules) is holds


def test_facts_are_reported_in_the_order_inferred_and_rules_in_the_order_fired(engine):
    chained = shard(
        {
            "c": engine_rule(facts=["fb"], priority=900),
            "a": engine_rule(priority=1),
            "b": engine_rule(facts=["fa"], priority=5),
            "z": engine_rule(stratum=1, absent=["fc"]),
            "y": engine_rule(stratum=1, facts=["fc"], absent=["fd"]),
        },
        infers={"a": "fa", "b": "fb", "c": "fc"},
        strata=2,
    )
    assert engine.run(chained, {}, ()) == Fired(("fa", "fb", "fc"), ("a", "b", "c", "y"))


def test_given_facts_count_and_are_not_inferred_again(engine):
    given_one = shard({"a": engine_rule(), "b": engine_rule(facts=["fa"])}, infers={"a": "fa"})
    fired = engine.run(given_one, {}, ("fa",))
    assert fired.facts == ()
    assert set(fired.rules) == {"a", "b"}

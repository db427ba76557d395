"""Some customers meet another version of a rule set than the others."""

import itertools

from rapport.types.v1 import stream_pb2

from services.decision.adapters.running import Running, compile_sources, compile_whole, differences_of
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.workbench import Workbench
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import Source
from services.decision.domain.canary import WHOLE, meets
from services.decision.domain.occasions import called_by
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.values import parse_time
from services.vocabulary.wire import value_to_wire
from tests.unit.decision.generators import RULES

NOON = parse_time("2026-12-10T12:00:00Z")
CATALOGUE = load_catalogue(RULES)
SHARED = """
ruleset: moods
title: Moods
owner: test
stage: complain
shared: true
infer:
  - fact: cross
    when: [profile.tenure_months >= 1]
"""
TEXT = """
ruleset: {name}
title: A
owner: test
stage: complain
trigger: complaint.opened
rules:
  - id: call
    when: [profile.tenure_months >= {least}]
    do: {{task: call-back, with: {{queue: {queue}}}, category: service}}
"""


def text(name, *, least=0, queue="care"):
    return TEXT.format(name=name, least=least, queue=queue)


def source(name, version=1, share=0, **more):
    return Source(name, version, f"{name}.yaml", text(name, **more), share)


def programs(*sources):
    compiled = compile_sources(sources, CATALOGUE, read_yaml)
    assert compiled.programs is not None, [problem.sentence() for problem in compiled.problems]
    return compiled.programs


def versions(program):
    return {rule_set.name: rule_set.version for rule_set in program.rule_sets}


def test_a_share_is_stable_grows_and_does_not_hang_together_with_others():
    customers = range(20_000)
    tenth = {each for each in customers if meets("a", 1_000, each)}
    third = {each for each in customers if meets("a", 3_000, each)}
    assert tenth < third
    assert 0.09 < len(tenth) / len(customers) < 0.11
    other = {each for each in customers if meets("b", 1_000, each)}
    assert 0.07 < len(tenth & other) / len(tenth) < 0.13
    assert all(meets("a", WHOLE, each) for each in range(100))
    assert not any(meets("a", 0, each) for each in range(100))


def test_each_customer_meets_the_versions_of_their_shares():
    made = programs(
        source("a"), source("b"), source("c"), source("a", 2, 3_000), source("c", 7, 5_000), source("d", 1, 1)
    )
    assert len(made.variants) == 8
    for customer in range(200):
        expected = {
            "a": 2 if meets("a", 3_000, customer) else 1,
            "b": 1,
            "c": 7 if meets("c", 5_000, customer) else 1,
        }
        if meets("d", 1, customer):
            expected["d"] = 1
        assert versions(made.of(customer)) == expected
    assert versions(made.base) == {"a": 1, "b": 1, "c": 1}


def test_without_canaries_there_is_one_program_for_all():
    made = programs(source("a"))
    assert made.variants == (made.base,)
    assert made.of(1) is made.of(2) is made.base


def test_variants_keep_networks_of_their_own_and_share_what_is_the_same():
    quiet = source("quiet").text.replace("complaint.opened", "usage.data_used")
    made = programs(source("a"), Source("quiet", 1, "quiet.yaml", quiet), source("a", 2, 5_000))
    base, canary = made.variants
    assert base.shards["usage.data_used"] is canary.shards["usage.data_used"]
    shards = [shard for program in made.variants for each in program.shards.values() for shard in each] + [
        *base.shared,
        *canary.shared,
    ]
    by_key = {}
    for shard in shards:
        assert by_key.setdefault(shard.key, shard) is shard


def test_a_canary_of_a_shared_rule_set_is_what_the_others_look_at():
    a = text("a").replace("profile.tenure_months >= 0", "fact cross")
    moods = Source("moods", 1, "moods.yaml", SHARED)
    later = Source("moods", 2, "moods.yaml", SHARED.replace(">= 1", ">= 100"), 5_000)
    made = programs(Source("a", 1, "a.yaml", a), moods, later)
    assert [program.rule_set("moods").version for program in made.variants] == [1, 2]
    without = Source("moods", 3, "moods.yaml", SHARED.replace("cross", "calm"), 5_000)
    compiled = compile_whole([Source("a", 1, "a.yaml", a), moods, without], CATALOGUE, read_yaml)
    assert list(compiled.errors) == ["a@1"]


def test_what_does_not_compile_is_named_by_version():
    broken = Source("a", 4, "a.yaml", text("a").replace("complaint.opened", "complaint.opend"), 100)
    compiled = compile_whole([source("a"), broken], CATALOGUE, read_yaml)
    assert list(compiled.errors) == ["a@4"]
    assert compile_whole([source("a")], CATALOGUE, read_yaml).listened == ("complaint.opened",)


def test_versions_are_compared_beside_what_they_need():
    assert differences_of((), source("a"), source("a", 2, queue="sales"), CATALOGUE, read_yaml)
    assert differences_of((), source("a"), source("a", 2), CATALOGUE, read_yaml) == ()


class Still:
    def at(self, item):
        pass


def test_the_version_that_a_customer_meets_decides():
    bench = Workbench(SievingEngine(), CATALOGUE, read_yaml, Still())
    loaded = bench.load(9, [source("a"), source("a", 2, 5_000, queue="sales")])
    assert loaded.triggers == ("complaint.opened",)
    customers = range(1, 40)
    batch = stream_pb2.EventBatch()
    for customer in customers:
        known = stream_pb2.Snapshot(customer=customer, sequence=1)
        known.traits.add(name="tenure_months", value=value_to_wire(7), time_micros=1)
        batch.snapshots.append(known.SerializeToString())
        batch.events.add(
            id=f"e-{customer}",
            source="test",
            type="complaint.opened",
            time_micros=NOON,
            accepted_micros=NOON,
            customer=customer,
            data=b'{"complaint":"C-1","topic":"calls"}',
            snapshot=customer,
        )
    seen = {}
    for item in bench.evaluate([batch.SerializeToString()]).items:
        (candidate,) = item.evaluation.candidates
        seen[item.customer] = candidate.version, candidate.parameters["queue"][1]
    sales = {each for each in customers if meets("a", 5_000, each)}
    assert 5 < len(sales) < 35
    assert seen == {each: (2, "sales") if each in sales else (1, "care") for each in customers}


def test_running_knows_all_that_any_variant_listens_to():
    later = Source("a", 2, "a.yaml", text("a").replace("complaint.opened", "usage.data_used"), 1)
    running = Running(1, programs(source("a"), later))
    assert running.triggers == {"complaint.opened", "usage.data_used"}
    assert len(list(itertools.chain(running.shards()))) == 2


def timed(version, at="09:00", share=0, **more):
    trigger = f"trigger: {{every: day at {at}, zone: customer, audience: [profile.tenure_months >= 0]}}"
    written = text("a", **more).replace("trigger: complaint.opened", trigger)
    return Source("a", version, "a.yaml", written, share)


def test_a_canary_called_as_the_live_version_is_goes_with_it():
    (called,) = called_by(programs(timed(1), timed(2, share=2_000, queue="sales")))
    assert (called.version, called.only, called.but, called.timetable) == (1, 0, 0, "a")
    assert all(called.calls(customer) for customer in range(100))


def test_a_canary_called_otherwise_has_times_and_runs_of_its_own():
    live, canary = called_by(programs(timed(1), timed(2, "10:00", 2_000)))
    assert (live.version, canary.version) == (1, 2)
    assert (live.timetable, canary.timetable) == ("a", "a canary")
    assert (live.key("x"), canary.key("x")) == ("x", "canary x")
    for customer in range(200):
        assert canary.calls(customer) is meets("a", 2_000, customer)
        assert live.calls(customer) is not canary.calls(customer)


def test_a_canary_without_a_live_version_calls_its_share_alone():
    (canary,) = called_by(programs(source("b"), timed(1, share=2_000)))
    assert [canary.calls(each) for each in range(50)] == [meets("a", 2_000, each) for each in range(50)]
    # and one that only events call leaves its share uncalled
    (live,) = called_by(programs(timed(1), source("a", 2, 2_000)))
    assert [live.calls(each) for each in range(50)] == [not meets("a", 2_000, each) for each in range(50)]

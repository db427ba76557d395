"""The rules of the engine's benchmark come to the same in another engine, or the figures compare nothing."""

from rapport.types.v1 import stream_pb2

from bench.engine.clips_engine import ClipsEngine
from bench.engine.levels import compiled
from bench.engine.plain import Asked, PlainRules, evaluated, without_facts
from bench.engine.population import RULES, make_population
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.situations import situation_of
from services.decision.domain.run import run_program
from services.vocabulary.catalogue import load_catalogue


def test_translated_rules_fire_as_ours_do():
    catalogue = load_catalogue(RULES)
    population = make_population(150, 120)
    program = compiled(population.sources, catalogue)
    plain = {event_type: PlainRules(program, event_type) for event_type in program.triggers}
    clips, engine = ClipsEngine(), SievingEngine()
    clips.load(list(plain.values()))
    several = 0
    for event, packed in population.each():
        snapshot = stream_pb2.Snapshot.FromString(packed)
        situation = situation_of(event, snapshot, catalogue, arms={})
        expected = sorted(rule.key for rule in run_program(program, engine, situation).rules)
        several += len(expected) > 1
        rules = plain[event.type]
        values = rules.snapshot(situation)
        assert sorted(clips.run(event.type, clips.prepared(rules, values))) == expected
        inlined = [name for name, formula in without_facts(rules).items() if evaluated(formula, values)]
        assert sorted(inlined) == expected
    assert several > 5, "events that fire one rule each would compare little"
    engine.close()


def test_a_missing_field_is_not_anything():
    assert evaluated(Asked("p", "is not", 3), {})
    assert not evaluated(Asked("p", "<", 3), {})
    assert evaluated(Asked("p", "missing"), {})

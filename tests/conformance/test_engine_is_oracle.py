"""durable_rules and the oracle come to the same: facts, rules fired, and their order."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from services.decision.adapters.engine import DurableEngine
from services.decision.domain.oracle import Oracle
from services.decision.domain.run import run_if_asked, run_program
from services.decision.domain.situation import Situation
from tests.unit.decision.generators import compiled, rule_sets, shared_rule_sets, situations


@pytest.fixture(scope="module")
def engine() -> Iterator[DurableEngine]:
    engine = DurableEngine()
    yield engine
    engine.close()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), shared=shared_rule_sets(), moments=st.lists(situations(), min_size=2, max_size=5))
def test_generated_rule_sets_come_to_the_same(
    engine: DurableEngine, data: st.DataObject, shared: tuple[str, tuple[str, ...]], moments: list[Situation]
) -> None:
    text, facts = shared
    program = compiled(text, data.draw(rule_sets(shared_facts=facts))).program
    assume(program is not None)
    assert program is not None
    for situation in moments:
        assert run_program(program, engine, situation) == run_program(program, Oracle(), situation)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), shared=shared_rule_sets(), moments=st.lists(situations(), min_size=2, max_size=5))
def test_leaving_out_what_no_rule_asks_for_changes_no_outcome(
    data: st.DataObject, shared: tuple[str, tuple[str, ...]], moments: list[Situation]
) -> None:
    text, facts = shared
    sets = [data.draw(rule_sets("one", shared_facts=facts)), data.draw(rule_sets("two"))]
    program = compiled(text, *sets).program
    assume(program is not None)
    assert program is not None
    for situation in moments:
        whole = run_program(program, Oracle(), situation)
        asked = whole if whole.rules or whole.withheld else None
        assert run_if_asked(program, Oracle(), situation) == asked

"""What a rule set compiles to comes to the same as the rule set as written."""

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from services.decision.domain.oracle import Oracle
from services.decision.domain.plain_rules import run_plainly
from services.decision.domain.situation import Situation
from tests.unit.decision.generators import compiled, rule_sets, situations

_SLOW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@_SLOW
@given(text=rule_sets(), moments=st.lists(situations(), min_size=1, max_size=4))
def test_compiled_rules_come_to_what_is_written(text: str, moments: list[Situation]) -> None:
    program = compiled(text).program
    assume(program is not None)
    assert program is not None
    oracle = Oracle()
    for situation in moments:
        for shard in program.shards_for(situation.event_type):
            properties = shard.properties_of(situation)
            assert run_plainly(shard, dict(properties), ()) == oracle.run(shard, properties, ())

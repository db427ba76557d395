"""How many rules may fire in one decision, and who says so when more would."""

import orjson
import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters import checking
from services.decision.adapters.checking import check_text
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.workbench import Workbench
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import SetAside, Source
from services.decision.domain import run
from services.decision.domain.oracle import Oracle
from tests.unit.decision.generators import NOW, catalogue

RULE = "  - {{id: r{0}, when: [event.topic is calls], do: {{task: call-back, category: service}}}}\n"
TEXT = (
    "ruleset: many\ntitle: Many\nowner: care\nstage: complain\ntrigger: complaint.opened\nrules:\n"
    + "".join(RULE.format(number) for number in range(4))
)
TEST = "tests:\n  - {name: all of them, when: {topic: calls}, then: {fires: [r0, r1, r2, r3]}}\n"


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setattr(run, "MOST_FIRED", 3)
    monkeypatch.setattr(checking, "MOST_FIRED", 3)


def checked(text, generated=0):
    return check_text(Oracle(), catalogue(), read_yaml, [], text, "many.yaml", 1, generated)


@pytest.mark.usefixtures("three")
def test_a_test_on_which_more_fire_is_an_error_that_says_what_to_do():
    (problem,) = [one for one in checked(TEXT + TEST).problems if one.check == "too-many-fired"]
    assert problem.message == "more than 3 rules fire in one decision (the last was many/r3)"
    assert "conditions of which fewer hold at once" in problem.suggestion


@pytest.mark.usefixtures("three")
def test_without_such_a_test_the_trial_finds_it():
    found = checked(TEXT, generated=20)
    assert found.rule_set is not None
    assert [one.partition(" (")[0] for one in found.differences] == ["more than 3 rules fire in one decision"]


def test_within_the_bound_nothing_is_said():
    found = checked(TEXT + TEST, generated=20)
    assert found.differences == ()
    assert [one.passed for one in found.tests] == [True]


class Unwatched:
    def at(self, item):
        pass


@pytest.mark.usefixtures("three")
def test_a_live_event_is_set_aside_with_the_reason_and_the_others_are_decided():
    bench = Workbench(SievingEngine(), catalogue(), read_yaml, Unwatched())
    bench.load(1, [Source("many", 1, "many.yaml", TEXT)])
    batch = stream_pb2.EventBatch(snapshots=[stream_pb2.Snapshot(customer=1).SerializeToString()])
    for name, topic in (("a", "bill"), ("b", "calls"), ("c", "bill")):
        batch.events.add(
            id=name,
            source="test",
            type="complaint.opened",
            customer=1,
            time_micros=NOW,
            accepted_micros=NOW,
            snapshot=1,
            data=orjson.dumps({"complaint": "c-1", "topic": topic}),
        )
    found = bench.evaluate([batch.SerializeToString()])
    (aside,) = found.items
    assert isinstance(aside, SetAside)
    assert aside.event_id == "b"
    assert "more than 3 rules fire in one decision (the last was many/r3)" in aside.reason

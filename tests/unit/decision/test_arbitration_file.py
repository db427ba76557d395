"""The policy of arbitration while everything runs: a new file is in force at once, a broken one never."""

import orjson
import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters.arbitration_file import ArbitrationFile
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.workbench import Workbench
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import AskedNow, Source
from services.vocabulary.arbitration_policy import NO_POLICY
from tests.unit.decision.generators import NOW, catalogue
from tests.unit.decision.test_bound_on_firings import Unwatched

FILE = "policies/arbitration.yaml"


class Rules:
    """A rules folder, and a clock that is looked at."""

    def __init__(self, folder):
        self.folder = folder
        self.seconds = 0.0
        (folder / "policies").mkdir()

    def write(self, text):
        (self.folder / FILE).write_text(text)
        self.seconds += 1

    def file(self, **more):
        return ArbitrationFile(self.folder, catalogue(), now=lambda: self.seconds, **more)


@pytest.fixture
def rules(tmp_path):
    return Rules(tmp_path)


def test_a_changed_file_is_read_and_a_broken_one_says_so_and_changes_nothing(rules):
    told = []
    file = rules.file(refused=told.append)
    assert file.digests() == {}
    rules.write("pressure: {weight: 3}\n")
    assert file.current().terms.pressure_weight == 3
    good = file.digests()
    assert good.keys() == {FILE}
    for broken, line in (
        ("pressure:\n  weight: heavy\n", "policies/arbitration.yaml:2: pressure.weight must be a number"),
        ("pressure: [\n", "policies/arbitration.yaml:"),
        (
            "propensity: {offers: {gone: 1}}\n",
            "policies/arbitration.yaml:1: propensity.offers.gone is no offer",
        ),
    ):
        rules.write(broken)
        assert file.current().terms.pressure_weight == 3
        assert file.digests() == good
        rules.seconds += 1
        assert file.current().terms.pressure_weight == 3
        (mistakes,) = told
        assert mistakes[0].startswith(line)
        told.clear()
    rules.write("pressure: {weight: 44}\n")
    assert file.current().terms.pressure_weight == 44
    (rules.folder / FILE).unlink()
    rules.seconds += 1
    assert (file.current(), file.digests()) == (NO_POLICY, {})


def test_it_is_not_looked_at_more_than_twice_a_second(rules):
    file = rules.file()
    rules.write("pressure: {weight: 3}\n")
    rules.seconds = 0.4
    assert file.current().terms.pressure_weight != 3
    rules.seconds = 0.5
    assert file.current().terms.pressure_weight == 3


def test_the_engines_process_decides_by_what_is_in_force(rules):
    bench = Workbench(SievingEngine(), catalogue(), read_yaml, Unwatched(), rules.file().current)
    text = "ruleset: one\ntrigger: topup.received\nrules:\n  - {id: r, do: {task: t, category: service}}\n"
    jobs = bench.jobs()
    jobs["load"](1, [Source("one", 1, "one.yaml", text)])
    snapshot = stream_pb2.Snapshot(customer=1).SerializeToString()
    event = stream_pb2.TakenEvent(
        id="a",
        source="test",
        type="topup.received",
        customer=1,
        time_micros=NOW,
        accepted_micros=NOW,
        snapshot=1,
        data=orjson.dumps({"amount": {"amount": "5", "currency": "EUR"}}),
    )
    batch = stream_pb2.EventBatch(events=[event], snapshots=[snapshot]).SerializeToString()
    before = jobs["evaluate"]([batch]).items[0].evaluation
    rules.write("propensity: {service: 0.5}\npressure: {weight: 3}\n")
    after = jobs["evaluate"]([batch]).items[0].evaluation
    assert (before.candidates[0].propensity, after.candidates[0].propensity) == (1.0, 0.5)
    assert after.circumstances.terms.pressure_weight == 3
    event.snapshot = 0
    (answered,) = jobs["ask"]([AskedNow(event.SerializeToString(), snapshot, {})])
    asked = answered.evaluated.evaluation
    assert asked.circumstances.terms.pressure_weight == 3

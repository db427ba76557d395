"""Recorded decisions run again: the tree, the sentence for a regulator, what differs, and silence."""

from dataclasses import replace

import orjson
import pytest
import zstandard
from rapport.types.v1 import stream_pb2, vocabulary_pb2

from services.decision.adapters.catalogue_files import open_catalogue, pack_catalogue
from services.decision.adapters.looking_back import LookingBack, _used
from services.decision.adapters.material import pack_material
from services.decision.adapters.records import Input, Record, open_record, pack_record
from services.decision.adapters.situations import situation_of
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import ProgramThen, Source
from services.decision.app.ports import Recorded
from services.decision.domain.absent import Cause
from services.decision.domain.arbitration import Candidate, DecidedAction, Standing
from services.decision.domain.care import Afterwards
from services.decision.domain.decide import Planned, Question, decide, evaluate
from services.decision.domain.eligibility import Eligibility
from services.decision.domain.oracle import Oracle
from services.decision.domain.regulator import Looking, Used, data_used, regulator_sentence
from services.decision.domain.replaying import Again
from services.decision.domain.tree import action_node, with_actions
from services.vocabulary.arbitration_policy import Terms
from services.vocabulary.ids import decision_id
from services.vocabulary.wire import value_to_wire
from services.vocabulary.words import ActionKind, ActionOutcome, Category, Purpose, RefusalReason
from tests.unit.decision.generators import RULES, catalogue

NOW = 1_790_000_000_000_000
DAY = 86_400_000_000
TEXT = """ruleset: drops
title: Say sorry
trigger: [network.call_dropped, complaint.opened]
windows: {drops: {count: network.call_dropped, last: 24h}}
infer:
  - {fact: bad_day, when: [windows.drops >= 3], because: "{windows.drops} calls dropped"}
  - {fact: sore, when: [fact bad_day, any: [profile.churn_risk >= 0.6, profile.tenure_months < 3]]}
rules:
  - id: sorry
    when: [fact sore, event.type is network.call_dropped]
    do: {offer: goodwill-1gb, category: retention, value: 6.00, cost: 1.20}
    once: 7d
  - id: near
    when: [context.area.name exists, profile.home_area exists]
    do: {task: call-back, category: service}
"""


class Engine(Oracle):
    """The plain evaluator in the place of the engine, which needs no process."""

    def __init__(self):
        self.kept = []

    def keep_only(self, shards):
        self.kept = list(shards)


def text_without_near():
    return TEXT[: TEXT.index("  - id: near")]


def then(text, version=1, **more):
    return ProgramThen(version, (Source("drops", 1, "drops.yaml", text),), **more)


def dropped(**more):
    return stream_pb2.TakenEvent(
        id="e",
        source="test",
        type="network.call_dropped",
        time_micros=NOW,
        accepted_micros=NOW,
        data=orjson.dumps({}),
        customer=7,
        **{"sequence": 9, **more},
    )


def seen(traits=None, *, drops=3, **more):
    times = [NOW - (drops - place) * 60_000_000 for place in range(drops)]
    snapshot = stream_pb2.Snapshot(
        customer=7,
        sequence=8,
        traits=[
            stream_pb2.Trait(name=name, value=value_to_wire(value)) for name, value in (traits or {}).items()
        ],
        **more,
    )
    deltas = [time - before for before, time in zip([0, *times], times, strict=False)]
    snapshot.activity.add(
        type="network.call_dropped", time_delta_micros=deltas, sequence_deltas=[1] * len(times)
    )
    return snapshot


@pytest.fixture(scope="module")
def back():
    return LookingBack(Engine(), catalogue(), read_yaml)


def recorded(back, text, snapshot, standing=None, event=None):
    """What the road would have written of that event."""
    event = event or dropped()
    running, _ = back.running(then(text))
    program = running.of(7)
    situation = situation_of(event, snapshot, catalogue(), arms={})
    known = decision_id("test", "e", 7)
    evaluation, _ = evaluate(program, Oracle(), Eligibility(catalogue()), Question(known, situation))
    standing = standing or Standing()
    actions = decide(evaluation, standing, catalogue().conversation_micros).actions
    material = pack_material(event.SerializeToString(), snapshot.SerializeToString())
    return Recorded(
        decision_id=known, customer=7, event_id="e", source="test", event_type=event.type, event_micros=NOW,
        decided_micros=NOW, program=1, evaluation=evaluation, standing=standing, actions=actions,
        material=material, planned=None, gates={},
    )  # fmt: skip


def packed(one):
    return pack_record(Record(one.evaluation, one.standing, one.actions))


SORE = {"churn_risk": 0.7}
GRANTED = stream_pb2.ConsentEntry(
    purpose=vocabulary_pb2.PURPOSE_MARKETING,
    channel=vocabulary_pb2.CHANNEL_SMS,
    state=vocabulary_pb2.CONSENT_STATE_GRANTED,
    by=vocabulary_pb2.CONSENT_BY_PERSON,
    time_micros=NOW - 10 * DAY,
)


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def test_the_tree_shows_each_condition_with_the_values_seen_and_what_facts_rest_on(back):
    one = recorded(back, text_without_near(), seen(SORE, drops=3))
    told = back.replay(then(text_without_near()), one, "")
    assert told.difference is None
    assert not told.problem
    (rule_set,) = told.nodes
    rule = next(node for node in walk(rule_set) if node.kind == "rule")
    assert (rule.name, rule.held, rule.line) == ("sorry", True, 9)
    sore, was_dropped = rule.children
    assert (sore.name, sore.held) == ("fact sore", True)
    bad_day = next(node for node in walk(sore) if (node.kind, node.name) == ("fact", "bad_day"))
    assert bad_day.text == "4 calls dropped"
    count = bad_day.children[0]
    assert count.name == "windows.drops >= 3"
    assert [(each.path, each.text) for each in count.seen] == [("windows.drops", "4")]
    group = next(node for node in walk(sore) if node.kind == "group")
    assert [(node.name, node.held) for node in group.children] == [
        ("profile.churn_risk >= 0.6", True),
        ("profile.tenure_months < 3", False),
    ]
    assert group.children[1].seen[0].missing
    assert was_dropped.seen[0].text == "network.call_dropped"


def test_an_action_stands_under_its_rule_with_its_factors_and_the_gate_that_refused_it(back):
    one = recorded(back, text_without_near(), seen(SORE))
    told = back.replay(then(text_without_near()), one, "")
    node = action_node(one.actions[0], {})
    (rule_set,) = with_actions(told.nodes, [("sorry", node), ("gone", replace(node, name="left"))])[:1]
    rule = next(each for each in walk(rule_set) if each.kind == "rule")
    action = rule.children[-1]
    assert action.kind == "action"
    factors = {factor.name: (factor.value, factor.source) for factor in action.factors}
    assert factors["value"] == (6.0, "rule")
    assert factors["propensity"] == (1.0, "policy")
    assert factors["score"][0] == one.actions[0].score
    assert with_actions(told.nodes, [("gone", replace(node, name="left"))])[-1].name == "left"


def test_a_regulator_reads_purpose_basis_data_and_word_and_no_word_of_ours(back):
    one = recorded(back, text_without_near(), seen(SORE, consents=[GRANTED], withheld_purposes=[5]))
    sentence = back.replay(then(text_without_near()), one, "").regulator
    assert "offered the customer “1 GB on us” for the purpose “Offers”, on the basis of consent" in sentence
    assert "GDPR art. 6(1)(a)" in sentence
    assert (
        "under “Profiling from usage” (legitimate interests (GDPR art. 6(1)(f): to warn of high" in sentence
    )
    assert "churn risk" in sentence
    assert "what happened of the kind “call dropped”" in sentence
    assert "to “Offers” the customer agreed on sms on 2026-09-11 (in person)" in sentence
    assert "data were not used for “Profiling from places”" in sentence
    for ours in ("drops", "sorry", "bad_day", "sore", "goodwill", "churn_risk"):
        assert ours not in sentence
    assert sentence.count(".") == sentence.count("art. 6") + 1


def test_what_the_channel_stopped_is_told_as_stopped(back):
    one = recorded(back, text_without_near(), seen(SORE, consents=[GRANTED]))
    known = one.actions[0].candidate.action_id
    told = back.replay(then(text_without_near()), one, "", Afterwards({known: RefusalReason.NO_CONSENT}))
    assert "decided on offering the customer “1 GB on us” for the purpose “Offers”" in told.regulator
    assert "but did not go through with it, because the customer had not agreed to it" in told.regulator
    assert told.care == (
        "The offer “1 GB on us” was decided because 4 calls dropped, but not made: "
        "the customer had not agreed to it."
    )
    unknown = back.replay(then(text_without_near()), one, "", Afterwards({known: None}))
    assert "not made: it could not be delivered." in unknown.care


def test_what_waits_at_the_channel_is_not_told_as_stopped(back):
    one = recorded(back, text_without_near(), seen(SORE, consents=[GRANTED]))
    waits = Afterwards(waiting={one.actions[0].candidate.action_id: RefusalReason.QUIET_HOURS})
    told = back.replay(then(text_without_near()), one, "", waits)
    assert told.care == (
        "The offer “1 GB on us” was decided because 4 calls dropped, and waits: "
        "at this hour the customer is left in peace."
    )
    assert ", which waits, because at this hour the customer is left in peace" in told.regulator


def test_a_care_agent_reads_no_word_of_rules_codes_or_paths(back):
    one = recorded(back, text_without_near(), seen(SORE))
    same = then(text_without_near())
    made = back.replay(same, one, "").care
    assert made.startswith("The offer “1 GB on us” was made because 4 calls dropped")
    (action,) = one.actions
    winner = replace(action.candidate, action_id="w", kind=ActionKind.MESSAGE, name="outage-notice")
    for reason, detail, by, words in (
        (RefusalReason.ONCE, "done already", "", "it had been done already"),
        (RefusalReason.SERVICE_FIRST, "a complaint is open", "", "a complaint is open"),
        (RefusalReason.NOT_ELIGIBLE, "profile.x", "", "the customer did not meet its conditions"),
        (RefusalReason.OUTRANKED, "", "w", "the message “outage notice” went before it"),
    ):
        no = replace(action, outcome=ActionOutcome.REFUSED, reason=reason, detail=detail, outranked_by=by)
        told = back.replay(same, replace(one, actions=(no,)), "", Afterwards(winners={"w": winner}))
        assert told.care == f"The offer “1 GB on us” was not made: {words}."


def test_a_thing_that_the_event_named_is_used_as_the_event_is():
    back = LookingBack(Engine(), catalogue(), read_yaml)
    place = TEXT.replace("context.area.name exists, profile.home_area exists", "context.cell.incident exists")
    event = dropped()
    event.data = orjson.dumps({"cell": "FR-1"})
    thing = event.things.add(kind="cell", key="FR-1")
    thing.attributes["incident"].CopyFrom(value_to_wire("INC7"))
    snapshot = seen(SORE, withheld_purposes=[vocabulary_pb2.PURPOSE_PROFILING_LOCATION])
    one = recorded(back, place, snapshot, event=event)
    sentence = back.replay(then(place), one, "").regulator
    of_service = sentence.partition("under “Service”")[2].partition("under “")[0]
    assert "the cell's incident" in of_service
    assert sentence.endswith(
        "data were not used for “Profiling from places”, to which the customer had not agreed."
    )


def test_withheld_data_that_a_mandatory_message_rests_on_are_told_apart():
    used = Used({Purpose.PROFILING_USAGE: frozenset({"a"})}, (), frozenset({Purpose.PROFILING_USAGE}))
    say = DecidedAction(Candidate("a", "r", 1, "x", 0, ActionKind.SAY, "", None, 0), ActionOutcome.DONE)
    sentence = regulator_sentence(catalogue(), [say], NOW, used, {}, {})
    assert "; no other data were used for “Profiling from usage”" in sentence


def test_of_a_plan_that_fell_due_the_data_are_told_that_its_keep_looked_at(back):
    text = """ruleset: later
trigger: complaint.opened
rules:
  - id: ask
    do: {survey: ces-after-care, category: survey, after: 48h, keep: [profile.vulnerable is not true]}
"""
    running, _ = back.running(then(text, 10))
    program = running.of(7)
    planned = Candidate("a", "later", 1, "ask", 0, ActionKind.SURVEY, "x", Category.SURVEY, 0)
    one = replace(recorded(back, text_without_near(), seen(SORE)), planned=Planned(planned, NOW, 1))
    event = stream_pb2.TakenEvent(type="action.due", time_micros=NOW, customer=7)
    situation = situation_of(event, seen(SORE), catalogue(), arms={})
    again = Again(one.evaluation, (), None)
    assert _used(program, again, one, situation, seen(SORE)).data == {Purpose.SERVICE: {"vulnerable"}}


def test_what_the_system_called_itself_is_told_by_what_led_to_it(back):
    text = """ruleset: cases
trigger: {nothing: case.closed, after: case.opened, by: case, for: 72h}
rules:
  - {id: chase, when: [event.topic is bill], do: {task: call-back, category: service}}
"""
    running, _ = back.running(then(text, 9))
    program = running.of(7)
    (rule,) = program.rule_sets[0].rules
    used = data_used(program, [rule], [], Looking("trigger.due"))
    assert used == {Purpose.SERVICE: frozenset({"what happened of the kind “case opened”"})}


def test_the_first_field_that_differs_is_named(back):
    one = recorded(back, text_without_near(), seen(SORE))
    same = then(text_without_near())
    (action,) = one.actions
    for changed, field in (
        (replace(one, evaluation=replace(one.evaluation, facts=("drops/bad_day",))), "facts[1]"),
        (replace(one, evaluation=replace(one.evaluation, arms={"x": "a"})), "actions[0]"),
        (replace(one, actions=(replace(action, score=1.0),)), "actions[0].score"),
        (replace(one, actions=(replace(action, candidate=replace(action.candidate, cost=1.0)),)),
         "actions[0].candidate.cost"),
        (replace(one, actions=()), "actions[0]"),
    ):  # fmt: skip
        found = back.replay(same, changed, "").difference
        if field == "actions[0]" and changed.actions:
            assert found is None  # an arm of an experiment nobody asks about is given back as it was
        else:
            assert found.field == field
    found = back.replay(then(text_without_near().replace("6.00", "7.00"), 2), one, "").difference
    assert found.sentence == "actions[0].candidate.value was 6.0 and is 7.0"


def test_what_no_longer_compiles_says_so_and_arbitration_is_still_run_again(back):
    one = recorded(back, text_without_near(), seen(SORE))
    broken = text_without_near().replace("profile.churn_risk", "profile.no_such_trait")
    told = back.replay(then(broken, 3), one, "")
    assert "no longer compile: drops.yaml:7" in told.problem
    assert told.problem.endswith("as recorded comes out the same")
    worse = replace(one, actions=(replace(one.actions[0], score=1.0),))
    assert "does not: actions[0].score was 1.0" in back.replay(then(broken, 3), worse, "").problem


def test_many_are_verified_at_once_and_each_that_differs_is_named(back):
    one = recorded(back, text_without_near(), seen(SORE))
    bad = replace(one, actions=(replace(one.actions[0], score=1.0),))
    rows = [(one.material, packed(one)), (one.material, packed(bad)), (b"", packed(one))]
    found = back.verify(then(text_without_near()), rows)
    assert (found.equal, found.different) == (1, ((1, "actions[0].score"),))
    assert list(found.failed.values()) == [1]
    gone = back.verify(then(text_without_near(), 4, catalogue="0123"), rows)
    assert gone.equal == 0
    assert list(gone.failed) == ["the catalogue of that time (0123) was not kept; today's is another"]


def test_what_an_older_release_or_another_policy_wrote_is_compared_field_by_field(back):
    one = recorded(back, text_without_near(), seen(SORE))
    body = open_record(packed(one))
    del body["presented"]  # as before there was such a thing
    older = zstandard.compress(orjson.dumps(body))
    circumstances = replace(one.evaluation.circumstances, terms=Terms(pressure_weight=0.3), pressure=2)
    evaluation = replace(one.evaluation, circumstances=circumstances)
    heavier = replace(
        one,
        evaluation=evaluation,
        actions=decide(evaluation, one.standing, catalogue().conversation_micros).actions,
    )
    assert heavier.actions[0].score != one.actions[0].score
    found = back.verify(then(text_without_near()), [(one.material, older), (one.material, packed(heavier))])
    assert (found.equal, found.different, found.failed) == (2, (), {})


def test_what_was_decided_before_avoid_was_heeded_comes_out_as_it_did_then():
    back = LookingBack(Engine(), catalogue(), read_yaml)
    text = text_without_near().replace("category: retention", "category: sales, expires: 7d")
    text += "  - {id: hush, when: [fact sore], do: {avoid: [sales]}}\n"
    one = recorded(back, text, seen(SORE))
    assert [action.outcome for action in one.actions if not action.candidate.avoid] == [ActionOutcome.REFUSED]
    circumstances = replace(one.evaluation.circumstances, heeds_avoid=False)
    evaluation = replace(one.evaluation, circumstances=circumstances)
    actions = decide(evaluation, one.standing, catalogue().conversation_micros).actions
    assert [action.outcome for action in actions if not action.candidate.avoid] == [ActionOutcome.DISPATCHED]
    before = replace(one, evaluation=evaluation, actions=actions)
    body = open_record(packed(before))
    del body["circumstances"]["heeds_avoid"]
    rows = [(one.material, packed(one)), (one.material, zstandard.compress(orjson.dumps(body)))]
    assert back.verify(then(text), rows).equal == 2


def test_a_letter_for_letter_comparison_sees_each_part_that_came_out(back):
    one = recorded(back, text_without_near(), seen(SORE))
    given = Input(packed(one))
    assert given.came_to(one.evaluation, one.actions)
    other = replace(one.evaluation, facts=())
    assert not given.came_to(other, one.actions)
    assert not given.came_to(replace(one.evaluation, arms={"x": "a"}), one.actions)
    calm = replace(one.evaluation, circumstances=replace(one.evaluation.circumstances, contacts=9))
    assert not given.came_to(calm, one.actions)
    assert not given.came_to(one.evaluation, (replace(one.actions[0], detail="x"),))


def test_a_catalogue_kept_reads_as_the_one_it_was():
    assert open_catalogue(pack_catalogue(RULES)).version == catalogue().version


def absent(back, wanted, snapshot, text=TEXT, **more):
    return back.absent(
        then(text, 5), wanted, dropped(sequence=0, **more).SerializeToString(), snapshot.SerializeToString()
    )


def test_silence_names_the_first_condition_that_failed_and_what_was_needed(back):
    (found,) = absent(back, "goodwill-1gb", seen({"churn_risk": 0.2}))
    assert (found.cause, found.rule) == (Cause.CONDITION, "sorry")
    assert "line 7, `profile.churn_risk >= 0.6` did not hold (profile.churn_risk was 0.2)" in found.sentence
    assert found.needed == (
        "either the customer's churn risk is at least 0.6 (profile.churn_risk was 0.2), or the customer's "
        "tenure months is less than 3 (profile.tenure_months was not known)"
    )
    (calm,) = absent(back, "drops/sorry", seen(SORE, drops=1))
    assert "“drops” is at least 3 (windows.drops was 2)" in calm.needed
    (there,) = absent(back, "drops/sorry", seen(SORE))
    assert there.cause is Cause.NOT_FOUND


def test_silence_over_withheld_data_names_the_purpose(back):
    (found,) = absent(back, "drops/near", seen(withheld_purposes=[5]))
    assert found.cause is Cause.WITHHELD
    assert found.needed == "the customer would have to agree to profiling_location"


def test_silence_over_an_event_that_came_late_says_how_late(back):
    late = TEXT.replace("title: Say sorry", "title: Say sorry\nlate: 1h")
    event = dropped(sequence=0)
    event.accepted_micros = NOW + 7_200_000_000
    (found,) = back.absent(
        then(late, 6), "drops/sorry", event.SerializeToString(), seen(SORE).SerializeToString()
    )
    assert found.cause is Cause.NOT_LIVE
    assert "2h after it happened, and drops takes none older than 1h" in found.sentence

"""What arbitration looks at beside the actions: contacts of late, whose conversation it is, what fell due."""

from dataclasses import replace
from functools import cache

import pytest

from services.decision.domain.activity import Activity
from services.decision.domain.decide import (
    Evaluation,
    Planned,
    Question,
    as_judged_then,
    decide,
    evaluate,
    evaluation_of,
)
from services.decision.domain.eligibility import Eligibility
from services.decision.domain.oracle import Oracle
from services.decision.domain.scoring import Factor, FactorSource, Origin
from services.vocabulary.arbitration_policy import TERMS, ArbitrationPolicy, Terms
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import ActionOutcome, Category, ConversationScope, Purpose, RefusalReason
from tests.unit.decision.generators import NOW, catalogue, compiled
from tests.unit.decision.test_arbitration import NOTHING
from tests.unit.decision.test_language import make_situation

TEXT = """
ruleset: worth
trigger: usage.data_used
rules:
  - id: r
    when: [event.mb > 0]
    do: {offer: plan-upgrade, with: {plan: x}, category: sales, expires: 7d%s}
tests:
  - {name: t, when: {mb: 1}, then: {fires: [r]}}
"""
MAY = {"better_plan": "l"}
USAGE = frozenset({Purpose.PROFILING_USAGE})
SHARE = Terms(most_sales=0.5)


@cache
def program(more=""):
    return compiled(TEXT % more).program


def evaluated(more="", known=None, planned=None, **situation):
    known = known or replace(catalogue(), arbitration=ArbitrationPolicy())
    question = Question("d", make_situation(**{"traits": MAY, "things": {}, **situation}), planned)
    compiled_for = replace(program(more), catalogue=known)
    return evaluate(compiled_for, Oracle(), Eligibility(known), question)[0]


def told(terms=SHARE, **more):
    return replace(catalogue(), arbitration=ArbitrationPolicy(terms=terms), **more)


def sent(*ago, category="service", channel="sms"):
    times = sorted(NOW - each for each in ago)
    texts = {"category": [category] * len(times), "channel": [channel] * len(times)}
    return Activity(times, list(range(len(times))), {}, texts)


@pytest.mark.parametrize(
    ("activity", "counted"),
    [
        ({}, (0, 0)),
        ({"action.sent": sent(HOUR, 2 * DAY)}, (2, 0)),
        ({"action.sent": sent(HOUR, category="sales"), "contact.made": sent(HOUR, 2 * HOUR)}, (3, 1)),
        ({"contact.made": sent(HOUR, category="sales")}, (1, 1)),
        ({"action.sent": sent(30 * DAY, 30 * DAY - 1, -1)}, (1, 0)),
        ({"action.sent": sent(HOUR, channel="task")}, (0, 0)),
        ({"contact.made": sent(HOUR, category=None)}, (0, 0)),
    ],
)
def test_contacts_of_thirty_days_are_counted_and_sales_among_them(activity, counted):
    found = evaluated(known=told(), activity=activity).circumstances
    assert (found.contacts, found.sales_contacts) == counted
    assert found.terms == SHARE


def test_contacts_that_may_not_be_looked_at_leave_no_room_for_sales():
    known = told()
    secret = replace(known.events["action.sent"], purpose=Purpose.PROFILING_WEB)
    known = replace(known, events={**known.events, "action.sent": secret})
    withheld = frozenset({Purpose.PROFILING_WEB})
    evaluation = evaluated(known=known, activity={}, withheld=withheld)
    assert evaluation.circumstances.contacts is None
    (action,) = decide(evaluation, NOTHING).actions
    assert (action.reason, "may not be counted" in action.detail) == (RefusalReason.CAPPED, True)


def test_without_a_share_nothing_is_counted_and_nothing_new_is_written():
    found = evaluated(activity={"action.sent": sent(HOUR, category="sales")}).circumstances
    assert (found.contacts, found.sales_contacts, found.pressure, found.terms) == (0, 0, 1, TERMS)


def test_pressure_looks_back_as_far_as_the_policy_says():
    known = told(Terms(pressure_micros=2 * DAY))
    activity = {"action.sent": sent(HOUR, 2 * DAY - 1, 2 * DAY, 3 * DAY)}
    assert evaluated(known=known, activity=activity).circumstances.pressure == 2


def test_how_likely_a_yes_is_comes_from_the_policy_where_the_rule_is_silent():
    def likely(more="", **policy):
        known = replace(catalogue(), arbitration=ArbitrationPolicy(**policy))
        (candidate,) = evaluated(more, known=known).candidates
        return candidate.propensity, candidate.propensity_from.source

    sales, offers = {Category.SALES: 0.25}, {"plan-upgrade": 0.125}
    assert likely() == (1.0, FactorSource.DEFAULT)
    assert likely(propensity=0.5) == (0.5, FactorSource.POLICY)
    assert likely(propensity=0.5, by_category=sales) == (0.25, FactorSource.POLICY)
    assert likely(propensity=0.5, by_category=sales, by_offer=offers) == (0.125, FactorSource.POLICY)
    assert likely(", propensity: 0.75", by_offer=offers) == (0.75, FactorSource.RULE)


def test_trouble_and_being_vulnerable_are_seen_and_what_may_not_be_asked_counts_as_vulnerable():
    known = told()
    secret = replace(known.traits["vulnerable"], purpose=Purpose.PROFILING_USAGE)
    secret = replace(known, traits={**known.traits, "vulnerable": secret})

    def seen(*facts, known=known, **situation):
        question = Question("d", make_situation(**{"traits": MAY, "things": {}, **situation}))
        compiled_for = replace(program(), catalogue=known)
        outcome = evaluate(compiled_for, Oracle(), Eligibility(known), question)[1]
        outcome = replace(outcome, facts=facts)
        found = evaluation_of(compiled_for, Eligibility(known), question, outcome).circumstances
        return found.service_first, found.vulnerable

    assert seen() == seen(things={"cell": {"area": "a"}}) == ("", False)
    assert seen("complaint_open") == ("a complaint is open", False)
    assert seen(things={"cell": {"incident": "i"}}) == ("there is an incident at the customer's cell", False)
    assert seen(traits={**MAY, "vulnerable": True}) == ("", True)
    assert seen(known=secret) == ("", False)
    assert seen(known=secret, withheld=USAGE) == ("", True)


def test_a_conversation_is_the_households_where_the_operator_says_so():
    home = told(conversation_scope=ConversationScope.HOUSEHOLD)
    evaluation = evaluated(known=home, household_id=77)
    assert (evaluation.circumstances.household, evaluation.households) == (77, (77,))
    assert evaluated(known=home).households == ()
    assert evaluated(household_id=77).households == ()


@pytest.mark.parametrize(
    ("later", "reason", "detail"),
    [
        ({}, None, ""),
        ({"traits": {}}, RefusalReason.NOT_ELIGIBLE, "does not hold that profile.better_plan exists"),
        ({"traits": {**MAY, "vulnerable": True}}, RefusalReason.NOT_ELIGIBLE, "profile.vulnerable is not"),
        ({"withheld": USAGE}, RefusalReason.DATA_WITHHELD, "no longer agrees to have used (profiling_usage)"),
    ],
)
def test_a_planned_offer_is_looked_at_again_when_it_falls_due(later, reason, detail):
    more = ", after: 2d, value: event.mb / 10"
    (planned,) = decide(evaluated(more), NOTHING).actions
    assert planned.outcome is ActionOutcome.PLANNED
    at = NOW + 2 * DAY
    due = Planned(planned.candidate, NOW, 10)
    situation = {"event_type": "action.due", "event": {}, "event_micros": at, "now_micros": at, **later}
    again = evaluated(more, planned=due, **situation)
    (action,) = decide(again, NOTHING).actions
    assert action.reason is reason
    assert detail in action.detail
    assert action.factors.value == Factor(12.05, FactorSource.RULE)


def test_a_replay_takes_the_policys_word_from_the_record_and_the_rules_from_the_rules():
    policy = ArbitrationPolicy(0.5, {}, {}, Terms(pressure_weight=2.0, stated=("pressure",)))
    then = evaluated(known=replace(catalogue(), arbitration=policy), activity={"action.sent": sent(HOUR)})
    now = evaluated(known=told(conversation_scope=ConversationScope.HOUSEHOLD), household_id=77)
    assert now != then
    assert as_judged_then(now, then) == then
    claimed = Evaluation(
        then.facts,
        (replace(then.candidates[0], value=99.0, value_from=Origin(FactorSource.RULE)),),
        then.circumstances,
    )
    assert as_judged_then(now, claimed).candidates[0].value != 99.0
    stated = evaluated(", value: 7")
    before = replace(stated.candidates[0], value=8.0)
    assert as_judged_then(stated, replace(stated, candidates=(before,))).candidates[0].value == 7.0


def test_a_replay_finds_contacts_that_were_counted_otherwise():
    known = told()
    then = evaluated(known=known, activity={"action.sent": sent(HOUR)})
    now = evaluated(known=known, activity={})
    assert as_judged_then(now, then).circumstances.contacts == 0

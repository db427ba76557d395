"""A customer's course through a simulation: standing in memory, what falls due, own events."""

from dataclasses import replace
from decimal import Decimal

import pytest

from services.decision.domain.activity import Activity
from services.decision.domain.arbitration import Circumstances
from services.decision.domain.decide import Evaluation
from services.decision.domain.journeys import Passage
from services.decision.domain.ledger import Account
from services.decision.domain.limits import Limits
from services.decision.domain.own_past import SENT, OwnEntry, OwnPast, OwnTrait
from services.decision.domain.proportions import ratio, share
from services.decision.domain.settling import Asked
from services.decision.domain.simulated_course import Course, Moment, PlanDue, StepOfJourneyDue
from services.decision.domain.simulation_funnel import ActionName, Funnel
from services.decision.domain.simulation_limits import LimitedTurns
from services.decision.domain.situation import Situation
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import ActionKind, ActionOutcome, Category, Purpose, RefusalReason
from tests.unit.decision.generators import catalogue
from tests.unit.decision.test_arbitration import NOW, SLOT, offer

ME = Asked((1,))


def decided(course, *candidates, at=NOW, asked=ME, planned=None, sequence=1):
    evaluation = Evaluation((), candidates, Circumstances(at, was_planned=planned is not None))
    return course.decide(asked, evaluation, Moment("d", at, sequence, at), planned)


def outcomes(arbitration):
    return [(action.outcome, action.reason) for action in arbitration.actions]


def test_what_one_decision_used_up_counts_for_the_next_until_it_is_given_back():
    course = Course({}, DAY)
    assert outcomes(decided(course, offer(slot=SLOT))) == [(ActionOutcome.DISPATCHED, None)]
    again = offer(action_id="b", slot=SLOT)
    other = offer("other", category=Category.RETENTION)
    assert outcomes(decided(course, again, other, at=NOW + HOUR)) == [
        (ActionOutcome.REFUSED, RefusalReason.ONCE),
        (ActionOutcome.REFUSED, RefusalReason.OUTRANKED),
    ]
    course.give_back((1,), "a")
    assert outcomes(decided(course, again, at=NOW + HOUR)) == [(ActionOutcome.DISPATCHED, None)]


def test_what_was_taken_before_the_simulated_time_counts():
    account = Account()
    course = Course({1: account}, DAY)
    decided(course, offer(slot=SLOT), at=NOW - DAY)
    known = Course({1: account}, DAY)
    assert outcomes(decided(known, offer(action_id="b", slot=SLOT))) == [
        (ActionOutcome.REFUSED, RefusalReason.ONCE)
    ]


def test_a_planned_action_falls_due_at_its_time_and_keeps_what_led_to_it():
    course = Course({}, DAY)
    later = offer(planned_micros=NOW + 2 * DAY)
    assert outcomes(decided(course, later, sequence=7)) == [(ActionOutcome.PLANNED, None)]
    assert course.next_due(NOW + 2 * DAY - 1) is None
    due = course.next_due(NOW + 2 * DAY)
    assert isinstance(due, PlanDue)
    assert (due.action_id, due.planned.since_micros, due.planned.since_sequence) == ("a", NOW, 7)
    put_off = replace(later, planned_micros=None)
    arbitration = decided(
        course, put_off, at=due.micros, asked=Asked((1,), planned="a"), planned=due.planned, sequence=9
    )
    assert outcomes(arbitration) == [(ActionOutcome.DISPATCHED, None)]
    assert course.next_due(NOW + 100 * DAY) is None


def test_what_falls_due_comes_in_order_of_time():
    course = Course({}, DAY)
    for days in (3, 1, 2):
        decided(course, offer(f"o{days}", category=Category.SERVICE, planned_micros=NOW + days * DAY))
    assert sorted(course.waiting()) == [NOW + days * DAY for days in (1, 2, 3)]
    found = []
    while (due := course.next_due(NOW + 9 * DAY)) is not None:
        found.append(due.action_id)
    assert found == ["o1", "o2", "o3"]


def step(kind, at="", to="", wait=0, reached=0):
    return offer(
        to,
        category=None,
        kind=ActionKind.STEP,
        for_micros=wait,
        action_id=f"{kind}-{at}-{to}",
        journey=Passage(kind, "", at, reached, start="order.activated"),
    )


def test_a_journey_goes_on_from_where_the_customer_stands_and_not_from_elsewhere():
    course = Course({}, DAY)
    decided(course, step("start", to="settle", wait=3 * DAY))
    due = course.next_due(NOW + 3 * DAY)
    assert isinstance(due, StepOfJourneyDue)
    assert (due.due.step, due.due.reached_micros, due.position.due_micros) == ("settle", NOW, NOW + 3 * DAY)
    on = step("due", "settle", "ask", 5 * DAY, reached=NOW)
    decided(course, on, at=due.micros, asked=Asked((1,), due=due.due))
    later = course.waiting()
    assert later == (NOW + 8 * DAY,)
    course.leave((1,), replace(due.due, step="ask", reached_micros=NOW + 3 * DAY))
    assert course.next_due(NOW + 100 * DAY) is None, "who has left is not asked again"


def test_the_funnel_counts_each_stage_and_adds_up_over_processes():
    course, funnel = Course({}, DAY), Funnel()
    funnel.note(decided(course, offer(slot=SLOT), offer("b")).actions, fell_due=False)
    funnel.note(decided(course, offer(slot=SLOT, action_id="c"), at=NOW + HOUR).actions, fell_due=False)
    other = Funnel()
    later = offer("late", category=Category.SERVICE, planned_micros=NOW + DAY)
    other.note(decided(course, later, at=NOW + HOUR).actions, fell_due=False)
    other.note(decided(course, replace(later, planned_micros=None), at=NOW + DAY).actions, fell_due=True)
    funnel.add(other)
    a = funnel.stages[ActionName("set", "a", "offer", "a", "sales")]
    assert (a.asked, a.decided, a.eligible, dict(a.refused)) == (2, 1, 1, {"ONCE": 1})
    b = funnel.stages[ActionName("set", "b", "offer", "b", "sales")]
    assert (b.asked, b.eligible, b.outranked) == (1, 1, 1)
    late = funnel.stages[ActionName("set", "late", "offer", "late", "service")]
    assert (late.asked, late.planned, late.fell_due, late.decided) == (1, 1, 1, 1)
    assert funnel.decisions == 4


def situation(**more):
    return Situation("topup.received", {}, NOW, 9, NOW, NOW, **more)


def test_traits_that_were_set_are_seen_until_they_end_or_something_newer_is_known():
    own = OwnPast(catalogue(), NOW - 30 * DAY)
    own.set("upset", OwnTrait(True, NOW - DAY, NOW + DAY))

    def seen(now=NOW, times=(), **more):
        found = replace(situation(**more), now_micros=now)
        own.over(found, dict(times))
        return found.traits.get("upset")

    assert seen() is True
    assert seen(traits={"upset": False}) is True
    assert seen(traits={"upset": False}, times=[("upset", NOW)]) is False
    assert seen(NOW + DAY) is None
    assert seen(NOW - 2 * DAY) is None


def test_a_trait_that_the_customer_withholds_is_not_seen_though_we_set_it():
    own = OwnPast(catalogue(), NOW - 30 * DAY)
    own.set("churn_risk", OwnTrait(0.9, NOW - DAY))
    open_to_us, withheld = situation(), situation(withheld=frozenset({Purpose.PROFILING_USAGE}))
    own.over(open_to_us, {})
    own.over(withheld, {})
    assert open_to_us.traits.get("churn_risk") == pytest.approx(0.9)
    assert withheld.traits.get("churn_risk") is None


def test_contacts_of_the_simulated_time_are_our_own_and_those_of_others():
    own = OwnPast(catalogue(), NOW - 10 * DAY, foreign=frozenset({(NOW - 3 * DAY, 3)}))
    own.add(SENT, OwnEntry(NOW - 2 * DAY, 4, {"category": "sales", "channel": "sms"}))
    real = Activity(
        times=[NOW - 20 * DAY, NOW - 3 * DAY, NOW - DAY],
        sequences=[1, 3, 6],
        texts={"category": ["service", "sales", "sales"], "channel": ["sms", "sms", "email"]},
    )
    found = situation(activity={SENT: real})
    own.over(found, {})
    sent = found.activity[SENT]
    assert list(sent.times) == [NOW - 20 * DAY, NOW - 3 * DAY, NOW - 2 * DAY]
    assert list(sent.sequences) == [1, 3, 4]
    assert list(sent.texts["channel"]) == ["sms", "sms", "sms"]
    assert SENT in dict(found.activity)


def test_events_that_were_emitted_are_among_the_activity():
    own = OwnPast(catalogue(), NOW - 10 * DAY)
    own.add("topup.received", OwnEntry(NOW - HOUR, 4, {}))
    found = situation()
    own.over(found, {})
    assert list(found.activity["topup.received"].times) == [NOW - HOUR]
    assert found.activity.get("plan.activated") is None


def test_limits_are_handed_out_in_order_of_time():
    turns = LimitedTurns({"set": Limits(per_day=2, budget=Decimal(10))})
    assert turns.take("other", "x", 1.0, None, NOW) is None
    assert turns.take("set", "a", 9.0, None, NOW).at_micros == NOW
    assert turns.take("set", "b", 2.0, None, NOW)[0] is RefusalReason.BUDGET
    assert turns.take("set", "c", 1.0, None, NOW).planned is False
    assert turns.take("set", "d", 0.0, None, NOW)[0] is RefusalReason.BUDGET
    assert turns.take("set", "e", 0.0, None, NOW + DAY).planned is False


def test_a_pace_puts_actions_off():
    turns = LimitedTurns({"set": Limits(per_second=0.5)})
    assert [turns.take("set", str(number), 0.0, None, NOW).at_micros - NOW for number in range(3)] == [
        0,
        2_000_000,
        4_000_000,
    ]
    assert turns.take("set", "late", 0.0, NOW + 3_000_000, NOW)[0] is RefusalReason.EXPIRED


def test_shares_say_how_sure_they_are():
    half = share(50, 100)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.4038, 0.5962), abs=1e-4)
    none = share(0, 20)
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, 0.1611), abs=1e-4)
    assert share(0, 0) is None


def test_ratios_say_how_sure_they_are():
    found = ratio(30, 100, 60, 200)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 0.6927, 1.4437), abs=1e-3)
    assert ratio(0, 100, 60, 200) is None

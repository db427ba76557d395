"""Experiments, `once`, and the ledger of one transaction."""

from dataclasses import replace

import pytest

from services.decision.domain.arbitration import Standing, Won, arbitrate
from services.decision.domain.experiments import HOLDOUT, NO_ARM, arms_for, bucket_of, hashed_arm
from services.decision.domain.ledger import Account, Ledger
from services.decision.domain.once import Slot, Taken, is_free
from services.decision.domain.program import Experiment
from services.vocabulary.values import DAY
from services.vocabulary.words import Category, RefusalReason
from tests.unit.decision.test_arbitration import AT, NOW, SLOT, offer

TEN = Experiment("x", 1_000, {"a": 4_500, "b": 4_500}, None, None)


def test_shares_come_out_as_written():
    arms = [hashed_arm(TEN, customer) for customer in range(20_000)]
    assert arms.count(HOLDOUT) == pytest.approx(2_000, rel=0.1)
    assert arms.count("a") == pytest.approx(9_000, rel=0.05)
    assert arms.count("b") == pytest.approx(9_000, rel=0.05)


def test_what_the_shares_leave_over_is_in_no_arm():
    half = Experiment("x", 0, {"a": 5_000}, None, None)
    assert {hashed_arm(half, customer) for customer in range(100)} == {"a", NO_ARM}


def test_the_same_everywhere_and_independent_between_experiments():
    assert [bucket_of("bill-shock-w1", customer) for customer in (1, 2, 3)] == [1820, 9074, 4729]
    both = sum(
        hashed_arm(TEN, customer) == HOLDOUT == hashed_arm(Experiment("y", 1_000, {}, None, None), customer)
        for customer in range(20_000)
    )
    assert both == pytest.approx(200, rel=0.4)


class Running:
    """As much of a rule set as assignment looks at."""

    def __init__(self, experiment):
        self.experiment = experiment


def test_a_stored_arm_holds_whatever_the_shares_become():
    everyone = Experiment("x", 10_000, {}, None, None)
    assert arms_for([Running(everyone)], 1, {}) == {"x": HOLDOUT}
    assert arms_for([Running(everyone)], 1, {"x": "b"}) == {"x": "b"}
    assert arms_for([Running(everyone)], 1, {"x": NO_ARM}) == {"x": NO_ARM}
    assert arms_for([Running(None)], 1, {"x": "b"}) == {}


def test_a_households_conversation_is_had_by_all_its_members_and_given_back_to_them():
    home = replace(AT, household=77)
    ledger = Ledger({1: Account(), 2: Account(), 77: Account()})
    arbitration = arbitrate((offer("a"),), home, ledger.standing((1,), (77,)))
    ledger.enter(1, arbitration, {})
    assert ledger.won_written == {(1, "a"): NOW, (77, "a"): NOW}
    assert ledger.holders_written == {"a": (77, NOW + DAY)}
    other = arbitrate((offer("b"),), home, ledger.standing((2,), (77,))).actions[0]
    assert (other.reason, other.outranked_by) == (RefusalReason.OUTRANKED, "a")
    assert arbitrate((offer("b"),), AT, ledger.standing((2,))).actions[0].reason is None
    ledger.households = {"a": 77}
    ledger.give_back((1,), "a")
    assert ledger.won_written == {(1, "a"): None, (77, "a"): None}
    assert ledger.holders_written == {"a": None}
    assert arbitrate((offer("b"),), home, ledger.standing((2,), (77,))).actions[0].reason is None


def test_a_households_slot_is_held_longer_than_its_conversation():
    slot = Slot("set", "a", "", 7 * DAY, 77)
    ledger = Ledger({1: Account()})
    ledger.enter(1, arbitrate((offer("a", slot=slot),), replace(AT, household=77), Standing()), {})
    assert ledger.holders_written == {"a": (77, NOW + 7 * DAY)}
    forever = Ledger({1: Account()})
    for_good = offer("a", slot=replace(slot, period_micros=None))
    forever.enter(1, arbitrate((for_good,), replace(AT, household=77), Standing()), {})
    assert forever.holders_written == {"a": (77, 0)}


@pytest.mark.parametrize(
    ("period", "taken", "free"),
    [
        (DAY, None, True),
        (DAY, NOW - DAY, True),
        (DAY, NOW - DAY + 1, False),
        (DAY, NOW + DAY - 1, False),
        (DAY, NOW + DAY, True),
        (None, NOW - 1_000 * DAY, False),
    ],
)
def test_a_slot_is_free_only_a_whole_period_away(period, taken, free):
    slot = Slot("set", "rule", "", period)
    assert is_free(slot, None if taken is None else Taken(taken, ("other",)), NOW) is free


def test_an_action_finds_free_what_it_holds_itself():
    taken = Taken(NOW, ("mine",))
    assert is_free(SLOT, taken, NOW, "mine")
    assert not is_free(SLOT, taken, NOW, "other")


def entered(ledger, customer, *candidates, arms=None):
    arbitration = arbitrate(candidates, AT, ledger.standing((customer,)))
    ledger.enter(customer, arbitration, arms or {})
    return arbitration


def test_the_next_decision_of_a_transaction_sees_what_the_one_before_used_up():
    ledger = Ledger({1: Account()})
    entered(ledger, 1, offer("a", slot=SLOT))
    standing = ledger.standing((1,))
    assert standing.slots == {SLOT.name: Taken(NOW, ("a",))}
    assert standing.won == (Won("a", NOW),)
    assert ledger.slots_written == {(1, SLOT.name): Taken(NOW, ("a",))}


def test_a_slot_held_by_two_is_free_only_when_both_gave_it_back():
    ledger = Ledger({1: Account(slots={SLOT.name: Taken(NOW, ("a", "b"))}, won={"a": NOW})})
    ledger.give_back((1,), "a")
    assert ledger.standing((1,)).slots == {SLOT.name: Taken(NOW, ("b",))}
    assert ledger.standing((1,)).won == ()
    ledger.give_back((1,), "b")
    assert ledger.standing((1,)).slots == {}
    assert ledger.slots_written == {(1, SLOT.name): None}


def test_a_households_slot_is_taken_for_all_of_its_members_and_given_back_for_all():
    shared = Slot("set", "rule", "", 7 * DAY, household=77)
    ledger = Ledger({1: Account(), 2: Account(), 77: Account()})
    first = arbitrate([offer("a", slot=shared)], AT, ledger.standing((1,), (77,)))
    ledger.enter(1, first, {})
    assert ledger.slots_written == {(77, shared.name): Taken(NOW, ("a",))}
    assert ledger.holders_written == {"a": (77, NOW + 7 * DAY)}
    second = arbitrate([offer("b", slot=shared)], AT, ledger.standing((2,), (77,)))
    assert second.actions[0].reason is RefusalReason.ONCE
    assert ledger.standing((2,)).slots == {}
    ledger.households = {"a": 77}
    ledger.give_back((1,), "a")
    assert ledger.slots_written == {(77, shared.name): None}
    assert ledger.holders_written == {"a": None}
    assert ledger.standing((2,), (77,)).slots == {}


def test_of_merged_people_the_latest_slot_all_conversations_and_the_first_arm_count():
    ledger = Ledger(
        {
            1: Account({SLOT.name: Taken(NOW - DAY, ("a",))}, {"a": NOW}, {"x": "one"}),
            2: Account({SLOT.name: Taken(NOW, ("b",))}, {"b": NOW - 1}, {"x": "two", "y": "two"}),
        }
    )
    assert ledger.standing((1, 2)) == Standing(
        {SLOT.name: Taken(NOW, ("b",))}, (Won("a", NOW), Won("b", NOW - 1)), {"x": "one", "y": "two"}
    )


def test_an_arm_is_kept_once_it_could_have_mattered():
    ledger = Ledger({1: Account()})
    entered(ledger, 1, offer("a", Category.SERVICE, experiment="x"), arms={"x": "one"})
    assert ledger.arms_written == {}
    entered(ledger, 1, offer("b", experiment="x"), arms={"x": "one"})
    assert ledger.arms_written == {(1, "x"): "one"}

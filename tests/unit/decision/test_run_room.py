"""What a run finds of its rule set's own limits, and how fast it is seen to go."""

from dataclasses import replace
from decimal import Decimal

import pytest

from services.decision.domain.limits import Limits
from services.decision.domain.occasions import Called
from services.decision.domain.run_pace import end_of, marked, rate
from services.decision.domain.run_room import Room, Spent, Wait, own_room
from services.decision.domain.triggers import NO_AUDIENCE, Schedule
from services.vocabulary.values import DAY, SECOND

SCHEDULE = Schedule(540, frozenset(), None, "UTC", NO_AUDIENCE)
CALLED = Called(
    "autumn", 1, SCHEDULE, DAY, None, None, 5.0, limits=Limits(5.0, 100, Decimal(20)), least_cost=2.5
)


@pytest.mark.parametrize(
    ("spent", "waits"),
    [
        (Spent(), None),
        (Spent(Decimal("17.50"), 99), None),
        (Spent(Decimal("17.51"), 99), Wait.BUDGET),
        (Spent(Decimal(0), 100), Wait.BUDGET),
    ],
)
def test_a_run_waits_when_nothing_of_its_rule_set_fits_into_a_limit(spent, waits):
    found = own_room(CALLED, spent)
    assert found.waits is waits
    assert found.per_second == (None if waits else 5.0)


@pytest.mark.parametrize(
    ("spent", "most"),
    [
        (Spent(), 8),  # of 2.50, out of 20
        (Spent(Decimal(10), 98), 2),
        (Spent(Decimal(10), 90, asked=3), 1),
        (Spent(Decimal(10), 90, asked=4), None),
    ],
)
def test_nobody_is_asked_for_whom_nothing_would_be_left(spent, most):
    found = own_room(CALLED, spent)
    assert (found.most, found.waits) == (most, None if most else Wait.BUDGET)


@pytest.mark.parametrize("least_cost", [None, 0.0])
def test_an_action_that_costs_nothing_or_a_formula_fits_into_a_spent_budget(least_cost):
    assert own_room(replace(CALLED, least_cost=least_cost), Spent(Decimal(20))).waits is None


def test_of_two_paces_the_slower_counts():
    assert Room(per_second=2.0).paced(5.0).per_second == 2.0
    assert Room(per_second=5.0).paced(2.0).per_second == 2.0
    assert Room().paced(None).per_second is None


def test_the_rate_is_that_of_the_last_half_minute_to_minute():
    marks = ()
    now, asked = 10 * SECOND, 0
    for _ in range(100):  # 10 a second, then 2 a second
        asked += 10
        marks = marked(marks, now, asked)
        now += SECOND
    assert rate(marks, now - SECOND, asked) == 10
    for _ in range(90):
        asked += 2
        marks = marked(marks, now, asked)
        now += SECOND
    assert rate(marks, now - SECOND, asked) == 2
    assert rate((), now, asked) == 0
    assert rate(marked((), now, 500), now, 500) == 0  # nobody was asked since


def test_the_end_is_told_from_what_is_left_and_the_rate():
    assert end_of(asked=300, walked=0.25, per_second=9, now_micros=SECOND) == SECOND + 100 * SECOND
    for asked, walked, per_second in ((0, 0.5, 9), (300, 0.0, 9), (300, 1.0, 9), (300, 0.5, 0)):
        assert end_of(asked, walked, per_second, 0) is None

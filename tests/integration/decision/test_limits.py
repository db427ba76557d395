"""Limits hold exactly, whoever decides at the same time, and what was refused after all is given back."""

import asyncio
from decimal import Decimal

import pytest

from services.decision.adapters.standings import StandingStore
from services.decision.domain.limits import Limits
from services.decision.main import MIGRATIONS
from services.vocabulary.words import RefusalReason
from tests.integration.decision.conftest import HOUR, NOON, event, snapshot
from tests.integration.decision.test_worker import (
    DAY,
    DISPATCHED,
    PLANNED,
    REFUSED,
    due_pairs,
    outcomes,
    refused_by_channel,
)

SECOND = 1_000_000
RULE_SET = """
ruleset: gift
active: {from: 2026-01-01}
trigger: topup.received
limits: %s
rules:
  - id: give
    do: {survey: ces-after-care, category: survey, cost: 1.20%s}
"""
BUDGET = RefusalReason.BUDGET


async def live(make_worker, limits, more=""):
    worker = make_worker()
    await worker.install(RULE_SET % (limits, more))
    return worker


def topup(customer, at=NOON, name="e"):
    taken = event(
        "topup.received",
        event_id=f"{name}{customer}",
        customer=customer,
        at=at,
        data={"amount": {"amount": "5.00", "currency": "EUR"}},
    )
    return taken, snapshot(customer)


async def came_of(worker):
    """How many decisions came to each outcome."""
    found = {}
    for one in await worker.decided(size=200):
        (action,) = one.actions
        key = (action.outcome, action.reason)
        found[key] = found.get(key, 0) + 1
    return found


@pytest.mark.parametrize(("limits", "passes"), [("{per day: 5}", 5), ("{budget: 7 EUR}", 5)])
async def test_of_many_that_come_at_once_exactly_as_many_pass_as_may(
    make_worker, make_database, limits, passes
):
    url = make_database(MIGRATIONS)
    workers = [make_worker(url=url) for _ in range(2)]
    await workers[0].install(RULE_SET % (limits, ""))
    for worker in workers[1:]:
        await worker.follow.refresh()
    await asyncio.gather(
        *(workers[customer % 2].take(topup(customer), key=f"k{customer}") for customer in range(1, 17))
    )
    assert await came_of(workers[0]) == {(DISPATCHED, None): passes, (REFUSED, BUDGET): 16 - passes}
    assert len(await workers[0].actions()) == passes
    assert await workers[0].count("limit_use") == passes


async def test_the_next_day_begins_anew_and_a_budget_does_not(make_worker):
    worker = await live(make_worker, "{per day: 1, budget: 2.40 EUR}")
    for number in range(3):
        at = NOON + number * DAY
        worker.clock.advance_to(at)
        await worker.take(topup(1, at, f"a{number}"), topup(2, at, f"b{number}"))
    found = [(action.outcome, action.reason) for one in await worker.decided() for action in one.actions]
    first, second = (DISPATCHED, None), (REFUSED, BUDGET)
    assert found == [first, second, first, second, second, second]


async def test_what_the_channel_refuses_is_given_back_once(make_worker):
    worker = await live(make_worker, "{per day: 1, budget: 1.20 EUR}")
    await worker.take(topup(1))
    (action,) = await worker.actions()
    for name in ("r1", "r2"):
        await worker.take((refused_by_channel(action.action_id, event_id=name, customer=1), None))
    await worker.take(topup(2), topup(3))
    assert await came_of(worker) == {(DISPATCHED, None): 2, (REFUSED, BUDGET): 1}


async def test_a_pace_plans_what_must_wait_and_each_is_said_at_its_turn(make_worker):
    worker = await live(make_worker, "{pace: 1/s, per day: 4}")
    await worker.take(*(topup(customer) for customer in range(1, 7)))
    found = [outcomes(one)["give"] for one in await worker.decided()]
    assert found == [(DISPATCHED, None)] * 2 + [(PLANNED, None)] * 2 + [(REFUSED, BUDGET)] * 2
    planned = [
        action.candidate.planned_micros
        for one in await worker.decided()
        for action in one.actions
        if action.outcome is PLANNED
    ]
    assert planned == [NOON + 2 * SECOND, NOON + 3 * SECOND]
    await worker.own_events()
    worker.clock.advance_to(NOON + 2 * SECOND)
    assert await worker.due.take_due() == 1
    pairs = await due_pairs(worker, snapshot(3))
    await worker.take(*pairs)
    last = (await worker.decided())[-1]
    assert (last.customer, outcomes(last)["give"]) == (3, (DISPATCHED, None))
    assert await worker.count("limit_use") == 4
    why = await worker.look_back.explain(last.decision_id, "")
    assert why.reproduced
    for one in await worker.decided():
        assert (await worker.look_back.explain(one.decision_id, "")).reproduced


async def test_what_fell_due_waits_for_its_turn_too_and_comes_back(make_worker):
    worker = await live(make_worker, "{pace: 1/h}", ", after: 1h, unless: [complaint.opened happened]")
    await worker.take(*(topup(customer) for customer in (1, 2)))
    await worker.own_events()
    worker.clock.advance_to(NOON + HOUR)
    assert await worker.due.take_due() == 2
    pairs = await due_pairs(worker, snapshot(1))
    await worker.take(*pairs)
    found = [outcomes(one)["give"] for one in (await worker.decided())[2:]]
    assert found == [(DISPATCHED, None), (PLANNED, None)]
    await worker.own_events()
    worker.clock.advance_to(NOON + 2 * HOUR)
    assert await worker.due.take_due() == 1
    again = await due_pairs(worker, snapshot(2))
    assert again[0][0].id not in {taken.id for taken, _ in pairs}
    await worker.take(*again)
    assert outcomes((await worker.decided())[-1])["give"] == (DISPATCHED, None)
    async with worker.database.transaction() as transaction:
        assert await worker.decisions.count_plans(transaction, NOON + DAY) == (0, 0)


async def test_a_planned_action_whose_reason_has_gone_gives_its_place_back(make_worker):
    worker = await live(make_worker, "{pace: 1/s, per day: 3}")
    await worker.take(*(topup(customer) for customer in (1, 2, 3)))
    await worker.own_events()
    await worker.install((RULE_SET % ("{pace: 1/s, per day: 3}", "")).replace("id: give", "id: other"))
    worker.clock.advance_to(NOON + 2 * SECOND)
    await worker.due.take_due()
    await worker.take(*await due_pairs(worker, snapshot(3)))
    assert outcomes((await worker.decided())[-1]) == {"give": (REFUSED, RefusalReason.KILLED)}
    async with worker.database.transaction() as transaction:
        standings = StandingStore(worker.journeys)
        ledger = await standings.read(transaction, [1], 0, 1)
        await standings.read_limits(transaction, ledger, ["gift"], NOON)
    (room,) = ledger.rooms({"gift": Limits()}, NOON, ()).values()
    assert (sum(room.days.values()), room.spent) == (2, Decimal("2.4"))

"""Calls at planned times: the plan, and latencies that count from it."""

import asyncio

from bench.decide_rules import count_rules
from bench.open_loop import Latencies, call_as_planned, plan_arrivals


def test_the_plan_has_so_many_calls_in_order_and_is_the_same_for_a_seed():
    plan = plan_arrivals(300, 2.0, seed=7)
    assert len(plan) == 600
    assert plan == sorted(plan)
    assert 0.0 <= plan[0] <= plan[-1] <= 2.0
    assert plan == plan_arrivals(300, 2.0, seed=7)
    assert plan != plan_arrivals(300, 2.0, seed=8)


async def test_a_call_that_waits_for_nothing_is_made_at_its_time_whatever_the_others_do():
    answered = asyncio.Event()
    order = []

    async def call(place):
        order.append(place)
        if place == 0:
            await answered.wait()  # the first is answered only once the last was sent
        if place == 2:
            answered.set()

    found = await call_as_planned([0.0, 0.0, 0.0], call)
    assert order == [0, 1, 2]
    assert len(found.seconds) == 3


async def test_a_latency_counts_from_when_the_call_was_due_not_from_when_it_was_sent():
    async def call(_place):
        return

    # due a second ago: as if the caller had been held up for that long
    found = await call_as_planned([-1.0], call)
    assert found.seconds[0] >= 1.0


async def test_a_call_that_fails_is_counted_and_has_no_latency():
    async def call(place):
        if place == 1:
            raise ConnectionError

    found = await call_as_planned([0.0, 0.0, 0.0], call)
    assert found.failed == 1
    assert len(found.seconds) == 2


def test_percentiles_are_told_in_milliseconds():
    assert Latencies(tuple(n / 1000 for n in range(1, 101)), 0).millis(99) == 99.0


def test_there_are_as_many_rules_as_the_figures_say():
    assert count_rules() == 200

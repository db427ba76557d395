"""Campaigns over a real database: volume, money, rate and the care desk, exact under concurrency."""

import asyncio
from dataclasses import replace

from services.channel.app.ports import HandOver, Rendered
from services.channel.domain.campaigns import Campaign, Campaigns, Limit, Measure, Span
from services.channel.domain.caps import Cap
from services.channel.domain.controls import CareLoad, CareQueue, Controls
from services.channel.domain.policies import Policies
from services.vocabulary.values import DAY, HOUR, MINUTE, SECOND
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import NOON, always, make_action
from tests.integration.channel.conftest import MakeRoad, Road

CENT = 10_000
PLANNED, REFUSED, DEFERRED = MessageState.PLANNED, MessageState.REFUSED, MessageState.DEFERRED
CALLS = CareQueue("calls", slow_above=50, slow_to=1.0, stop_above=200)


def volume(most: int, span: Span = Span.TOTAL, window: int = 0) -> Limit:
    return Limit(Measure.MESSAGES, most, span, window)


def policies(*campaigns: Campaign, caps: tuple[Cap, ...] = (), **kwargs: object) -> Policies:
    costs = {Channel.SMS: 5 * CENT}
    defined = Campaigns(campaigns, costs, "EUR", {"calls": CALLS}, "Europe/Paris")
    return Policies(caps=caps, campaigns=defined, **kwargs)  # type: ignore[arg-type]


def campaign(*limits: Limit, name: str = "autumn", **kwargs: object) -> Campaign:
    return Campaign(name, names=frozenset({"autumn"}), limits=limits, **kwargs)  # type: ignore[arg-type]


def sales(number: int, customer: int = 0, **kwargs: object):
    kwargs = {"category": Category.SALES, "name": "autumn", **kwargs}
    return make_action(number, customer or number + 1, **kwargs)  # type: ignore[arg-type]


async def use(road: Road, name: str = "autumn") -> tuple[int, int]:
    """Messages and cost as the totals say; the buckets say the same."""
    totals = await road.rows("SELECT count, cost_micros FROM campaign_use WHERE name = %s", (name,))
    sums = await road.rows(
        "SELECT sum(count)::bigint, sum(cost_micros)::bigint FROM campaign_bucket WHERE name = %s", (name,)
    )
    assert totals == sums
    return totals[0][0], totals[0][1]


async def test_twenty_writers_against_a_volume_of_seven_let_seven_pass(make_road: MakeRoad) -> None:
    road = make_road(policies(campaign(volume(7)), campaign(name="also")))
    admissions = [road.another_admission() for _ in range(20)]
    taken = await asyncio.gather(
        *(road.take(sales(number), admission=one) for number, one in enumerate(admissions))
    )
    states = [batch[0].message.state for batch in taken]
    assert (states.count(PLANNED), states.count(REFUSED)) == (7, 13)
    assert (await use(road), await use(road, "also")) == ((7, 35 * CENT), (7, 35 * CENT))
    refused = next(batch[0].message for batch in taken if batch[0].message.state is REFUSED)
    stored = await road.stored(refused)
    assert (stored.reason, stored.detail) == (
        RefusalReason.BUDGET,
        "campaign autumn: 7 of at most 7 messages in all",
    )
    passed = await road.stored(next(batch[0].message for batch in taken if batch[0].message.state is PLANNED))
    assert (passed.campaign, passed.cost_micros) == ("also autumn", 5 * CENT)


async def test_a_budget_is_never_passed_and_counts_segments(make_road: MakeRoad) -> None:
    road = make_road(policies(campaign(Limit(Measure.MONEY, 62 * CENT))))
    render = road.renderer.render

    def long(wanted) -> Rendered:
        said = render(wanted)
        assert isinstance(said, Rendered)
        return replace(said, segments=3)

    road.renderer.render = long  # type: ignore[method-assign]
    admissions = [road.another_admission() for _ in range(6)]
    taken = await asyncio.gather(
        *(
            road.take(*(sales(10 * number + place) for place in range(3)), admission=one)
            for number, one in enumerate(admissions)
        )
    )
    states = [one.message.state for batch in taken for one in batch]
    assert states.count(PLANNED) == 4
    assert await use(road) == (4, 60 * CENT)
    refused = next(one.message for batch in taken for one in batch if one.message.state is REFUSED)
    assert refused.detail == "campaign autumn: 0.6 of at most 0.62 in all, and this costs 0.15"


async def test_a_day_ends_at_midnight_of_the_operator_and_a_window_slides(make_road: MakeRoad) -> None:
    both = (volume(1, Span.DAY), volume(2, Span.WINDOW, 36 * HOUR))
    road = make_road(policies(campaign(*both)))
    road.clock.now = NOON + 9 * HOUR + 59 * MINUTE  # 23:59 in Paris in September
    assert (await road.take_one(sales(1))).state is PLANNED
    refused = await road.take_one(sales(2))
    assert (refused.reason, refused.detail) == (
        RefusalReason.BUDGET,
        "campaign autumn: 1 of at most 1 messages a day in Europe/Paris",
    )
    road.clock.now = NOON + 10 * HOUR
    assert (await road.take_one(sales(3))).state is PLANNED
    road.clock.now += DAY
    refused = await road.take_one(sales(4))
    assert refused.detail == "campaign autumn: 2 of at most 2 messages in 36h"
    road.clock.now = NOON + 46 * HOUR + 5 * MINUTE  # the first has left, and its five minutes with it
    assert (await road.take_one(sales(5))).state is PLANNED
    # service messages wait for their day
    waiting = await road.take_one(sales(6, category=Category.SERVICE))
    assert (waiting.state, waiting.reason, waiting.due_micros) == (
        DEFERRED,
        RefusalReason.BUDGET,
        NOON + 58 * HOUR,
    )


async def test_a_refused_one_consumes_nothing_and_one_that_fails_gives_back(make_road: MakeRoad) -> None:
    everybody = frozenset(Category)
    caps = (Cap("day", 1, DAY, everybody, everybody),)
    road = make_road(policies(campaign(volume(2), Limit(Measure.MONEY, 50 * CENT)), caps=caps))
    assert (await road.take_one(sales(1, 1))).state is PLANNED
    assert (await road.take_one(sales(2, 1))).reason is RefusalReason.CAPPED
    assert await use(road) == (1, 5 * CENT)
    road.transport.answer = always(HandOver.PERMANENT)
    await road.sender.turn()
    assert await use(road) == (0, 0)
    for number in (3, 4):
        assert (await road.take_one(sales(number))).state is PLANNED
    assert (await road.take_one(sales(5, 50))).reason is RefusalReason.BUDGET
    assert (await road.slots(), await use(road)) == (2, (2, 10 * CENT))


async def test_mandatory_messages_are_counted_and_never_refused(make_road: MakeRoad) -> None:
    road = make_road(policies(campaign(volume(0), Limit(Measure.MONEY, 0))))
    notice = {"category": Category.MANDATORY, "template": "surcharge-notice"}
    assert (await road.take_one(sales(1, **notice))).state is PLANNED
    assert (await road.take_one(sales(2))).reason is RefusalReason.BUDGET
    assert await use(road) == (1, 5 * CENT)


async def test_a_burst_is_spread_at_the_campaigns_rate_and_nothing_is_lost(make_road: MakeRoad) -> None:
    road = make_road(policies(campaign(per_second=0.5)))
    taken = await road.take(*(sales(number) for number in range(5)))
    states = [one.message.state for one in taken]
    assert (states.count(PLANNED), states.count(DEFERRED)) == (1, 4)
    waiting = [one.message for one in taken if one.message.state is DEFERRED]
    assert {message.reason for message in waiting} == {RefusalReason.RATE_LIMITED}
    assert waiting[0].detail == "campaign autumn goes at 0.5 a second"
    waits = sorted((message.due_micros - NOON) // SECOND for message in waiting)
    assert [round(one - waits[0]) for one in waits] == [0, 2, 4, 6]
    assert await use(road) == (1, 5 * CENT)
    # another batch lines up behind them; those of no campaign pass
    later = await road.take(sales(10), sales(11, name="other"))
    assert [one.message.state for one in later] == [DEFERRED, PLANNED]
    assert later[0].message.due_micros > waiting[-1].due_micros


async def test_what_was_granted_and_not_used_is_there_for_the_next(make_road: MakeRoad) -> None:
    road = make_road(policies(campaign(volume(1), per_second=0.001)))
    none = await road.take_one(sales(1, channels=(Channel.PUSH,)))  # no address
    assert none.reason is RefusalReason.NO_ADDRESS
    assert (await road.take_one(sales(2))).state is PLANNED


def reported(depth: int, at: int = NOON, valid: int = HOUR) -> Controls:
    return Controls(loads={"calls": CareLoad("calls", depth, at, valid)})


async def test_campaigns_that_cause_calls_go_as_the_care_desk_can_take_them(make_road: MakeRoad) -> None:
    road = make_road(policies(campaign(care_queue="calls"), controls=reported(50)))

    async def states(first: int) -> list[MessageState]:
        return [one.message.state for one in await road.take(*(sales(first + place) for place in range(3)))]

    assert await states(0) == [PLANNED] * 3
    road.policies = replace(road.policies, controls=reported(51))
    assert sorted(await states(10)) == [DEFERRED, DEFERRED, PLANNED]
    road.policies = replace(road.policies, controls=reported(201))
    held = await road.take_one(sales(20))
    assert (held.state, held.reason) == (DEFERRED, RefusalReason.RATE_LIMITED)
    assert held.detail == "care queue calls has 201 waiting, over 200; campaigns that cause calls are stopped"
    assert held.due_micros >= NOON + MINUTE
    service = await road.take_one(sales(21, category=Category.SERVICE))
    assert service.state is PLANNED
    assert (await road.take_one(sales(22, name="other"))).state is PLANNED
    # what was planned before is stopped at the hand-over, and gives its place back
    before, _ = await use(road)
    await road.sender.turn()
    assert {message.name for message in road.transport.sent} == {"other", "autumn"}
    assert len(road.transport.sent) == 2
    assert (await use(road))[0] == before - 4
    road.policies = replace(road.policies, controls=reported(0, NOON + 2 * HOUR))
    road.clock.now += 2 * HOUR
    while await road.due():
        pass
    assert {(await road.stored(held)).state} == {PLANNED}


async def test_a_figure_that_is_too_old_counts_as_a_full_queue_and_says_so(make_road: MakeRoad) -> None:
    road = make_road(policies(campaign(care_queue="calls"), controls=reported(3, valid=10 * MINUTE)))
    road.clock.now += 10 * MINUTE
    held = await road.take_one(sales(1))
    assert held.state is DEFERRED
    assert held.detail == (
        "care queue calls has no known depth: the last figure counted until 2026-09-21T12:10:00Z; "
        "campaigns that cause calls are stopped"
    )

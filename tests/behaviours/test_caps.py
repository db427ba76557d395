"""Behaviours 1 to 7: frequency caps.

1  test_01_above_the_threshold_the_refusal_records_cap_threshold_and_count
2  test_02_of_twenty_at_once_against_a_cap_of_one_exactly_one_passes
3  test_03_of_several_windows_all_must_have_room_and_a_refused_one_consumes_nothing
4  test_04_caps_count_per_person_over_all_rule_sets_and_replicas
   test_04_caps_count_per_channel_per_category_and_in_total
5  test_05_over_a_cap_sales_is_dropped_and_told
   test_05_over_a_cap_service_waits_and_is_decided_again
6  test_06_the_state_of_a_cap_survives_a_restart
   test_06_a_permanent_failure_gives_its_slot_back_and_a_retry_takes_no_second
7  test_07_with_one_slot_left_the_higher_priority_gets_it
   test_07_the_last_slots_are_kept_for_what_matters_more
   test_07_a_blocked_sender_does_not_hold_up_others
"""

import asyncio
from dataclasses import replace

from services.channel.app.ports import HandOver
from services.channel.domain.caps import Cap, Reserve
from services.channel.domain.contact import Permission, Reach
from services.channel.domain.policies import Policies
from services.channel.entrypoints.loops import SenderLoop
from services.vocabulary.values import DAY, HOUR, MINUTE
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.behaviours.conftest import MakeReplicas
from tests.fakes.channel import NOON, SetTransport, always, make_action, reachable
from tests.integration.channel.conftest import MakeRoad, Road

COMMERCIAL = frozenset({Category.SALES, Category.RETENTION})
PLANNED, REFUSED = MessageState.PLANNED, MessageState.REFUSED


def cap(name: str, most: int, window: int = DAY, **kwargs: object) -> Cap:
    limits = kwargs.pop("limits", COMMERCIAL)
    counts = kwargs.pop("counts", limits)
    return Cap(name, most, window, limits, counts, **kwargs)  # type: ignore[arg-type]


def sales(number: int | str, customer: int = 1, **kwargs: object):
    return make_action(number, customer, **({"category": Category.SALES} | kwargs))  # type: ignore[arg-type]


async def states(road: Road, *actions) -> list[MessageState]:
    """What becomes of actions that come one by one."""
    return [(await road.take_one(action)).state for action in actions]


async def test_01_above_the_threshold_the_refusal_records_cap_threshold_and_count(
    make_road: MakeRoad,
) -> None:
    road = make_road(Policies(caps=(cap("commercial-day", 3), cap("commercial-week", 9, 7 * DAY))))
    below = await states(road, *(sales(number) for number in range(3)))
    await road.sender.turn()
    assert below == [PLANNED] * 3
    assert len(road.transport.sent) == 3  # below it everything leaves

    above = await road.take_one(sales(3))
    stored = await road.stored(above)
    assert (stored.state, stored.reason) == (REFUSED, RefusalReason.CAPPED)
    assert stored.detail == "cap commercial-day: 3 of at most 3 in 1d"


async def test_02_of_twenty_at_once_against_a_cap_of_one_exactly_one_passes(
    make_replicas: MakeReplicas,
) -> None:
    roads = make_replicas(4, Policies(caps=(cap("day", 1),)))
    taken = await asyncio.gather(*(roads[number % 4].take(sales(number)) for number in range(20)))
    found = [batch[0].message.state for batch in taken]
    assert (found.count(PLANNED), found.count(REFUSED)) == (1, 19)
    assert await roads[0].slots() == 1


async def test_03_of_several_windows_all_must_have_room_and_a_refused_one_consumes_nothing(
    make_road: MakeRoad,
) -> None:
    road = make_road(Policies(caps=(cap("minute", 5, MINUTE), cap("hour", 9, HOUR))))
    first = await states(road, *(sales(number) for number in range(8)))
    assert [state.value for state in first] == ["planned"] * 5 + ["refused"] * 3
    road.clock.now += MINUTE
    second = await states(road, *(sales(number) for number in range(8, 14)))
    # had the three that were refused counted for the hour, only one would pass
    assert [state.value for state in second] == ["planned"] * 4 + ["refused"] * 2
    assert await road.slots() == 9
    last = await road.stored((await road.take_one(sales(14))).message_id)
    assert last.detail == "cap hour: 9 of at most 9 in 1h"
    road.clock.now = NOON + HOUR
    assert await states(road, sales(15)) == [PLANNED]  # the first five have left the hour


async def test_04_caps_count_per_person_over_all_rule_sets_and_replicas(make_replicas: MakeReplicas) -> None:
    here, there = make_replicas(2, Policies(caps=(cap("day", 2),)))
    here.profile.reaches |= {1: reachable(1, merged=(2,)), 2: reachable(2, merged=(1,))}
    mine = replace(sales(1), rule_set="save-a-customer")
    assert await states(here, mine) == [PLANNED]
    other_id = replace(sales(2, customer=2), rule_set="upsell", rule="two")
    assert await states(there, other_id) == [PLANNED]  # the same person by another id
    assert await states(here, sales(3)) == [REFUSED]
    assert await states(there, sales(4, customer=2)) == [REFUSED]
    assert await states(there, sales(5, customer=3)) == [PLANNED]  # somebody else


async def test_04_caps_count_per_channel_per_category_and_in_total(make_road: MakeRoad) -> None:
    everything = frozenset({*COMMERCIAL, Category.SURVEY})
    road = make_road(
        Policies(
            caps=(
                cap("sms", 1, limits=everything, channels=frozenset({Channel.SMS})),
                cap("surveys", 1, limits=frozenset({Category.SURVEY})),
                cap("total", 3, limits=everything),
            )
        )
    )
    email = (Channel.EMAIL,)
    survey = {"category": Category.SURVEY, "channels": email}
    retention = {"category": Category.RETENTION, "channels": email}
    attempts = [
        (sales("a", **survey), ""),
        (sales("b", **survey), "cap surveys: 1 of at most 1 in 1d"),
        (sales("c"), ""),  # the survey went by mail, and is none of sales
        (sales("d"), "cap sms: 1 of at most 1 in 1d"),
        (sales("e", **retention), ""),
        (sales("f", **retention), "cap total: 3 of at most 3 in 1d"),
    ]
    said = [(await road.take_one(action)).detail for action, _ in attempts]
    assert said == [expected for _, expected in attempts]
    assert await road.slots() == 3


async def test_05_over_a_cap_sales_is_dropped_and_told(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap("day", 1),)))
    await road.take_one(sales(1))
    dropped = await road.take_one(sales(2))
    await road.sender.turn()
    road.clock.now += 30 * DAY
    assert await road.due() == 0
    await road.sender.turn()
    assert [one.message_id for one in road.transport.sent] != [dropped.message_id]
    assert len(road.transport.sent) == 1  # never sent anyway
    assert await road.steps(dropped) == ["accepted", "refused"]
    ((event, fields),) = [one for one in await road.events() if one[0].type == "action.refused"]
    assert (fields["message"], fields["reason"]) == (dropped.message_id, "CAPPED")  # never lost silently
    assert event.customer == 1


async def test_05_over_a_cap_service_waits_and_is_decided_again(make_road: MakeRoad) -> None:
    service = frozenset({Category.SERVICE})
    road = make_road(Policies(caps=(cap("hour", 1, HOUR, limits=service),)))
    await road.take_one(make_action(1))
    waiting = await road.take_one(make_action(2))
    refused_then = await road.take_one(make_action(3))
    assert (waiting.state, waiting.reason) == (MessageState.DEFERRED, RefusalReason.CAPPED)
    assert await road.slots() == 1
    road.clock.now += HOUR
    await road.due()
    found = sorted([(await road.stored(one)).state.value for one in (waiting, refused_then)])
    assert found == ["deferred", "planned"]  # decided again: there is room for one of the two only
    road.profile.reaches[1] = Reach(
        True, 0, {Channel.SMS: Permission(False, RefusalReason.NO_CONSENT, "sms-address-1")}
    )
    road.clock.now += HOUR
    await road.due()
    found = sorted([(await road.stored(one)).state.value for one in (waiting, refused_then)])
    assert found == ["planned", "refused"]  # the other is not said when it is no longer allowed


async def test_06_the_state_of_a_cap_survives_a_restart(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap("day", 1),)))
    await road.take_one(sales(1))
    after = Road(road.database, road.policies, road.clock)
    assert await states(after, sales(2)) == [REFUSED]


async def test_06_a_permanent_failure_gives_its_slot_back_and_a_retry_takes_no_second(
    make_road: MakeRoad,
) -> None:
    road = make_road(Policies(caps=(cap("day", 2),)))
    await road.take_one(sales(1))
    road.transport.answer = always(HandOver.TRANSIENT)
    for _ in range(3):
        await road.sender.turn()
        road.clock.wall += 60_000_000
    assert len(road.transport.sent) == 3  # tried three times
    assert await road.slots() == 1
    road.transport.answer = always(HandOver.PERMANENT)
    await road.sender.turn()
    assert await road.slots() == 0
    assert await states(road, sales(2), sales(3), sales(4)) == [PLANNED, PLANNED, REFUSED]


async def test_07_with_one_slot_left_the_higher_priority_gets_it(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap("day", 1),)))
    taken = await road.take(*(sales(number, priority=number) for number in (1, 3, 2)))
    assert [one.message.state for one in taken] == [REFUSED, PLANNED, REFUSED]


async def test_07_the_last_slots_are_kept_for_what_matters_more(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap("day", 3, reserve=Reserve(1, from_priority=80)),)))
    assert await states(road, sales(1), sales(2), sales(3)) == [PLANNED, PLANNED, REFUSED]
    assert await states(road, sales(4, priority=79), sales(5, priority=80)) == [REFUSED, PLANNED]
    assert await states(road, sales(6, priority=100)) == [REFUSED]  # the cap itself holds for everybody


async def test_07_a_blocked_sender_does_not_hold_up_others(road: Road) -> None:
    mail = SetTransport(Channel.EMAIL, "mail")
    stuck = asyncio.get_running_loop().create_future()
    road.transport.before_answer = lambda _: stuck
    loops = [SenderLoop(road.sender), SenderLoop(road.another_sender(mail))]
    await road.take(make_action(1), make_action(2, channels=(Channel.EMAIL,)))
    running = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        async with asyncio.timeout(10):
            while not mail.sent:  # noqa: ASYNC110 - the other sender works in the background
                await asyncio.sleep(0.01)
        assert not stuck.done()
        assert len(road.transport.sent) == 1
    finally:
        stuck.set_result(None)
        for loop in loops:
            loop.stop()
        await asyncio.gather(*running)

"""Rates that hold for all processes together, on the database's own clock."""

import asyncio
import time

from services.channel.domain.rate import Grant, Pace, Wish
from services.vocabulary.words import Category, MessageState
from tests.fakes.channel import make_action, reachable
from tests.integration.channel.conftest import Road

_SLOW = Pace("domain:example.org", 0.001, 5)


async def take(road: Road, pace: Pace, count: int, queued: int = 0) -> Grant:
    async with road.store.transaction() as tx:
        return (await tx.take_rates([Wish(pace, count, queued)]))[pace.name]


async def passes(road: Road, seconds: float) -> None:
    """So much time goes by for every rate."""
    async with road.database.transaction() as raw:
        await raw.execute(
            "UPDATE rate SET free_nanos = free_nanos - %(n)s, queue_nanos = queue_nanos - %(n)s",
            {"n": int(seconds * 1e9)},
        )


async def test_eight_takers_at_once_never_get_more_than_the_rate_gives(road: Road) -> None:
    pace = Pace("provider:sms", 200, 50)
    began = time.monotonic()

    async def keep_taking() -> int:
        return sum([(await take(road, pace, 7)).granted for _ in range(12)])

    granted = sum(await asyncio.gather(*(keep_taking() for _ in range(8))))
    assert 50 <= granted <= 50 + 200 * (time.monotonic() - began)


async def test_time_gives_room_up_to_the_burst_and_says_when(road: Road) -> None:
    assert (await take(road, _SLOW, 9)).granted == 5
    empty = await take(road, _SLOW, 1)
    assert empty.granted == 0
    assert 999_000_000 <= empty.wait_micros <= 1_000_000_000
    await passes(road, 1000)
    assert (await take(road, _SLOW, 9)).granted == 1
    await passes(road, 1_000_000)  # nothing beyond the burst is saved up
    assert (await take(road, _SLOW, 9)).granted == 5


async def test_what_was_not_used_is_given_back(road: Road) -> None:
    assert (await take(road, _SLOW, 5)).granted == 5
    await take(road, _SLOW, -3)
    assert (await take(road, _SLOW, 5)).granted == 3


async def test_a_clock_that_was_set_back_stops_nobody_for_as_long(road: Road) -> None:
    assert (await take(road, _SLOW, 5)).granted == 5
    await passes(road, -86_400)
    assert (await take(road, _SLOW, 1)).wait_micros <= 1_000_000_000
    await passes(road, 1000)
    assert (await take(road, _SLOW, 1)).granted == 1


async def test_several_are_asked_in_one_statement_whatever_their_order(road: Road) -> None:
    paces = [Pace(f"domain:{name}.example", 0.001, 2) for name in "cab"]

    async def ask(listed: list[Pace]) -> int:
        async with road.store.transaction() as tx:
            grants = await tx.take_rates([Wish(pace, 1) for pace in listed])
        return sum(grant.granted for grant in grants.values())

    counts = await asyncio.gather(*(ask(paces[turn:] + paces[:turn]) for turn in (0, 1, 2, 0, 1, 2)))
    assert sum(counts) == 6  # two of each, and none waited for another in a ring


async def test_those_who_line_up_come_after_all_who_did_before(road: Road) -> None:
    first = await take(road, Pace("lane", 1, 1), 4, queued=3)
    assert first.granted == 1
    second = await take(road, Pace("lane", 1, 1), 2, queued=2)
    assert second.rests(0, queued=True) - first.rests(0, queued=True) > 2_900_000
    assert second.rests(0, queued=False) <= 1_000_000


async def test_a_provider_gets_no_more_from_all_senders_than_its_rate(road: Road) -> None:
    await road.take(*(make_action(number, number) for number in range(1, 10)))
    pace = Pace("provider:sms", 0.001, 3)
    senders = [road.another_sender(road.transport, pace=pace) for _ in range(3)]
    assert sum(await asyncio.gather(*(sender.turn() for sender in senders))) == 3
    assert len(road.transport.sent) == 3
    assert await senders[0].turn() == 0
    assert senders[0].rest_micros > 900_000_000
    await passes(road, 2000)
    assert await senders[0].turn() == 2


async def test_what_is_not_sent_uses_up_no_rate(road: Road) -> None:
    pace = Pace("provider:sms", 0.001, 3)
    sender = road.another_sender(road.transport, pace=pace)
    assert await sender.turn() == 0  # there was nothing
    message = await road.take_one(make_action(1, 7))
    road.profile.reaches[7] = reachable(7, channels=())
    road.clock.wall += 3_000_000  # asked again, and it is no longer allowed
    await sender.turn()
    assert (await road.stored(message)).state is MessageState.REFUSED
    assert (await take(road, pace, 3)).granted == 3


async def test_a_lane_without_room_holds_up_no_other_and_costs_no_attempt(road: Road) -> None:
    taken = await road.take(
        *(make_action(number, number, category=Category.SALES, expires_micros=2**60) for number in (1, 2, 3)),
        make_action(4, 4),
        make_action(5, 5),
    )
    slow = Pace("domain:slow.example", 0.001, 1)
    sender = road.another_sender(
        road.transport, lane_of=lambda message: None if message.customer == 4 else slow
    )
    assert await sender.turn() == 5
    sent = {message.customer for message in road.transport.sent}
    assert sent == {4, 5}, "in the lane the urgent one goes first"
    resting = [await road.stored(one.message) for one in taken[:3]]
    assert {(message.state, message.attempts) for message in resting} == {(MessageState.PLANNED, 0)}
    waits = sorted(message.retry_wall_micros - road.clock.wall for message in resting)
    assert waits[1] - waits[0] == waits[2] - waits[1] == 1_000_000_000
    assert await sender.turn() == 0

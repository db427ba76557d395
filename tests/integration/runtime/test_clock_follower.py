"""Business time reaches every process through JetStream, also those that start later."""

import asyncio
from contextlib import asynccontextmanager

from services.runtime.clock import EventClock
from services.runtime.clock_follower import ClockFollower, publish_clock
from services.runtime.streams import Bus
from tests.integration.runtime.conftest import until


@asynccontextmanager
async def following(bus: Bus, clock: EventClock, sweep_seconds: float = 60.0):
    task = asyncio.create_task(
        ClockFollower(bus.nats, bus.jetstream, clock, sweep_seconds=sweep_seconds).run()
    )
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def at(clock: EventClock, micros: int):
    async def reached() -> bool:
        return clock.now_micros() == micros

    return reached


async def test_all_followers_hear_an_announcement_and_late_ones_read_the_last(bus: Bus):
    one, two, late = EventClock(), EventClock(), EventClock()
    async with following(bus, one), following(bus, two):
        await publish_clock(bus.jetstream, 1_000)
        await until(at(one, 1_000))
        await publish_clock(bus.jetstream, 2_000)
        await until(at(one, 2_000))
        await until(at(two, 2_000))
    async with following(bus, late):
        await until(at(late, 2_000))


async def test_an_earlier_time_or_nonsense_changes_nothing(bus: Bus):
    clock = EventClock()
    async with following(bus, clock):
        await publish_clock(bus.jetstream, 2_000)
        await until(at(clock, 2_000))
        await publish_clock(bus.jetstream, 1_000)
        await bus.jetstream.publish("rapport.clock", b"noon")
        await publish_clock(bus.jetstream, 3_000)
        await until(at(clock, 3_000))


async def test_a_missed_announcement_is_found_by_the_sweep(bus: Bus):
    class Deaf(ClockFollower):
        async def _take(self, message) -> None:
            del message

    clock = EventClock()
    task = asyncio.create_task(Deaf(bus.nats, bus.jetstream, clock, sweep_seconds=0.05).run())
    await publish_clock(bus.jetstream, 5_000)
    await until(at(clock, 5_000))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

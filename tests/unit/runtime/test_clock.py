"""Both clocks: what they say and who they wake."""

import asyncio

from services.runtime.clock import EventClock, WallClock, make_clock


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_event_clock_only_goes_forward():
    clock = EventClock(10)
    assert clock.advance_to(20)
    assert not clock.advance_to(20)
    assert not clock.advance_to(5)
    assert clock.now_micros() == 20


async def test_an_event_clock_wakes_those_whose_time_has_come_and_no_others():
    clock = EventClock()
    early, late = asyncio.create_task(clock.wait_until(10)), asyncio.create_task(clock.wait_until(20))
    await settle()
    clock.advance_to(10)
    await settle()
    assert early.done()
    assert not late.done()
    clock.advance_to(25)
    await settle()
    assert late.done()
    await clock.wait_until(25)


async def test_a_wait_ends_early_when_there_is_something_new():
    for clock in (EventClock(), WallClock()):
        wake = asyncio.Event()
        wait = asyncio.create_task(clock.wait_until(clock.wall_micros() + 3_600_000_000, wake))
        await settle()
        assert not wait.done()
        wake.set()
        await asyncio.wait_for(wait, 5)


async def test_wait_changed_tells_the_new_time():
    clock = EventClock(1)
    wait = asyncio.create_task(clock.wait_changed(1))
    await settle()
    assert not wait.done()
    clock.advance_to(7)
    assert await wait == 7


async def test_the_wall_clock_returns_once_the_time_is_there():
    clock = WallClock()
    before = clock.now_micros()
    await clock.wait_until(before + 20_000)
    assert clock.now_micros() >= before + 20_000
    assert await clock.wait_changed(before) > before


def test_the_setting_chooses_the_clock():
    assert isinstance(make_clock("events"), EventClock)
    assert isinstance(make_clock("wall"), WallClock)

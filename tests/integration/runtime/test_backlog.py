"""What comes from outside is refused while too much waits, and told when to come back."""

import asyncio

import pytest

from services.runtime import backlog as backlog_module
from services.runtime.backlog import Backlog, BacklogLimits, InHand
from services.runtime.database import Database
from services.runtime.errors import OverloadedError
from services.runtime.outbox import Outbox
from services.runtime.streams import ACTIONS, EVENTS, OUTCOMES, Bus, subject
from tests.integration.runtime.conftest import PARTITIONS

LIMITS = BacklogLimits(outbox_messages=2, stream_messages=3, stream_percent=50)


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch):
    monkeypatch.setattr(backlog_module, "LOOK_SECONDS", 0.0)


@pytest.fixture
def backlog(database: Database, bus: Bus) -> Backlog:
    return Backlog(database, bus, LIMITS)


async def refused(backlog: Backlog) -> OverloadedError:
    with pytest.raises(OverloadedError) as raised:
        await backlog.check()
    return raised.value


async def test_an_outbox_over_its_limit_refuses_until_it_has_room(database: Database, backlog: Backlog):
    outbox = Outbox(database)
    async with database.transaction() as tx:
        await outbox.put(tx, EVENTS, [(0, b"a"), (0, b"b")])
    await backlog.check()
    async with database.transaction() as tx:
        await outbox.put(tx, EVENTS, [(0, b"c")])
    error = await refused(backlog)
    assert "outbox" in error.message
    assert 0.5 < error.retry_seconds < 10
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM outbox WHERE payload = 'a'")
    await backlog.check()


async def test_an_outbox_that_nothing_leaves_is_told_with_what_to_look_at(
    database: Database, backlog: Backlog
):
    async with database.transaction() as tx:
        await Outbox(database).put(tx, EVENTS, [(0, b"a"), (0, b"b"), (0, b"c")])
    assert "NATS" not in (await refused(backlog)).message
    async with database.transaction() as tx:
        await tx.execute("UPDATE outbox SET created_at = now() - interval '1 minute' WHERE payload = 'a'")
    message = (await refused(backlog)).message
    assert "the oldest for 60 s (see that NATS runs and has room on its disk)" in message


@pytest.mark.parametrize("stream", [EVENTS, ACTIONS, OUTCOMES])
async def test_a_stream_over_its_limit_of_messages_refuses(backlog: Backlog, bus: Bus, stream: str):
    for number in range(4):
        await backlog.check()
        await bus.jetstream.publish(subject(stream, number % PARTITIONS), b"x")
    assert stream in (await refused(backlog)).message
    await bus.jetstream.purge_stream(stream)
    await backlog.check()


async def test_a_stream_over_its_share_of_bytes_refuses_before_it_is_full(database: Database, bus: Bus):
    backlog = Backlog(database, bus, BacklogLimits(stream_percent=1))
    await bus.jetstream.publish(subject(EVENTS, 0), b"x" * (300 << 10))
    await backlog.check()
    for _ in range(2):
        await bus.jetstream.publish(subject(EVENTS, 0), b"x" * (300 << 10))
    assert "bytes of EVENTS" in (await refused(backlog)).message


async def test_a_patient_caller_waits_for_room(database: Database, backlog: Backlog):
    async with database.transaction() as tx:
        await Outbox(database).put(tx, EVENTS, [(0, b"a"), (0, b"b"), (0, b"c")])
    waiting = asyncio.create_task(backlog.check(20.0))
    await refused(backlog)
    assert not waiting.done()
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM outbox")
    async with asyncio.timeout(10):
        await waiting


async def test_while_nats_is_away_the_outbox_alone_decides(database: Database, backlog: Backlog, bus: Bus):
    await bus.close()
    await backlog.check()
    async with database.transaction() as tx:
        await Outbox(database).put(tx, EVENTS, [(0, b"a"), (0, b"b"), (0, b"c")])
    assert "outbox" in (await refused(backlog)).message


def test_requests_in_memory_are_bounded_but_one_alone_always_passes():
    in_hand = InHand(100)
    with in_hand.hold(1_000), pytest.raises(OverloadedError), in_hand.hold(1):
        pass
    with in_hand.hold(60):
        with in_hand.hold(40):
            pass
        with pytest.raises(OverloadedError), in_hand.hold(41):
            pass
    with in_hand.hold(100):
        pass

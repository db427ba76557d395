"""The relay on real servers: order, crashes, fail-over, and servers that go away."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from services.runtime.database import Database
from services.runtime.errors import InvalidArgumentError, TooLargeError
from services.runtime.outbox import MAX_PAYLOAD, Outbox, Relay
from services.runtime.recovery import mark_restored
from services.runtime.streams import ACTIONS, EVENTS, Bus, subject
from tests.integration.runtime.conftest import MIGRATIONS, PARTITIONS, until

Count = Callable[[str], Awaitable[int]]


@asynccontextmanager
async def relaying(*relays: Relay):
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def make_relay(database: Database, bus: Bus, **options) -> Relay:
    return Relay("test", database, bus.jetstream, partitions=PARTITIONS, **options)


async def put(database: Database, rows: list[tuple[int, bytes]], stream: str = EVENTS) -> None:
    outbox = Outbox(database, partitions=PARTITIONS)
    async with database.transaction() as tx:
        await outbox.put(tx, stream, rows)


async def published(bus: Bus, stream: str = EVENTS) -> list[tuple[str, bytes]]:
    state = (await bus.jetstream.stream_info(stream)).state
    found = []
    for number in range(state.first_seq, state.last_seq + 1) if state.messages else ():
        message = await bus.jetstream.get_msg(stream, number)
        found.append((message.subject, message.data))
    return found


def empty(count: Count) -> Callable[[], Awaitable[bool]]:
    async def is_empty() -> bool:
        return await count("outbox") == 0

    return is_empty


async def test_what_is_committed_is_published_in_order_and_deleted(
    database: Database, bus: Bus, count: Count
):
    async with relaying(make_relay(database, bus, read_rows=8)):
        for start in range(0, 60, 20):
            await put(database, [(n % PARTITIONS, b"%d" % n) for n in range(start, start + 20)])
        await until(empty(count))
    found = await published(bus)
    assert len(found) == 60
    for partition in range(PARTITIONS):
        mine = [int(payload) for subject, payload in found if subject == f"rapport.events.{partition}"]
        assert mine == list(range(partition, 60, PARTITIONS))


async def test_streams_of_one_partition_do_not_wait_for_each_other(
    database: Database, bus: Bus, count: Count
):
    await bus.jetstream.delete_stream(EVENTS)  # nobody takes these
    async with relaying(make_relay(database, bus, publish_timeout_seconds=0.5)):
        await put(database, [(0, b"stuck")], EVENTS)
        await put(database, [(0, b"free")], ACTIONS)

        async def one_left() -> bool:
            return await count("outbox") == 1

        await until(one_left)
    assert await published(bus, ACTIONS) == [("rapport.actions.0", b"free")]


async def test_a_stream_that_takes_nothing_never_stops_another(database: Database, bus: Bus, count: Count):
    await bus.jetstream.delete_stream(EVENTS)
    await put(database, [(n % PARTITIONS, b"stuck") for n in range(40)], EVENTS)
    await put(database, [(0, b"free")] * 3, ACTIONS)
    async with relaying(make_relay(database, bus, read_rows=8, publish_timeout_seconds=0.5)):

        async def the_stuck_are_left() -> bool:
            return await count("outbox") == 40

        await until(the_stuck_are_left)
    assert len(await published(bus, ACTIONS)) == 3


async def test_what_is_rolled_back_is_never_published(database: Database, bus: Bus, count: Count):
    outbox = Outbox(database, partitions=PARTITIONS)
    async with relaying(make_relay(database, bus)):
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the transaction is what raises
            async with database.transaction() as tx:
                await outbox.put(tx, EVENTS, [(0, b"never")])
                raise ZeroDivisionError
        await put(database, [(0, b"after")])
        await until(empty(count))
    assert await published(bus) == [("rapport.events.0", b"after")]


async def test_after_a_crash_between_publish_and_delete_the_message_is_in_the_stream_once(
    database: Database, bus: Bus, count: Count
):
    await put(database, [(0, b"a"), (1, b"b")])

    class LosesAcknowledgements:
        async def publish_message(self, message, *, seconds) -> None:
            await bus.jetstream.publish_message(message, seconds=seconds)
            await asyncio.Event().wait()

        async def publish_batch(self, messages, *, seconds) -> None:
            await bus.jetstream.publish_batch(messages, seconds=seconds)
            await asyncio.Event().wait()

    async with relaying(Relay("test", database, LosesAcknowledgements(), partitions=PARTITIONS)):

        async def both_there() -> bool:
            return len(await published(bus)) == 2

        await until(both_there)
    assert await count("outbox") == 2
    await put(database, [(0, b"c"), (1, b"d"), (0, b"e")])  # goes into one batch with what is there already
    async with relaying(make_relay(database, bus)):
        await until(empty(count))
    found = await published(bus)
    assert [payload for subject, payload in found if subject == "rapport.events.0"] == [b"a", b"c", b"e"]
    assert [payload for subject, payload in found if subject == "rapport.events.1"] == [b"b", b"d"]


async def test_another_relay_takes_over_when_the_holder_of_the_locks_dies(
    database: Database, database_url: str, bus: Bus, count: Count
):
    other = Database(database_url)
    first, second = make_relay(database, bus), make_relay(other, bus, sweep_seconds=0.1)
    async with relaying(first) as (task,):
        await put(database, [(0, b"1")])
        await until(empty(count))
        async with relaying(second):
            await put(database, [(1, b"2")])
            await until(empty(count))
            assert second._mine == []
            task.cancel()
            await put(database, [(2, b"3"), (0, b"4")])
            await until(empty(count))
            assert second._mine == [0, 1, 2, 3]
    await other.close()
    assert [payload for _, payload in await published(bus)] == [b"1", b"2", b"3", b"4"]


async def test_a_relay_whose_connection_is_cut_goes_on_with_a_new_one(
    database: Database, bus: Bus, count: Count
):
    async with relaying(make_relay(database, bus, sweep_seconds=0.2)) as (task,):
        await put(database, [(0, b"1")])
        await until(empty(count))
        driver = await database.connect_driver()
        await driver.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await driver.close()
        await put(database, [(0, b"2")])
        await until(empty(count))
        assert not task.done()
    assert [payload for _, payload in await published(bus)] == [b"1", b"2"]


async def test_a_payload_over_the_limit_is_refused_before_anything_is_written(
    database: Database, count: Count
):
    with pytest.raises(TooLargeError) as refused:
        await put(database, [(0, b"small"), (0, b"x" * (MAX_PAYLOAD + 1))])
    assert refused.value.field == "payload"
    assert str(MAX_PAYLOAD) in refused.value.message
    assert await count("outbox") == 0
    await put(database, [(0, b"x" * MAX_PAYLOAD)])
    assert await count("outbox") == 1


@pytest.mark.parametrize(("stream", "partition"), [("NEWS", 0), (EVENTS, PARTITIONS), (EVENTS, -1)])
async def test_an_unknown_stream_or_partition_is_refused(
    database: Database, count: Count, stream: str, partition: int
):
    with pytest.raises(InvalidArgumentError):
        await put(database, [(partition, b"x")], stream)
    assert await count("outbox") == 0


async def test_a_full_stream_makes_the_relay_wait_and_loses_nothing(
    database: Database, bus: Bus, count: Count
):
    info = await bus.jetstream.stream_info(EVENTS)
    info.config.max_bytes = 3_000
    await bus.jetstream.update_stream(info.config)
    async with relaying(make_relay(database, bus)):
        await put(database, [(0, b"%d" % n + b"x" * 1_000) for n in range(6)])

        async def some_are_out() -> bool:
            return await count("outbox") < 6

        await until(some_are_out)
        assert await count("outbox") > 0
        info.config.max_bytes = 1_000_000
        await bus.jetstream.update_stream(info.config)
        await until(empty(count))
    assert [payload[:1] for _, payload in await published(bus)] == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_two_databases_never_shadow_each_other_in_one_log(database: Database, bus: Bus, make_database):
    other = Database(make_database(MIGRATIONS))
    async with relaying(make_relay(database, bus), make_relay(other, bus)):
        await put(database, [(0, b"one")])
        await put(other, [(0, b"two")])

        async def both_there() -> bool:
            return len(await published(bus)) == 2

        await until(both_there)
    await other.close()


async def test_what_the_version_before_has_published_is_not_published_again(
    database: Database, bus: Bus, count: Count
):
    """In an upgrade its relay may be killed between the ack and the deletion; it counted no restores yet."""
    await put(database, [(1, b"x")])
    async with database.transaction() as tx:
        row = await tx.row(
            "SELECT outbox.id, system_identifier, pg_database.oid::bigint FROM outbox, pg_control_system(), "
            "pg_database WHERE datname = current_database()"
        )
    assert row is not None
    number, *named = row
    origin = hashlib.blake2b(repr(tuple(named)).encode(), digest_size=6).hexdigest()
    await bus.jetstream.publish(subject(EVENTS, 1), b"x", headers={"Nats-Msg-Id": f"test:{origin}:{number}"})
    async with relaying(make_relay(database, bus)):
        await until(empty(count))
    assert len(await published(bus)) == 1
    await mark_restored(database)  # from now on the same numbers mean other messages
    async with database.transaction() as tx:
        await tx.execute(f"ALTER TABLE outbox ALTER COLUMN id RESTART WITH {number}")
    await put(database, [(1, b"y")])
    async with relaying(make_relay(database, bus)):
        await until(empty(count))
    assert [payload for _, payload in await published(bus)] == [b"x", b"y"]

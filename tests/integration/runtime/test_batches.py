"""Atomic batches on a real server: what it takes, what it refuses, and that a refusal costs nothing."""

import asyncio
from collections.abc import Sequence

import pytest
from nats.js.api import RetentionPolicy, StreamConfig
from nats.js.errors import APIError

from services.runtime.clock_follower import CLOCK_STREAM
from services.runtime.database import Database
from services.runtime.outbox import Relay
from services.runtime.streams import (
    ACTIONS,
    DEAD,
    EVENTS,
    WORK_STREAMS,
    Bus,
    JetStream,
    Message,
    ensure_streams,
)
from tests.integration.runtime.conftest import PARTITIONS, until
from tests.integration.runtime.test_outbox import Count, empty, published, put, relaying


class Watched:
    """JetStream, with what was asked of it."""

    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream
        self.singles = 0
        self.batches: list[int] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def publish_message(self, message: Message, *, seconds: float) -> None:
        self.singles += 1
        await self._jetstream.publish_message(message, seconds=seconds)

    async def publish_batch(self, messages: Sequence[Message], *, seconds: float) -> None:
        self.batches.append(len(messages))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._jetstream.publish_batch(messages, seconds=seconds)
        finally:
            self.in_flight -= 1


class AnswersTooLate(Watched):
    """Batches are stored, and the answer does not come in time."""

    async def publish_batch(self, messages: Sequence[Message], *, seconds: float) -> None:
        await super().publish_batch(messages, seconds=seconds)
        raise TimeoutError


async def assert_in_order(bus: Bus, rows: int) -> None:
    found = await published(bus)
    assert len(found) == rows
    for partition in range(PARTITIONS):
        mine = [int(payload) for subject, payload in found if subject == f"rapport.events.{partition}"]
        assert mine == list(range(partition, rows, PARTITIONS))


def numbered(start: int, stop: int) -> list[tuple[int, bytes]]:
    return [(number % PARTITIONS, b"%d" % number) for number in range(start, stop)]


def message(key: str, *, partition: int = 0) -> Message:
    return Message(f"rapport.events.{partition}", key.encode(), {"Nats-Msg-Id": key})


async def test_rows_go_in_batches_one_at_a_time_and_in_order(database: Database, bus: Bus, count: Count):
    watched = Watched(bus.jetstream)
    await put(database, numbered(0, 200))
    async with relaying(Relay("test", database, watched, partitions=PARTITIONS, read_rows=50)):
        await put(database, numbered(200, 300))
        await until(empty(count))
    await assert_in_order(bus, 300)
    assert watched.batches[0] == 50
    assert sum(watched.batches) + watched.singles == 300
    assert watched.singles <= 1
    assert watched.most_in_flight == 1


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_the_server_refuses_a_batch_with_a_duplicate_and_forgets_its_other_keys(
    bus: Bus, position: int
):
    await bus.jetstream.publish_message(message("there"), seconds=5)
    keys = ["new", "newer"]
    keys.insert(position, "there")
    with pytest.raises(APIError) as refused:
        await bus.jetstream.publish_batch([message(key) for key in keys], seconds=5)
    assert refused.value.err_code == 10201
    await bus.jetstream.publish_batch([message("new"), message("newer", partition=1)], seconds=5)
    assert [payload for _, payload in await published(bus)] == [b"there", b"new", b"newer"]


async def test_a_batch_whose_answer_is_lost_is_stored_once(database: Database, bus: Bus, count: Count):
    late = AnswersTooLate(bus.jetstream)
    await put(database, numbered(0, 40))
    async with relaying(Relay("test", database, late, partitions=PARTITIONS)):
        await until(empty(count))
    await assert_in_order(bus, 40)
    assert (late.batches, late.singles) == ([40], 40)


async def test_a_batch_that_was_never_committed_holds_nothing_back(
    database: Database, bus: Bus, count: Count
):
    class Stops(Watched):
        async def publish_batch(self, messages: Sequence[Message], *, seconds: float) -> None:
            assert seconds > 0
            for number, part in enumerate(messages[:-1], 1):
                headers = {**part.headers, "Nats-Batch-Id": "b", "Nats-Batch-Sequence": str(number)}
                await bus.nats.publish(part.subject, part.payload, headers=headers)
            await bus.nats.flush()
            sent.set()
            await asyncio.Event().wait()

    sent = asyncio.Event()
    await put(database, numbered(0, 12))
    async with relaying(Relay("test", database, Stops(bus.jetstream), partitions=PARTITIONS)):
        async with asyncio.timeout(20):
            await sent.wait()
    assert await published(bus) == []
    async with relaying(Relay("test", database, bus.jetstream, partitions=PARTITIONS)):
        await until(empty(count))
    await assert_in_order(bus, 12)


async def make_older_stream(bus: Bus, name: str) -> None:
    await bus.jetstream.delete_stream(name)
    await bus.jetstream.add_stream(
        StreamConfig(
            name=name,
            subjects=[f"rapport.{name.lower()}.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            max_bytes=9_999,
        )
    )


async def test_a_stream_without_batches_gets_its_messages_one_by_one(
    database: Database, bus: Bus, count: Count
):
    await make_older_stream(bus, EVENTS)
    watched = Watched(bus.jetstream)
    await put(database, numbered(0, 40))
    await put(database, [(0, b"a"), (0, b"b")], ACTIONS)
    async with relaying(Relay("test", database, watched, partitions=PARTITIONS)):
        await until(empty(count))
    await assert_in_order(bus, 40)
    assert [payload for _, payload in await published(bus, ACTIONS)] == [b"a", b"b"]
    assert sorted(watched.batches) == [2, 40]
    assert watched.singles == 40


async def test_a_stream_of_an_older_install_is_made_to_take_batches_and_else_left_as_it_is(bus: Bus):
    await make_older_stream(bus, EVENTS)
    await ensure_streams(bus.jetstream, partitions=PARTITIONS, max_bytes=64 << 20)
    config = (await bus.jetstream.stream_info(EVENTS)).config
    assert (config.allow_atomic, config.max_bytes) == (True, 9_999)
    await bus.jetstream.publish_batch([message("a"), message("b")], seconds=5)
    for name in (*WORK_STREAMS, DEAD):
        assert (await bus.jetstream.stream_info(name)).config.allow_atomic
    assert not (await bus.jetstream.stream_info(CLOCK_STREAM)).config.allow_atomic

"""The consumer on real servers: batches, redelivery, heartbeats, setting aside, and clean ends."""

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager

from services.runtime.consumer import Delivery, StreamConsumer
from services.runtime.database import Database, Transaction
from services.runtime.dead_letters import DeadLetters
from services.runtime.errors import UnavailableError
from services.runtime.outbox import Outbox, Relay
from services.runtime.streams import DEAD, EVENTS, Bus, ensure_streams, subject
from tests.integration.runtime.conftest import PARTITIONS, until
from tests.integration.runtime.recorder import Recorder


@asynccontextmanager
async def consuming(*consumers: StreamConsumer):
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def make_consumer(bus: Bus, handler, **options) -> StreamConsumer:
    return StreamConsumer(bus, EVENTS, handler, partitions=PARTITIONS, **options)


async def publish(bus: Bus, partition: int, payload: bytes, key: str = "") -> None:
    headers = {"Nats-Msg-Id": key} if key else None
    await bus.jetstream.publish(subject(EVENTS, partition), payload, headers=headers)


async def drained(bus: Bus) -> bool:
    return (await bus.jetstream.stream_info(EVENTS)).state.messages == 0


async def words(database: Database) -> list[str]:
    async with database.transaction() as tx:
        return [row[0] for row in await tx.rows("SELECT word FROM done ORDER BY position")]


async def test_messages_of_a_partition_are_done_in_order_and_acknowledged(database: Database, bus: Bus):
    recorder = Recorder(database)
    async with consuming(make_consumer(bus, recorder)):
        for number in range(40):
            await publish(bus, number % PARTITIONS, b"%d" % number)
        await until(lambda: drained(bus))
    found = [int(word) for word in await words(database)]
    assert sorted(found) == list(range(40))
    for partition in range(PARTITIONS):
        assert [n for n in found if n % PARTITIONS == partition] == list(range(partition, 40, PARTITIONS))


async def test_what_waits_on_all_partitions_is_one_batch_up_to_the_limit(database: Database, bus: Bus):
    recorder = Recorder(database)
    recorder.gate.clear()
    consumer = make_consumer(bus, recorder, batch_items=5)
    async with consuming(consumer):
        await publish(bus, 0, b"first")
        await recorder.begun.wait()
        for partition, payload in ((1, b"a b c"), (2, b"d e"), (3, b"f")):
            await publish(bus, partition, payload)

            async def ready(partition: int = partition) -> bool:
                return len(consumer._ready) == partition

            await until(ready)  # in this order
        recorder.gate.set()
        await until(lambda: drained(bus))
    assert recorder.batches == [["first"], ["a b c", "d e"], ["f"]]


async def test_a_message_published_again_after_the_log_forgot_it_is_done_once(database: Database, bus: Bus):
    async with consuming(make_consumer(bus, Recorder(database))):
        await publish(bus, 0, b"once", key="test:1")
        await until(lambda: drained(bus))
    # a new stream knows no earlier ids, as the old one does after its window for duplicates
    await bus.jetstream.delete_stream(EVENTS)
    await ensure_streams(bus.jetstream, partitions=PARTITIONS, max_bytes=64 << 20)
    again = Recorder(database)
    async with consuming(make_consumer(bus, again)):
        await publish(bus, 0, b"once", key="test:1")
        await publish(bus, 0, b"other", key="test:2")
        await until(lambda: drained(bus))
    assert [delivery.payload for delivery in again.deliveries] == [b"once", b"other"]
    assert await words(database) == ["once", "other"]


async def test_redelivered_after_a_lost_acknowledgement_it_is_done_once(database: Database, bus: Bus):
    await _ack_wait(bus, 1.0)
    recorder = Recorder(database)

    class ForgetsToAcknowledge(StreamConsumer):
        async def _done(self, batch):
            if batch[0].deliveries == 1:
                for delivery in batch:
                    self._held.pop(delivery.partition)
                    self._pulls[delivery.partition].renew_at = 0.0
                return
            await super()._done(batch)

    async with consuming(ForgetsToAcknowledge(bus, EVENTS, recorder, partitions=PARTITIONS)):
        await publish(bus, 0, b"once", key="test:1")
        await until(lambda: drained(bus))
    assert [delivery.deliveries for delivery in recorder.deliveries] == [1, 2]
    assert len({delivery.key for delivery in recorder.deliveries}) == 1
    assert await words(database) == ["once"]


async def test_heartbeats_keep_a_message_with_the_worker_that_has_it(database: Database, bus: Bus):
    await _ack_wait(bus, 0.5)
    slow, other = Recorder(database), Recorder(database)
    slow.gate.clear()
    async with consuming(make_consumer(bus, slow, heartbeat_seconds=0.1)):
        await publish(bus, 0, b"long")
        await slow.begun.wait()
        async with consuming(make_consumer(bus, other)):
            await publish(bus, 1, b"short")
            three_times_as_long = asyncio.get_running_loop().time() + 1.5

            async def long_past_ack_wait() -> bool:
                return asyncio.get_running_loop().time() > three_times_as_long

            await until(long_past_ack_wait)
            slow.gate.set()
            await until(lambda: drained(bus))
    assert "long" not in {delivery.payload.decode() for delivery in other.deliveries}
    assert (await words(database)).count("long") == 1


async def test_what_takes_too_long_is_cancelled_rolled_back_and_done_alone(database: Database, bus: Bus):
    recorder = Recorder(database)
    recorder.gate.clear()
    async with consuming(make_consumer(bus, recorder, limit_seconds=0.5)):
        await publish(bus, 0, b"slow")
        await until(lambda: drained(bus))
    assert await words(database) == ["slow"]


async def test_an_item_that_fails_alone_is_set_aside_with_its_reason_and_can_be_sent_again(
    database: Database, bus: Bus
):
    outbox = Outbox(database, partitions=PARTITIONS)
    resent: list[tuple[str, bytes]] = []

    async def resend(tx: Transaction, kind: str, payload: bytes) -> None:
        resent.append((kind, payload))
        await outbox.put(tx, EVENTS, [(3, b"antidote")])

    letters = DeadLetters("test", outbox, resend, partitions=PARTITIONS)
    recorder = Recorder(database, letters)
    relay = Relay("test", database, bus.jetstream, partitions=PARTITIONS)
    async with consuming(make_consumer(bus, recorder), relay):
        await publish(bus, 0, b"a poison b")
        await publish(bus, 1, b"c")
        await until(lambda: drained(bus))
        assert sorted(await words(database)) == ["a", "b", "c"]
        async with database.transaction() as tx:
            assert await letters.waiting(tx) == 1
            [letter] = await letters.list(tx)
            assert (letter.kind, letter.item_id, letter.reason) == ("event", "poison", "the word is poison")
            await letters.resend(tx, letter.number)
        assert resent == [("event", b"poison")]

        async def came_again() -> bool:
            return "antidote" in await words(database)

        await until(came_again)
        async with database.transaction() as tx:
            assert await letters.waiting(tx) == 0
            assert await letters.list(tx) == []
            [again] = await letters.list(tx, include_resent=True)
            assert again.resent_micros >= again.created_micros
        copy = await bus.jetstream.get_last_msg(DEAD, "rapport.dead.0")
        assert copy.data is not None
        assert b"poison" in copy.data


async def test_while_the_database_is_away_nothing_is_acknowledged_and_then_all_is_done(
    database: Database, bus: Bus
):
    class Away(Recorder):
        tries = 0

        async def handle(self, deliveries: Sequence[Delivery]) -> None:
            del deliveries
            raise UnavailableError("away")

        async def handle_singly(self, delivery: Delivery) -> None:
            self.tries += 1
            if self.tries <= 3:
                raise UnavailableError("away")
            await super().handle_singly(delivery)

    recorder = Away(database)
    async with consuming(make_consumer(bus, recorder)) as (task,):
        await publish(bus, 0, b"patient")
        await until(lambda: drained(bus))
        assert not task.done()
    assert recorder.tries == 4
    assert await words(database) == ["patient"]


async def test_stopping_ends_what_is_in_work_and_gives_the_rest_to_another_at_once(
    database: Database, bus: Bus
):
    recorder, other = Recorder(database), Recorder(database)
    recorder.gate.clear()
    consumer = make_consumer(bus, recorder)
    async with consuming(consumer) as (task,):
        await publish(bus, 0, b"begun")
        await recorder.begun.wait()
        await publish(bus, 1, b"waiting")

        async def one_ready() -> bool:
            return len(consumer._ready) == 1

        await until(one_ready)
        consumer.stop()
        recorder.gate.set()
        await task
    assert await words(database) == ["begun"]
    async with consuming(make_consumer(bus, other)):
        await until(lambda: drained(bus), seconds=10)  # well under AckWait
    assert await words(database) == ["begun", "waiting"]


async def test_two_workers_share_the_partitions_and_do_each_message_once(database: Database, bus: Bus):
    one, two = Recorder(database), Recorder(database)
    async with consuming(make_consumer(bus, one), make_consumer(bus, two, concurrent=2)):
        for number in range(200):
            await publish(bus, number % PARTITIONS, b"%d" % number)
        await until(lambda: drained(bus))
    found = [int(word) for word in await words(database)]
    assert sorted(found) == list(range(200))
    for partition in range(PARTITIONS):
        assert [n for n in found if n % PARTITIONS == partition] == list(range(partition, 200, PARTITIONS))


async def test_consumers_that_were_deleted_are_made_again(database: Database, bus: Bus):
    recorder = Recorder(database)
    async with consuming(make_consumer(bus, recorder)):
        await publish(bus, 0, b"before")
        await until(lambda: drained(bus))
        for partition in range(PARTITIONS):
            await bus.jetstream.delete_consumer(EVENTS, f"p{partition}")
        await publish(bus, 0, b"after")
        await until(lambda: drained(bus))
    assert await words(database) == ["before", "after"]


async def _ack_wait(bus: Bus, seconds: float) -> None:
    for partition in range(PARTITIONS):
        info = await bus.jetstream.consumer_info(EVENTS, f"p{partition}")
        info.config.ack_wait = seconds
        await bus.jetstream.add_consumer(EVENTS, info.config)

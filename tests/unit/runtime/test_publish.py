"""How rows are cut into batches, what follows a refusal, and an answer that is not a batch's."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from services.runtime.publish import Publisher, Row
from services.runtime.streams import BatchRefusedError, JetStream, Message


class MemoryLog:
    """Takes what it is given; a batch with a key that is there, or any when told so, is refused."""

    def __init__(self, *, refuses: bool = False, failures: int = 0) -> None:
        self.refuses = refuses
        self.failures = failures
        self.keys: list[str] = []
        self.asked: list[int] = []  # sizes, 1 for a single message

    async def publish_message(self, message: Message, *, seconds: float) -> None:
        assert (message.subject[:-1], seconds) == ("rapport.events.", 1)
        self.asked.append(1)
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise TimeoutError
        if message.headers["Nats-Msg-Id"] not in self.keys:
            self.keys.append(message.headers["Nats-Msg-Id"])

    async def publish_batch(self, messages: Sequence[Message], *, seconds: float) -> None:
        assert seconds == 1
        self.asked.append(len(messages))
        await asyncio.sleep(0)
        keys = [message.headers["Nats-Msg-Id"] for message in messages]
        if self.refuses or set(keys) & set(self.keys):
            raise BatchRefusedError
        self.keys.extend(keys)


async def publish(log: MemoryLog, *rows: Row) -> list[int]:
    """Publish rows of one stream; what was acknowledged, in that order."""
    done: list[int] = []
    all_done = asyncio.Event()

    def acknowledged(numbers: Sequence[int]) -> None:
        done.extend(numbers)
        if len(done) >= len(rows):
            all_done.set()

    publisher = Publisher(log, acknowledged, timeout_seconds=1)
    for row in rows:
        publisher.put("EVENTS", row)
    async with asyncio.timeout(20):
        await all_done.wait()
    await publisher.stop()
    return done


def row(number: int, payload: bytes = b"x", *, partitions: int = 4) -> Row:
    return Row(number, number % partitions, f"k{number}", payload)


async def test_a_batch_has_at_most_a_thousand_messages():
    log = MemoryLog()
    assert await publish(log, *(row(n) for n in range(2_001))) == list(range(2_001))
    assert log.asked == [1_000, 1_000, 1]


async def test_a_batch_has_at_most_four_megabytes():
    log = MemoryLog()
    assert await publish(log, *(row(n, b"x" * (1 << 20)) for n in range(6))) == list(range(6))
    assert log.asked == [4, 2]


async def test_a_row_alone_needs_no_batch():
    log = MemoryLog()
    await publish(log, row(7))
    assert log.asked == [1]


async def test_a_refused_batch_is_published_one_by_one_in_order_of_its_partitions():
    log = MemoryLog(refuses=True, failures=1)
    done = await publish(log, *(row(n) for n in range(12)))
    assert sorted(done) == list(range(12))
    assert log.asked == [12] + [1] * 13
    for partition in range(4):
        assert [number for number in done if number % 4 == partition] == list(range(partition, 12, 4))
        mine = [int(key[1:]) for key in log.keys if int(key[1:]) % 4 == partition]
        assert mine == list(range(partition, 12, 4))


async def test_after_a_refusal_no_batch_is_tried_for_a_while():
    log = MemoryLog(refuses=True)
    await publish(log, *(row(n) for n in range(1_500)))
    assert log.asked[0] == 1_000
    assert set(log.asked[1:]) == {1}


async def test_a_duplicate_in_a_batch_is_acknowledged_and_not_doubled():
    log = MemoryLog()
    log.keys.append("k1")
    assert sorted(await publish(log, row(0), row(1), row(2))) == [0, 1, 2]
    assert sorted(log.keys) == ["k0", "k1", "k2"]


class OlderServer:
    """A server that knows no batches: it acknowledges the last message as one."""

    def __init__(self) -> None:
        self.published: list[dict[str, str]] = []

    async def publish(self, subject: str, payload: bytes, *, headers: dict[str, str]) -> None:
        assert (subject, payload) == ("rapport.events.0", b"x")
        self.published.append(headers)

    async def request(self, subject: str, payload: bytes, *, headers: dict[str, str], **_timeout: float):
        await self.publish(subject, payload, headers=headers)
        return SimpleNamespace(data=b'{"stream": "EVENTS", "seq": 3}')


async def test_an_answer_for_the_last_message_alone_is_none_for_the_batch():
    server = OlderServer()
    messages = [Message("rapport.events.0", b"x", {"Nats-Msg-Id": f"k{number}"}) for number in range(3)]
    with pytest.raises(BatchRefusedError):
        await JetStream(server).publish_batch(messages, seconds=1)
    assert [headers["Nats-Msg-Id"] for headers in server.published] == ["k0", "k1", "k2"]
    assert [headers["Nats-Batch-Sequence"] for headers in server.published] == ["1", "2", "3"]
    assert ["Nats-Batch-Commit" in headers for headers in server.published] == [False, False, True]

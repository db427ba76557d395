"""Messages go to their streams in atomic batches, and one by one where a batch is not taken."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from services.runtime.database import backoff_seconds
from services.runtime.log import describe_failure
from services.runtime.streams import BATCH_MESSAGES, Message, subject
from services.runtime.tracing import HEADER

_BATCH_BYTES = 4 << 20
_SINGLY_SECONDS = 2.0  # after a refusal: the next batch would most likely be refused too
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the outbox; `key` names it among all messages of its stream, `trace` is its traceparent."""

    number: int
    partition: int
    key: str
    payload: bytes
    trace: str | None = None

    def message(self, stream: str) -> Message:
        """What is published for it."""
        headers = {"Nats-Msg-Id": self.key}
        if self.trace:
            headers[HEADER] = self.trace
        return Message(subject(stream, self.partition), self.payload, headers)


class Log(Protocol):
    """What the publisher needs of JetStream: both return when the server has stored what was given."""

    async def publish_message(self, message: Message, *, seconds: float) -> None:
        """Publish one message, or nothing when its Nats-Msg-Id is there already."""

    async def publish_batch(self, messages: Sequence[Message], *, seconds: float) -> None:
        """Publish all messages of one stream or, with an error, none; a Nats-Msg-Id that is there is one."""


class Publisher:
    """Publishes rows: per partition of a stream in the order given, with one batch in flight per stream.

    A batch that is refused (a duplicate in it, a full stream, no batches there) or not answered is published
    one by one, which is safe because of the keys: what the stream has is acknowledged and not taken again.
    """

    def __init__(
        self, log: Log, acknowledged: Callable[[Sequence[int]], None], *, timeout_seconds: float
    ) -> None:
        self._to = log
        self._acknowledged = acknowledged
        self._timeout = timeout_seconds
        self._waiting: dict[str, deque[Row]] = {}
        self._runners: dict[str, asyncio.Task[None]] = {}
        self._singly_until: dict[str, float] = {}

    def put(self, stream: str, row: Row) -> None:
        """Publish a row after those put before; its number goes to `acknowledged` when the stream has it."""
        self._waiting.setdefault(stream, deque()).append(row)
        if stream not in self._runners:
            self._runners[stream] = asyncio.create_task(self._run(stream), name=f"outbox-{stream}")

    async def stop(self) -> None:
        """Forget what waits; of what is on its way nobody will hear."""
        runners = list(self._runners.values())
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        self._waiting, self._runners = {}, {}

    async def _run(self, stream: str) -> None:
        """Publish what waits for a stream; ends when nothing waits."""
        waiting = self._waiting[stream]
        while waiting:
            rows = _next_batch(waiting)
            if len(rows) == 1 or not await self._together(stream, rows):
                await self._one_by_one(stream, rows)
        del self._runners[stream], self._waiting[stream]

    async def _together(self, stream: str, rows: Sequence[Row]) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() < self._singly_until.get(stream, 0.0):
            return False
        try:
            await self._to.publish_batch([row.message(stream) for row in rows], seconds=self._timeout)
        except Exception as error:  # noqa: BLE001 - whatever it was, one by one tells what can be published
            self._singly_until[stream] = loop.time() + _SINGLY_SECONDS
            _log.info("batch_refused", stream=stream, rows=len(rows), **describe_failure(error))
            return False
        self._acknowledged([row.number for row in rows])
        return True

    async def _one_by_one(self, stream: str, rows: Sequence[Row]) -> None:
        lanes: dict[int, list[Row]] = {}
        for row in rows:
            lanes.setdefault(row.partition, []).append(row)
        await _all(*(self._lane(stream, lane) for lane in lanes.values()))

    async def _lane(self, stream: str, rows: Sequence[Row]) -> None:
        """Publish rows of one partition one after the other, each until it is taken."""
        for row in rows:
            message = row.message(stream)
            failures = 0
            while True:
                try:
                    await self._to.publish_message(message, seconds=self._timeout)
                    break
                except Exception as error:  # noqa: BLE001 - whatever it was, what comes after must wait
                    failures += 1
                    if failures in {1, 10} or failures % 100 == 0:
                        _log.warning(
                            "publish_failed", stream=stream, failures=failures, **describe_failure(error)
                        )
                    await asyncio.sleep(backoff_seconds(failures, most=2.0))
            self._acknowledged([row.number])


async def _all(*coroutines: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)


def _next_batch(waiting: deque[Row]) -> list[Row]:
    """Take from the left what fits into one batch, at least one."""
    rows = [waiting.popleft()]
    size = len(rows[0].payload)
    while waiting and len(rows) < BATCH_MESSAGES and size + len(waiting[0].payload) <= _BATCH_BYTES:
        rows.append(waiting.popleft())
        size += len(rows[-1].payload)
    return rows

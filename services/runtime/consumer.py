"""Takes messages from a work stream: all that waits in one transaction, acknowledged after its commit."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from services.runtime.database import Transaction, backoff_seconds
from services.runtime.log import describe_failure
from services.runtime.pulse import promised
from services.runtime.streams import Bus, consumer_name, ensure_consumers
from services.runtime.tally import note_repeated, observed_batch
from services.runtime.tracing import HEADER

_MESSAGE_ID = "Nats-Msg-Id"
_COMPANY_SECONDS = 0.03
_COMPANY_SHARE = 0.5
"""A message of a burst waits for others to share its transaction: half as long as the last one took."""
_BUSY_SECONDS = 0.05
"""A message that comes this soon after the last batch belongs to a burst."""
_LEAVE_SECONDS = 2.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One message of a partition, as handed to a worker.

    `key` is the same at every delivery of the same message; `deliveries` counts them from 1. `trace` is the
    traceparent that it came with, "" if it is not traced.
    """

    partition: int
    key: str
    payload: bytes
    deliveries: int = 1
    reply: str = field(default="", repr=False)
    trace: str = ""


class StreamHandler(Protocol):
    """What a service does with the messages of a stream."""

    def count(self, payload: bytes) -> int:
        """How many items a message holds, at least 1."""
        ...

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Do all in one transaction; take the keys first (`take_messages`): what is not new is done."""
        ...

    async def handle_singly(self, delivery: Delivery) -> None:
        """Do one message, each item in a savepoint; an item that fails is set aside in the same transaction.

        What it raises means "try later" (a database that is away).
        """
        ...


async def take_messages(transaction: Transaction, keys: Sequence[str]) -> set[str]:
    """Claim message keys in this transaction; those in the answer are new, the others done before."""
    rows = await transaction.rows(
        "INSERT INTO taken_message (key) SELECT DISTINCT key FROM unnest(%s::text[]) AS key ORDER BY key "
        "ON CONFLICT DO NOTHING RETURNING key",
        (list(keys),),
    )
    new = {row[0] for row in rows}
    note_repeated(set(keys) - new)
    return new


class StreamConsumer:
    """Pulls from the durable consumers of all partitions of a stream through one subscription."""

    def __init__(
        self,
        bus: Bus,
        stream: str,
        handler: StreamHandler,
        *,
        batch_items: int = 500,
        partitions: int = 64,
        concurrent: int = 1,
        heartbeat_seconds: float = 10.0,
        limit_seconds: float = 60.0,
        pull_seconds: float = 30.0,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._handler = handler
        self._batch_items = batch_items
        self._partitions = partitions
        self._concurrent = concurrent
        self._heartbeat_seconds = heartbeat_seconds
        self._limit_seconds = limit_seconds
        self._pull_seconds = pull_seconds
        self._inbox = bus.nats.new_inbox()
        self._pulls = [_Pull() for _ in range(partitions)]
        self._held: dict[int, Delivery] = {}  # by partition: waiting or in work
        self._items: dict[int, int] = {}  # by partition: how many items its message holds
        self._ready: deque[Delivery] = deque()
        self._some_ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._over = asyncio.Event()
        self._missing = asyncio.Event()

    async def run(self) -> None:
        """Consume until `stop`, then end what is in work; cancellation rolls back what is in work."""
        await ensure_consumers(self._bus.jetstream, self._stream, partitions=self._partitions)
        self._pulls = [_Pull() for _ in range(self._partitions)]
        subscription = await self._bus.nats.subscribe(
            f"{self._inbox}.*.*", cb=self._arrived, pending_bytes_limit=-1, pending_msgs_limit=-1
        )
        helpers = [
            asyncio.create_task(self._keep_pulling(), name=f"{self._stream}-pull"),
            asyncio.create_task(self._beat(), name=f"{self._stream}-heartbeat"),
            asyncio.create_task(self._mend(), name=f"{self._stream}-mend"),
        ]
        workers = [
            asyncio.create_task(self._work(), name=f"{self._stream}-work-{number}")
            for number in range(self._concurrent)
        ]
        leaving = asyncio.create_task(self._leave(subscription), name=f"{self._stream}-leave")
        try:
            await _first_failure_or_all([*workers, *helpers], workers)
        finally:
            self._over.set()
            for task in (*workers, *helpers):
                task.cancel()
            await asyncio.gather(*workers, *helpers, return_exceptions=True)
            await leaving
            await self._give_back(list(self._held.values()))
            self._over.clear()
            self._held.clear()
            self._ready.clear()

    def stop(self) -> None:
        """Take nothing new; `run` returns when what is in work has been done."""
        self._stopping.set()
        self._some_ready.set()

    async def _leave(self, subscription: Subscription) -> None:
        """Once told to stop: let the server send nothing more, and give back what nobody works on yet."""
        stop, over = (asyncio.create_task(event.wait()) for event in (self._stopping, self._over))
        try:
            await asyncio.wait({stop, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            over.cancel()
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                # what the server had sent when it heard of us arrives yet
                await subscription.drain()  # type: ignore[no-untyped-call]
        waiting = list(self._ready)
        self._ready.clear()
        await self._give_back(waiting)
        for delivery in waiting:
            self._held.pop(delivery.partition, None)

    # taking

    async def _keep_pulling(self) -> None:
        """Keep one pull request of each idle partition at the server; those that were lost are sent again."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            connected = self._bus.nats.is_connected
            for partition, pull in enumerate(self._pulls):
                lost = now >= pull.renew_at or pull.connection != self._bus.nats.stats["reconnects"]
                if connected and lost and partition not in self._held:
                    await self._pull(partition)
            await asyncio.sleep(1.0)

    async def _pull(self, partition: int) -> None:
        if self._stopping.is_set():
            return
        pull = self._pulls[partition]
        pull.token += 1
        pull.connection = self._bus.nats.stats["reconnects"]
        # should neither a message nor the server's "nothing came" arrive, ask again a little later
        pull.renew_at = asyncio.get_running_loop().time() + self._pull_seconds + 2.0
        request = {"batch": 1, "expires": int(self._pull_seconds * 1e9)}
        try:
            await self._bus.nats.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer_name(partition)}",
                json.dumps(request).encode(),
                reply=f"{self._inbox}.{partition}.{pull.token}",
            )
        except (NatsError, OSError):
            pull.renew_at = asyncio.get_running_loop().time() + 1.0

    async def _arrived(self, message: Msg) -> None:
        if message.subject.startswith(self._inbox):
            await self._status(message)
            return
        partition = int(message.subject.rsplit(".", 1)[1])
        held = self._held.get(partition)
        delivery = _delivery(partition, message)
        if held is not None:
            # the same message again (the server gave up waiting for us): the hand that has it goes on
            if held.key != delivery.key:
                _log.error("two_messages_of_a_partition", stream=self._stream, partition=partition)
            return
        self._held[partition] = delivery
        self._ready.append(delivery)
        self._some_ready.set()

    async def _status(self, message: Msg) -> None:
        """The server's word on a pull request: 408 nothing came, 409 consumer gone, 503 nobody there."""
        partition_text, token = message.subject.removeprefix(f"{self._inbox}.").split(".")
        partition = int(partition_text)
        pull = self._pulls[partition]
        if int(token) != pull.token or partition in self._held:
            return
        status = (message.headers or {}).get("Status", "")
        if status == "408":
            await self._pull(partition)
            return
        if status == "100":
            return
        pull.renew_at = asyncio.get_running_loop().time() + 0.5
        if status in {"404", "503"} or "Deleted" in (message.headers or {}).get("Description", ""):
            self._missing.set()

    async def _mend(self) -> None:
        """Make consumers again that are gone: all of them after the server was restarted."""
        while True:
            await self._missing.wait()
            _log.warning("consumers_missing", stream=self._stream)
            try:
                await ensure_consumers(self._bus.jetstream, self._stream, partitions=self._partitions)
            except (NatsError, OSError, TimeoutError) as error:
                _log.warning("consumers_not_made", stream=self._stream, **describe_failure(error))
            self._missing.clear()
            for pull in self._pulls:
                pull.renew_at = 0.0  # asked again within a second; a second request only comes back empty
            await asyncio.sleep(1.0)

    async def _beat(self) -> None:
        """Tell the server that what is held is still being worked on."""
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            for delivery in list(self._held.values()):
                with contextlib.suppress(NatsError, OSError):
                    await self._bus.nats.publish(delivery.reply, Msg.Ack.Progress)

    # doing

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        last_end = last_took = 0.0
        while True:
            while not self._ready and not self._stopping.is_set():
                self._some_ready.clear()
                await self._some_ready.wait()
            if loop.time() - last_end < _BUSY_SECONDS and len(self._ready) < self._partitions:
                # in a burst, a transaction of many messages costs hardly more than one of a single one
                await asyncio.sleep(min(_COMPANY_SECONDS, last_took * _COMPANY_SHARE))
            if self._stopping.is_set():
                return
            batch = self._take_batch()
            if not batch:
                continue
            began = loop.time()
            try:
                with self._observed(batch), promised(f"{self._stream} batch", 2 * self._limit_seconds):
                    async with asyncio.timeout(self._limit_seconds):
                        await self._handler.handle(batch)
            except Exception as error:  # noqa: BLE001 - whatever it was, each message gets its own chance
                _log.warning(
                    "batch_failed", stream=self._stream, messages=len(batch), **describe_failure(error)
                )
                await self._one_by_one(batch)
            else:
                await self._done(batch)
            last_end = loop.time()
            last_took = last_end - began

    def _take_batch(self) -> list[Delivery]:
        batch: list[Delivery] = []
        items = 0
        while self._ready:
            count = max(1, self._handler.count(self._ready[0].payload))
            if batch and items + count > self._batch_items:
                break
            items += count
            batch.append(self._ready.popleft())
            self._items[batch[-1].partition] = count
        return batch

    def _observed(self, batch: Sequence[Delivery]) -> AbstractContextManager[None]:
        traces = {delivery.partition: delivery.trace for delivery in batch}
        items = {delivery.key: self._items[delivery.partition] for delivery in batch}
        return observed_batch(self._stream, traces, items)

    async def _one_by_one(self, batch: Sequence[Delivery]) -> None:
        """Each message alone; where even that fails, try again later, then leave it to AckWait."""
        loop = asyncio.get_running_loop()
        waiting = deque(batch)
        give_up = loop.time() + self._limit_seconds
        failures = 0
        while waiting:
            if self._stopping.is_set():
                return  # they are held yet, and so are given back
            delivery = waiting[0]
            try:
                with self._observed([delivery]), promised(f"{self._stream} batch", 2 * self._limit_seconds):
                    async with asyncio.timeout(self._limit_seconds):
                        await self._handler.handle_singly(delivery)
            except Exception as error:  # noqa: BLE001 - nothing may end the worker
                failures += 1
                _log.warning(
                    "message_failed",
                    stream=self._stream,
                    partition=delivery.partition,
                    key=delivery.key,
                    deliveries=delivery.deliveries,
                    **describe_failure(error),
                )
                waiting.rotate(-1)
                if loop.time() >= give_up:
                    break
                await asyncio.sleep(backoff_seconds(failures, most=5.0))
            else:
                failures = 0
                waiting.popleft()
                await self._done([delivery])
        for delivery in waiting:
            # unacknowledged: the server hands it out again after AckWait, here or to another worker
            self._held.pop(delivery.partition, None)
            self._pulls[delivery.partition].renew_at = 0.0

    async def _done(self, batch: Sequence[Delivery]) -> None:
        """Acknowledge what is committed and ask for more of these partitions."""
        for delivery in batch:
            self._held.pop(delivery.partition, None)
            try:
                await self._bus.nats.publish(delivery.reply, b"+ACK")
            except (NatsError, OSError):
                # it comes again and is found to have been taken
                _log.warning("ack_not_sent", stream=self._stream, partition=delivery.partition)
            await self._pull(delivery.partition)

    async def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        """What was not done may go to another worker at once; heartbeats kept it ours."""
        if not deliveries:
            return
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            for delivery in deliveries:
                await self._bus.nats.publish(delivery.reply, b"-NAK")
            await self._bus.nats.flush(timeout=2)


@dataclass(slots=True)
class _Pull:
    """The pull request of one partition that is, as far as we know, at the server."""

    token: int = 0
    renew_at: float = 0.0
    connection: int = 0


def _delivery(partition: int, message: Msg) -> Delivery:
    # $JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<deliveries>.<stream sequence>.…
    words = message.reply.split(".")
    at = 4 if len(words) <= 9 else 6
    headers = message.headers or {}
    key = headers.get(_MESSAGE_ID) or f"{words[at - 2]}:{words[at + 1]}"
    return Delivery(partition, key, message.data, int(words[at]), message.reply, headers.get(HEADER, ""))


async def _first_failure_or_all(
    tasks: Sequence[asyncio.Task[None]], wanted: Sequence[asyncio.Task[None]]
) -> None:
    """Wait until all wanted tasks have ended, or any task has failed (its error is raised)."""
    pending = set(tasks)
    while any(not task.done() for task in wanted):
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

"""The log between the services: its streams, subjects and consumers on NATS JetStream."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog
from nats.aio.client import Client as NatsClient
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BadRequestError
from nats.js.errors import NotFoundError as NoStreamError

from services.runtime.clock_follower import CLOCK_STREAM, CLOCK_SUBJECT
from services.runtime.database import backoff_seconds
from services.runtime.errors import SettingError, UnavailableError
from services.runtime.settings import Settings

EVENTS = "EVENTS"
ACTIONS = "ACTIONS"
OUTCOMES = "OUTCOMES"
DEAD = "DEAD"
WORK_STREAMS = (EVENTS, ACTIONS, OUTCOMES)
ACK_WAIT_SECONDS = 30
BATCH_MESSAGES = 1_000  # what the server takes in one batch
_DAY = 86_400
_CONNECT_SECONDS = 3.0
_log = structlog.get_logger(__name__)


class BatchRefusedError(Exception):
    """The server took a batch for single messages and acknowledged only the last."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is published: a subject of a stream, the payload, and headers."""

    subject: str
    payload: bytes
    headers: Mapping[str, str]


class JetStream(JetStreamContext):
    """JetStream that can publish many messages at the price of little more than one."""

    async def publish_message(self, message: Message, *, seconds: float) -> None:
        """Publish one message and wait for its ack; without one APIError, NoStreamResponseError, timeout."""
        await self.publish(message.subject, message.payload, timeout=seconds, headers=dict(message.headers))

    async def publish_batch(self, messages: Sequence[Message], *, seconds: float) -> None:
        """Publish up to BATCH_MESSAGES messages of one stream, all or none, and wait for the ack of all.

        APIError when the stream takes none of them: one Nats-Msg-Id among them is there already or is there
        twice, the stream is full, or it has no batches. After a timeout all or none may be there.
        """
        batch = uuid4().hex
        for number, message in enumerate(messages[:-1], 1):
            await self._nc.publish(
                message.subject, message.payload, headers=_in_batch(message, batch, number)
            )
        last = messages[-1]
        headers = _in_batch(last, batch, len(messages)) | {"Nats-Batch-Commit": "1"}
        ack = await self.publish(last.subject, last.payload, timeout=seconds, headers=headers)
        if ack.batch_id != batch or ack.batch_size != len(messages):
            raise BatchRefusedError


def _in_batch(message: Message, batch: str, number: int) -> dict[str, str]:
    return {**message.headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}


@dataclass(frozen=True, slots=True)
class Bus:
    """A connection to NATS and its JetStream."""

    nats: NatsClient
    jetstream: JetStream
    closed: asyncio.Event

    async def close(self) -> None:
        """Send what is buffered and leave."""
        if not self.nats.is_closed:
            await self.nats.close()


def subject(stream: str, partition: int) -> str:
    """Where messages of a partition are published, for example rapport.events.7."""
    return f"rapport.{stream.lower()}.{partition}"


def consumer_name(partition: int) -> str:
    """Durable consumer of a partition."""
    return f"p{partition}"


async def connect_bus(settings: Settings, *, give_up_seconds: float = 60.0) -> Bus:
    """Connect to NATS, waiting for it with back-off; once connected, reconnect for ever.

    UnavailableError when it has not answered in this time; with 0 after one attempt. SettingError when the
    authority that it is to be trusted by cannot be read.
    """
    closed = asyncio.Event()
    tls = _tls(settings)
    connected = False
    last = ""

    async def on_error(error: Exception) -> None:
        nonlocal last
        last = type(error).__name__
        if connected:
            _log.warning("nats_error", error=last)

    async def on_closed() -> None:
        if connected:
            closed.set()

    async def on_disconnected() -> None:
        if connected:
            _log.warning("nats_disconnected")

    async def on_reconnected() -> None:
        _log.info("nats_reconnected")

    loop = asyncio.get_running_loop()
    deadline = loop.time() + give_up_seconds
    failures = 0
    while True:
        client = NatsClient()
        try:
            # left to itself it would try for ever without a word
            async with asyncio.timeout(_CONNECT_SECONDS):
                await client.connect(
                    settings.nats_url,
                    name=f"{settings.service}-{settings.role}",
                    user=settings.nats_user or None,
                    password=settings.nats_password or None,
                    tls=tls,
                    # told by the server that it knows no TLS, the client would hand it the password
                    tls_handshake_first=tls is not None,
                    error_cb=on_error,
                    closed_cb=on_closed,
                    disconnected_cb=on_disconnected,
                    reconnected_cb=on_reconnected,
                    connect_timeout=2,
                    reconnect_time_wait=0.25,  # type: ignore[arg-type]  # fractions are fine
                    max_reconnect_attempts=-1,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    pending_size=16 * 1024 * 1024,
                )
        except (NatsError, OSError, TimeoutError) as error:
            with contextlib.suppress(NatsError, OSError):
                await client.close()
            failures += 1
            if loop.time() >= deadline:
                raise UnavailableError(
                    f"NATS does not answer or does not let us in ({last or type(error).__name__})",
                    suggestion="start it; see that RAPPORT_NATS_URL, its user and its password are right",
                ) from error
            await asyncio.sleep(backoff_seconds(failures, most=2.0))
        else:
            connected = True
            return Bus(client, JetStream(client, timeout=5), closed)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Trusts the authority that the settings name, and no other; None: none is named, so no TLS."""
    if not settings.nats_ca_file:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.nats_ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise SettingError(
            f"RAPPORT_NATS_CA_FILE names a file that cannot be used ({type(error).__name__})",
            field="RAPPORT_NATS_CA_FILE",
            suggestion="name the certificate of the authority of NATS, in PEM",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def ensure_streams(
    jetstream: JetStreamContext, *, partitions: int = 64, max_bytes: int = 1 << 30, replicas: int = 1
) -> None:
    """Make what is missing of the streams and of the consumers of each work stream.

    Of what is there nothing is changed but that streams of an older install are made to take atomic batches.
    """
    for name in WORK_STREAMS:
        await _ensure_stream(
            jetstream,
            StreamConfig(
                name=name,
                subjects=[f"rapport.{name.lower()}.*"],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,  # the default, old, would lose acknowledged messages
                max_bytes=max_bytes,
                max_msg_size=512 * 1024,
                duplicate_window=120,
                num_replicas=replicas,
                allow_direct=True,
                allow_atomic=True,
            ),
        )
    await _ensure_stream(
        jetstream,
        StreamConfig(
            name=DEAD,
            subjects=["rapport.dead.*"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.OLD,  # a feed for whoever watches; the table is the truth
            max_bytes=max(max_bytes // 8, 1 << 20),
            max_age=30 * _DAY,
            max_msg_size=512 * 1024,
            duplicate_window=120,
            num_replicas=replicas,
            allow_atomic=True,
        ),
    )
    await _ensure_stream(
        jetstream,
        StreamConfig(
            name=CLOCK_STREAM,
            subjects=[CLOCK_SUBJECT],
            storage=StorageType.FILE,
            max_msgs_per_subject=1,
            max_bytes=1 << 20,
            num_replicas=replicas,
        ),
    )
    for name in WORK_STREAMS:
        await ensure_consumers(jetstream, name, partitions=partitions)


async def ensure_consumers(jetstream: JetStreamContext, stream: str, *, partitions: int = 64) -> None:
    """Make the missing durable pull consumers p0 … p63 of a work stream."""
    present: set[str] = set()
    while found := await jetstream.consumers_info(stream, offset=len(present)):
        before = len(present)
        present.update(info.name for info in found)
        if len(present) == before:
            break
    missing = [number for number in range(partitions) if consumer_name(number) not in present]
    await asyncio.gather(*(_add_consumer(jetstream, stream, number) for number in missing))


async def _add_consumer(jetstream: JetStreamContext, stream: str, partition: int) -> None:
    await jetstream.add_consumer(
        stream,
        ConsumerConfig(
            durable_name=consumer_name(partition),
            filter_subject=subject(stream, partition),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_SECONDS,
            max_ack_pending=1,  # one batch of a partition at a time
            max_deliver=-1,
            max_waiting=512,
            # Kept in a file, its state is synced at each delivery and each ack, which costs more than the
            # message. Lost with the server, it is made again, and what was not acknowledged comes again: the
            # stream, which is in a file, holds exactly that, and keys in the database know what was taken.
            mem_storage=True,
        ),
    )


async def _ensure_stream(jetstream: JetStreamContext, config: StreamConfig) -> None:
    assert config.name is not None
    try:
        present = (await jetstream.stream_info(config.name)).config
    except NoStreamError:
        try:
            await jetstream.add_stream(config)
        except BadRequestError:
            # another process made it in this moment; if it did not, this says why
            await jetstream.stream_info(config.name)
        return
    if config.allow_atomic and not present.allow_atomic:
        present.allow_atomic = True
        await jetstream.update_stream(present)

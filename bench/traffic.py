"""The events of the benchmark, and two ways to send them: as fast as the road takes them, or at a rate."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import event_pb2

from services.runtime.clock import WallClock

if TYPE_CHECKING:
    from rapport.profile.v1.profile_pb2_grpc import ProfileServiceAsyncStub

SOURCE = "bench"
MIX = (
    "usage.data_used",
    "usage.voice_used",
    "usage.data_used",
    "topup.received",
    "usage.data_used",
    "payment.received",  # the one in ten that leads to a text message
    "network.call_dropped",
    "usage.voice_used",
    "usage.data_used",
    "topup.received",
)
STREAMS = 4
BATCH = 250
AHEAD = 2
"""Batches of a stream sent and not yet acknowledged."""
TICK_SECONDS = 0.02
CELLS = 2000
PLANS = ("s-5gb", "m-10gb", "m-20gb", "l-50gb")
_CLOCK = WallClock()


def msisdn(customer: int) -> str:
    """The number of the customer with this id."""
    return f"+336{customer:08d}"


def event_data(kind: str, identity: str, draw: random.Random, cycle: str) -> bytes:
    """The fields of an event, as JSON."""
    fields: dict[str, object]
    match kind:
        case "usage.data_used":
            fields = {"mb": round(draw.random() * 500, 1), "country": "FR", "cycle": cycle}
        case "usage.voice_used":
            fields = {"minutes": round(draw.random() * 20, 1), "country": "FR"}
        case "network.call_dropped":
            fields = {"cell": f"FR-{draw.randrange(CELLS):04d}", "technology": "LTE"}
        case "payment.received":
            fields = {"bill": identity, "amount": {"amount": "19.99", "currency": "EUR"}}
        case _:
            fields = {"amount": {"amount": "10.00", "currency": "EUR"}}
    return orjson.dumps(fields)


@dataclass(slots=True)
class Traffic:
    """Makes events about random customers, and keeps the times of those that lead to a message."""

    name: str
    profiles: int
    draw: random.Random
    sent: int = 0
    expected: dict[str, int] = field(default_factory=dict)
    """When each event that leads to a message was to be sent, micros of the wall, by its id."""

    def batch(self, count: int, due_micros: int | None = None) -> list[event_pb2.Event]:
        """The next events, which happen now; `due_micros`: when they were to be sent, if not now."""
        now = _CLOCK.wall_micros()
        seconds, rest = divmod(now, 1_000_000)
        cycle = time.strftime("%Y-%m", time.gmtime(seconds))
        events = []
        for _ in range(count):
            kind = MIX[self.sent % len(MIX)]
            identity = f"{self.name}-{self.sent}"
            self.sent += 1
            event = event_pb2.Event(
                id=identity,
                source=SOURCE,
                type=kind,
                subject=f"msisdn:{msisdn(self.draw.randint(1, self.profiles))}",
                data=event_data(kind, identity, self.draw, cycle),
                spec_version="1.0",
            )
            event.time.seconds, event.time.nanos = seconds, rest * 1000
            events.append(event)
            if kind == "payment.received":
                self.expected[identity] = now if due_micros is None else due_micros
        return events


@dataclass(slots=True)
class Sent:
    """What the profile service answered."""

    accepted: int = 0
    refused: int = 0
    answer_micros: list[int] = field(default_factory=list)
    """From sending a batch to its acknowledgement."""


async def send_steadily_full(
    profile: "ProfileServiceAsyncStub", traffic: Traffic, seconds: float, held_back: Callable[[], bool]
) -> Sent:
    """Sends as much as is taken for so long, over a few streams; waits while `held_back` says so."""
    sent = Sent()
    end = time.monotonic() + seconds

    async def stream(place: int) -> None:
        call = profile.StreamEvents()
        opening = profile_pb2.OpenStream(stream_id=f"{traffic.name}-{place}")
        await call.write(profile_pb2.StreamEventsRequest(open=opening))
        await call.read()
        sequence = 0
        under_way: list[int] = []
        while time.monotonic() < end:
            if held_back():
                await asyncio.sleep(0.005)
            else:
                events = traffic.batch(BATCH)
                message = profile_pb2.StreamBatch(first_sequence=sequence + 1, events=events)
                sequence += len(events)
                under_way.append(_CLOCK.wall_micros())
                await call.write(profile_pb2.StreamEventsRequest(batch=message))
            while len(under_way) >= AHEAD:
                _note(sent, await call.read(), under_way)
        while under_way:
            _note(sent, await call.read(), under_way)
        await call.done_writing()

    await asyncio.gather(*(stream(place) for place in range(STREAMS)))
    return sent


def _note(sent: Sent, answer: object, under_way: list[int]) -> None:
    if not isinstance(answer, profile_pb2.StreamEventsResponse):
        raise ConnectionError("the stream of events ended early")
    sent.accepted += answer.accepted
    sent.refused += len(answer.exceptions)
    sent.answer_micros.append(_CLOCK.wall_micros() - under_way.pop(0))


async def send_at_rate(
    profile: "ProfileServiceAsyncStub", traffic: Traffic, per_second: float, seconds: float
) -> Sent:
    """Sends so many events a second, however long the answers take; times count from when each was due."""
    sent = Sent()
    calls: set[asyncio.Task[None]] = set()

    async def send(events: list[event_pb2.Event], due_micros: int) -> None:
        answer = await profile.IngestEvents(profile_pb2.IngestEventsRequest(events=events))
        sent.answer_micros.append(_CLOCK.wall_micros() - due_micros)
        good = sum(result.status == profile_pb2.INGEST_STATUS_ACCEPTED for result in answer.results)
        sent.accepted += good
        sent.refused += len(answer.results) - good

    loop = asyncio.get_running_loop()
    began, began_micros = loop.time(), _CLOCK.wall_micros()
    for tick, count in enumerate(_counts(per_second, seconds)):
        due = tick * TICK_SECONDS
        await asyncio.sleep(max(0.0, began + due - loop.time()))
        if count:
            due_micros = began_micros + round(due * 1_000_000)
            call = asyncio.create_task(send(traffic.batch(count, due_micros), due_micros))
            calls.add(call)
            call.add_done_callback(calls.discard)
    await asyncio.gather(*calls)
    return sent


def _counts(per_second: float, seconds: float) -> Iterator[int]:
    """Events of each tick; what is left of one goes to the next."""
    whole = 0
    for tick in range(1, round(seconds / TICK_SECONDS) + 1):
        upto = int(per_second * tick * TICK_SECONDS)
        yield upto - whole
        whole = upto

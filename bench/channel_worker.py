"""One process of the channel's benchmark: takes actions through the gates and, where asked, sends them."""

import asyncio
import random
import resource
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from uuid import UUID

import uvloop
from rapport.types.v1 import stream_pb2

from services.channel.adapters.mail import Letterhead
from services.channel.adapters.policies.folder import load_policies
from services.channel.adapters.smpp import SmppSettings, SmppTransport
from services.channel.adapters.smtp import SmtpSettings, SmtpTransport
from services.channel.adapters.smtp_link import LinkSettings, Relay
from services.channel.adapters.storage.store import PostgresStore
from services.channel.adapters.templates import JinjaRenderer
from services.channel.app.admit import Admission
from services.channel.app.ports import Transport
from services.channel.app.profile import ContactQuestion
from services.channel.app.send import Sender
from services.channel.app.speech import Speech
from services.channel.domain.contact import Permission, Reach
from services.channel.domain.quiet_hours import QuietHours
from services.channel.entrypoints.loops import SenderLoop
from services.channel.entrypoints.translate import action_from_record
from services.cli.stack.layout import CHECKOUT
from services.runtime.clock import WallClock
from services.runtime.database import Database
from services.runtime.keys import KEY_BYTES, Keyring, Sealer
from services.runtime.outbox import Outbox
from services.vocabulary import wire
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.words import ActionKind, Category, Channel

BATCH = 500
"""Actions in one transaction, as many as the worker takes from the stream at once."""
AHEAD = 4_000
"""With so many messages waiting for a sender nothing more is fed."""
WORDS: dict[Category, tuple[ActionKind, str]] = {
    Category.SERVICE: (ActionKind.MESSAGE, "quota-80"),
    Category.RETENTION: (ActionKind.OFFER, "goodwill-1gb"),
    Category.SALES: (ActionKind.OFFER, "data-top-up"),
    Category.SURVEY: (ActionKind.SURVEY, "ces-after-care"),
}
TEXT = "You have used 80 % of your month's data."
"""What a service message of the benchmark says, for the references."""
_RULES = CHECKOUT / "rules"
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Work:
    """What one process does, for so many seconds; `port` 0: it sends nothing."""

    place: int
    database_url: str
    customers: int
    seconds: float
    writers: int
    mix: tuple[Category, ...]
    channel: Channel = Channel.SMS
    port: int = 0
    system_id: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    decisions: int
    planned: int
    seconds: float
    """Until nothing of it was on its way any more."""
    cpu_seconds: float


class Willing:
    """A profile service that knows everybody, agrees to everything and answers at once."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock

    async def check_contact(self, questions: Sequence[ContactQuestion]) -> Sequence[Reach]:
        """One answer per question."""
        asked = self._clock.wall_micros()
        return [
            Reach(
                True,
                asked,
                {
                    Channel.SMS: Permission(True, address=f"+336{one.customer:08}"),
                    Channel.EMAIL: Permission(True, address=f"c{one.customer}@bench.example"),
                },
                "Europe/Paris",
                "en",
            )
            for one in questions
        ]


def run_work(work: Work, pipe: Connection) -> None:
    """Entry of the process: says that it is ready, waits for the start, sends what came of it."""
    uvloop.run(_run(work, pipe))


async def _run(work: Work, pipe: Connection) -> None:
    clock = WallClock()
    catalogue = load_catalogue(_RULES)
    database = Database(work.database_url, pool_size=work.writers + 4)
    sealer = Sealer.with_key(Keyring.make(), secrets.token_bytes(KEY_BYTES))
    store = PostgresStore(database, Outbox(database), action_from_record, sealer)
    shipped = load_policies(_RULES / "policies", catalogue.default_zone)
    policies = replace(shipped, quiet_hours=QuietHours())  # a run does not depend on the hour
    renderer = JinjaRenderer(_RULES / "templates", catalogue.default_locale, catalogue.default_zone)
    profile = Willing(clock)
    admission = Admission(store, profile, Speech(catalogue, renderer), lambda: policies, clock)
    transport = _transport(work, clock) if work.port else None
    loop = None
    if transport is not None:
        loop = SenderLoop(Sender(store, profile, transport, lambda: policies, clock))
    feed = _Feed(work, store, admission, clock, loop)
    async with database.transaction() as raw:
        await raw.execute("SELECT 1")
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    began, used = clock.monotonic(), _cpu()
    until = began + work.seconds
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(feed.watch())
        sending = tasks.create_task(loop.run()) if loop is not None else None
        await asyncio.gather(*(feed.write(number, until) for number in range(work.writers)))
        while loop is not None and await feed.count_waiting():
            loop.wake()
            await asyncio.sleep(0.005)
        watch.cancel()
        if loop is not None and sending is not None:
            loop.stop()
            await sending
    took = clock.monotonic() - began
    pipe.send(Done(feed.decisions, feed.planned, took, _cpu() - used))
    if transport is not None:
        await transport.close()
    await database.close()


class _Feed:
    """Writers that bring batch after batch."""

    def __init__(
        self,
        work: Work,
        store: PostgresStore,
        admission: Admission,
        clock: WallClock,
        loop: SenderLoop | None,
    ) -> None:
        self._work = work
        self._store = store
        self._admission = admission
        self._clock = clock
        self._loop = loop
        self._waiting = 0
        self.decisions = 0
        self.planned = 0

    async def count_waiting(self) -> int:
        """How many messages of all processes are not sent yet."""
        async with self._store.transaction() as tx:
            row = await tx.raw.row("SELECT count(*) FROM message WHERE state IN ('planned', 'sending')")
        return 0 if row is None else int(row[0])

    async def watch(self) -> None:
        """Keeps up with how many messages wait, until cancelled."""
        while self._loop is not None:
            self._waiting = await self.count_waiting()
            await asyncio.sleep(0.05)

    async def write(self, number: int, until: float) -> None:
        """Brings batches until then; each is parsed, judged and committed like one of the stream."""
        draw = random.Random(f"{self._work.place}-{number}")
        make = _maker(self._work, draw, self._clock.now_micros())
        while self._clock.monotonic() < until:
            if self._waiting > AHEAD:
                await asyncio.sleep(0.005)
                continue
            actions = [action_from_record(make()) for _ in range(BATCH)]
            prepared = await self._admission.prepare(actions)
            async with self._store.transaction() as tx:
                taken = await self._admission.take(tx, prepared)
            self.decisions += len(taken)
            self.planned += sum(one.message.is_ready for one in taken)
            if self._loop is not None:
                self._loop.wake()


def _maker(work: Work, draw: random.Random, now_micros: int) -> Callable[[], bytes]:
    ready = {
        category: stream_pb2.Action(
            rule_set="bench",
            rule="one",
            kind=wire.ACTION_KINDS.to_wire(WORDS[category][0]),
            name=WORDS[category][1],
            category=wire.CATEGORIES.to_wire(category),
            channels=[stream_pb2.ChannelChoice(channel=wire.CHANNELS.to_wire(work.channel))],
            decided_micros=now_micros,
            expires_micros=now_micros + _DAY,
            parameters={"gb": wire.value_to_wire(2)} if category is Category.SALES else {},
        )
        for category in set(work.mix)
    }

    def make() -> bytes:
        action = ready[draw.choice(work.mix)]
        action.action_id = str(UUID(int=draw.getrandbits(128), version=4))
        action.customer = draw.randint(1, work.customers)
        return action.SerializeToString()

    return make


def _transport(work: Work, clock: WallClock) -> Transport:
    if work.channel is Channel.EMAIL:
        link = LinkSettings((Relay("127.0.0.1", work.port),))
        letterhead = Letterhead("Operator <news@operator.example>")
        return SmtpTransport(SmtpSettings(link, letterhead), clock.now_micros)
    return SmppTransport(SmppSettings("127.0.0.1", work.port, work.system_id, work.password))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

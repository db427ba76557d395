"""The channel service's use cases over a real PostgreSQL, with fakes for everything else outside."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import orjson
import pytest
from rapport.types.v1 import stream_pb2

from services.channel.adapters.storage.inbox import PostgresInbox
from services.channel.adapters.storage.store import PostgresStore
from services.channel.app.admit import Admission, Taken
from services.channel.app.due import take_due
from services.channel.app.send import Sender
from services.channel.app.speech import Speech
from services.channel.domain.actions import Action
from services.channel.domain.messages import Message
from services.channel.domain.policies import Policies
from services.channel.entrypoints.translate import action_from_record
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.runtime.totals import read_totals
from services.vocabulary import wire
from services.vocabulary.catalogue import Catalogue, load_catalogue
from services.vocabulary.words import Category
from tests.fakes.channel import SaysName, SetClock, SetProfile, SetTransport
from tests.fakes.keys import sealer

ROOT = Path(__file__).parents[3]
MIGRATIONS = ROOT / "services/channel/migrations"


@cache
def catalogue() -> Catalogue:
    """The shipped catalogue, read once."""
    return load_catalogue(ROOT / "rules")


@dataclass
class Road:
    """One channel service over its own database."""

    database: Database
    policies: Policies = field(default_factory=Policies)
    clock: SetClock = field(default_factory=SetClock)
    renderer: SaysName = field(default_factory=SaysName)
    transport: SetTransport = field(default_factory=SetTransport)
    policies_now: Callable[[], Policies] | None = None

    def __post_init__(self) -> None:
        self.profile = SetProfile(self.clock)
        self.outbox = Outbox(self.database)
        self.store = PostgresStore(self.database, self.outbox, action_from_record, sealer())
        self.inbox = PostgresInbox(self.database)
        self.admission = self.another_admission()
        self.sender = self.another_sender(self.transport)

    def another_admission(self) -> Admission:
        """As a second process would have it."""
        speech = Speech(catalogue(), self.renderer)
        return Admission(self.store, self.profile, speech, self.policies_in_force, self.clock)

    def another_sender(self, transport: SetTransport, **kwargs: object) -> Sender:
        """As a second process would have it."""
        return Sender(
            self.store,
            self.profile,
            transport,
            self.policies_in_force,
            self.clock,
            **kwargs,  # type: ignore[arg-type]
        )

    def policies_in_force(self) -> Policies:
        """Those that the test sets, or those of a process that follows the database."""
        return self.policies_now() if self.policies_now is not None else self.policies

    async def take(self, *actions: Action, admission: Admission | None = None) -> list[Taken]:
        """Takes actions as one batch."""
        judge = admission or self.admission
        prepared = await judge.prepare([with_record(action) for action in actions])
        async with self.store.transaction() as tx:
            return await judge.take(tx, prepared)

    async def take_one(self, action: Action) -> Message:
        """Takes one action; its message."""
        return (await self.take(action))[0].message

    async def due(self) -> int:
        """One turn of the due loop."""
        return await take_due(self.store, self.admission, self.clock)

    async def stored(self, message: Message | str) -> Message:
        """A message as it is in the database now."""
        message_id = message if isinstance(message, str) else message.message_id
        found = await self.store.find(message_id)
        assert found is not None
        return found[0]

    async def steps(self, message: Message) -> list[str]:
        """The states it went through."""
        found = await self.store.find(message.message_id)
        assert found is not None
        return [change.state.value for change in found[1]]

    async def slots(self) -> int:
        """How many cap slots are taken."""
        return (await self.rows("SELECT count(*) FROM contact"))[0][0]

    async def rows(self, sql: str, params: Sequence[object] = ()) -> list[tuple]:
        """Straight from the database."""
        async with self.database.transaction() as raw:
            return await raw.rows(sql, params)

    async def totals(self) -> dict[str, int]:
        """The exact counters."""
        async with self.database.transaction() as raw:
            return await read_totals(raw)

    async def events(self) -> list[tuple[stream_pb2.OwnEvent, dict[str, str]]]:
        """What was put on OUTCOMES so far, with the fields."""
        found = await self.rows("SELECT payload FROM outbox WHERE stream = 'OUTCOMES' ORDER BY id")
        return [
            (event, orjson.loads(event.data))
            for (payload,) in found
            for event in stream_pb2.OwnEventBatch.FromString(bytes(payload)).events
        ]

    async def told(self) -> list[tuple[str, str]]:
        """Types and reasons of what was put on OUTCOMES."""
        return [(event.type, fields.get("reason", "")) for event, fields in await self.events()]


def with_record(action: Action) -> Action:
    """The action as it would have come over the wire."""
    from dataclasses import replace

    return replace(action, record=wired(action).SerializeToString())


def wired(action: Action) -> stream_pb2.Action:
    """The action as protobuf."""
    return stream_pb2.Action(
        action_id=action.action_id,
        decision_id=action.decision_id,
        customer=action.customer,
        rule_set=action.rule_set,
        rule=action.rule,
        kind=wire.ACTION_KINDS.to_wire(action.kind),
        name=action.name,
        category=wire.CATEGORIES.to_wire(action.category),
        channels=[
            stream_pb2.ChannelChoice(
                channel=wire.CHANNELS.to_wire(choice.channel), after_micros=choice.after_micros
            )
            for choice in action.channels
        ],
        score=action.score,
        priority=action.priority,
        decided_micros=action.decided_micros,
        expires_micros=action.expires_micros,
        hops=action.hops,
        template=action.template,
        topic=action.topic,
    )


MakeRoad = Callable[..., Road]


@pytest.fixture
async def make_road(make_database: Callable[..., str]) -> AsyncIterator[MakeRoad]:
    """Makes a channel service over a fresh database."""
    made: list[Database] = []

    def make(policies: Policies | None = None, **kwargs: object) -> Road:
        database = Database(make_database(MIGRATIONS), pool_size=24)
        made.append(database)
        return Road(database, policies or Policies(), **kwargs)  # type: ignore[arg-type]

    yield make
    for database in made:
        await database.close()


@pytest.fixture
def road(make_road: MakeRoad) -> Road:
    """A channel service without caps or quiet hours."""
    return make_road()


ALL = frozenset(Category)

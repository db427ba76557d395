"""The ingest transaction on real PostgreSQL: concurrency, locks, what fails alone, what is forgotten."""

import asyncio
import random
from pathlib import Path

import orjson
import pytest
from rapport.types.v1 import stream_pb2

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.old_keys import OldKeys
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.erasure import Erasures
from services.profile.app.intake import Intake, StreamMark
from services.profile.app.questions import Questions
from services.profile.app.take_events import ACCEPTED, DUPLICATE, EventTaker
from services.profile.domain.erasure import Ground
from services.profile.domain.errors import RejectedError, RejectionReason
from services.profile.domain.events import OLDEST_MICROS, EventChecker, RawEvent
from services.profile.main import MIGRATIONS
from services.runtime.clock import EventClock
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.words import ConsentBy
from tests.fakes.keys import sealer
from tests.fakes.stumbling_taker import StumblingTaker

CATALOGUE = load_catalogue(Path(__file__).parents[3] / "rules")
NOW = 1_790_000_000_000_000
DAY = 86_400_000_000


class Profile:
    def __init__(self, url: str) -> None:
        self.database = Database(url, pool_size=6)
        types = Types(CATALOGUE, sealer())
        self.packer = SnapshotPacker(types)
        self.store = PostgresStore(self.database, Outbox(self.database), types)
        self.taker = EventTaker(CATALOGUE, self.packer)
        self.checker = EventChecker(CATALOGUE, orjson.loads, orjson.dumps, wall=False)
        self.set_aside: list[tuple[str, str]] = []

    def event(self, event_id: str, subject: str, time: int = NOW, kind: str = "roaming.entered", **data):
        raw = RawEvent(event_id, "test", kind, time, subject, orjson.dumps(data or {"country": "ES"}))
        return self.checker.check(raw, NOW)

    def intake(self, taker: EventTaker | None = None, lanes: int = 4) -> Intake:
        async def set_aside(_work, event, error) -> None:
            self.set_aside.append((event.id, type(error).__name__))

        return Intake(self.store, taker or self.taker, lambda: NOW, set_aside, lanes=lanes)

    async def rows(self, sql: str):
        async with self.database.transaction() as tx:
            return await tx.rows(sql)

    async def handed_on(self) -> list[stream_pb2.EventBatch]:
        rows = await self.rows("SELECT payload FROM outbox WHERE stream = 'EVENTS' ORDER BY id")
        return [stream_pb2.EventBatch.FromString(payload) for (payload,) in rows]


@pytest.fixture
async def profile(make_database):
    made = Profile(make_database(MIGRATIONS))
    yield made
    await made.database.close()


async def test_many_at_once_in_any_order_lose_nothing_and_repeat_nothing(profile):
    shuffle = random.Random(3)
    events = [(f"e{n}", f"msisdn:+336000000{n % 20:02d} crm:{n % 20}") for n in range(400)]
    intake = profile.intake()

    async def send(part):
        shuffle.shuffle(part)
        return await intake.take([profile.event(*one) for one in part])

    parts = [events[at : at + 100] for at in range(0, 400, 50)]
    outcomes = [one for part in await asyncio.gather(*(send(list(part)) for part in parts)) for one in part]
    assert outcomes.count(ACCEPTED) == 400
    assert outcomes.count(DUPLICATE) == len(outcomes) - 400
    assert await profile.rows("SELECT count(*), count(DISTINCT customer) FROM event") == [(400, 20)]
    assert await profile.rows("SELECT count(*), sum(sequence)::bigint FROM customer") == [(20, 400)]
    handed: dict[int, list[int]] = {}
    for batch in await profile.handed_on():
        for item in batch.events:
            handed.setdefault(item.customer, []).append(item.sequence)
    assert all(sequences == list(range(1, 21)) for sequences in handed.values())
    assert len(handed) == 20


async def test_a_new_list_of_listened_types_waits_for_transactions_that_read_the_old_one(profile):
    order: list[str] = []
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with profile.store.work() as work:
            await work.listened()
            inside.set()
            await go_on.wait()
            await profile.taker.take(work, [profile.event("e1", "crm:1")], NOW)
        order.append("taken")

    async def change() -> None:
        async with profile.store.work() as work:
            waiting.set()
            await work.set_listened(frozenset({"roaming.entered"}))
        order.append("in force")

    waiting = asyncio.Event()
    first = asyncio.create_task(slow())
    await inside.wait()
    second = asyncio.create_task(change())
    await waiting.wait()
    async with asyncio.timeout(10):
        while not await profile.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.gather(first, second)
    assert order == ["taken", "in force"]
    async with profile.store.work() as work:
        await profile.taker.take(work, [profile.event("e2", "crm:1")], NOW)
    assert [bool(batch.snapshots) for batch in await profile.handed_on()] == [False, True]


async def test_an_event_that_fails_alone_is_set_aside_and_the_others_are_taken(profile):
    taker = StumblingTaker(CATALOGUE, profile.packer, {"bad"})
    intake = profile.intake(taker)
    events = [profile.event(name, "crm:1") for name in ("a", "bad", "b")]
    first, second, third = await intake.take(events, mark=StreamMark("file", 3))
    assert (first, third) == (ACCEPTED, ACCEPTED)
    assert isinstance(second, RejectedError)
    assert profile.set_aside == [("bad", "ZeroDivisionError")]
    assert await profile.rows("SELECT event_id FROM event ORDER BY sequence") == [("a",), ("b",)]
    assert await profile.rows("SELECT acknowledged FROM stream_position") == [(3,)]
    assert dict(await profile.rows("SELECT name, sum(value)::bigint FROM total GROUP BY name")) == {
        "events.accepted": 2,
        "events.rejected": 1,
    }


async def test_what_rolls_back_leaves_nothing_behind(profile):
    async def fail() -> None:
        async with profile.store.work() as work:
            await profile.taker.take(work, [profile.event("e1", "crm:1")], NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    for table in ("event", "event_key", "customer", "identity", "outbox"):
        assert await profile.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    assert await profile.intake().take([profile.event("e1", "crm:1")]) == [ACCEPTED]


async def test_keys_of_events_that_are_too_old_to_come_again_are_forgotten(profile):
    old, young = NOW - OLDEST_MICROS + DAY, NOW
    await profile.intake().take([profile.event("old", "crm:1", old), profile.event("young", "crm:1", young)])
    assert await OldKeys(profile.database, EventClock(NOW)).clear() == 0
    assert await OldKeys(profile.database, EventClock(NOW + 5 * DAY)).clear() == 1
    assert await profile.intake().take([profile.event("young", "crm:1", young)]) == [DUPLICATE]


async def test_a_customer_with_very_much_activity_stays_within_bounds(profile):
    intake = profile.intake(lanes=1)
    async with profile.store.work() as work:
        await work.set_listened(frozenset({"bill.issued"}))
    for part in range(10):
        events = [
            profile.event(
                f"e{part}-{n}",
                "crm:1",
                NOW + (part * 500 + n) * 1_000_003,
                f"{('case.opened', 'case.closed', 'complaint.opened')[n % 3]}",
                **(
                    {"case": f"case-{part}-{n}", "topic": "coverage"}
                    if n % 3 < 2
                    else {"complaint": f"complaint-{part}-{n}", "topic": "coverage"}
                ),
            )
            for n in range(500)
        ]
        await intake.take(events)
    money = {"amount": "1.00", "currency": "EUR"}
    bill = profile.event("bill", "crm:1", NOW + 9_000 * 1_000_003, "bill.issued", bill="b", amount=money)
    await intake.take([bill])
    ((size,),) = await profile.rows("SELECT length(hot) FROM customer")
    assert size < 56_001
    last = (await profile.handed_on())[-1]
    assert len(last.snapshots[0]) < 64_000
    assert last.events[-1].sequence == 5001


async def test_what_was_before_an_erasure_is_not_taken_for_whoever_came_after_it(profile):
    erasures = Erasures(CATALOGUE, Questions(CATALOGUE, profile.packer))
    intake = profile.intake()
    await intake.take([profile.event("e1", "crm:1", NOW)])
    async with profile.store.work() as work:
        await erasures.request(
            work,
            "crm:1",
            ground=Ground.OBJECTED,
            by=ConsentBy.PERSON,
            reference="",
            again=False,
            request_id="r1",
            now_micros=NOW + DAY,
        )
    assert await intake.take([profile.event("new", "crm:1", NOW + 2 * DAY)]) == [ACCEPTED]
    (late,) = await intake.take([profile.event("late", "crm:1", NOW + DAY)])
    assert isinstance(late, RejectedError)
    assert late.reason is RejectionReason.ERASED
    assert await profile.rows("SELECT event_id FROM event") == [("new",)]

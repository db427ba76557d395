"""What came about reaches whoever takes it: all of it, in order, on from where it was acknowledged."""

import asyncio

import orjson
import pytest
from rapport.decision.v1 import outcomes_pb2
from rapport.types.v1 import vocabulary_pb2

from services.decision.adapters.outcome_feed import OutcomeFeed
from services.decision.adapters.outcome_store import OutcomeStore
from services.decision.adapters.outcome_watch import OutcomeWatch
from services.decision.app.tell_outcomes import AnotherStreamError
from services.decision.entrypoints.errors import ERRORS
from services.decision.entrypoints.outcome_servicer import OutcomeServicer
from services.runtime.errors import InvalidArgumentError, NotFoundError
from services.runtime.metrics import OUTCOMES_OLDEST
from tests.integration.decision.conftest import NOON, snapshot
from tests.integration.decision.test_outcomes import SHOP, A, P, say, topup

TELLS = """
ruleset: tells
active: {from: 2026-01-01}
trigger: topup.received
rules:
  - id: tell
    do: {emit: case.opened, with: {case: c-1, topic: bill}}
"""


class Listener:
    """A consumer over the servicer itself, without a network."""

    def __init__(self, worker, name="bss", feed=None, **first):
        self.feed = feed or OutcomeFeed(worker.database, worker.clock)
        store = OutcomeStore()
        self.servicer = OutcomeServicer(
            worker.database, None, worker.decisions, store, worker.close_loop, self.feed, ERRORS
        )
        self.requests = asyncio.Queue()
        self.requests.put_nowait(outcomes_pb2.StreamOutcomesRequest(consumer=name, **first))
        self.answers = self.servicer.StreamOutcomes(self._asked(), None)
        self.waiting = []

    async def _asked(self):
        while (request := await self.requests.get()) is not None:
            yield request

    async def opened(self):
        return (await anext(self.answers)).opened

    async def take(self, count):
        while len(self.waiting) < count:
            self.waiting.extend((await anext(self.answers)).outcomes)
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def acknowledge(self, position):
        self.requests.put_nowait(outcomes_pb2.StreamOutcomesRequest(acknowledged=position))

    async def leave(self):
        """Says no more, and reads until the stream has ended."""
        self.requests.put_nowait(None)
        return [one async for answer in self.answers for one in answer.outcomes]

    async def consumers(self):
        answer = await self.servicer.ListOutcomeConsumers(outcomes_pb2.ListOutcomeConsumersRequest(), None)
        return {one.consumer: one for one in answer.consumers}


@pytest.fixture
async def shop(make_worker):
    worker = make_worker()
    await worker.install(SHOP, TELLS)
    return worker


async def decide(worker, *customers):
    await worker.take(*((topup(f"t-{one}", customer=one), snapshot(one)) for one in customers))


async def seconds_behind(worker):
    """What the gauge shows, by consumer."""
    await OutcomeWatch(OutcomeFeed(worker.database, worker.clock), worker.clock).look()
    (family,) = OUTCOMES_OLDEST.collect()
    return {sample.labels["consumer"]: sample.value for sample in family.samples}


def kinds(outcomes):
    return [outcomes_pb2.OutcomeKind.Name(one.kind).removeprefix("OUTCOME_KIND_") for one in outcomes]


async def test_actions_events_answers_and_what_is_to_be_delivered_come_in_order(shop):
    await decide(shop, 1)
    (sold,) = await shop.actions()
    await say(shop, sold.action_id, P)
    await say(shop, sold.action_id, A, agent="desk-7")
    listener = Listener(shop)
    await listener.opened()
    found = await listener.take(5)
    assert sorted(kinds(found[:2])) == ["ACTION", "EMITTED"]
    assert kinds(found[2:]) == ["ANSWER", "ANSWER", "FULFILMENT"]
    assert [one.position for one in found] == sorted({one.position for one in found})
    emitted = next(one.emitted for one in found if one.kind == outcomes_pb2.OUTCOME_KIND_EMITTED)
    own = {one.id: one for one in await shop.own_events()}
    assert own[emitted.id].type == emitted.type == "case.opened"
    assert own[emitted.id].data == emitted.data
    fulfilment = found[-1].fulfilment
    assert (fulfilment.offer, own[fulfilment.fulfilment_id].type) == ("data-top-up", "order.placed")
    assert orjson.loads(fulfilment.event.data)["order"] == sold.action_id
    assert found[3].answer.agent == "desk-7"
    assert found[4].action.category == vocabulary_pb2.CATEGORY_SALES
    listener.acknowledge(found[-1].position)
    assert await listener.leave() == []

    # who comes again goes on after what was acknowledged
    await decide(shop, 11, 12, 13)
    first = Listener(shop)
    assert (await first.opened()).cursor == found[-1].position
    found = await first.take(6)
    first.acknowledge(found[2].position)
    await first.leave()
    behind = (await first.consumers())["bss"]
    assert (behind.acknowledged, behind.behind) == (found[2].position, 1)
    assert await seconds_behind(shop) == {"bss": 0}
    shop.clock.advance_to(NOON + 60_000_000)
    assert await seconds_behind(shop) == {"bss": 60}
    again = Listener(shop)
    assert (await again.opened()).cursor == found[2].position
    assert await again.take(3) == found[3:]
    await decide(shop, 14)
    more = await again.take(2)
    assert {one.customer for one in more} == {14}
    again.acknowledge(more[-1].position)
    await again.leave()
    last = (await again.consumers())["bss"]
    assert (last.behind, last.HasField("oldest_time")) == (0, False)
    shop.clock.advance_to(NOON + 120_000_000)
    assert await seconds_behind(shop) == {"bss": 0}
    async with shop.database.transaction() as transaction:
        await again.feed.remove(transaction, "bss")
    assert await seconds_behind(shop) == {}


async def test_nothing_is_passed_over_that_is_committed_later_than_what_came_after_it(shop):
    """A transaction that took its number first and ends last holds up those behind it."""
    listener = Listener(shop)
    await listener.opened()
    slow = await shop.database.connect_driver()
    try:
        await slow.execute("BEGIN")
        await slow.execute("SELECT pg_current_xact_id(), nextval('decision_number_seq')")
        await decide(shop, 1)
        for _ in range(5):
            assert await listener.feed.read(0, 10) == []
        await slow.execute("COMMIT")
        found = await listener.take(2)
        assert {one.customer for one in found} == {1}
    finally:
        await slow.close()

    # however transactions overlap, everything comes once and in order
    taking = asyncio.create_task(listener.take(40))
    await asyncio.gather(*(decide(shop, customer) for customer in range(11, 31)))
    found = await taking
    positions = [one.position for one in found]
    assert positions == sorted(set(positions))
    assert sorted(one.customer for one in found) == sorted([*range(11, 31)] * 2)


async def test_no_more_is_sent_than_may_be_unacknowledged(shop):
    await decide(shop, 1, 2, 3)
    listener = Listener(shop, most_unacknowledged=3)
    await listener.opened()
    found = await listener.take(3)
    more = asyncio.ensure_future(anext(listener.answers))
    done, _ = await asyncio.wait([more], timeout=0.3)
    assert not done
    listener.acknowledge(found[0].position)
    assert len((await more).outcomes) == 1

    # a newer stream of the same consumer ends the older one
    older, newer = Listener(shop), Listener(shop)
    await older.opened()
    assert len(await older.take(5)) == 5
    await newer.opened()
    with pytest.raises(AnotherStreamError):
        await anext(older.answers)
    other = Listener(shop, "crm")
    await other.opened()
    assert set(await newer.consumers()) == {"bss", "crm"}
    assert len(await newer.take(5)) == 5
    assert len(await other.take(6)) == 6

    # a new consumer may begin now, and any may go back
    late = Listener(shop, "late", from_now=True)
    await late.opened()
    await decide(shop, 4)
    found = await late.take(2)
    assert {one.customer for one in found} == {4}
    back = Listener(shop, "late", cursor=1)
    assert (await back.opened()).kept_after < found[0].position
    assert {one.customer for one in await back.take(8)} == {1, 2, 3, 4}


async def test_a_bad_beginning_is_told_which_field(make_worker):
    worker = make_worker()
    beginnings = [
        ({"name": "Bss!"}, "consumer"),
        ({"name": "a" * 65}, "consumer"),
        ({"cursor": 1 << 60}, "cursor"),
        ({"cursor": -1}, "cursor"),
        ({"most_unacknowledged": 10_001}, "most_unacknowledged"),
        ({"most_unacknowledged": -1}, "most_unacknowledged"),
    ]
    for first, field in beginnings:
        with pytest.raises(InvalidArgumentError) as told:
            await Listener(worker, **first).opened()
        assert told.value.field == field

    # acknowledging what was not sent is told too, and a consumer can be forgotten
    listener = Listener(worker)
    await listener.opened()
    listener.acknowledge(1 << 40)
    with pytest.raises(InvalidArgumentError) as told:
        await listener.leave()
    assert told.value.field == "acknowledged"
    request = outcomes_pb2.RemoveOutcomeConsumerRequest(request_id="r-1", consumer="bss")
    for _ in range(2):  # the same answer again
        await listener.servicer.RemoveOutcomeConsumer(request, None)
    assert await listener.consumers() == {}
    request.request_id = "r-2"
    with pytest.raises(NotFoundError):
        await listener.servicer.RemoveOutcomeConsumer(request, None)

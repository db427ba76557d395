"""A customer's answer to an offer is recorded once and followed; a plan taken back is not said."""

import asyncio
import uuid
from dataclasses import replace

import orjson
import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters.outcome_store import OutcomeStore
from services.decision.adapters.standings import StandingStore
from services.decision.app.ask import Ask
from services.decision.app.outcomes import Told
from services.decision.app.ports import FreshSnapshot
from services.decision.domain.answers import Answer, NotRecorded
from services.runtime.audit import AuditFilter, list_audit
from services.runtime.errors import ConflictError
from services.vocabulary.words import ActionOutcome
from tests.integration.decision.conftest import HOUR, NOON, batch_of, event, snapshot
from tests.integration.decision.test_recovery import replay
from tests.integration.decision.test_worker import DAY, due_pairs

P, A, D, N = Answer.PRESENTED, Answer.ACCEPTED, Answer.DECLINED, Answer.NOT_NOW
SHOP = """
ruleset: shop
active: {from: 2026-01-01}
trigger: topup.received
rules:
  - id: sell
    once: 30d
    do: {offer: data-top-up, category: sales, expires: 2d, with: {gb: 5}}
"""
LATER = """
ruleset: later
active: {from: 2026-01-01}
trigger: topup.received
rules:
  - id: ask
    once: 30d
    do: {survey: ces-after-care, category: survey, after: 1h, unless: [complaint.opened happened]}
"""


OVERTAKEN = "11111111-1111-5111-8111-111111111111"


class OpenGates:
    """Lets everything through."""

    async def reserve(self, *_):
        return {}


def topup(name="e-1", at=NOON, customer=1):
    data = {"amount": {"amount": "5.00", "currency": "EUR"}}
    return event("topup.received", event_id=name, customer=customer, at=at, data=data, line="l-1")


@pytest.fixture
async def shop(make_worker):
    worker = make_worker()
    await worker.install(SHOP)
    return worker


def asking_of(worker):
    return Ask(
        worker.database,
        worker.clock,
        worker.evaluator,
        StandingStore(worker.journeys),
        worker.decisions,
        worker.hand_over,
        OpenGates(),
        OutcomeStore(),
        DAY,
    )


async def prepare(worker, name, customer):
    """Asked at the desk and let through; not recorded yet."""
    seen = FreshSnapshot(customer, (customer,), 1, snapshot(customer).SerializeToString())
    taken = topup(name, worker.clock.now_micros(), customer).SerializeToString()
    return await asking_of(worker).prepare(taken, seen, f"r-{name}", None), seen


async def present(worker, name="e-1", customer=1):
    """Asked at the desk and to be shown; the offer's action id, if there is one to show."""
    prepared, seen = await prepare(worker, name, customer)
    async with worker.database.transaction() as transaction:
        answer = await asking_of(worker).record(transaction, prepared, seen)
    (action,) = answer.decided.arbitration.actions
    shown = action.outcome is ActionOutcome.DISPATCHED
    return action.candidate.action_id if shown else None


async def say(worker, action_id, answer, **more):
    recorded = await worker.decisions.find(action_id)
    async with worker.database.transaction() as transaction:
        return await worker.close_loop.record(transaction, recorded, Told(action_id, answer, **more))


async def own(worker):
    return [
        (one.type, orjson.loads(one.data), one.line)
        for one in await worker.own_events()
        if not one.type.startswith("action.")
    ]


async def given_back(worker):
    """Ids of the actions whose reservations the channel was told to free."""
    return [(one.customer, one.action_id) for one in await ended(worker) if not one.answered]


async def ended(worker):
    """What the channel was told to end."""
    batches = [stream_pb2.ActionBatch.FromString(payload) for payload in await worker.sent("ACTIONS")]
    return [one for batch in batches for one in batch.given_back]


async def test_a_yes_is_told_once_with_what_it_asks_for(shop):
    action_id = await present(shop)
    assert (await say(shop, action_id, P)).refusal is None
    closed = await say(shop, action_id, A, agent="desk-7")
    assert (closed.refusal, closed.earlier.answer, closed.offer) == (None, P, "data-top-up")
    product = {"order": action_id, "action": action_id, "product": "data-top-up"}
    order = {**product, "price": {"amount": "3.50", "currency": "EUR"}}
    told = {"offer": "data-top-up", "action": action_id}
    assert await own(shop) == [
        ("offer.presented", told, "l-1"),
        ("offer.accepted", told, "l-1"),
        ("order.placed", order, "l-1"),
    ]
    again = await say(shop, action_id, A)
    assert (again.refusal, again.earlier.agent) == (NotRecorded.RECORDED_BEFORE, "desk-7")
    assert (await say(shop, action_id, D)).refusal is NotRecorded.CONTRADICTS
    assert await own(shop) == []
    # what of it still waits in the channel is not said any more
    (one,) = await ended(shop)
    assert (one.customer, one.action_id, one.answered) == (1, action_id, True)
    await replay(shop, NOON)
    assert [one.answered for one in await ended(shop)] == [True]
    again = [kind for kind, _, _ in await own(shop)]
    assert again == ["offer.presented", "offer.accepted", "order.placed"]
    async with shop.database.transaction() as transaction:
        newest = (await list_audit(transaction, AuditFilter(action="outcome.record")))[0]
    assert newest.target == f"customer/1/action/{action_id}"
    assert (newest.before, newest.after["outcome"]) == ({"outcome": "presented"}, "accepted")

    # of opposite answers at once one is recorded
    action_id = await present(shop, "e-2", 2)
    closed = await asyncio.gather(*(say(shop, action_id, answer) for answer in (A, D) * 3))
    assert sum(one.refusal is None for one in closed) == 1
    assert await shop.count("action_outcome WHERE customer = 2") == 1
    assert len({kind for kind, _, _ in await own(shop)} & {"offer.accepted", "offer.declined"}) == 1

    # an answer of somebody erased is unknown
    action_id = await present(shop, "e-3", 3)
    recorded = await shop.decisions.find(action_id)
    async with shop.database.transaction() as transaction:
        await transaction.execute("UPDATE customer_state SET erased_micros = 1 WHERE customer = 3")
    async with shop.database.transaction() as transaction:
        closed = await shop.close_loop.record(transaction, replace(recorded), Told(action_id, A))
    assert closed.refusal is NotRecorded.UNKNOWN_ACTION


async def test_what_was_never_presented_used_up_nothing(shop):
    cases = [((N,), True), ((D,), True), ((P, N), False), ((P, D), False)]
    freed = []
    for customer, (said, free) in enumerate(cases, 1):
        action_id = await present(shop, f"a-{customer}", customer)
        assert await present(shop, f"b-{customer}", customer) is None
        closed = [await say(shop, action_id, answer) for answer in said]
        assert [one.given_back for one in closed] == [False] * (len(said) - 1) + [free]
        # the channel frees its slots with it
        expected = [(customer, action_id)] * free
        assert await given_back(shop) == expected
        freed += expected
        assert (await present(shop, f"c-{customer}", customer) is not None) is free
        told = [data.get("reason") for kind, data, _ in await own(shop) if kind == "offer.declined"]
        assert told == ["not_now" if said[-1] is N else None]
    await replay(shop, NOON)
    assert sorted(await given_back(shop)) == sorted(freed)

    # what the channel was given to say was said
    await shop.take((topup("e-5", customer=5), snapshot(5)))
    (action,) = await shop.actions()
    closed = await say(shop, action.action_id, D, reason="too dear")
    assert (closed.refusal, closed.given_back, await given_back(shop)) == (None, False, [])
    assert await present(shop, "f-5", 5) is None

    # an offer that ended is neither shown nor accepted, but can be declined
    action_id = await present(shop, "e-6", 6)
    await say(shop, action_id, P)
    shop.clock.advance_to(NOON + 2 * DAY)
    closed = await say(shop, action_id, A)
    assert (closed.refusal, closed.earlier.answer) == (NotRecorded.EXPIRED, P)
    assert (await say(shop, action_id, D)).refusal is None


async def test_what_was_reserved_and_cannot_be_presented_is_given_back(shop):
    prepared, seen = await prepare(shop, "e-1", 1)
    (action_id,) = prepared.held
    await shop.take((topup("e-9"), snapshot()))
    await shop.actions()
    with pytest.raises(ConflictError):
        async with shop.database.transaction() as transaction:
            await asking_of(shop).record(transaction, prepared, seen)
    assert await given_back(shop) == []
    await asking_of(shop).give_up(prepared)
    assert await given_back(shop) == [(1, action_id)]

    prepared, seen = await prepare(shop, "e-2", 2)
    prepared = replace(prepared, held=prepared.held | {OVERTAKEN})
    async with shop.database.transaction() as transaction:
        await asking_of(shop).record(transaction, prepared, seen)
    assert await given_back(shop) == [(2, OVERTAKEN)]
    await asking_of(shop).give_up(prepared)  # it was recorded, and is shown
    assert await given_back(shop) == []


def wrote(number, intent, action_id, at=NOON, source="channel", customer=1):
    data = {"text": "…", "intent": intent} | ({"action": action_id} if action_id else {})
    name = f"wrote-{number}"
    return event("message.replied", event_id=name, customer=customer, at=at, data=data, source=source), None


async def test_a_yes_that_the_customer_writes_accepts_the_offer_it_answers_once(shop, monkeypatch):
    await shop.take(*((topup(f"e-{one}", customer=one), snapshot(one)) for one in range(1, 5)))
    said = {action.customer: action.action_id for action in await shop.actions()}
    await shop.take(
        wrote(1, "yes", ""),
        wrote(2, "yes", said[1], source="crm"),
        wrote(3, "help", said[1]),
        wrote(4, "yes", str(uuid.uuid4())),
        key="nothing",
    )
    assert await own(shop) == []
    # after a merge the survivor answers what was said to the one merged
    await shop.take(wrote(5, "yes", said[1], customer=99), key="yes")
    await shop.take(wrote(5, "yes", said[1], customer=99), key="yes")
    await shop.take(wrote(6, "yes", said[1]), wrote(7, "no", said[1]), wrote(8, "no", said[2], customer=2))
    told = [(kind, data["action"], data.get("reason")) for kind, data, _ in await own(shop)]
    assert sorted(told) == sorted(
        [
            ("offer.accepted", said[1], "reply"),
            ("order.placed", said[1], None),
            ("offer.declined", said[2], "reply"),
        ]
    )
    assert (await say(shop, said[1], D)).refusal is NotRecorded.CONTRADICTS
    assert await given_back(shop) == []
    # what was written in time counts, though it is taken late
    shop.clock.advance_to(NOON + 3 * DAY)
    await shop.take(
        wrote(9, "yes", said[3], at=NOON + 2 * DAY, customer=3),
        wrote(10, "yes", said[4], at=NOON + DAY, customer=4),
    )
    assert {data["action"] for _, data, _ in await own(shop)} == {said[4]}
    replies = {name: count for name, count in (await shop.totals()).items() if name.startswith("replies.")}
    assert replies == {
        "replies.recorded": 3,
        "replies.unknown_action": 1,
        "replies.recorded_before": 1,
        "replies.contradicts": 1,
        "replies.expired": 1,
    }
    # only an offer with words that accept it asks for them
    offers = shop.catalogue.offers
    monkeypatch.setitem(offers, "data-top-up", replace(offers["data-top-up"], accept=()))
    await shop.take((topup("e-5", shop.clock.now_micros(), 5), snapshot(5)))
    (action,) = await shop.actions()
    await shop.take(wrote(11, "yes", action.action_id, shop.clock.now_micros(), customer=5))
    assert (await shop.totals())["replies.not_by_reply"] == 1


async def test_a_reply_that_cannot_be_written_is_set_aside_alone(shop):
    await shop.take((topup(), snapshot()))
    (action,) = await shop.actions()
    await shop.own_events()
    written = wrote(1, "yes", action.action_id)

    async def fails(*_):
        raise ValueError

    recording, shop.close_loop.record = shop.close_loop.record, fails
    delivery = shop.delivery(batch_of(written, wrote(2, "yes", "")))
    await shop.take_events.take_singly(delivery)
    async with shop.database.transaction() as transaction:
        (letter,) = await shop.dead_letters.list(transaction)
    assert (letter.item_id, letter.reason) == ("wrote-1", "ValueError while written")
    shop.close_loop.record = recording
    await shop.take(written)
    assert [kind for kind, _, _ in await own(shop)] == ["offer.accepted", "order.placed"]


@pytest.fixture
async def asking_later(make_worker):
    worker = make_worker()
    await worker.install(LATER)
    return worker


async def plan(worker, name="e-1", customer=1):
    """A survey in an hour; its action id, if it was planned."""
    await worker.take((topup(name, worker.clock.now_micros(), customer), snapshot(customer)))
    (action,) = (await worker.decided())[-1].actions
    return action.candidate.action_id if action.outcome is ActionOutcome.PLANNED else None


async def waiting(worker, customer=1):
    async with worker.database.transaction() as transaction:
        return await OutcomeStore().waiting(transaction, [customer])


async def cancel(worker, customer=1, plans=None):
    wanted = await waiting(worker, customer) if plans is None else plans
    async with worker.database.transaction() as transaction:
        return (await worker.close_loop.cancel(transaction, wanted, "it is settled", "desk-7")).plans


async def test_a_plan_taken_back_ends_as_killed_and_is_not_said(asking_later):
    worker = asking_later
    action_id = await plan(worker)
    assert await plan(worker, "e-2") is None
    # what cannot have an answer is told why
    assert (await say(worker, action_id, A)).refusal is NotRecorded.NOT_AN_OFFER
    assert (await say(worker, str(uuid.uuid4()), P)).refusal is NotRecorded.UNKNOWN_ACTION
    await worker.own_events()
    assert [ended.action_id for ended in await cancel(worker)] == [action_id]
    (told,) = await worker.own_events()
    assert (told.type, orjson.loads(told.data)["reason"]) == ("action.refused", "KILLED")
    assert await cancel(worker) == ()
    async with worker.database.transaction() as transaction:
        (entry,) = await list_audit(transaction, AuditFilter(action="plan.cancel"))
    assert entry.after == {"reason": "it is settled", "agent": "desk-7"}
    worker.clock.advance_to(NOON + HOUR)
    assert await worker.due.take_due() == 0
    # what it held is free
    assert await plan(worker, "e-3") is not None


async def test_a_plan_taken_back_on_its_way_to_be_decided_again_is_not_said(asking_later):
    worker = asking_later
    # one that was decided meanwhile is left as it was
    await plan(worker, "e-2", 2)
    seen = await waiting(worker, 2)
    await worker.own_events()
    worker.clock.advance_to(NOON + HOUR)
    await worker.due.take_due()
    await worker.take(*await due_pairs(worker, snapshot(2)))
    assert await cancel(worker, 2, seen) == ()
    assert await worker.count("action_outcome") == 0
    await worker.actions()

    action_id = await plan(worker)
    await worker.own_events()
    worker.clock.advance_to(NOON + 2 * HOUR)
    assert await worker.due.take_due() == 1
    pairs = await due_pairs(worker, snapshot())
    evaluate = worker.evaluator.evaluate_due

    async def evaluate_and_cancel(*arguments):
        """Between reading the plan and locking the customer."""
        found = await evaluate(*arguments)
        (plan,) = await cancel(worker)
        assert plan.action_id == action_id
        return found

    worker.evaluator.evaluate_due = evaluate_and_cancel
    before = len(await worker.decided())
    await worker.take(*pairs)
    assert len(await worker.decided()) == before
    assert await worker.actions() == []

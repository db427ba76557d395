"""A customer's answer to an offer is recorded once and followed; a plan taken back is not said."""

import asyncio
import uuid
from dataclasses import replace

import orjson
import pytest

from services.decision.adapters.outcome_store import OutcomeStore
from services.decision.adapters.standings import StandingStore
from services.decision.app.ask import Ask
from services.decision.app.outcomes import CloseLoop, Told
from services.decision.app.ports import FreshSnapshot
from services.decision.domain.answers import Answer, NotRecorded
from services.runtime.audit import AuditFilter, list_audit
from services.vocabulary.words import ActionOutcome
from tests.integration.decision.conftest import HOUR, NOON, event, snapshot
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


class OpenGates:
    """Lets everything through."""

    async def reserve(self, *_):
        return {}


def loop_of(worker):
    store = OutcomeStore()
    return CloseLoop(
        worker.clock, worker.catalogue, StandingStore(worker.journeys), store, store, worker.hand_over
    )


def topup(name="e-1", at=NOON, customer=1):
    data = {"amount": {"amount": "5.00", "currency": "EUR"}}
    return event("topup.received", event_id=name, customer=customer, at=at, data=data, line="l-1")


@pytest.fixture
async def shop(make_worker):
    worker = make_worker()
    await worker.install(SHOP)
    return worker


async def present(worker, name="e-1", customer=1):
    """Asked at the desk and to be shown; the offer's action id, if there is one to show."""
    asking = Ask(
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
    seen = FreshSnapshot(customer, (customer,), 1, snapshot(customer).SerializeToString())
    taken = topup(name, worker.clock.now_micros(), customer).SerializeToString()
    prepared = await asking.prepare(taken, seen, f"r-{name}", None)
    async with worker.database.transaction() as transaction:
        answer = await asking.record(transaction, prepared, seen)
    (action,) = answer.decided.arbitration.actions
    shown = action.outcome is ActionOutcome.DISPATCHED
    return action.candidate.action_id if shown else None


async def say(worker, action_id, answer, **more):
    recorded = await worker.decisions.find(action_id)
    async with worker.database.transaction() as transaction:
        return await loop_of(worker).record(transaction, recorded, Told(action_id, answer, **more))


async def own(worker):
    return [
        (one.type, orjson.loads(one.data), one.line)
        for one in await worker.own_events()
        if not one.type.startswith("action.")
    ]


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
    await replay(shop, NOON)
    again = [kind for kind, _, _ in await own(shop)]
    assert again == ["offer.presented", "offer.accepted", "order.placed"]
    async with shop.database.transaction() as transaction:
        newest = (await list_audit(transaction, AuditFilter(action="outcome.record")))[0]
    assert newest.target == f"customer/1/action/{action_id}"
    assert (newest.before, newest.after["outcome"]) == ({"outcome": "presented"}, "accepted")


async def test_of_opposite_answers_at_once_one_is_recorded(shop):
    action_id = await present(shop)
    closed = await asyncio.gather(*(say(shop, action_id, answer) for answer in (A, D) * 3))
    assert sum(one.refusal is None for one in closed) == 1
    assert await shop.count("action_outcome") == 1
    assert len({kind for kind, _, _ in await own(shop)} & {"offer.accepted", "offer.declined"}) == 1


async def test_what_was_never_presented_used_up_nothing(shop):
    cases = [((N,), True), ((D,), True), ((P, N), False), ((P, D), False)]
    for customer, (said, free) in enumerate(cases, 1):
        action_id = await present(shop, f"a-{customer}", customer)
        assert await present(shop, f"b-{customer}", customer) is None
        closed = [await say(shop, action_id, answer) for answer in said]
        assert [one.given_back for one in closed] == [False] * (len(said) - 1) + [free]
        assert (await present(shop, f"c-{customer}", customer) is not None) is free
        told = [data.get("reason") for kind, data, _ in await own(shop) if kind == "offer.declined"]
        assert told == ["not_now" if said[-1] is N else None]


async def test_what_the_channel_was_given_is_not_given_back_by_a_no(shop):
    await shop.take((topup(), snapshot()))
    (action,) = await shop.actions()
    closed = await say(shop, action.action_id, D, reason="too dear")
    assert (closed.refusal, closed.given_back) == (None, False)
    assert await present(shop, "e-2") is None


async def test_an_offer_that_ended_is_neither_shown_nor_accepted_but_can_be_declined(shop):
    action_id = await present(shop)
    await say(shop, action_id, P)
    shop.clock.advance_to(NOON + 2 * DAY)
    closed = await say(shop, action_id, A)
    assert (closed.refusal, closed.earlier.answer) == (NotRecorded.EXPIRED, P)
    assert (await say(shop, action_id, D)).refusal is None


async def test_what_cannot_have_an_answer_is_told_why(asking_later):
    assert (await say(asking_later, str(uuid.uuid4()), P)).refusal is NotRecorded.UNKNOWN_ACTION
    assert (await say(asking_later, await plan(asking_later), A)).refusal is NotRecorded.NOT_AN_OFFER


@pytest.fixture
async def asking_later(make_worker):
    worker = make_worker()
    await worker.install(LATER)
    return worker


async def plan(worker, name="e-1"):
    """A survey in an hour; its action id, if it was planned."""
    await worker.take((topup(name, worker.clock.now_micros()), snapshot()))
    (action,) = (await worker.decided())[-1].actions
    return action.candidate.action_id if action.outcome is ActionOutcome.PLANNED else None


async def cancel(worker):
    store = OutcomeStore()
    async with worker.database.transaction() as transaction:
        plans = await store.waiting(transaction, [1])
        return (await loop_of(worker).cancel(transaction, plans, "it is settled", "desk-7")).plans


async def test_a_plan_taken_back_ends_as_killed_and_is_not_said(asking_later):
    worker = asking_later
    action_id = await plan(worker)
    await worker.own_events()
    assert [ended.action_id for ended in await cancel(worker)] == [action_id]
    (told,) = await worker.own_events()
    assert (told.type, orjson.loads(told.data)["reason"]) == ("action.refused", "KILLED")
    assert await cancel(worker) == ()
    worker.clock.advance_to(NOON + HOUR)
    assert await worker.due.take_due() == 0
    async with worker.database.transaction() as transaction:
        (entry,) = await list_audit(transaction, AuditFilter(action="plan.cancel"))
    assert entry.after == {"reason": "it is settled", "agent": "desk-7"}


async def test_a_plan_taken_back_on_its_way_to_be_decided_again_is_not_said(asking_later):
    worker = asking_later
    action_id = await plan(worker)
    await worker.own_events()
    worker.clock.advance_to(NOON + HOUR)
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


async def test_a_plan_that_was_decided_meanwhile_is_left_as_it_was(asking_later):
    worker = asking_later
    await plan(worker)
    await worker.own_events()
    store = OutcomeStore()
    async with worker.database.transaction() as transaction:
        plans = await store.waiting(transaction, [1])
    worker.clock.advance_to(NOON + HOUR)
    await worker.due.take_due()
    await worker.take(*await due_pairs(worker, snapshot()))
    async with worker.database.transaction() as transaction:
        taken = await loop_of(worker).cancel(transaction, plans, "too late", "")
    assert taken.plans == ()
    assert await worker.count("action_outcome") == 0


async def test_a_plan_taken_back_leaves_what_it_held(asking_later):
    assert await plan(asking_later) is not None
    assert await plan(asking_later, "e-2") is None
    await cancel(asking_later)
    assert await plan(asking_later, "e-3") is not None


async def test_an_answer_of_somebody_erased_is_unknown(shop):
    action_id = await present(shop)
    recorded = await shop.decisions.find(action_id)
    async with shop.database.transaction() as transaction:
        await transaction.execute("UPDATE customer_state SET erased_micros = 1 WHERE customer = 1")
    async with shop.database.transaction() as transaction:
        closed = await loop_of(shop).record(transaction, replace(recorded), Told(action_id, A))
    assert closed.refusal is NotRecorded.UNKNOWN_ACTION

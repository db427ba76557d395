"""Journeys on a real database: each step once, whatever is repeated, lost half-way or changed meanwhile."""

import asyncio

import orjson
import psycopg
import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters.outcome_store import OutcomeStore
from services.decision.adapters.pruning import prunables
from services.decision.app.ask import Ask, best_first
from services.decision.app.ports import FreshSnapshot
from services.decision.entrypoints.translate import decided_to_wire
from services.decision.main import MIGRATIONS
from services.profile.domain.events import EventChecker, RawEvent
from services.runtime.prune import Pruner
from tests.integration.decision.conftest import HOUR, NOON, activity, event, snapshot
from tests.integration.decision.test_recovery import in_order, replay

DAY = 24 * HOUR
SAY = "{task: call-back, with: {queue: %s, note: '{event.order}'}, category: service}"
WELCOME = f"""
ruleset: welcome
journey:
  key: event.order
  start: order.activated
  exit: [subscription.ended happened]
  steps:
    - do: {SAY % "hello"}
    - wait: 3d
    - do: {SAY % "three-days"}
    - await: survey.answered
      within: 5d
      then:
        - do: {{task: call-back, with: {{queue: thanks, note: "{{event.survey}}"}}, category: service}}
      nothing: [{{do: {SAY % "silent"}}}]
    - do: {SAY % "goodbye"}
"""


@pytest.fixture
async def worker(make_worker):
    worker = make_worker()
    await worker.install(WELCOME)
    return worker


def started(event_id="start", order="o-1", at=NOON, **more):
    return event(
        "order.activated", event_id=event_id, data={"order": order, "product": "fibre"}, at=at, **more
    )


def answered(event_id="answer", at=NOON, **more):
    return event("survey.answered", event_id=event_id, data={"survey": "s"}, at=at, **more)


async def said(worker):
    """The queues of the tasks handed over, oldest first, with their notes."""
    return [
        (action.parameters["queue"].text, action.parameters["note"].text) for action in await worker.actions()
    ]


async def due(worker, at):
    """What falls due when it is that time, as the profile service hands it on."""
    worker.clock.advance_to(at)
    await worker.steps.take_due()
    return [back(own, at) for own in await worker.own_events() if own.type == "journey.due"]


def back(own, at):
    """An own event on its way back."""
    return stream_pb2.TakenEvent(
        id=own.id,
        source=own.source,
        type=own.type,
        time_micros=own.time_micros,
        accepted_micros=at,
        data=own.data,
        customer=own.customer,
        sequence=99,
        line=own.line,
        hops=own.hops,
    )


async def go_on(worker, at, **more):
    """Lets what is due at that time fall due and decides it; which steps."""
    events = await due(worker, at)
    for one in events:
        await worker.take((one, snapshot(one.customer, **more)))
    return [orjson.loads(one.data)["step"] for one in events]


async def positions(worker):
    async with worker.database.transaction() as transaction:
        return await transaction.rows(
            "SELECT customer, key, step, state FROM journey_position ORDER BY customer, key"
        )


async def test_a_customer_goes_through_all_steps_in_their_time(worker):
    await worker.take((started(line="l-1"), snapshot()))
    assert await said(worker) == [("hello", "o-1")]
    assert await positions(worker) == [(1, "o-1", "step-2", "waiting")]
    assert await go_on(worker, NOON + 3 * DAY - 1) == []
    (fell_due,) = await due(worker, NOON + 3 * DAY)
    assert (fell_due.hops, fell_due.line, fell_due.time_micros) == (0, "l-1", NOON + 3 * DAY)
    await worker.take((fell_due, snapshot()))
    assert await said(worker) == [("three-days", "o-1")]
    assert await go_on(worker, NOON + 8 * DAY - 1) == []
    assert await go_on(worker, NOON + 8 * DAY) == ["step-4"]
    assert await said(worker) == [("silent", "o-1"), ("goodbye", "o-1")]
    assert await positions(worker) == [(1, "o-1", "", "ended")]
    assert await go_on(worker, NOON + 90 * DAY) == []


async def test_an_answer_in_time_takes_the_other_branch_and_then_goes_on(worker):
    await worker.take((started(), snapshot()))
    await go_on(worker, NOON + 3 * DAY)
    await worker.actions()
    await worker.take((answered(at=NOON + 4 * DAY, hops=2), snapshot()))
    assert await said(worker) == [("thanks", "s")]
    assert await positions(worker) == [(1, "o-1", "step-4.then", "waiting")]
    (at_once,) = await due(worker, NOON + 4 * DAY)
    assert at_once.hops == 3
    await worker.take((at_once, snapshot()))
    assert await said(worker) == [("goodbye", "o-1")]
    assert await go_on(worker, NOON + 90 * DAY) == []


@pytest.mark.parametrize("at", [NOON + DAY, NOON + 8 * DAY + 1])
async def test_an_answer_outside_its_time_is_none(worker, at):
    await worker.take((started(), snapshot()))
    await go_on(worker, NOON + 3 * DAY)
    before = len(await worker.decided())
    await worker.take((answered(at=at), snapshot()))
    assert len(await worker.decided()) == before
    assert await positions(worker) == [(1, "o-1", "step-4", "waiting")]
    await worker.actions()
    assert await go_on(worker, NOON + 8 * DAY) == ["step-4"]
    assert await said(worker) == [("silent", "o-1"), ("goodbye", "o-1")]


async def test_an_answer_decided_while_the_time_out_is_on_its_way_counts_once(worker):
    await worker.take((started(), snapshot()))
    await go_on(worker, NOON + 3 * DAY)
    await worker.actions()
    (timed_out,) = await due(worker, NOON + 8 * DAY)
    await worker.take((answered(at=NOON + 7 * DAY), snapshot()))
    await worker.take((timed_out, snapshot()))
    assert await said(worker) == [("thanks", "s")]
    assert await go_on(worker, NOON + 8 * DAY) == ["step-4.then"]
    assert await said(worker) == [("goodbye", "o-1")]


async def test_what_belongs_to_a_journey_that_is_not_there_leaves_no_trace(worker):
    await worker.take((answered(), snapshot()))
    assert await worker.decided() == []
    assert await worker.own_events() == []
    totals = await worker.totals()
    assert totals == {"events.nothing": 1, "events.seen": 1}


async def test_a_key_is_gone_through_once_and_each_key_by_itself(worker):
    await worker.take(
        (started("a"), snapshot()), (started("b"), snapshot()), (started("c", "o-2"), snapshot())
    )
    assert await said(worker) == [("hello", "o-1"), ("hello", "o-2")]
    await go_on(worker, NOON + 3 * DAY)
    await go_on(worker, NOON + 8 * DAY)
    await worker.actions()
    await worker.take((started("d", at=NOON + 9 * DAY), snapshot()))
    assert await said(worker) == []
    assert {row[2:] for row in await positions(worker)} == {("", "ended")}


async def test_without_a_key_it_may_begin_again_once_it_has_ended(make_worker):
    worker = make_worker()
    await worker.install(WELCOME.replace("  key: event.order\n", ""))
    await worker.take((started("a"), snapshot()), (started("b", "o-2"), snapshot()))
    assert await said(worker) == [("hello", "o-1")]
    await go_on(worker, NOON + 3 * DAY)
    await go_on(worker, NOON + 8 * DAY)
    assert await positions(worker) == []
    await worker.actions()
    await worker.take((started("c", "o-3", at=NOON + 9 * DAY), snapshot()))
    assert await said(worker) == [("hello", "o-3")]


async def test_what_ends_a_journey_ends_it_when_the_next_step_is_due(worker):
    await worker.take((started(), snapshot()))
    await worker.actions()
    ended = activity("subscription.ended", [NOON + DAY], first_sequence=5)
    assert await go_on(worker, NOON + 3 * DAY, activity=[ended]) == ["step-2"]
    assert await said(worker) == []
    assert await positions(worker) == [(1, "o-1", "", "ended")]
    last = (await worker.decided())[-1]
    assert [action.candidate.detail for action in last.actions] == ["subscription.ended happened"]
    explained = await worker.look_back.explain(last.decision_id, "")
    assert explained.reproduced
    assert explained.sentence == "The journey welcome ended: subscription.ended happened."


async def test_what_happened_before_the_journey_does_not_end_it(worker):
    earlier = activity("subscription.ended", [NOON - 1])
    await worker.take((started(sequence=7), snapshot()))
    await worker.actions()
    await go_on(worker, NOON + 3 * DAY, activity=[earlier])
    assert await said(worker) == [("three-days", "o-1")]


async def test_repeats_of_all_kinds_do_each_step_once(make_worker, make_database):
    url = make_database(MIGRATIONS)
    first, second = make_worker(url=url), make_worker(url=url)
    await first.install(WELCOME)
    await second.follow.refresh()
    for one in (first, second):
        await one.take((started(), snapshot()))
    for at in (NOON + 3 * DAY, NOON + 8 * DAY):
        first.clock.advance_to(at)
        second.clock.advance_to(at)
        await asyncio.gather(first.steps.take_due(), second.steps.take_due())
        events = [back(own, at) for own in await first.own_events()]
        assert len(events) == 1
        deliveries = [first.delivery(stream_pb2.EventBatch(events=[])) for _ in range(0)]
        del deliveries
        await asyncio.gather(*(one.take((events[0], snapshot())) for one in (first, second)))
        await first.take((events[0], snapshot()))
    queues = [queue for queue, _ in await said(first)]
    assert queues == ["hello", "three-days", "silent", "goodbye"]


async def test_a_crash_between_claiming_and_deciding_loses_and_repeats_nothing(worker, monkeypatch):
    await worker.take((started(), snapshot()))
    await worker.actions()
    worker.clock.advance_to(NOON + 3 * DAY)

    async def fails(*_):
        raise psycopg.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(worker.steps, "_hand_on", fails)
        with pytest.raises(psycopg.OperationalError):
            await worker.steps.take_due()
    assert await positions(worker) == [(1, "o-1", "step-2", "waiting")]
    (fell_due,) = await due(worker, NOON + 3 * DAY)
    assert await due(worker, NOON + 3 * DAY) == []

    with monkeypatch.context() as patch:
        patch.setattr(worker.hand_over, "hand_on", fails)
        with pytest.raises(psycopg.OperationalError):
            await worker.take((fell_due, snapshot()))
    assert await positions(worker) == [(1, "o-1", "step-2", "asked")]
    await worker.take((fell_due, snapshot()))
    assert await said(worker) == [("three-days", "o-1")]


async def test_customers_go_on_in_a_new_version_at_the_step_of_the_same_name(worker):
    await worker.take((started(), snapshot()))
    await worker.actions()
    another = WELCOME.replace("queue: three-days", "queue: another").replace("wait: 3d", "wait: 9d")
    await worker.install(another)
    assert await go_on(worker, NOON + 3 * DAY) == ["step-2"]
    assert await said(worker) == [("another", "o-1")]


@pytest.mark.parametrize(
    "later",
    [
        f"ruleset: welcome\njourney:\n  start: order.activated\n  steps: [{{do: {SAY % 'only'}}}]\n",
        WELCOME.replace("journey:", "active: {to: 2026-12-11}\njourney:"),
    ],
    ids=["the step is gone", "the rule set has ended"],
)
async def test_customers_leave_where_nothing_goes_on_from_their_step(worker, later):
    await worker.take((started(), snapshot()))
    await worker.actions()
    await worker.install(later)
    assert await go_on(worker, NOON + 3 * DAY) == ["step-2"]
    assert await said(worker) == []
    assert await positions(worker) == [(1, "o-1", "", "ended")]


async def test_a_customer_who_was_merged_goes_on_and_does_not_begin_again(worker):
    await worker.take((started(customer=2), snapshot(2)))
    await worker.actions()
    await worker.take((started("again", customer=1), snapshot(1, merged_customers=[2])))
    assert await said(worker) == []
    (fell_due,) = await due(worker, NOON + 3 * DAY)
    fell_due.customer = 1
    await worker.take((fell_due, snapshot(1, merged_customers=[2])))
    assert await said(worker) == [("three-days", "o-1")]
    assert await positions(worker) == [(1, "o-1", "step-4", "waiting")]


async def test_after_an_outage_the_steps_that_follow_keep_their_distance(worker):
    await worker.take((started(), snapshot()))
    await go_on(worker, NOON + 5 * DAY)
    async with worker.database.transaction() as transaction:
        (row,) = await transaction.rows("SELECT reached_micros, due_micros FROM journey_position")
    assert row == (NOON + 5 * DAY, NOON + 10 * DAY)


async def test_decisions_of_a_journey_are_explained_by_running_them_again(worker):
    await worker.take((started(), snapshot()))
    await go_on(worker, NOON + 3 * DAY)
    await worker.take((answered(at=NOON + 4 * DAY), snapshot()))
    explained = [await worker.look_back.explain(one.decision_id, "") for one in await worker.decided()]
    assert [one.reproduced for one in explained] == [True, True, True]
    assert explained[0].sentence == (
        "Task call-back (rule welcome/step-1) was given to a care agent as a task because order.activated "
        "happened; the journey welcome went on to step-2."
    )


async def test_steps_that_were_claimed_and_never_decided_fall_due_again_after_a_restore(worker):
    await worker.take(*((started(f"e-{n}", f"o-{n}", customer=n), snapshot(n)) for n in (1, 2)))
    worker.clock.advance_to(NOON + 3 * DAY)
    await worker.steps.take_due()
    lost = [one for one in await worker.own_events() if one.type == "journey.due"]
    await replay(worker, NOON + 4 * DAY)
    again = [one for one in await worker.own_events() if one.type == "journey.due"]
    assert in_order(again) == in_order(lost)
    assert (await worker.totals())["recovery.handed_again.steps"] == 2


async def test_the_profile_service_takes_what_falls_due(worker):
    await worker.take((started(), snapshot()))
    (fell_due,) = await due(worker, NOON + 3 * DAY)
    checker = EventChecker(worker.catalogue, orjson.loads, orjson.dumps, wall=True)
    raw = RawEvent(fell_due.id, fell_due.source, fell_due.type, fell_due.time_micros, "", fell_due.data)
    checked = checker.check_own(raw, 1, NOON + 3 * DAY, hops=fell_due.hops, line="")
    assert checked.fields["rule_set"] == "welcome"


async def test_an_event_presented_through_decide_begins_a_journey_and_a_peek_does_not(worker):
    asking = Ask(
        worker.database,
        worker.clock,
        worker.evaluator,
        worker.take_events._standings,
        worker.decisions,
        worker.hand_over,
        None,  # a task goes its usual way: no gate is asked
        OutcomeStore(),
        DAY,
    )
    seen = FreshSnapshot(1, (1,), 1, snapshot().SerializeToString())
    taken = started(line="l-1").SerializeToString()
    peeked = await asking.peek(taken, seen)
    assert [action.candidate.rule for action in peeked.decided.arbitration.actions] == ["step-1", "step-2"]
    assert await positions(worker) == []
    prepared = await asking.prepare(taken, seen, "r-1", None)
    async with worker.database.transaction() as transaction:
        answer = await asking.record(transaction, prepared, seen)
    assert await positions(worker) == [(1, "o-1", "step-2", "waiting")]
    told = decided_to_wire(answer.decided, best_first(answer.decided), answer.because)
    assert [action.rule for action in told.actions] == ["step-1"]
    assert await go_on(worker, NOON + 3 * DAY) == ["step-2"]


async def test_what_is_due_is_counted_and_what_ended_is_pruned(worker):
    await worker.take((started(), snapshot()), (started("b", "o-2", customer=2), snapshot(2)))

    async def counted(at):
        async with worker.database.transaction() as transaction:
            return await worker.journeys.count_due(transaction, at)

    assert await counted(NOON) == (0, 2)
    assert await counted(NOON + 3 * DAY) == (2, 0)
    await due(worker, NOON + 3 * DAY)
    assert await counted(NOON + 3 * DAY) == (2, 0)
    async with worker.database.transaction() as transaction:
        await transaction.execute(
            "UPDATE journey_position SET state = 'ended', step = '', reached_micros = %s WHERE customer = 2",
            (NOON,),
        )
    worker.clock.advance_to(NOON + 800 * DAY)
    policy = {"journeys": 763 * DAY}
    pruner = Pruner(worker.database, worker.clock, prunables(DAY), lambda: policy)
    await pruner.prune()
    assert [row[0] for row in await positions(worker)] == [1]

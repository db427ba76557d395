"""Events in, decisions out: on a real database, with the engine in its process."""

import asyncio
import sys

import orjson
import psycopg
import pytest
from rapport.types.v1 import stream_pb2, vocabulary_pb2

from services.decision.app.take_events import TakeEvents
from services.decision.domain.errors import JobFailedError
from services.decision.domain.experiments import HOLDOUT, bucket_of
from services.runtime.errors import StorageFullError
from services.vocabulary.words import ActionOutcome, RefusalReason
from tests.fakes.counting import counted, grown
from tests.integration.decision.conftest import (
    HOUR,
    LIVE,
    NOON,
    RULES,
    activity,
    batch_of,
    event,
    exhausted,
    snapshot,
)

DAY = 24 * HOUR
DISPATCHED, PLANNED, REFUSED = ActionOutcome.DISPATCHED, ActionOutcome.PLANNED, ActionOutcome.REFUSED
TREATED = next(number for number in range(1, 99) if bucket_of("bill-shock-w1", number) >= 1_000)
HELD_OUT = next(number for number in range(1, 99) if bucket_of("bill-shock-w1", number) < 1_000)


def outcomes(one):
    return {action.candidate.rule: (action.outcome, action.reason) for action in one.actions}


def complaint(**more):
    data = {"complaint": "c-1", "topic": "calls"} | more.pop("data", {})
    return event("complaint.opened", data=data, **more)


def refused_by_channel(action_id, reason="NO_CONSENT", **more):
    data = {"action": action_id, "rule_set": "x", "rule": "y", "name": "z", "reason": reason}
    return event("action.refused", source="channel", data=data, **more)


async def test_an_event_leads_to_an_action_and_its_record(worker):
    await worker.take((exhausted(event_id="a", customer=TREATED), snapshot(TREATED)))
    (one,) = await worker.decided()
    assert (one.customer, one.event_id, one.event_type) == (TREATED, "a", "usage.allowance_exhausted")
    assert outcomes(one) == {"one-off-top-up": (DISPATCHED, None)}
    (action,) = await worker.actions()
    assert action.action_id == one.actions[0].candidate.action_id
    assert (action.name, action.category) == ("data-top-up", vocabulary_pb2.CATEGORY_SALES)
    assert action.parameters["gb"].int == 2
    assert [choice.channel for choice in action.channels] == [4, 1]
    assert action.expires_micros == NOON + DAY
    assert action.version == 1
    assert await worker.own_events() == []
    assert await worker.totals() == {
        "actions.offer": 1,
        "decisions": 1,
        "events.seen": 1,
        "outcome.dispatched": 1,
    }


async def test_decisions_and_their_actions_are_counted_by_what_came_of_them(worker):
    def asked(name, at, data=None):
        return exhausted(event_id=name, customer=TREATED, at=at, **({"data": data} if data else {}))

    cycle = {"cycle": "2026-12", "surcharge_next": True, "days_left_in_cycle": 1}
    before = counted()
    await worker.take((asked("a", NOON, cycle), snapshot(TREATED)))
    await worker.take((asked("b", NOON + HOUR, cycle), snapshot(TREATED)))
    await worker.take((exhausted(event_id="n", customer=TREATED), None))
    found = grown(before)
    assert found["rapport_decisions_total", "nothing"] == 1
    results = [one for one in found if one[0] == "rapport_decisions_total"]
    silent = [one for one in await worker.decided() if all(o[0] == REFUSED for o in outcomes(one).values())]
    assert found.get(("rapport_decisions_total", "silent"), 0) == len(silent)
    assert sum(found[one] for one in results) == 3
    asked_for = sum(len(outcomes(one)) for one in await worker.decided())
    assert sum(value for key, value in found.items() if key[0] == "rapport_actions_total") == asked_for


async def test_what_triggers_nothing_is_only_counted(worker):
    await worker.take(
        (event("topup.received", data={"amount": {"amount": "5", "currency": "EUR"}}), None),
        (exhausted(event_id="h", customer=TREATED, history=True), snapshot(TREATED)),
        (exhausted(event_id="n", customer=TREATED), None),
        (event("network.outage_started", customer=0, thing="cell:c", data={}), None),
        (event("network.call_dropped", customer=TREATED), snapshot(TREATED)),
    )
    assert await worker.decided() == []
    assert await worker.totals() == {"events.nothing": 5, "events.seen": 5}
    assert await worker.count("customer_state") == 0


async def test_a_message_taken_before_changes_nothing(worker):
    pair = (exhausted(customer=TREATED), snapshot(TREATED))
    await worker.take(pair, key="same")
    totals = await worker.totals()
    await worker.take(pair, key="same")
    assert len(await worker.decided()) == 1
    assert len(await worker.actions()) == 1
    assert await worker.totals() == totals


async def test_an_event_decided_before_is_not_decided_again_under_another_message(worker):
    pair = (exhausted(customer=TREATED), snapshot(TREATED))
    await worker.take(pair, pair)
    await worker.take(pair)
    assert len(await worker.decided()) == 1
    assert len(await worker.actions()) == 1


async def test_two_workers_with_the_same_message_decide_once(make_worker, make_database):
    from services.decision.main import MIGRATIONS

    url = make_database(MIGRATIONS)
    first, second = make_worker(url=url), make_worker(url=url)
    await first.install(*LIVE)
    await second.follow.refresh()
    pairs = [(exhausted(event_id=f"e{n}", customer=TREATED + n), snapshot(TREATED + n)) for n in range(20)]
    delivery = first.delivery(batch_of(*pairs), "same")
    await asyncio.gather(first.take_events.take([delivery]), second.take_events.take([delivery]))
    assert len(await first.decided()) == 20
    assert (await first.totals())["events.seen"] == 20


async def test_once_a_cycle_means_once_and_says_so(worker):
    def notice(name, cycle, at):
        return exhausted(
            event_id=name,
            customer=TREATED,
            at=at,
            data={"cycle": cycle, "surcharge_next": True, "days_left_in_cycle": 1},
        )

    await worker.take((notice("a", "2026-12", NOON), snapshot(TREATED)))
    await worker.take((notice("b", "2026-12", NOON + HOUR), snapshot(TREATED)))
    await worker.take((notice("c", "2027-01", NOON + 2 * HOUR), snapshot(TREATED)))
    first, second, third = await worker.decided()
    assert outcomes(first)["plain-notice"] == (DISPATCHED, None)
    assert outcomes(second)["plain-notice"] == (REFUSED, RefusalReason.ONCE)
    assert outcomes(third)["plain-notice"] == (DISPATCHED, None)
    (told,) = await worker.own_events()
    assert (told.type, told.customer, told.source) == ("action.refused", TREATED, "decision")
    body = orjson.loads(told.data)
    assert body["reason"] == "ONCE"
    assert body["action"] == second.actions[0].candidate.action_id
    worker.catalogue.event_type("action.refused").coerce(body)


@pytest.mark.parametrize(
    ("reason", "again"),
    [("NO_CONSENT", DISPATCHED), ("HANDOVER_UNKNOWN", REFUSED), ("NO_LONGER_TRUE", REFUSED)],
)
async def test_what_the_channel_refuses_gives_its_slot_back_unless_it_may_have_been_said_or_was_answered(
    worker, reason, again
):
    def notice(name, at):
        return exhausted(
            event_id=name, customer=TREATED, at=at, data={"surcharge_next": True, "days_left_in_cycle": 1}
        )

    await worker.take((notice("a", NOON), snapshot(TREATED)))
    (first,) = await worker.decided()
    refusal = refused_by_channel(first.actions[0].candidate.action_id, reason, event_id="r", customer=TREATED)
    # in one message: what is given back can be taken by the very next event
    await worker.take((refusal, None), (notice("b", NOON + HOUR), snapshot(TREATED)))
    second = (await worker.decided())[1]
    assert outcomes(second)["plain-notice"][0] is again


async def test_at_most_one_commercial_action_wins_a_conversation(worker):
    def over(name, at):
        return exhausted(event_id=name, customer=TREATED, at=at, data={"cycle": "2026-12"})

    await worker.take((over("a", NOON), snapshot(TREATED)))
    await worker.take(
        (over("b", NOON + 23 * HOUR), snapshot(TREATED)), (over("c", NOON + DAY), snapshot(TREATED))
    )
    first, second, third = await worker.decided()
    assert outcomes(second) == {"one-off-top-up": (REFUSED, RefusalReason.OUTRANKED)}
    assert second.actions[0].outranked_by == first.actions[0].candidate.action_id
    assert outcomes(third) == {"one-off-top-up": (DISPATCHED, None)}


async def test_a_commercial_action_that_the_channel_refused_leaves_the_conversation_open(worker):
    await worker.take((exhausted(event_id="a", customer=TREATED), snapshot(TREATED)))
    (first,) = await worker.decided()
    await worker.take(
        (refused_by_channel(first.actions[0].candidate.action_id, event_id="r", customer=TREATED), None)
    )
    await worker.take((exhausted(event_id="b", customer=TREATED, at=NOON + HOUR), snapshot(TREATED)))
    assert outcomes((await worker.decided())[1]) == {"one-off-top-up": (DISPATCHED, None)}


@pytest.mark.parametrize("why", ["complaint", "incident"])
async def test_service_goes_before_sales(worker, why):
    seen = snapshot(TREATED)
    if why == "complaint":
        seen = snapshot(TREATED, activity=[activity("complaint.opened", [NOON - DAY], complaint=["c-1"])])
    else:
        cell = stream_pb2.Thing(kind="cell", key="c-1")
        cell.attributes["incident"].text = "INC7"
        seen.things.append(cell)
    await worker.take((exhausted(customer=TREATED, sequence=9), seen))
    (one,) = await worker.decided()
    # bill-shock offers the top-up whether a complaint is open or not; arbitration is what removes it
    assert outcomes(one) == {"one-off-top-up": (REFUSED, RefusalReason.SERVICE_FIRST)}
    assert why in one.actions[0].detail


async def test_the_vulnerable_are_not_sold_to(worker):
    await worker.take((exhausted(customer=TREATED), snapshot(TREATED, traits={"vulnerable": True})))
    (one,) = await worker.decided()
    assert outcomes(one) == {"one-off-top-up": (REFUSED, RefusalReason.VULNERABLE)}


async def test_the_holdout_is_left_alone_but_for_what_it_must_be_told(worker):
    both = exhausted(customer=HELD_OUT, data={"surcharge_next": True})
    await worker.take((both, snapshot(HELD_OUT)))
    (one,) = await worker.decided()
    assert outcomes(one) == {
        "one-off-top-up": (REFUSED, RefusalReason.HOLDOUT),
        "plain-notice": (DISPATCHED, None),
    }
    assert one.evaluation.arms == {"bill-shock-w1": HOLDOUT}


async def test_an_assignment_is_sticky_whatever_the_shares_become(worker):
    await worker.take((exhausted(event_id="a", customer=HELD_OUT), snapshot(HELD_OUT)))
    await worker.take((exhausted(event_id="b", customer=TREATED), snapshot(TREATED)))
    swapped = LIVE[1].replace("holdout: 10%", "holdout: 0%").replace("control-copy: 45%", "control-copy: 55%")
    await worker.install(swapped)
    later = NOON + 3 * DAY
    await worker.take(
        (exhausted(event_id="c", customer=HELD_OUT, at=later), snapshot(HELD_OUT)),
        (exhausted(event_id="d", customer=TREATED, at=later), snapshot(TREATED)),
    )
    first, second, third, fourth = await worker.decided()
    assert outcomes(third) == {"one-off-top-up": (REFUSED, RefusalReason.HOLDOUT)}
    assert (fourth.evaluation.arms, fourth.program) == (second.evaluation.arms, first.program + 1)


async def test_withheld_data_is_no_missing_data(worker):
    seen = snapshot(TREATED, withheld_purposes=[vocabulary_pb2.PURPOSE_PROFILING_USAGE])
    await worker.take((exhausted(customer=TREATED), seen))
    (one,) = await worker.decided()
    assert outcomes(one)["one-off-top-up"] == (REFUSED, RefusalReason.DATA_WITHHELD)
    assert "profiling_usage" in one.actions[0].detail


async def due_pairs(worker, seen):
    """What the profile service would hand on for the planned actions that are due now."""
    return [
        (
            stream_pb2.TakenEvent(
                id=own.id,
                source=own.source,
                type=own.type,
                time_micros=own.time_micros,
                accepted_micros=own.time_micros,
                data=own.data,
                customer=own.customer,
                sequence=seen.sequence,
                hops=own.hops,
            ),
            seen,
        )
        for own in await worker.own_events()
        if own.type == "action.due"
    ]


async def plan_a_survey(worker):
    await worker.take((complaint(event_id="a", customer=5, sequence=3), snapshot(5, sequence=3)))
    (one,) = await worker.decided(customers=(5,))
    assert outcomes(one) == {"ask-how-it-went": (PLANNED, None)}
    assert [told.type for told in await worker.own_events() if told.customer == 5] == ["action.planned"]
    assert await worker.due.take_due() == 0
    worker.clock.advance_to(NOON + 48 * HOUR)
    assert await worker.due.take_due() == 1
    assert await worker.due.take_due() == 0
    return one.actions[0].candidate.action_id


async def test_a_planned_action_is_decided_again_when_due_and_then_said(worker):
    action_id = await plan_a_survey(worker)
    pairs = await due_pairs(worker, snapshot(5, sequence=4))
    await worker.take(*pairs)
    await worker.take(*pairs)
    _, second = await worker.decided()
    assert (second.event_type, second.event_micros) == ("action.due", NOON + 48 * HOUR)
    assert outcomes(second) == {"ask-how-it-went": (DISPATCHED, None)}
    (action,) = await worker.actions()
    assert (action.action_id, action.decision_id) == (action_id, second.decision_id)
    totals = await worker.totals()
    assert (totals["actions.survey"], totals["outcome.planned"], totals["outcome.dispatched"]) == (1, 1, 1)
    async with worker.database.transaction() as transaction:
        assert await worker.decisions.count_plans(transaction, NOON + 99 * DAY) == (0, 0)


async def test_a_planned_action_whose_reason_has_gone_is_not_said(worker):
    action_id = await plan_a_survey(worker)
    again = activity("complaint.opened", [NOON, NOON + HOUR], first_sequence=3, complaint=["c-1", "c-2"])
    await worker.take(*await due_pairs(worker, snapshot(5, sequence=5, activity=[again])))
    second = (await worker.decided())[1]
    assert outcomes(second) == {"ask-how-it-went": (REFUSED, RefusalReason.NO_LONGER_TRUE)}
    assert await worker.actions() == []
    (told,) = await worker.own_events()
    assert orjson.loads(told.data) | {"reason": "NO_LONGER_TRUE", "action": action_id} == orjson.loads(
        told.data
    )


async def test_a_planned_action_of_a_rule_that_is_gone_is_not_said(worker):
    await plan_a_survey(worker)
    pairs = await due_pairs(worker, snapshot(5, sequence=4))
    await worker.install(LIVE[2].replace("ask-how-it-went", "ask-otherwise"))
    await worker.take(*pairs)
    assert outcomes((await worker.decided())[1]) == {"ask-how-it-went": (REFUSED, RefusalReason.KILLED)}


async def test_after_a_merge_standing_counts_under_all_ids(worker):
    await worker.take((exhausted(event_id="a", customer=TREATED), snapshot(TREATED)))
    other = next(n for n in range(1, 99) if n != TREATED and bucket_of("bill-shock-w1", n) >= 1_000)
    seen = snapshot(other, merged_customers=[TREATED])
    await worker.take((exhausted(event_id="b", customer=other, at=NOON + HOUR), seen))
    assert outcomes((await worker.decided())[1]) == {"one-off-top-up": (REFUSED, RefusalReason.OUTRANKED)}


async def test_what_was_decided_before_a_merge_is_neither_decided_again_nor_lost(worker):
    await worker.take((exhausted(event_id="a", customer=TREATED), snapshot(TREATED)))
    (before,) = await worker.decided()
    assert await worker.count("conversation") == 1
    other = TREATED + 1
    again = exhausted(event_id="a", customer=other, via=TREATED)  # handed on anew, after the merge
    await worker.take((again, snapshot(other, merged_customers=[TREATED])))
    assert len(await worker.decided()) == 1
    for place, action in enumerate(before.actions):
        told = {
            "action": action.candidate.action_id,
            "rule_set": "r",
            "rule": "r",
            "name": "n",
            "reason": "CAPPED",
        }
        refused = event(
            "action.refused", event_id=f"r{place}", source="channel", customer=other, via=TREATED, data=told
        )
        await worker.take((refused, None))
    assert await worker.count("conversation") == 0
    assert [one.decision_id for one in await worker.decided(customers=(other, TREATED))] == [
        before.decision_id
    ]


OWN = """
ruleset: own-words
title: The system says something to itself
owner: test
stage: complain
trigger: complaint.opened
rules:
  - id: mark
    do:
      - {set: {trait: upset, to: true, for: 14d}}
      - {emit: case.opened, with: {case: "{event.complaint}", topic: complaint}}
"""


async def test_set_and_emit_go_out_as_own_events(make_worker):
    worker = make_worker()
    await worker.install(OWN)
    await worker.take((complaint(event_id="a", customer=5, hops=2, data={"complaint": "c-9"}), snapshot(5)))
    (one,) = await worker.decided()
    assert [action.outcome for action in one.actions] == [ActionOutcome.DONE, ActionOutcome.DONE]
    told = {own.type: own for own in await worker.own_events()}
    assert orjson.loads(told["profile.updated"].data)["traits"] == {"upset": True}
    assert orjson.loads(told["profile.updated"].data)["until"] == "2026-12-24T12:00:00Z"
    assert orjson.loads(told["case.opened"].data) == {"case": "c-9", "topic": "complaint"}
    assert {own.hops for own in told.values()} == {3}
    for own in told.values():
        worker.catalogue.event_type(own.type).coerce(orjson.loads(own.data))


def crashing(tmp_path):
    return [sys.executable, "-m", "tests.fakes.crashing_engine", str(RULES), str(tmp_path / "crashed")]


async def test_a_crash_in_c_costs_nothing_but_a_restart(make_worker, tmp_path):
    worker = make_worker(crashing(tmp_path))
    await worker.install(*LIVE)
    before = counted()
    names = ["a", "b", "crash-once-1", "c"]
    await worker.take(*((exhausted(event_id=name, customer=TREATED), snapshot(TREATED)) for name in names))
    assert [one.event_id for one in await worker.decided()] == names
    assert worker.process.starts == 2
    assert grown(before, "rapport_engine_") == {("rapport_engine_restarts_total",): 1}
    assert await worker.count("dead_letter") == 0


async def test_an_event_that_kills_the_engine_twice_is_set_aside_with_its_input(make_worker, tmp_path):
    worker = make_worker(crashing(tmp_path))
    await worker.install(*LIVE)
    pairs = [
        (exhausted(event_id=name, customer=TREATED), snapshot(TREATED))
        for name in ("a", "crash-always-1", "b")
    ]
    first = worker.delivery(batch_of(*pairs[:2]))
    second = worker.delivery(batch_of(*pairs[2:], pairs[0]))
    before = counted()
    await worker.take_events.take([first, second])
    assert [one.event_id for one in await worker.decided()] == ["a", "b"]
    async with worker.database.transaction() as transaction:
        (letter,) = await worker.dead_letters.list(transaction)
        payload = (await transaction.row("SELECT payload FROM dead_letter"))[0]
    assert (letter.kind, letter.item_id, letter.customer) == ("event", "crash-always-1", TREATED)
    assert "killed the engine's process 2 times" in letter.reason
    kept = stream_pb2.EventBatch.FromString(bytes(payload))
    assert kept.events[0].id == "crash-always-1"
    assert stream_pb2.Snapshot.FromString(kept.snapshots[0]).customer == TREATED
    totals = await worker.totals()
    assert (totals["events.seen"], totals["decisions"], totals["events.set_aside"]) == (4, 2, 1)
    assert grown(before, "rapport_engine_set_aside") == {("rapport_engine_set_aside_total",): 1}


async def test_an_event_that_cannot_be_evaluated_is_set_aside_and_can_be_sent_again(worker):
    broken = exhausted(event_id="broken", customer=TREATED)
    broken.data = b'{"cycle": 12}'
    await worker.take(
        (broken, snapshot(TREATED)), (exhausted(event_id="fine", customer=TREATED), snapshot(TREATED))
    )
    assert [one.event_id for one in await worker.decided()] == ["fine"]
    async with worker.database.transaction() as transaction:
        (letter,) = await worker.dead_letters.list(transaction)
        await worker.dead_letters.resend(transaction, letter.number)
    assert "data.cycle" in letter.reason
    handed = [stream_pb2.OwnEventBatch.FromString(payload) for payload in await worker.sent("OUTCOMES")]
    (again,) = [event for batch in handed for event in batch.handed_again]
    assert (again.id, again.snapshot) == ("broken", 0)


class FailingFor:
    """Hands over, but fails for one event."""

    def __init__(self, inner, event_id, statement=""):
        self._inner = inner
        self._event_id = event_id
        self._statement = statement

    async def hand_on(self, transaction, decided):
        if any(one.event_id == self._event_id for one in decided):
            if self._statement:
                await transaction.execute(self._statement)
            raise ValueError("cannot be handed on")
        await self._inner.hand_on(transaction, decided)


@pytest.mark.parametrize("state", ["53100", "40P01", "40001"])
async def test_no_event_is_set_aside_for_a_full_disk_or_a_deadlock(worker, state):
    failing = FailingFor(
        worker.hand_over, "unlucky", f"DO $$ BEGIN RAISE SQLSTATE '{state}' USING MESSAGE = 'x'; END $$"
    )
    take = worker.take_events
    take_events = TakeEvents(
        worker.database,
        worker.clock,
        worker.evaluator,
        take._standings,
        worker.decisions,
        failing,
        take._set_asides,
        worker.runs,
        take._erasures,
        DAY,
    )
    delivery = worker.delivery(batch_of((exhausted(event_id="unlucky", customer=TREATED), snapshot(TREATED))))
    with pytest.raises((StorageFullError, psycopg.OperationalError)):
        await take_events.take_singly(delivery)
    assert await worker.count("dead_letter") == 0
    await worker.take_events.take_singly(delivery)
    assert [one.event_id for one in await worker.decided()] == ["unlucky"]


async def test_an_event_that_cannot_be_written_is_set_aside_alone(worker):
    failing = FailingFor(worker.hand_over, "bad")
    take = worker.take_events
    take_events = TakeEvents(
        worker.database,
        worker.clock,
        worker.evaluator,
        take._standings,
        worker.decisions,
        failing,
        take._set_asides,
        worker.runs,
        take._erasures,
        DAY,
    )
    names = ("a", "bad", "b")
    pairs = [
        (exhausted(event_id=name, customer=TREATED, at=NOON + number * 2 * DAY), snapshot(TREATED))
        for number, name in enumerate(names)
    ]
    delivery = worker.delivery(batch_of(*pairs))
    with pytest.raises(ValueError, match="cannot be handed on"):
        await take_events.take([delivery])
    assert await worker.decided() == []
    await take_events.take_singly(delivery)
    assert [one.event_id for one in await worker.decided()] == ["a", "b"]
    totals = await worker.totals()
    assert (totals["decisions"], totals["events.set_aside"], totals["actions.offer"]) == (2, 1, 2)
    async with worker.database.transaction() as transaction:
        (letter,) = await worker.dead_letters.list(transaction)
    assert (letter.item_id, letter.reason) == ("bad", "ValueError while written")
    # what the failed decision had used up went with it
    assert await worker.count("conversation") == 2


async def test_without_a_program_events_wait_instead_of_triggering_nothing(make_worker):
    worker = make_worker()
    with pytest.raises(JobFailedError, match="no program is loaded"):
        await worker.take((exhausted(customer=TREATED), snapshot(TREATED)))
    assert await worker.totals() == {}
    await worker.install(*LIVE)
    await worker.take((exhausted(customer=TREATED), snapshot(TREATED)))
    assert len(await worker.decided()) == 1

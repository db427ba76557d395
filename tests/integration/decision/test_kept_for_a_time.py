"""Changes of rules stand in the audit log; old decisions and what they used up go, what is needed stays."""

import pytest

from services.decision.adapters.pruning import prunables
from services.runtime.audit import AuditFilter, list_audit
from services.runtime.caller import Caller, set_caller
from services.runtime.prune import Pruner
from tests.integration.decision.conftest import HOUR, NOON, snapshot
from tests.integration.decision.test_rule_sets import SMALL
from tests.integration.decision.test_worker import complaint, due_pairs, plan_a_survey

DAY = 24 * HOUR
KEPT = {"decisions": 40 * DAY, "conversations": 40 * DAY, "once_slots": 763 * DAY}
SELLS = SMALL.replace(
    "do: {task: call-back, with: {queue: care}, category: service}",
    "once: 10d\n    do: {offer: goodwill-1gb, category: sales, expires: 24h}",
).replace("trigger:", "limits: {per day: 10}\ntrigger:")
TABLES = (
    "decision",
    "decision_action",
    "decision_lookup",
    "planned_action",
    "conversation",
    "once_slot",
    "limit_use",
)


async def counts(worker):
    return {table: await worker.count(table) for table in TABLES}


def pruner(worker):
    return Pruner(
        worker.database, worker.clock, prunables(worker.catalogue.conversation_micros), lambda: KEPT
    )


async def audit(worker, **wanted):
    async with worker.database.transaction() as transaction:
        return list(reversed(await list_audit(transaction, AuditFilter(**wanted))))


async def test_each_version_and_what_went_live_in_place_of_what_is_in_the_audit_log(make_worker):
    worker = make_worker()
    set_caller(Caller("spiffe://rapport/marketing"))
    await worker.go_live(SMALL)
    await worker.put(SMALL)  # the same text is no change
    await worker.go_live(SMALL.replace("title: Small", "title: Smaller"))
    entries = await audit(worker, target="rule_set/small")
    assert [entry.action for entry in entries] == [
        "rules.put", "rules.activate", "rules.put", "rules.retire", "rules.activate",
    ]  # fmt: skip
    assert {entry.actor for entry in entries} == {"spiffe://rapport/marketing"}
    first, live, second, retired, instead = entries
    assert (first.before, first.after["version"], first.after["state"]) == (None, 1, "tested")
    assert (live.before, live.after["state"], live.after["program"]) == (None, "live", 1)
    assert (second.before["version"], second.after["version"]) == (1, 2)
    assert second.before["sha256"] != second.after["sha256"]
    assert (instead.before["version"], instead.before["state"]) == (1, "live")
    assert (instead.after["version"], instead.after["program"]) == (2, 2)
    assert (retired.before["state"], retired.after["state"], retired.after["version"]) == (
        "live",
        "retired",
        1,
    )


async def test_old_decisions_go_with_all_that_belongs_to_them_and_younger_ones_stay(make_worker):
    worker = make_worker()
    await worker.install(SELLS)
    await worker.take((complaint(event_id="old", customer=5), snapshot(5)))
    (old,) = await worker.decided()
    worker.clock.advance_to(NOON + 20 * DAY)
    later = complaint(event_id="young", customer=5, at=NOON + 20 * DAY, sequence=2)
    await worker.take((later, snapshot(5, sequence=2)))
    _, young = await worker.decided()
    before = await counts(worker)
    worker.clock.advance_to(NOON + 40 * DAY)
    await pruner(worker).prune()
    assert await counts(worker) == before
    worker.clock.advance_to(NOON + 40 * DAY + 1)
    seen = {one.name: one.rows for one in await pruner(worker).preview()}
    gone, _ = await pruner(worker).prune()
    assert {one.name: one.rows["decision"] for one in gone}["decisions"] == seen["decisions"]["decision"] == 1
    assert [one.decision_id for one in await worker.decided()] == [young.decision_id]
    assert await worker.decisions.find(old.decision_id) is None
    assert await worker.decisions.find(old.actions[0].candidate.action_id) is None
    assert await worker.decisions.find(young.actions[0].candidate.action_id) is not None
    assert await counts(worker) == {
        "decision": 1, "decision_action": 1, "decision_lookup": 2, "planned_action": 0,
        "conversation": 1, "once_slot": 1, "limit_use": 1,
    }  # fmt: skip


async def test_a_decision_whose_plan_still_waits_stays_with_it(worker):
    await worker.take((complaint(event_id="a", customer=5, sequence=3), snapshot(5, sequence=3)))
    worker.clock.advance_to(NOON + 100 * DAY)
    await pruner(worker).prune()
    assert (await worker.count("decision"), await worker.count("planned_action")) == (1, 1)


async def test_a_plan_that_is_done_goes_with_its_decision_but_not_the_newer_decision_of_its_action(worker):
    action_id = await plan_a_survey(worker)
    worker.clock.advance_to(NOON + 20 * DAY)
    await worker.take(*await due_pairs(worker, snapshot(5, sequence=4)))
    first, second = await worker.decided()
    assert await worker.count("planned_action") == 1
    worker.clock.advance_to(NOON + 40 * DAY + HOUR)
    await pruner(worker).prune()
    assert [one.decision_id for one in await worker.decided()] == [second.decision_id]
    assert await worker.count("planned_action") == 0
    found = await worker.decisions.find(action_id)
    assert found is not None
    assert found.decision_id == second.decision_id
    assert await worker.decisions.find(first.decision_id) is None


@pytest.mark.parametrize(
    ("once", "days", "left"),
    [
        ("10d", 763 + 9, 1),
        ("10d", 763 + 10, 0),
        ("cycle", 763 + 61, 1),
        ("cycle", 763 + 62, 0),
    ],
)
async def test_a_slot_of_once_goes_when_no_event_can_find_it_taken(make_worker, once, days, left):
    worker = make_worker()
    await worker.install(SMALL.replace("    do:", f"    once: {once}\n    do:"))
    await worker.take((complaint(customer=5), snapshot(5, {"cycle_day": 1})))
    assert await worker.count("once_slot") == 1
    worker.clock.advance_to(NOON + days * DAY)
    await pruner(worker).prune()
    assert await worker.count("once_slot") == left


async def test_a_slot_that_is_taken_for_good_stays(make_worker):
    worker = make_worker()
    await worker.install(SMALL.replace("    do:", "    once: ever\n    do:"))
    await worker.take((complaint(customer=5), snapshot(5)))
    assert await worker.count("once_slot") == 1
    worker.clock.advance_to(NOON + 5_000 * DAY)
    await pruner(worker).prune()
    assert (await worker.count("once_slot"), await worker.count("decision")) == (1, 0)
    again = complaint(
        event_id="again", customer=5, at=NOON + 5_000 * DAY, data={"complaint": "c-2"}, sequence=2
    )
    await worker.take((again, snapshot(5, sequence=2)))
    assert await worker.actions() != []
    assert [
        action.reason.value for one in await worker.decided() for action in one.actions if action.reason
    ] == ["ONCE"]

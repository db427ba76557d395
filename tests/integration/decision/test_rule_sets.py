"""Rule sets come in, are tried, go live everywhere, and are explained afterwards."""

import asyncio

import pytest

from services.decision.adapters.record_reader import RecordReader
from services.decision.app.ports import Wanted
from services.decision.app.verify import VerifyDecisions
from services.runtime.errors import NotFoundError, TooLargeError, UnavailableError
from services.vocabulary.words import ActionOutcome
from tests.integration.decision.conftest import HOUR, LIVE, NOON, activity, event, exhausted, snapshot
from tests.integration.decision.test_worker import (
    HELD_OUT,
    TREATED,
    complaint,
    due_pairs,
    outcomes,
    plan_a_survey,
)

SMALL = """
ruleset: small
title: Small
owner: test
stage: complain
trigger: complaint.opened
rules:
  - id: call
    do: {task: call-back, with: {queue: care}, category: service}
tests:
  - name: it calls
    given: {}
    when: {type: complaint.opened, topic: calls}
    then: {fires: [call]}
"""


async def test_a_text_with_errors_is_stored_nowhere(make_worker):
    worker = make_worker()
    row, checked = await worker.put(SMALL.replace("complaint.opened", "complaint.opend"), "small.yaml")
    assert row is None
    assert any("complaint.opend" in problem.sentence() for problem in checked.problems)
    assert await worker.manage.page(None, 10, all_versions=True) == []
    row, checked = await worker.put("ruleset: [", "broken.yaml")
    assert row is None
    assert checked.problems[0].file == "broken.yaml"


async def test_too_large_a_text_is_refused_with_the_limit(make_worker):
    worker = make_worker()
    with pytest.raises(TooLargeError, match="1000000"):
        await worker.put("# " + "x" * 1_000_000)


async def test_versions_count_up_and_the_same_text_stays_one(make_worker):
    worker = make_worker()
    first, _ = await worker.put(SMALL)
    again, _ = await worker.put(SMALL)
    second, _ = await worker.put(SMALL.replace("title: Small", "title: Smaller"))
    assert (first.version, first.state, again.version) == (1, "tested", 1)
    assert (second.version, second.title, second.triggers) == (2, "Smaller", ("complaint.opened",))
    listed = await worker.manage.page(None, 10, all_versions=False)
    assert [(row.name, row.version) for row in listed] == [("small", 2)]


async def test_activation_tries_then_listens_then_goes_live_and_retires_the_one_before(make_worker):
    worker = make_worker()
    await worker.go_live(SMALL)
    assert set(worker.listening.types) == {"complaint.opened"}
    await worker.go_live(SMALL.replace("id: call", "id: ring").replace("fires: [call]", "fires: [ring]"))
    rows = await worker.manage.page(None, 10, all_versions=True)
    assert [(row.version, row.state) for row in rows] == [(1, "retired"), (2, "live")]
    back = await worker.activate("small", 1)
    assert back.ready is not None
    rows = await worker.manage.page(None, 10, all_versions=True)
    assert [(row.version, row.state) for row in rows] == [(1, "live"), (2, "retired")]
    await worker.take((complaint(customer=5), snapshot(5)))
    (one,) = await worker.decided()
    assert outcomes(one) == {"call": (ActionOutcome.DISPATCHED, None)}


async def test_a_failing_test_keeps_a_version_from_going_live_and_the_last_good_one_stays(make_worker):
    worker = make_worker()
    await worker.go_live(SMALL)
    row, _ = await worker.put(SMALL.replace("fires: [call]", "fires: []"))
    assert row.state == "draft"
    tried = await worker.activate("small")
    assert tried.ready is None
    assert any("it calls" in problem.message for problem in tried.problems)
    assert (await worker.rule_sets.live()).sources[0].version == 1


async def test_what_is_not_stored_cannot_go_live(make_worker):
    worker = make_worker()
    with pytest.raises(NotFoundError, match="nowhere version 3"):
        await worker.activate("nowhere", 3)


async def test_without_the_profile_service_nothing_goes_live(make_worker):
    worker = make_worker()
    await worker.put(SMALL)
    worker.listening.away = True
    with pytest.raises(UnavailableError):
        await worker.activate("small")
    assert (await worker.rule_sets.live()).version == 0


async def test_an_activation_that_another_overtook_is_refused(make_worker):
    worker = make_worker()
    await worker.put(SMALL)
    await worker.put(SMALL.replace("ruleset: small", "ruleset: other"))
    small, other = await worker.release.trial("small", 0), await worker.release.trial("other", 0)
    async with worker.database.transaction() as transaction:
        await worker.release.activate(transaction, small.ready)
    with pytest.raises(UnavailableError, match="in between"):
        async with worker.database.transaction() as transaction:
            await worker.release.activate(transaction, other.ready)


async def test_every_worker_has_a_new_program_within_two_seconds_without_a_restart(
    make_worker, make_database
):
    from services.decision.main import MIGRATIONS

    url = make_database(MIGRATIONS)
    first, second = make_worker(url=url), make_worker(url=url)
    loaded = asyncio.Event()
    load = second.evaluator.load

    async def noticed(version, sources):
        answer = await load(version, sources)
        if version:
            loaded.set()
        return answer

    second.evaluator.load = noticed
    following = asyncio.create_task(second.follow.run())
    try:
        await first.install(SMALL)
        async with asyncio.timeout(2):
            await loaded.wait()
        await second.take((complaint(customer=5), snapshot(5)))
        assert len(await second.decided()) == 1
    finally:
        following.cancel()


async def test_a_program_that_no_longer_compiles_leaves_the_last_good_one_live(make_worker):
    worker = make_worker()
    await worker.install(SMALL)
    async with worker.database.transaction() as transaction:
        await transaction.execute(
            "INSERT INTO rule_set SELECT name, 9, 'draft', 'ruleset: [', file, title, owner, stage, "
            "triggers, rules, 1 FROM rule_set"
        )
        await transaction.execute(
            "INSERT INTO program (names, versions, listened, catalogue, activated_micros) "
            "VALUES ('{small}', '{9}', '{}', '', 1)"
        )
    assert not await worker.follow.refresh()
    await worker.take((complaint(customer=5), snapshot(5)))
    assert len(await worker.decided()) == 1


async def explained(worker, one, action_id=""):
    return await worker.look_back.explain("" if action_id else one.decision_id, action_id)


async def test_every_decision_is_reproduced_from_its_recorded_input(worker):
    open_one = activity("complaint.opened", [NOON - 24 * HOUR], complaint=["c-1"])
    habit = activity(
        "usage.allowance_exhausted",
        [NOON - days * 24 * HOUR for days in (66, 35)],
        cycle=["2026-10", "2026-11"],
    )
    plan = {"better_plan": "m-20gb"}
    await worker.take(
        (exhausted(event_id="first", customer=TREATED, data={"surcharge_next": True}), snapshot(TREATED)),
        (
            exhausted(event_id="again", customer=TREATED, at=NOON + HOUR, data={"surcharge_next": True}),
            snapshot(TREATED),
        ),
        (exhausted(event_id="held", customer=HELD_OUT), snapshot(HELD_OUT)),
        (exhausted(event_id="habit", customer=64, sequence=3), snapshot(64, plan, [habit], 3)),
        (exhausted(event_id="complaining", customer=65, sequence=3), snapshot(65, plan, [open_one], 3)),
        (exhausted(event_id="withheld", customer=66), snapshot(66, withheld_purposes=[4])),
    )
    await plan_a_survey(worker)
    await worker.take(*await due_pairs(worker, snapshot(5, sequence=4)))
    # later versions and later decisions change nothing about what was
    await worker.install(SMALL, LIVE[1].replace("months_exhausted >= 3", "months_exhausted >= 1"))
    decided = await worker.decided()
    assert len(decided) == 8
    for one in decided:
        why = await explained(worker, one)
        assert why.reproduced, why.difference
        assert why.sentence.endswith(".")
        assert why.regulator.endswith(".")
        assert one.catalogue == worker.catalogue.version
    assert await verified(worker) == (8, 8, 0, {}, [])
    # one record is not what it was, another's catalogue is not kept
    async with worker.database.transaction() as transaction:
        await transaction.execute(
            "UPDATE decision SET record = other.record FROM decision AS other "
            "WHERE decision.event_id = 'first' AND other.event_id = 'habit'"
        )
        await transaction.execute("UPDATE decision SET catalogue = 'x' WHERE event_id = 'held'")
    total, equal, different, failed, differences = await verified(worker)
    assert (total, equal, different) == (8, 6, 1)
    assert list(failed) == ["the catalogue of that time (x) was not kept; today's is another"]
    first = next(one for one in decided if one.event_id == "first")
    assert differences == [(first.decision_id, "facts[0]")]


class OnProcess:
    """A verifier on the worker's own engine process."""

    def __init__(self, process):
        self._process = process

    async def verify(self, then, rows):
        return await self._process.call("verify", then, tuple(rows))

    async def close(self):
        pass


async def verified(worker):
    """What running all recorded decisions again comes to, told at the end."""
    verify = VerifyDecisions(
        RecordReader(worker.database),
        worker.rule_sets,
        worker.catalogues,
        lambda: OnProcess(worker.process),
        2,
    )
    async for progress in verify.run(0, 0, 2):
        last = progress
    assert last.done
    return last.total, last.equal, last.different, dict(last.failed), last.differences


async def test_an_explanation_says_why_in_one_sentence_with_windows_facts_rules_and_gates(worker):
    habit = activity(
        "usage.allowance_exhausted",
        [NOON - days * 24 * HOUR for days in (66, 35)],
        cycle=["2026-10", "2026-11"],
    )
    seen = snapshot(TREATED, {"better_plan": "m-20gb"}, [habit], 3)
    await worker.take((exhausted(event_id="a", customer=TREATED, sequence=3), seen))
    await worker.take((exhausted(event_id="b", customer=TREATED, sequence=3, at=NOON + HOUR), seen))
    first, second = await worker.decided()
    why = await explained(worker, first)
    assert why.sentence == (
        "Offer plan-upgrade (rule bill-shock/upgrade-plan) was offered "
        "because ran out in 3 of the last 6 months."
    )
    steps = {(step.kind, step.name): step for step in why.steps}
    assert steps["window", "months_exhausted"].text == "months_exhausted is 3"
    assert steps["fact", "habitual"].held
    assert steps["rule", "upgrade-plan"].held
    assert not steps["rule", "one-off-top-up"].held
    assert steps["gate", "upgrade-plan"].held
    again = await explained(worker, second, second.actions[0].candidate.action_id)
    assert "OUTRANKED" in again.sentence
    assert "offer plan-upgrade (rule bill-shock/upgrade-plan) of an earlier decision" in again.sentence


async def test_what_was_never_decided_cannot_be_explained(worker):
    with pytest.raises(NotFoundError, match="no decision of this action id"):
        await worker.look_back.explain("", "6f1c3a52-6f0e-5d55-9c0b-3d8f0f0d7a11")


async def test_decisions_are_listed_by_customer_rule_set_reason_and_type(worker):
    await worker.take(
        (exhausted(event_id="a", customer=TREATED), snapshot(TREATED)),
        (exhausted(event_id="b", customer=TREATED, at=NOON + HOUR), snapshot(TREATED)),
        (complaint(event_id="c", customer=5), snapshot(5)),
        (event("network.call_dropped", event_id="d", customer=5), snapshot(5)),
    )
    ids = lambda found: [one.event_id for one in found]  # noqa: E731
    assert ids(await worker.decided()) == ["a", "b", "c"]
    assert ids(await worker.decided(customers=(5,))) == ["c"]
    assert ids(await worker.decided(reason="OUTRANKED")) == ["b"]
    assert ids(await worker.decided(rule_set="dropped-calls")) == ["c"]
    assert ids(await worker.decided(event_type="usage.allowance_exhausted")) == ["a", "b"]
    newest = await worker.decisions.page(Wanted(size=1))
    assert newest[0][1].event_id == "c"

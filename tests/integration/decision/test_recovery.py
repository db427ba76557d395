"""After a restore: decisions and plans that fell due are handed on again, the same as the first time."""

import pytest

from services.decision.adapters.replay import DecisionPart, DecisionsReplay
from services.decision.main import ONCE_RESTORED
from services.runtime.errors import UnavailableError
from services.runtime.recovery import Gap, begin, mark_restored
from services.runtime.replay import Replay
from tests.integration.decision.conftest import HOUR, LIVE, NOON, exhausted, snapshot
from tests.integration.decision.test_worker import plan_a_survey

CUSTOMERS = 230


def gap_at(now: int) -> Gap:
    return Gap(now - HOUR, now, now - 2 * HOUR, now)


def in_order(messages) -> list[bytes]:
    """Customers' messages share packets differently each time."""
    return sorted(message.SerializeToString(deterministic=True) for message in messages)


async def replay(worker, now: int) -> None:
    async with worker.database.transaction() as transaction:
        await begin(transaction, gap_at(now))
    turns = Replay(worker.database, DecisionsReplay(worker.hand_over, worker.journeys))
    while await turns.turn():
        pass


async def test_actions_and_own_events_go_out_again_as_they_were(worker):
    await worker.take((exhausted(event_id="early"), snapshot()))
    await worker.actions()
    await worker.own_events()
    now = NOON + 3 * HOUR
    worker.clock.advance_to(now)
    for first in range(2, CUSTOMERS, 100):
        customers = range(first, min(first + 100, CUSTOMERS))
        await worker.take(
            *((exhausted(event_id=f"e-{one}", customer=one, at=now), snapshot(one)) for one in customers)
        )
    actions, own = await worker.actions(), await worker.own_events()
    assert actions
    assert own

    await replay(worker, now)

    assert in_order(await worker.actions()) == in_order(actions)
    assert in_order(await worker.own_events()) == in_order(own)
    assert (await worker.totals())["recovery.handed_again.decisions"] == CUSTOMERS - 2


async def test_a_plan_that_was_claimed_and_never_decided_falls_due_again(worker):
    action_id = await plan_a_survey(worker)
    (lost,) = await worker.own_events()
    assert (lost.type, action_id in lost.data.decode()) == ("action.due", True)

    await replay(worker, NOON + 99 * HOUR)

    assert await worker.own_events() == [lost]
    assert (await worker.totals())["recovery.handed_again.plans"] == 1


async def test_the_profile_is_told_what_the_live_program_listens_to(worker):
    part = DecisionPart(worker.rule_sets, worker.listening)
    async with worker.database.transaction() as transaction:
        await part.begin(transaction, gap_at(NOON), "r")
    assert worker.listening.types == (await worker.rule_sets.live()).listened
    worker.listening.away = True
    with pytest.raises(UnavailableError):
        async with worker.database.transaction() as transaction:
            await part.begin(transaction, gap_at(NOON), "r")


async def test_programs_of_after_the_restore_are_new_to_the_profile(worker):
    before = await worker.rule_sets.version()
    await mark_restored(worker.database, ONCE_RESTORED)
    await worker.install(LIVE[1].replace("holdout: 10%", "holdout: 0%"))
    assert await worker.rule_sets.version() > before + 1_000_000

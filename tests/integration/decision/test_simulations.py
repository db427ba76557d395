"""Results of simulations as they are kept, and what live decisions left behind before the time simulated."""

from dataclasses import replace

from services.decision.adapters.pruning import prunables
from services.decision.adapters.simulation_store import KnownBefore, SimulationStore
from services.decision.app.simulation_ports import KeptSimulation
from services.runtime.audit import AuditFilter, list_audit
from services.runtime.prune import Pruner
from tests.integration.decision.conftest import HOUR, NOON, snapshot
from tests.integration.decision.test_kept_for_a_time import SELLS
from tests.integration.decision.test_worker import complaint

DAY = 24 * HOUR
FIRST = KeptSimulation(
    "5f6d0d4c-0000-5000-8000-000000000001", "amy", NOON - 50 * DAY, ("small",), NOON - 90 * DAY, NOON, "{}"
)


async def test_what_is_known_of_before_and_which_results_are_kept(make_worker):
    worker = make_worker()
    await _knows_what_was_taken_before_a_time_and_not_what_came_later(worker)
    store = SimulationStore(worker.database)
    submitted = replace(FIRST, simulation_id="5f6d0d4c-0000-5000-8000-000000000002", result='{"events": 3}')
    young = replace(
        FIRST, simulation_id="5f6d0d4c-0000-5000-8000-000000000003", created_micros=NOON - 30 * DAY
    )
    for one in (FIRST, submitted, young, young):
        await store.keep(one)
    page = await store.page(0, 2)
    assert [kept.simulation_id[-1] for _, kept in page] == ["3", "2"]
    assert [kept for _, kept in await store.page(page[-1][0], 2)] == [replace(FIRST, result="")]
    async with worker.database.transaction() as transaction:
        entries = await list_audit(transaction, AuditFilter(target=f"simulation/{submitted.simulation_id}"))
        await transaction.execute("UPDATE rule_set SET simulation_id = %s", (submitted.simulation_id,))
    assert [(entry.action, entry.after["rule_sets"]) for entry in entries] == [("simulate", ["small"])]
    pruner = Pruner(worker.database, worker.clock, prunables(DAY), lambda: {"simulations": 40 * DAY})
    await pruner.prune(limit_seconds=30)
    assert await store.find(FIRST.simulation_id) is None
    assert await store.find(submitted.simulation_id) == submitted
    assert await store.find(young.simulation_id) == young


async def _knows_what_was_taken_before_a_time_and_not_what_came_later(worker):
    await worker.go_live(SELLS)
    await worker.take((complaint(customer=5), snapshot(5)), (complaint(customer=6), snapshot(6)))
    known = KnownBefore(worker.database, DAY)
    assert await known.before([5, 6], NOON - HOUR) == {}
    found = await known.before([5], NOON + HOUR)
    assert found.keys() == {5}
    assert [name[:2] for name in found[5].slots] == [("small", "call")]
    assert found[5].won.keys() == set(found[5].slots.popitem()[1].holders)
    assert (await known.before([5], NOON + 3 * DAY))[5].won == {}

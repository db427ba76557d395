"""A person is erased in the decision service: after all that came before, and for good."""

import orjson
from rapport.types.v1 import stream_pb2

from services.decision.adapters.personal import PERSONAL
from tests.integration.decision.conftest import NOON, event, exhausted, snapshot
from tests.integration.decision.test_worker import TREATED

BY_ACTION = {"limit_use", "run_action", "household_holder"}
"""Whose rows know the person by an action alone."""


def erased(customer, *others, event_id="x"):
    one = event("customer.erased", event_id=event_id, customer=customer, source="rapport.profile")
    one.erasure.erasure_id = "e-1"
    one.erasure.customer = customer
    one.erasure.customers.extend([customer, *others])
    one.erasure.erased_micros = NOON
    return one


async def kept(worker, customer):
    """How many rows of a customer each table has; none are left out."""
    found = {}
    async with worker.database.transaction() as transaction:
        for table in PERSONAL:
            if table.erase and table.name not in BY_ACTION:
                row = await transaction.row(
                    f"SELECT count(*) FROM {table.name} WHERE customer = %s", (customer,)
                )
                found[table.name] = row[0]
    return {name: count for name, count in found.items() if count}


async def test_what_was_decided_goes_after_what_came_before_it_in_the_same_batch(worker):
    other = TREATED + 100
    await worker.take((exhausted(event_id="o", customer=other), snapshot(other)))
    before = await kept(worker, other)
    await worker.take(
        (exhausted(event_id="a", customer=TREATED), snapshot(TREATED)), (erased(TREATED), None), key="one"
    )
    await worker.take((erased(TREATED), None), key="one")
    assert await kept(worker, TREATED) == {}
    assert await kept(worker, other) == before != {}
    batches = [stream_pb2.ActionBatch.FromString(payload) for payload in await worker.sent("ACTIONS")]
    parts = [(len(batch.actions), [one.customer for one in batch.erasures]) for batch in batches]
    assert parts == [(1, []), (1, []), (0, [TREATED])], "the erasure comes behind the action"
    (told,) = [one for one in await worker.own_events() if one.type == "erasure.finished"]
    fields = orjson.loads(told.data)
    assert (fields["erasure"], fields["service"], told.customer) == ("e-1", "decision", TREATED)
    assert "decision=1" in fields["erased"]


async def test_all_ids_of_the_person_are_erased_with_each_and_nothing_is_written_about_them_any_more(worker):
    other = TREATED + 100
    await worker.take((exhausted(event_id="a", customer=TREATED), snapshot(TREATED)))
    await worker.take((erased(other, TREATED), None))
    assert await kept(worker, TREATED) == {}
    await worker.sent("ACTIONS")
    await worker.take((exhausted(event_id="late", customer=TREATED), snapshot(TREATED)))
    assert await kept(worker, TREATED) == {}
    assert await worker.sent("ACTIONS") == []
    assert (await worker.totals())["events.erased"] == 1


async def test_the_same_name_from_outside_erases_nobody(worker):
    await worker.take((exhausted(event_id="a", customer=TREATED), snapshot(TREATED)))
    data = {"erasure": "e-1"}
    await worker.take((event("customer.erased", event_id="b", customer=TREATED, data=data), None))
    assert len(await worker.decided()) == 1

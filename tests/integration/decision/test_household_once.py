"""`once` for a household: one of its members gets it, whichever partition they are decided in."""

import asyncio

from rapport.types.v1 import stream_pb2

from services.vocabulary.words import ActionOutcome, RefusalReason
from tests.integration.decision.conftest import HOUR, NOON, batch_of, event, snapshot

RULES_OF_A_HOUSEHOLD = """
ruleset: shared-bucket
trigger: topup.received
rules:
  - id: family-plan
    when: [household.lines >= 2, household.shared_data_left_mb < 1000]
    do: {task: call-back, category: service, with: {note: "{household.members} share"}}
    once: {per: 7d, scope: household}
tests:
  - name: two lines, little left
    given: {household: {members: 3, lines: 2, shared_data_left_mb: 100}}
    when: {amount: 5.00}
    then: {fires: [family-plan]}
  - name: nobody else in the house
    when: {amount: 5.00}
    then: {fires: []}
"""
_HOUSEHOLD = 900


def topup(customer, name, at=NOON):
    household = stream_pb2.Household(id=_HOUSEHOLD, members=3, lines=2)
    household.traits.add(name="shared_data_left_mb").value.int = 100
    told = event(
        "topup.received",
        event_id=name,
        customer=customer,
        at=at,
        data={"amount": {"amount": "5.00", "currency": "EUR"}},
    )
    return told, snapshot(customer, household=household)


async def test_of_members_decided_at_the_same_time_one_gets_it_and_a_refusal_frees_it_for_all(make_worker):
    worker = make_worker()
    await worker.install(RULES_OF_A_HOUSEHOLD)
    deliveries = [worker.delivery(batch_of(topup(customer, f"e{customer}"))) for customer in range(1, 9)]
    await asyncio.gather(*(worker.take_events.take([delivery]) for delivery in deliveries))
    decided = await worker.decided()
    outcomes = [(one.actions[0].outcome, one.actions[0].reason) for one in decided]
    refused = (ActionOutcome.REFUSED, RefusalReason.ONCE)
    assert outcomes.count((ActionOutcome.DISPATCHED, None)) == 1
    assert outcomes.count(refused) == 7
    (winner,) = [one for one in decided if one.actions[0].outcome is ActionOutcome.DISPATCHED]
    (action,) = await worker.actions()
    assert action.parameters["note"].text == "3 share"
    told = event(
        "action.refused",
        event_id="gone",
        source="channel",
        customer=winner.customer,
        data={
            "action": winner.actions[0].candidate.action_id,
            "rule_set": "shared-bucket",
            "rule": "family-plan",
            "name": "call-back",
            "reason": "NO_ADDRESS",
        },
    )
    await worker.take((told, None))
    assert await worker.count("household_holder") == 0
    other = next(one.customer for one in decided if one.customer != winner.customer)
    await worker.take(topup(other, "again", NOON + HOUR))
    last = (await worker.decided())[-1]
    assert (last.customer, last.actions[0].outcome) == (other, ActionOutcome.DISPATCHED)
    await worker.take(topup(other, "too soon", NOON + 2 * HOUR))
    assert (await worker.decided())[-1].actions[0].reason is RefusalReason.ONCE

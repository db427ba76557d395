"""A conversation that is a household's: one sale for all its members, given back to all of them."""

import shutil

import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters import engine_child
from services.vocabulary.words import ActionOutcome, RefusalReason
from tests.integration.decision.conftest import HOUR, NOON, RULES, event, snapshot
from tests.integration.decision.test_erasure import erased

SELLING = """
ruleset: selling
trigger: topup.received
rules:
  - id: r
    do: {offer: data-top-up, with: {gb: 2}, category: sales, expires: 24h, value: event.amount * 2}
tests:
  - {name: t, when: {amount: 5.00}, then: {fires: [r]}}
"""
_HOUSEHOLD = 900


@pytest.fixture
def shared(tmp_path):
    """The command of an engine whose operator has one conversation for a household."""
    rules = tmp_path / "rules"
    shutil.copytree(RULES, rules)
    operator = rules / "catalogue/operator.yaml"
    text = operator.read_text()
    assert "conversation_scope: customer" in text
    operator.write_text(text.replace("conversation_scope: customer", "conversation_scope: household"))
    return engine_child.command(rules)


def topup(customer, name, at=NOON):
    data = {"amount": {"amount": "5.00", "currency": "EUR"}}
    told = event("topup.received", event_id=name, customer=customer, at=at, data=data)
    return told, snapshot(customer, household=stream_pb2.Household(id=_HOUSEHOLD, members=3, lines=2))


async def test_one_member_gets_it_until_it_is_given_back_and_erasure_leaves_nothing(make_worker, shared):
    worker = make_worker(shared)
    await worker.install(SELLING)
    await worker.take(topup(1, "a"), topup(2, "b", NOON + HOUR))
    first, second = await worker.decided()
    (won,), (lost,) = first.actions, second.actions
    assert won.outcome is ActionOutcome.DISPATCHED
    assert (lost.reason, lost.outranked_by) == (RefusalReason.OUTRANKED, won.candidate.action_id)
    assert (won.factors.value.value, won.factors.value.source) == (10.0, "rule")
    assert (await worker.look_back.explain(second.decision_id, "")).reproduced
    gone = {
        "action": won.candidate.action_id,
        "rule_set": "selling",
        "rule": "r",
        "name": "data-top-up",
        "reason": "NO_CONSENT",
    }
    await worker.take((event("action.refused", event_id="c", source="channel", data=gone), None))
    assert await worker.count("conversation") == await worker.count("household_holder") == 0
    await worker.take(topup(2, "d", NOON + 2 * HOUR))
    assert (await worker.decided())[-1].actions[0].outcome is ActionOutcome.DISPATCHED
    assert await worker.count("conversation") == 2, "the member's and the household's"
    await worker.take((erased(2), None))
    assert await worker.count("conversation") == await worker.count("household_holder") == 0

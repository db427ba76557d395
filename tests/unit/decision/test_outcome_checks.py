"""Calls about outcomes name the field that is wrong, before anything is looked up."""

import pytest
from rapport.decision.v1 import outcomes_pb2

from services.decision.entrypoints.errors import ERRORS
from services.decision.entrypoints.outcome_servicer import OutcomeServicer
from services.runtime.errors import InvalidArgumentError

SERVICER = OutcomeServicer(*[None] * 6, ERRORS)
ACTION = "11111111-1111-5111-8111-111111111111"
ACCEPTED = outcomes_pb2.OFFER_OUTCOME_ACCEPTED


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"action_id": ""}, "action_id"),
        ({"action_id": "a-1"}, "action_id"),
        ({"outcome": 0}, "outcome"),
        ({"outcome": 99}, "outcome"),
        ({"reason": "a" * 201}, "reason"),
        ({"reason": "two\nlines"}, "reason"),
        ({"agent": "a" * 101}, "agent"),
        ({"agent": "\x00"}, "agent"),
    ],
)
async def test_what_is_wrong_with_an_answer_is_named(given, field):
    request = outcomes_pb2.RecordOutcomeRequest(**{"action_id": ACTION, "outcome": ACCEPTED} | given)
    with pytest.raises(InvalidArgumentError) as told:
        await SERVICER.RecordOutcome(request, None)
    assert told.value.field == field
    assert told.value.suggestion


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "action_id"),
        ({"action_id": ACTION, "subject": "crm:1"}, "action_id"),
        ({"action_id": "a-1"}, "action_id"),
        ({"action_id": ACTION, "rule_set": "shop"}, "rule_set"),
        ({"subject": "crm:1", "reason": ""}, "reason"),
        ({"subject": "crm:1", "reason": " "}, "reason"),
        ({"subject": "crm:1", "reason": "a" * 201}, "reason"),
        ({"subject": "crm:1", "agent": "a\nb"}, "agent"),
    ],
)
async def test_what_is_wrong_with_a_cancellation_is_named(given, field):
    request = outcomes_pb2.CancelPlannedRequest(**{"reason": "settled"} | given)
    with pytest.raises(InvalidArgumentError) as told:
        await SERVICER.CancelPlanned(request, None)
    assert told.value.field == field
    assert told.value.suggestion


async def test_only_a_consumer_with_a_name_is_forgotten():
    for name in ("", "Bss", "a" * 65):
        with pytest.raises(InvalidArgumentError) as told:
            await SERVICER.RemoveOutcomeConsumer(
                outcomes_pb2.RemoveOutcomeConsumerRequest(request_id="r-1", consumer=name), None
            )
        assert told.value.field == "consumer"

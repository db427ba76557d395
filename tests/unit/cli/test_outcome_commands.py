"""`rapport ask` and `rapport outcomes`: what they send, what they say, and how they end."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

import orjson
import pytest
from click.testing import CliRunner
from rapport.decision.v1 import decision_pb2, outcomes_pb2
from rapport.types.v1 import event_pb2, vocabulary_pb2

from services.cli.main import main

ACTION = "11111111-1111-5111-8111-111111111111"
OFFER = decision_pb2.DecidedAction(
    action_id=ACTION,
    rule_set="shop",
    version=1,
    rule="sell",
    kind=vocabulary_pb2.ACTION_KIND_OFFER,
    name="data-top-up",
    category=vocabulary_pb2.CATEGORY_SALES,
    outcome=vocabulary_pb2.ACTION_OUTCOME_DISPATCHED,
    because=["ran out twice"],
    parameters={"gb": vocabulary_pb2.Value(int=5)},
)


class Services:
    """Answers as set, and keeps what it was asked."""

    def __init__(self):
        self.asked = []
        self.answers = {}
        self.outcomes = self.decision = self

    def __getattr__(self, name):
        async def call(request, **_):
            copy = type(request)()
            copy.CopyFrom(request)
            self.asked.append(copy)
            return self.answers[name]

        return call

    async def StreamOutcomes(self, requests):  # noqa: N802 - the proto's name
        asked = aiter(requests)
        self.asked.append(await anext(asked))
        for answer in self.answers["StreamOutcomes"]:
            yield answer
        async for request in asked:
            self.asked.append(request)


@pytest.fixture
def services(monkeypatch):
    found = Services()

    @asynccontextmanager
    async def connected(*_):
        yield SimpleNamespace(outcomes=found, decision=found)

    for module in ("ask", "outcomes"):
        monkeypatch.setattr(f"services.cli.commands.{module}.connected", connected)
    return found


def run(*arguments):
    return CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})


def decided(*actions, **more):
    return decision_pb2.DecideResponse(decision=decision_pb2.Decision(actions=actions), **more)


def with_outcome(outcome, **more):
    action = decision_pb2.DecidedAction()
    action.CopyFrom(OFFER)
    action.MergeFrom(decision_pb2.DecidedAction(outcome=outcome, **more))
    return action


def test_an_agent_reads_what_is_best_why_and_what_to_leave_alone(services):
    refused = with_outcome(
        vocabulary_pb2.ACTION_OUTCOME_REFUSED,
        reason=vocabulary_pb2.REFUSAL_REASON_CAPPED,
        detail="cap calls: 1 of 1",
    )
    services.answers["Decide"] = decided(
        OFFER,
        refused,
        reserved=True,
        say=[decision_pb2.Saying(text="Sorry for yesterday.")],
        avoid=[decision_pb2.Avoidance(category=vocabulary_pb2.CATEGORY_SALES, because=["open complaint"])],
        waiting=[OFFER],
    )
    told = run("ask", "crm:1", "care-call", "--set", "topic=calls", "--set", "count=2")
    assert told.exit_code == 0, told.output
    first, second = [line for line in told.output.splitlines() if line.startswith("offer data-top-up")]
    assert "gb: 5" in first
    assert "may be presented" in first
    assert "ran out twice" in first
    assert "not now: CAPPED (cap calls: 1 of 1)" in second
    assert "Say: Sorry for yesterday." in told.output
    assert "Do not bring up: sales (open complaint)" in told.output
    assert "data-top-up of shop" in told.output
    assert "rapport outcomes record" not in told.output  # of what was only looked at there is none
    (request,) = services.asked
    assert (request.mode, request.subject, request.ask) == (1, "crm:1", "care-call")
    assert request.ask_parameters["topic"].text == "calls"
    assert request.ask_parameters["count"].int == 2

    told = run("ask", "crm:1", "care-call", "--present", "--channel", "app")
    assert "yours to present" in told.output
    assert f"rapport outcomes record {ACTION} presented|accepted|declined|not-now" in told.output
    assert services.asked[-1].mode == decision_pb2.DECIDE_MODE_PRESENT
    assert services.asked[-1].channel == vocabulary_pb2.CHANNEL_APP
    services.answers["Decide"] = decided()
    told = run("ask", "crm:1", "care-call", "--present")
    assert "no action" in told.output
    assert "gates could not be asked" in told.output
    (answer,) = run("ask", "crm:1", "care-call", "--json").output.splitlines()
    assert orjson.loads(answer)["actions"] == []


def test_an_answer_is_recorded_or_said_why_not(services):
    fulfilment = outcomes_pb2.FulfilmentRequest(
        fulfilment_id="f-1", offer="data-top-up", event=event_pb2.Event(type="order.placed", data=b"{}")
    )
    services.answers["RecordOutcome"] = outcomes_pb2.RecordOutcomeResponse(
        recorded=True, fulfilment=fulfilment
    )
    told = run("outcomes", "record", ACTION, "accepted", "--reason", "likes it", "--agent", "desk-7")
    assert (told.exit_code, told.output.splitlines()) == (
        0,
        ["recorded", "to be delivered: data-top-up order.placed"],
    )
    (request,) = services.asked
    assert request.request_id
    request.request_id = ""
    assert request == outcomes_pb2.RecordOutcomeRequest(
        action_id=ACTION,
        outcome=outcomes_pb2.OFFER_OUTCOME_ACCEPTED,
        reason="likes it",
        agent="desk-7",
    )
    services.answers["RecordOutcome"] = outcomes_pb2.RecordOutcomeResponse(recorded=True, given_back=True)
    told = run("outcomes", "record", ACTION, "not-now")
    assert told.output.splitlines() == ["recorded", "it was never presented, and used up nothing"]
    services.answers["RecordOutcome"] = outcomes_pb2.RecordOutcomeResponse(
        refusal=outcomes_pb2.OUTCOME_REFUSAL_CONTRADICTS,
        detail="it was accepted before",
        earlier=outcomes_pb2.RecordedOutcome(outcome=outcomes_pb2.OFFER_OUTCOME_ACCEPTED),
    )
    told = run("outcomes", "record", ACTION, "declined", "--json")
    assert told.exit_code == 1
    body = orjson.loads(told.stdout)
    assert (body["refusal"], body["earlier"]["outcome"]) == ("contradicts", "accepted")
    assert "Not recorded: it was accepted before." in told.stderr
    assert run("outcomes", "record", ACTION, "maybe").exit_code == 2


def test_plans_are_taken_back_by_action_or_by_customer(services):
    services.answers["CancelPlanned"] = outcomes_pb2.CancelPlannedResponse(cancelled=[OFFER])
    told = run("outcomes", "cancel", ACTION, "--reason", "settled")
    assert told.output.startswith("taken back: data-top-up of shop, planned for")
    assert run("outcomes", "cancel", "crm:1", "--rule-set", "shop", "--reason", "settled").exit_code == 0
    first, second = services.asked
    assert (first.action_id, first.subject) == (ACTION, "")
    assert (second.action_id, second.subject, second.rule_set) == ("", "crm:1", "shop")
    services.answers["CancelPlanned"] = outcomes_pb2.CancelPlannedResponse(detail="nothing waits")
    told = run("outcomes", "cancel", "crm:1", "--reason", "settled")
    assert (told.exit_code, told.stderr) == (1, "Error: Nothing was taken back: nothing waits.\n")
    assert run("outcomes", "cancel", "crm:1").exit_code == 2


def streamed(*positions):
    return outcomes_pb2.StreamOutcomesResponse(
        outcomes=[
            outcomes_pb2.Outcome(position=one, kind=outcomes_pb2.OUTCOME_KIND_ACTION, action=OFFER)
            for one in positions
        ]
    )


def test_what_was_printed_is_acknowledged_and_no_more(services):
    opened = outcomes_pb2.StreamOutcomesResponse(opened=outcomes_pb2.StreamOpened(cursor=3, kept_after=5))
    services.answers["StreamOutcomes"] = [opened, streamed(6, 7), streamed(8, 9)]
    told = run("outcomes", "follow", "bss", "--limit", "3", "--cursor", "3")
    assert [orjson.loads(line)["position"] for line in told.stdout.splitlines()] == [6, 7, 8]
    assert "no longer kept" in told.stderr
    assert (services.asked[0].consumer, services.asked[0].cursor) == ("bss", 3)
    assert [one.acknowledged for one in services.asked[1:]] == [7, 8]
    services.asked.clear()
    assert run("outcomes", "follow", "bss", "--limit", "1", "--no-acknowledge").exit_code == 0
    assert len(services.asked) == 1


def test_consumers_are_listed_and_forgotten(services):
    services.answers["ListOutcomeConsumers"] = outcomes_pb2.ListOutcomeConsumersResponse(
        consumers=[outcomes_pb2.OutcomeConsumer(consumer="bss", behind=7)]
    )
    (row,) = [line for line in run("outcomes", "consumers").output.splitlines() if "bss" in line]
    assert row.split()[:2] == ["bss", "7"]
    (line,) = run("outcomes", "consumers", "--json").output.splitlines()
    assert orjson.loads(line)["behind"] == 7
    services.answers["RemoveOutcomeConsumer"] = outcomes_pb2.RemoveOutcomeConsumerResponse()
    assert run("outcomes", "forget", "bss").output == "bss is forgotten\n"
    assert services.asked[-1].consumer == "bss"

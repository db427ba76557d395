"""Both roles as they run, on real NATS and PostgreSQL, asked over real gRPC."""

import asyncio
import uuid
from contextlib import asynccontextmanager

import grpc
import orjson
import pytest
from google.rpc import error_details_pb2, status_pb2
from rapport.decision.v1 import (
    decision_pb2,
    decision_pb2_grpc,
    release_pb2,
    release_pb2_grpc,
    rule_set_pb2,
    rule_set_pb2_grpc,
)
from rapport.operations.v1 import operations_pb2, operations_pb2_grpc
from rapport.types.v1 import event_pb2, stream_pb2, vocabulary_pb2

from services.decision.main import MIGRATIONS, build_server_role, build_worker
from services.runtime.process import Role
from services.runtime.settings import Settings
from services.runtime.streams import ACTIONS, connect_bus, subject
from services.vocabulary.wire import value_to_wire
from tests.fakes.peers import serve_peers
from tests.fakes.trust import trust
from tests.integration.decision.conftest import LIVE, NOON, RULES, batch_of, exhausted, snapshot
from tests.integration.decision.test_worker import HELD_OUT, TREATED


@asynccontextmanager
async def running(settings, build):
    role = Role(settings)
    try:
        await build(role)
        yield role
    finally:
        role.stopping.set()
        await role.end()


def an_id():
    return str(uuid.uuid4())


@pytest.fixture
async def peers():
    server, target, profile, channel = await serve_peers()
    profile.snapshots[f"msisdn:+{TREATED}"] = snapshot(TREATED)
    profile.snapshots[f"customer:{TREATED}"] = snapshot(TREATED)
    yield target, profile, channel
    await server.stop(None)


@pytest.fixture
def settings(make_database, fresh_streams, peers):
    url = make_database(MIGRATIONS)
    target = peers[0]

    def make(role):
        return Settings(
            service="decision",
            role=role,
            database_url=url,
            nats_url=fresh_streams,
            profile_target=target,
            channel_target=target,
            clock="wall",
            extra={"release": "alone"},
            **(trust().settings("decision") | {"rules_folder": RULES}),
        )

    return make


@pytest.fixture
async def connection(settings):
    async with (
        running(settings("server"), build_server_role) as role,
        trust().connect(role.ready["token_address"]) as grpc_channel,
    ):
        yield grpc_channel


async def go_live(connection, *texts):
    stub = rule_set_pb2_grpc.RuleSetServiceStub(connection)
    for text in texts:
        put = await stub.PutRuleSet(rule_set_pb2.PutRuleSetRequest(request_id=an_id(), source=text))
        assert put.rule_set.name, put.problems
        live = await stub.ActivateRuleSet(
            rule_set_pb2.ActivateRuleSetRequest(request_id=an_id(), name=put.rule_set.name)
        )
        assert live.rule_set.state == rule_set_pb2.RULE_SET_STATE_LIVE, live.problems
        assert all(test.passed for test in live.tests)
        assert put.tests == live.tests


def question(**more):
    request = decision_pb2.DecideRequest(
        request_id=an_id(),
        subject=f"msisdn:+{TREATED}",
        event=event_pb2.Event(
            id=an_id(),
            source="desk",
            type="usage.allowance_exhausted",
            data=orjson.dumps({"cycle": "2026-12", "days_left_in_cycle": 9, "surcharge_next": True}),
        ),
        mode=decision_pb2.DECIDE_MODE_PRESENT,
        channel=vocabulary_pb2.CHANNEL_APP,
    )
    request.event.time.FromMicroseconds(NOON)
    for name, value in more.items():
        setattr(request, name, value)
    return request


async def refused_with(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = dict(caught.value.trailing_metadata()).get("grpc-status-details-bin")
    status = status_pb2.Status.FromString(details)
    info = error_details_pb2.ErrorInfo()
    next(detail for detail in status.details if detail.Unpack(info))
    return caught.value.code(), info


async def test_an_event_goes_all_the_way_to_the_actions(settings, connection, peers):
    async with running(settings("worker"), build_worker):
        await go_live(connection, LIVE[0], LIVE[1])
        assert set(peers[1].listened) >= {"usage.allowance_exhausted", "complaint.opened"}
        bus = await connect_bus(settings("worker"))
        try:
            listening = await bus.jetstream.pull_subscribe_bind(f"p{TREATED % 64}", ACTIONS)
            batch = batch_of((exhausted(event_id="e", customer=TREATED), snapshot(TREATED)))
            # the worker hears of the program a moment later: events before that trigger nothing
            decided = []
            async with asyncio.timeout(30):
                for number in range(100):
                    batch.events[0].id = f"e{number}"
                    await bus.jetstream.publish(subject("EVENTS", TREATED % 64), batch.SerializeToString())
                    stub = decision_pb2_grpc.DecisionServiceStub(connection)
                    decided = (await stub.ListDecisions(decision_pb2.ListDecisionsRequest())).decisions
                    if decided:
                        break
            (message,) = await listening.fetch(1, timeout=10)
            (action, *_) = stream_pb2.ActionBatch.FromString(message.data).actions
            assert action.action_id in {one.action_id for each in decided for one in each.actions}
            await message.ack()
        finally:
            await bus.close()
        stub = operations_pb2_grpc.OperationsServiceStub(connection)
        async with asyncio.timeout(20):
            while (
                answer := await stub.GetProgress(operations_pb2.GetProgressRequest())
            ).stream_pending or answer.outbox_pending:
                pass
        totals = dict(answer.totals)
        assert totals["events.seen"] == totals["decisions"] + totals.get("events.nothing", 0)


async def test_a_question_is_answered_reserved_and_recorded(connection, peers):
    await go_live(connection, LIVE[0], LIVE[1])
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    asked = question()
    answer = await stub.Decide(asked)
    assert answer.reserved
    assert answer.decision.event_time == asked.event.time
    found = [(action.rule, action.outcome) for action in answer.decision.actions]
    assert found == [
        ("plain-notice", vocabulary_pb2.ACTION_OUTCOME_DISPATCHED),
        ("one-off-top-up", vocabulary_pb2.ACTION_OUTCOME_DISPATCHED),
    ]
    assert list(answer.decision.actions[1].because) == ["not fact habitual", "event.days_left_in_cycle >= 2"]
    assert {action.rule for action in peers[2].reserved} == {"plain-notice", "one-off-top-up"}
    assert await stub.Decide(asked) == answer
    listed = await stub.ListDecisions(decision_pb2.ListDecisionsRequest(subject=f"msisdn:+{TREATED}"))
    assert [one.decision_id for one in listed.decisions] == [answer.decision.decision_id]
    why = await stub.ExplainDecision(
        decision_pb2.ExplainDecisionRequest(decision_id=answer.decision.decision_id)
    )
    assert why.reproduced
    asked.event.id = an_id()
    code, info = await refused_with(stub.Decide(asked))
    assert (code, info.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_REUSED")


async def test_a_peek_binds_nobody(connection, peers):
    await go_live(connection, LIVE[0], LIVE[1])
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    for _ in range(2):
        answer = await stub.Decide(question(mode=decision_pb2.DECIDE_MODE_PEEK))
        assert [action.rule for action in answer.decision.actions] == ["plain-notice", "one-off-top-up"]
        assert not answer.reserved
    assert peers[2].reserved == []
    assert not (await stub.ListDecisions(decision_pb2.ListDecisionsRequest())).decisions


async def test_what_the_gates_refuse_is_not_presented_and_the_decision_is_reproduced(connection, peers):
    await go_live(connection, LIVE[0], LIVE[1])
    peers[2].refuses = {"one-off-top-up": vocabulary_pb2.REFUSAL_REASON_NO_CONSENT}
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    answer = await stub.Decide(question())
    refused = answer.decision.actions[-1]
    assert (refused.rule, refused.reason) == ("one-off-top-up", vocabulary_pb2.REFUSAL_REASON_NO_CONSENT)
    why = await stub.ExplainDecision(decision_pb2.ExplainDecisionRequest(action_id=refused.action_id))
    assert why.reproduced
    assert "NO_CONSENT" in why.sentence


async def test_without_the_channel_service_nothing_commercial_is_presented(connection, peers):
    await go_live(connection, LIVE[0], LIVE[1])
    peers[2].away = True
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    answer = await stub.Decide(question())
    assert not answer.reserved
    outcomes = {action.rule: action.outcome for action in answer.decision.actions}
    assert outcomes["one-off-top-up"] == vocabulary_pb2.ACTION_OUTCOME_REFUSED
    assert outcomes["plain-notice"] == vocabulary_pb2.ACTION_OUTCOME_DISPATCHED


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subject": ""}, "subject"),
        ({"subject": "msisdn:+999"}, "subject"),
        ({"mode": 0}, "mode"),
        ({"request_id": ""}, "request_id"),
    ],
)
async def test_a_bad_question_is_told_what_is_wrong(connection, change, field):
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    _, info = await refused_with(stub.Decide(question(**change)))
    assert info.metadata["field"] == field


async def test_a_bad_event_in_a_question_is_told_which_field(connection):
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    for kind, data, field in (
        ("usage.allowance_exhaust", b"{}", "event.type"),
        ("usage.allowance_exhausted", b'{"cycle": "2026-12"}', "event.data.days_left_in_cycle"),
        ("usage.allowance_exhausted", b"{", "event.data"),
    ):
        asked = question()
        asked.event.type, asked.event.data = kind, data
        code, info = await refused_with(stub.Decide(asked))
        assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, field)


CARE_CALL = """
ruleset: on-the-line
active: {from: 2026-01-01}
trigger: [complaint.opened, {ask: care-call}]
rules:
  - id: say-it
    when: [ask.topic is calls, profile.consents contains marketing]
    do: {say: "Ask how calls to {profile.plan} customers went on {ask.channel}"}
  - id: note
    when: [event.topic is calls]
    do: {task: call-back, with: {queue: q, note: n}, category: service}
tests: []
"""


def asking(mode=decision_pb2.DECIDE_MODE_PRESENT, ask="care-call", **parameters):
    return decision_pb2.DecideRequest(
        request_id=an_id(),
        subject=f"msisdn:+{TREATED}",
        ask=ask,
        ask_parameters={name: value_to_wire(value) for name, value in parameters.items()},
        mode=mode,
    )


async def test_a_question_needs_no_event_and_is_recorded_and_replayed(connection, peers):
    told = snapshot(TREATED)
    told.consents.add(
        purpose=vocabulary_pb2.PURPOSE_MARKETING,
        channel=vocabulary_pb2.CHANNEL_SMS,
        state=vocabulary_pb2.CONSENT_STATE_GRANTED,
    )
    peers[1].snapshots[f"msisdn:+{TREATED}"] = told
    await go_live(connection, CARE_CALL)
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    peeked = await stub.Decide(asking(decision_pb2.DECIDE_MODE_PEEK, topic="calls", channel="chat"))
    answer = await stub.Decide(asking(topic="calls", channel="chat"))
    for given in (peeked, answer):
        (action,) = given.decision.actions
        assert action.rule == "say-it"
        assert action.parameters["say"].text.endswith("customers went on chat")
        assert list(action.because) == ["ask.topic is calls", "profile.consents contains marketing"]
        assert given.decision.event_type == "ask.care-call"
    listed = await stub.ListDecisions(decision_pb2.ListDecisionsRequest(event_type="ask.care-call"))
    assert [one.decision_id for one in listed.decisions] == [answer.decision.decision_id]
    why = await stub.ExplainDecision(
        decision_pb2.ExplainDecisionRequest(decision_id=answer.decision.decision_id)
    )
    assert why.reproduced
    assert not (await stub.Decide(asking(topic="bill"))).decision.actions
    # another question, and another rule set's event, call for nothing here
    assert not (await stub.Decide(asking(ask="app-open", screen="home"))).decision.actions
    assert not (await stub.Decide(question())).decision.actions


LIMITED = """
ruleset: limited
trigger: {ask: app-open}
limits: {pace: 1/h, per day: 2}
rules: [{id: how, do: {survey: ces-after-care, category: survey}}]
tests: []
"""


async def test_answers_take_of_a_day_when_presented_and_wait_for_no_pace(connection, peers):
    assert peers
    await go_live(connection, LIMITED)
    stub = decision_pb2_grpc.DecisionServiceStub(connection)

    async def outcome(mode):
        (action,) = (await stub.Decide(asking(mode, "app-open"))).decision.actions
        return vocabulary_pb2.ActionOutcome.Name(action.outcome), action.reason

    peek, present = decision_pb2.DECIDE_MODE_PEEK, decision_pb2.DECIDE_MODE_PRESENT
    passes = ("ACTION_OUTCOME_DISPATCHED", 0)
    used_up = ("ACTION_OUTCOME_REFUSED", vocabulary_pb2.REFUSAL_REASON_BUDGET)
    found = [await outcome(mode) for mode in (peek, peek, peek, present, present, peek, present)]
    assert found == [passes] * 5 + [used_up] * 2
    for one in (await stub.ListDecisions(decision_pb2.ListDecisionsRequest())).decisions:
        why = await stub.ExplainDecision(decision_pb2.ExplainDecisionRequest(decision_id=one.decision_id))
        assert why.reproduced


@pytest.mark.parametrize(
    ("change", "field", "suggestion"),
    [
        ({"ask": "care-cal"}, "ask", "did you mean care-call?"),
        ({"topik": "calls"}, "ask_parameters.topik", "did you mean topic?"),
        ({"topic": 3}, "ask_parameters.topic", "write it in quotes"),
    ],
)
async def test_a_question_that_the_catalogue_lacks_is_told_what_is_right(
    connection, change, field, suggestion
):
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    code, info = await refused_with(stub.Decide(asking(**change)))
    assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert suggestion in info.metadata["suggestion"]


async def test_a_question_and_an_event_are_asked_in_calls_of_their_own(connection):
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    both = question(ask="care-call")
    alone = question()
    alone.ask_parameters["topic"].text = "calls"
    for asked in (both, alone):
        code, info = await refused_with(stub.Decide(asked))
        assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "ask")


async def test_rule_sets_over_grpc_answer_with_problems_and_pages(connection):
    stub = rule_set_pb2_grpc.RuleSetServiceStub(connection)
    bad = await stub.PutRuleSet(
        rule_set_pb2.PutRuleSetRequest(
            request_id=an_id(),
            source=LIVE[1].replace("profile.better_plan", "profile.beter_plan"),
            file="x.yaml",
        )
    )
    assert not bad.HasField("rule_set")
    assert any(problem.suggestion and problem.line for problem in bad.problems)
    await go_live(connection, LIVE[0], LIVE[1])
    checked = await stub.ValidateRuleSet(
        rule_set_pb2.ValidateRuleSetRequest(source=LIVE[1], file="bill.yaml")
    )
    assert [test.passed for test in checked.tests] == [True] * 4
    first = await stub.ListRuleSets(rule_set_pb2.ListRuleSetsRequest(page_size=1))
    second = await stub.ListRuleSets(
        rule_set_pb2.ListRuleSetsRequest(page_size=1, page_token=first.next_page_token, include_source=True)
    )
    assert [first.rule_sets[0].name, second.rule_sets[0].name] == ["bill-shock", "open-complaint"]
    assert second.rule_sets[0].source == LIVE[0]
    assert second.next_page_token == ""
    code, info = await refused_with(
        stub.ActivateRuleSet(rule_set_pb2.ActivateRuleSetRequest(request_id=an_id(), name="nowhere"))
    )
    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    await steps_over_grpc(stub, release_pb2_grpc.ReleaseServiceStub(connection))


async def steps_over_grpc(stub, releases):
    """What is live has its history; what is put next goes into review, and its author may not approve it."""
    life = await releases.GetRuleSet(release_pb2.GetRuleSetRequest(name="bill-shock"))
    assert [step.action for step in life.steps] == ["put", "activate"]
    assert life.steps[1].comment == "review and canary not required here"
    assert life.rule_set.source == LIVE[1]
    assert life.live_version == 1
    back = await releases.RollbackRuleSet(
        release_pb2.RollbackRuleSetRequest(request_id=an_id(), name="bill-shock")
    )
    assert back.refusal.reason == rule_set_pb2.REFUSAL_OF_STEP_NOTHING_BEFORE
    changed = LIVE[1].replace("expires: 72h", "expires: 30h")
    await stub.PutRuleSet(rule_set_pb2.PutRuleSetRequest(request_id=an_id(), source=changed))
    unknown = release_pb2.SubmitForReviewRequest(
        request_id=an_id(), name="bill-shock", simulation_id="00000000-0000-4000-8000-000000000000"
    )
    refused = await releases.SubmitForReview(unknown)
    assert refused.refusal.reason == rule_set_pb2.REFUSAL_OF_STEP_WRONG_SIMULATION
    submit = release_pb2.SubmitForReviewRequest(request_id=an_id(), name="bill-shock", comment="shorter")
    submitted = await releases.SubmitForReview(submit)
    assert submitted.rule_set.state == rule_set_pb2.RULE_SET_STATE_IN_REVIEW
    assert any("30 hours" in difference for difference in submitted.differences)
    assert await releases.SubmitForReview(submit) == submitted
    review = release_pb2.ReviewRuleSetRequest(
        request_id=an_id(), name="bill-shock", version=2, verdict=release_pb2.VERDICT_APPROVE
    )
    reviewed = await releases.ReviewRuleSet(review)
    assert reviewed.refusal.reason == rule_set_pb2.REFUSAL_OF_STEP_OWN_WORK
    assert reviewed.rule_set.state == rule_set_pb2.RULE_SET_STATE_IN_REVIEW
    for fields, field in (
        ({"version": 0, "verdict": release_pb2.VERDICT_APPROVE}, "version"),
        ({"version": 2}, "verdict"),
        ({"version": 2, "verdict": release_pb2.VERDICT_REJECT}, "comment"),
    ):
        request = release_pb2.ReviewRuleSetRequest(request_id=an_id(), name="bill-shock", **fields)
        code, info = await refused_with(releases.ReviewRuleSet(request))
        assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    canary = release_pb2.StartCanaryRequest(request_id=an_id(), name="bill-shock", share=1.5)
    code, info = await refused_with(releases.StartCanary(canary))
    assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "share")


async def test_someone_held_out_is_offered_nothing_at_the_desk_either(connection, peers):
    await go_live(connection, LIVE[0], LIVE[1])
    peers[1].snapshots["crm:held"] = snapshot(HELD_OUT)
    stub = decision_pb2_grpc.DecisionServiceStub(connection)
    answer = await stub.Decide(question(subject="crm:held"))
    assert answer.decision.actions[-1].reason == vocabulary_pb2.REFUSAL_REASON_HOLDOUT

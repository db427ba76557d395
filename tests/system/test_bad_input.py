"""Bad input is refused with what was wrong, where, and what would be right; nothing else suffers."""

import datetime as dt
import json
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.decision.v1 import rule_set_pb2, rule_set_pb2_grpc
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc
from rapport.types.v1 import event_pb2

from services.cli.stack.options import PROGRAM_NAMES
from services.runtime.status import read_failure
from tests.system.conftest import lines, new_number, person, used

GOOD_RULES = """\
ruleset: {name}
title: A test
owner: tests
stage: bill
active: {{from: 2026-10-01}}
trigger: usage.data_used
"""
YAML_ERROR = (
    GOOD_RULES
    + """\
rules:
  - id: half
    when: [event.mb > 5
    do: {{message: quota-50, category: service}}
"""
)
UNKNOWN_TRAIT = (
    GOOD_RULES
    + """\
rules:
  - id: half
    when: [profile.plan_data_gb > 5]
    do: {{message: quota-50, category: service}}
"""
)
NEGATION_CYCLE = (
    GOOD_RULES
    + """\
infer:
  - {{fact: heavy, when: [not fact light]}}
  - {{fact: light, when: [not fact heavy]}}
rules:
  - id: half
    when: [fact heavy]
    do: {{message: quota-50, category: service}}
"""
)
BAD_RULES = {
    # text, line of the problem, its check, words it must say
    "yaml": (YAML_ERROR, range(9, 12), "yaml", ()),
    "trait": (UNKNOWN_TRAIT, range(9, 10), "unknown-trait", ("plan_data_gb", "plan_data_mb")),
    "cycle": (NEGATION_CYCLE, range(8, 10), "negation-cycle", ("heavy", "light")),
}


def changed(good, **changes):
    told = {**good, **changes}
    return {name: value for name, value in told.items() if value is not ...}


@pytest.mark.parametrize(
    ("changes", "field", "right"),
    [
        ({"type": "usage.data_usd"}, "type", "usage.data_used"),
        ({"data": {}}, "data.mb", "mb"),
        ({"data": {"mb": "many"}}, "data.mb", "number"),
        ({"data": {"mb": 1, "megabytes": 2}}, "data.megabytes", "mb, country, charge, cycle"),
        ({"data": {"mb": 1, "country": "France"}}, "data.country", "ISO 3166"),
        ({"subject": "phone:+33612345678"}, "subject", "msisdn"),
        ({"subject": "msisdn:0612345678"}, "subject", "+"),
        ({"subject": ...}, "subject", "msisdn:+33612345678"),
        ({"id": ...}, "id", "id"),
        ({"time": ...}, "time", "time"),
        ({"time": "2026-11-02T08:15:00"}, "time", "zone"),
        ({"type": "action.due", "data": {"action": "a", "decision": "d"}}, "type", "Rapport itself"),
    ],
)
def test_a_bad_event_is_rejected_with_line_field_and_reason(rapport, noon, changes, field, right):
    subject = f"msisdn:{new_number()}"
    before, bad, after = (used(noon, subject, mb) for mb in (1, 2, 3))
    report = rapport.ingest([before, changed(bad, **changes), after])
    assert report["accepted"] == 2
    (rejection,) = report["rejected"]
    assert (rejection["line"], rejection["field"]) == (2, field)
    assert right in rejection["reason"]


def test_an_invalid_zone_is_rejected(rapport, noon):
    subject = f"msisdn:{new_number()}"
    report = rapport.ingest(person(noon, subject, zone="Europe/Pariss"))
    (rejection,) = report["rejected"]
    assert rejection["field"] == "data.traits.zone"
    assert "Europe/Paris" in rejection["reason"]


def test_rejected_lines_are_told_and_kept_and_the_exit_code_says_so(rapport, noon, tmp_path):
    file, kept = tmp_path / "events.ndjson", tmp_path / "rejected"
    good = used(noon, f"msisdn:{new_number()}", 1)
    file.write_bytes(lines([good]) + b"{no json\n" + lines([changed(good, id="other", type="x.y")]))
    done = rapport("ingest", str(file), "--rejections", str(kept))
    assert done.returncode == 1
    assert "3 events read, 1 accepted, 2 rejected" in done.stdout
    assert "line 2: this is not JSON" in done.stderr
    assert "line 3: " in done.stderr
    assert [line.split("\t")[:2] for line in kept.read_text().splitlines()] == [["2", ""], ["3", "type"]]


def test_no_subscriber_number_reaches_a_log_or_an_error(rapport, noon):
    number = new_number()
    bad = changed(used(noon, f"msisdn:{number}", 1), data={"mb": "x"})
    wrong = changed(used(noon, f"msisdn:{number}x", 1))
    report = rapport.ingest([used(noon, f"msisdn:{number}", 1), bad, wrong])
    assert len(report["rejected"]) == 2
    digits = number.lstrip("+").encode()
    assert digits not in json.dumps(report).encode()
    told = {file.name for file in (rapport.folder / "log").iterdir() if digits in file.read_bytes()}
    assert told == set()


def proto_event(**changes):
    stamp = Timestamp()
    stamp.FromDatetime(dt.datetime(2026, 11, 2, tzinfo=dt.UTC))
    told = {
        "id": str(uuid4()),
        "source": "system-tests",
        "type": "usage.data_used",
        "subject": "msisdn:+33600000001",
        "data": b'{"mb":1}',
        "time": stamp,
    }
    return event_pb2.Event(**{**told, **changes})


def ingest_over_grpc(rapport, events):
    with rapport.grpc_channel("profile") as grpc_channel:
        stub = profile_pb2_grpc.ProfileServiceStub(grpc_channel)
        return stub.IngestEvents(profile_pb2.IngestEventsRequest(events=events), timeout=60)


def test_a_batch_of_100_000_events_is_refused_with_the_limit(rapport):
    with pytest.raises(grpc.RpcError) as caught:
        ingest_over_grpc(rapport, [event_pb2.Event(id="x")] * 100_000)
    failure = read_failure(caught.value)
    assert failure.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "100000" in failure.message
    assert "1000" in failure.message
    assert [name for name, _ in failure.fields] == ["events"]


def test_a_batch_over_the_message_size_is_refused_with_the_limit(rapport):
    with pytest.raises(grpc.RpcError) as caught:
        ingest_over_grpc(rapport, [proto_event()] * 100_000)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "4194304" in caught.value.details()


def test_a_payload_of_5_mb_is_refused_with_the_limit(rapport):
    with pytest.raises(grpc.RpcError) as caught:
        ingest_over_grpc(rapport, [proto_event(data=b'{"mb":1,"x":"' + b"x" * 5_000_000 + b'"}')])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "4194304" in caught.value.details()


def test_a_payload_over_64_kb_is_rejected_alone(rapport):
    big = proto_event(data=b'{"mb":1,"x":"' + b"x" * 100_000 + b'"}')
    answer = ingest_over_grpc(rapport, [proto_event(), big, proto_event()])
    accepted, rejected = profile_pb2.INGEST_STATUS_ACCEPTED, profile_pb2.INGEST_STATUS_REJECTED
    assert [result.status for result in answer.results] == [accepted, rejected, accepted]
    assert answer.results[1].reason == profile_pb2.REJECTION_REASON_TOO_LARGE
    assert answer.results[1].field == "data"
    assert "64000" in answer.results[1].message


def test_a_line_of_5_mb_is_rejected_and_the_others_are_taken(rapport, noon):
    subject = f"msisdn:{new_number()}"
    big = used(noon, subject, 2)
    big["data"]["country"] = "F" * 5_000_000
    report = rapport.ingest([used(noon, subject, 1), big, used(noon, subject, 3)])
    assert report["accepted"] == 2
    (rejection,) = report["rejected"]
    assert (rejection["line"], rejection["field"]) == (2, "data")
    assert "64,000" in rejection["reason"]


@pytest.mark.parametrize("case", BAD_RULES)
def test_a_bad_rule_set_is_refused_by_lint(rapport, tmp_path, case):
    text, at, check, words = BAD_RULES[case]
    file = tmp_path / f"{case}.yaml"
    file.write_text(text.format(name=f"bad-{case}"))
    done = rapport("rules", "lint", str(file), "--json", folder=False)
    assert done.returncode == 1, done.stderr
    problems = [json.loads(line) for line in done.stdout.splitlines()]
    (problem,) = [problem for problem in problems if problem["severity"] == "error"]
    assert problem["file"] == str(file)
    assert problem["line"] in at
    assert problem["check"] == check
    assert all(word in problem["message"] + problem["suggestion"] for word in words)


@pytest.mark.parametrize("case", BAD_RULES)
def test_a_bad_rule_set_is_stored_nowhere(rapport, case):
    text, at, check, words = BAD_RULES[case]
    request = rule_set_pb2.PutRuleSetRequest(
        request_id=str(uuid4()), source=text.format(name=f"bad-{case}"), file=f"{case}.yaml"
    )
    with rapport.grpc_channel("decision") as grpc_channel:
        stub = rule_set_pb2_grpc.RuleSetServiceStub(grpc_channel)
        answer = stub.PutRuleSet(request, timeout=60)
        (problem,) = [p for p in answer.problems if p.severity == rule_set_pb2.SEVERITY_ERROR]
        assert not answer.HasField("rule_set")
        assert problem.line in at
        assert problem.check == check
        assert all(word in problem.message + problem.suggestion for word in words)
        listed = stub.ListRuleSets(rule_set_pb2.ListRuleSetsRequest(all_versions=True), timeout=60)
    assert f"bad-{case}" not in {rule_set.name for rule_set in listed.rule_sets}


@pytest.mark.parametrize("case", BAD_RULES)
def test_a_bad_rule_set_is_not_activated_and_the_last_good_one_stays(rapport, tmp_path, case):
    file = tmp_path / "quota-notices.yaml"
    file.write_text(BAD_RULES[case][0].format(name="quota-notices"))
    before = rapport.listing("rules", "list")
    done = rapport("rules", "activate", str(file))
    assert done.returncode == 1
    assert "quota-notices.yaml was refused:" in done.stderr
    assert "line " in done.stderr
    assert rapport.listing("rules", "list") == before


def test_one_refused_recipient_of_many_holds_up_nobody(rapport, noon):
    addresses = [f"many{new_number()[1:]}@customer.example" for _ in range(6)]
    refused = addresses[2]
    rapport.faults("smtp-sink", refuse={refused: "550 5.1.1 No such mailbox"})
    try:
        rapport.take(
            [
                told
                for address in addresses
                for told in person(noon, f"email:{address}", plan_data_mb=1000, preferred_channel="email")
            ]
            + [used(noon + dt.timedelta(hours=1), f"email:{address}", 600) for address in addresses]
        )
    finally:
        rapport.faults("smtp-sink")
    states = {}
    for address in addresses:
        (message,) = rapport.listing("messages", "list", "--subject", f"email:{address}")
        states[address] = message["state"], message["reason"]
    assert states.pop(refused) == ("failed", "PROVIDER_REJECTED")
    assert set(states.values()) == {("sent", None)}
    got = [mail["recipient"] for mail in rapport.received("smtp-sink") if mail["recipient"] in addresses]
    assert sorted(got) == sorted(set(addresses) - {refused})


def test_a_second_up_on_the_folder_is_refused_and_nothing_is_disturbed(rapport):
    before = rapport.layout.state.read_text()
    done = rapport("up")
    assert done.returncode == 3
    assert "rapport down" in done.stderr
    assert str(rapport.stack.supervisor.pid) in done.stderr
    assert rapport.layout.state.read_text() == before
    assert {program.name for program in rapport.stack.programs if program.alive} == set(PROGRAM_NAMES)


def test_an_event_far_in_the_future_is_rejected_on_the_wall_clock(make_stack):
    others = [name for name in PROGRAM_NAMES if name not in {"postgres", "nats", "profile-server"}]
    on_the_wall = make_stack(start=None, without=tuple(others))
    now = on_the_wall.progress()["profile"].business_time
    assert now is not None
    moments = (
        now,
        now + dt.timedelta(minutes=4),
        now + dt.timedelta(minutes=10),
        now + dt.timedelta(days=365),
    )
    done = on_the_wall("ingest", "-", "--json", stdin=lines(used(m, "crm:1", 1) for m in moments))
    report = json.loads(done.stdout)
    assert report["accepted"] == 2
    assert [(r["line"], r["field"]) for r in report["rejected"]] == [(3, "time"), (4, "time")]
    assert "5 minutes" in report["rejected"][0]["reason"]

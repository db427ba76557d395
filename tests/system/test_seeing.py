"""What can be seen of a running stack: one trace from ingest to hand-over, metrics of every role, status."""

import json

from google.protobuf.timestamp_pb2 import Timestamp
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc
from rapport.types.v1 import event_pb2

from services.cli.stack.options import ROLES
from services.cli.stack.seen import read_samples, scrape
from services.runtime.metrics import sample_names
from tests.system.conftest import new_number, person, until, used

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
CHAIN = [
    ("profile-server", "rapport.profile.v1.ProfileService/IngestEvents"),
    ("profile-server", "take events"),
    ("decision-worker", "EVENTS process"),
    ("channel-worker", "ACTIONS process"),
    ("channel-worker", "hand over sms"),
    ("profile-worker", "OUTCOMES process"),
]
"""From the caller's call to what is told of its message, each the child of the one before."""


def to_wire(told):
    time = Timestamp()
    time.FromJsonString(told["time"])
    return event_pb2.Event(
        id=told["id"],
        source=told["source"],
        type=told["type"],
        time=time,
        subject=told["subject"],
        data=json.dumps(told["data"]).encode(),
    )


def chain_of(spans):
    """The longest way down from the caller: (role, name) of each span."""
    children = {}
    for span in spans:
        children.setdefault(span.parent, []).append(span)

    def down(parent):
        ways = [[(span.by, span.name), *down(span.span)] for span in children.get(parent, [])]
        return max(ways, key=len, default=[])

    return down(CALLER)


def test_one_trace_leads_from_ingest_to_the_hand_over_and_its_outcome(rapport, traces, noon):
    subject = f"msisdn:{new_number()}"
    rapport.take(person(noon, subject, plan_data_mb=1000))
    request = profile_pb2.IngestEventsRequest(events=[to_wire(used(noon, subject, 600))])
    with rapport.grpc_channel("profile") as grpc_channel:
        answer = profile_pb2_grpc.ProfileServiceStub(grpc_channel).IngestEvents(
            request, metadata=[("traceparent", f"00-{TRACE}-{CALLER}-01")], timeout=10
        )
    assert not answer.results[0].message, answer
    until(lambda: chain_of(traces.of(TRACE))[: len(CHAIN)] == CHAIN, seconds=30)


def test_every_role_can_be_scraped_and_shows_what_it_did(rapport, noon):
    subject = f"msisdn:{new_number()}"
    rapport.take([*person(noon, subject, plan_data_mb=1000), used(noon, subject, 600)])

    def figure(role, name, **labels):
        wanted = labels.items()
        found = read_samples(scrape(rapport.stack, role))
        return sum(value for sample, told, value in found if sample == name and wanted <= told.items())

    for role in ROLES:
        service, _, part = role.partition("-")
        labels = [
            told for name, told, _ in read_samples(scrape(rapport.stack, role)) if name == "rapport_ready"
        ]
        assert labels == [{"service": service, "role": part}]
        assert figure(role, "rapport_ready") == 1
        assert figure(role, "rapport_dependency_up", dependency="database") == 1
        assert figure(role, "rapport_certificate_expiry_seconds", file=f"{service}.crt") > 86_400
    assert figure("profile-server", "rapport_ingest_total", outcome="accepted") >= 2
    assert figure("profile-server", "rapport_rpc_seconds_count", code="OK") > 0
    for role, stream in (
        ("profile-worker", "OUTCOMES"),
        ("decision-worker", "EVENTS"),
        ("channel-worker", "ACTIONS"),
    ):
        assert figure(role, "rapport_items_total", stream=stream, outcome="done") > 0
        assert figure(role, "rapport_batch_seconds_count", stream=stream) > 0
    assert figure("decision-worker", "rapport_decisions_total", result="acted") > 0
    assert figure("decision-worker", "rapport_actions_total", kind="message", category="service") > 0
    assert figure("channel-worker", "rapport_messages_total", channel="sms", state="sent") > 0
    assert figure("channel-worker", "rapport_cap_seconds_count") > 0
    until(lambda: figure("decision-worker", "rapport_stream_lag_messages", stream="EVENTS") == 0)
    samples = [sample for role in ROLES for sample in read_samples(scrape(rapport.stack, role))]
    announced = sample_names()
    assert {name for name, _, _ in samples} <= announced.keys()
    assert not any(subject.removeprefix("msisdn:+") in str(told) for _, told, _ in samples)


def test_status_shows_all_of_it_at_a_glance(rapport, noon):
    subject = f"msisdn:{new_number()}"
    rapport.take([*person(noon, subject, plan_data_mb=1000), used(noon, subject, 600)])
    told = json.loads(rapport("status", "--json").stdout)
    roles = {entry["role"]: entry for entry in told["roles"]}
    assert roles.keys() == set(ROLES)
    for role, entry in roles.items():
        assert (entry["ready"], entry["missing"], entry["failure"]) == (True, [], ""), role
        assert entry["certificates"]["ca.crt"] > 86_400
        assert entry["resident_bytes"] > 10_000_000
    assert roles["decision-worker"]["stream"] == "EVENTS"
    assert roles["decision-worker"]["engine_restarts"] is not None
    assert told["per_second"].keys() == {"events", "decisions", "messages"}
    until(lambda: json.loads(rapport("status", "--json").stdout)["per_second"]["messages"] > 0, seconds=30)

    text = rapport("status").stdout
    assert "per second over the last minute" in text
    assert "rules engine: " in text
    assert "refusals since the roles started: " in text


def test_status_watches_until_it_is_stopped(rapport):
    with rapport.running("status", "--watch", "--json") as process:
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [look["state"] for look in looks] == ["running", "running"]

"""What can be seen of a running stack: one trace from ingest to hand-over, metrics of every role, status."""

import json

from google.protobuf.timestamp_pb2 import Timestamp
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc
from rapport.types.v1 import event_pb2

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

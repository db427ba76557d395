"""Snapshots asked for at the same time travel in one call, and each caller gets its own."""

import asyncio

import grpc
import pytest
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import stream_pb2

from services.decision.adapters.peers import ProfilePeer
from services.runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError


class Profiles:
    """The profile service: knows customers by number, and refuses calls that name a bad one."""

    def __init__(self):
        self.calls = []
        self.away = False
        self.most = 99

    async def BatchGetSnapshots(self, request):  # noqa: N802 - the proto's name
        self.calls.append(list(request.subjects))
        if self.away:
            raise failure(grpc.StatusCode.UNAVAILABLE)
        if "bad" in request.subjects:
            raise failure(grpc.StatusCode.INVALID_ARGUMENT)
        if len(request.subjects) > self.most:
            raise failure(grpc.StatusCode.RESOURCE_EXHAUSTED)
        return profile_pb2.BatchGetSnapshotsResponse(
            results=[result(subject) for subject in request.subjects]
        )


def failure(code):
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="no")


def result(subject):
    if subject == "12345":
        return profile_pb2.SnapshotResult(error="an identity without a kind; write kind:value")
    if subject == "nobody":
        return profile_pb2.SnapshotResult(error="unknown subject")
    household = stream_pb2.Household(id=70) if subject == "7" else None
    snapshot = stream_pb2.Snapshot(
        customer=int(subject), sequence=3, merged_customers=[90], household=household
    )
    return profile_pb2.SnapshotResult(snapshot=snapshot)


@pytest.fixture
def profiles():
    return Profiles()


@pytest.fixture
def peer(profiles):
    made = ProfilePeer(NoChannel())
    made._stub = profiles
    return made


class NoChannel:
    """As much of a connection as a stub looks at when it is made."""

    def unary_unary(self, *_arguments, **_options):
        """A method that nobody calls."""

    unary_stream = stream_unary = stream_stream = unary_unary


async def asked(peer, *subjects):
    found = await asyncio.gather(*(peer.snapshot(subject) for subject in subjects), return_exceptions=True)
    return [type(one) if isinstance(one, Exception) else one.customer for one in found]


async def test_who_is_not_known_is_told_apart_from_what_is_no_identity(peer):
    found = await asyncio.gather(peer.snapshot("nobody"), peer.snapshot("12345"), return_exceptions=True)
    assert [(one.message, one.suggestion) for one in found] == [
        ("unknown subject", "name an identity that an event or an import has told of, or customer:<id>"),
        ("an identity without a kind", "write kind:value"),
    ]


async def test_each_caller_gets_the_snapshot_that_it_asked_for(peer, profiles):
    assert await asked(peer, "1", "2", "3") == [1, 2, 3]
    assert profiles.calls == [["1", "2", "3"]]


async def test_a_snapshot_comes_with_all_that_is_kept_under(peer):
    found = await peer.snapshot("7")
    assert (found.people, found.household, found.sequence) == ((7, 90), 70, 3)
    assert stream_pb2.Snapshot.FromString(found.raw).customer == 7


async def test_whom_nobody_knows_fails_alone(peer):
    assert await asked(peer, "1", "nobody", "3") == [1, NotFoundError, 3]


async def test_one_that_is_refused_is_found_and_the_others_are_answered(peer):
    assert await asked(peer, "1", "2", "bad", "4") == [1, 2, InvalidArgumentError, 4]


async def test_what_is_too_much_for_one_answer_comes_in_several(peer, profiles):
    profiles.most = 1
    assert await asked(peer, "1", "2", "3") == [1, 2, 3]


async def test_a_service_that_is_away_is_asked_once_and_not_for_each(peer, profiles):
    profiles.away = True
    assert await asked(peer, "1", "2") == [UnavailableError] * 2
    assert profiles.calls == [["1", "2"]]

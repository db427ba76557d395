"""Ingest while what it committed before does not leave: turned away with the time to come back, not lost."""

import dataclasses

import grpc
import pytest
from rapport.profile.v1 import profile_pb2

from services.profile.entrypoints import servicer
from services.runtime import backlog
from services.runtime.status import read_failure
from tests.integration.profile.asking import event, ingest
from tests.integration.profile.conftest import running_profile


@pytest.fixture
async def narrow(profile_settings, monkeypatch):
    """No worker runs, so nothing leaves the outbox; over one message waiting is too much."""
    monkeypatch.setattr(backlog, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(servicer, "_STREAM_PATIENCE", 0.1)
    settings = dataclasses.replace(profile_settings(), backlog_outbox_messages=1)
    async with running_profile(settings) as running:
        yield running


def batch_of(first, *events):
    return profile_pb2.StreamEventsRequest(batch=profile_pb2.StreamBatch(first_sequence=first, events=events))


def told_to_come_back(error):
    failure = read_failure(error)
    assert failure.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.reason == "OVERLOADED"
    assert "outbox" in failure.message
    assert failure.retry_seconds is not None
    return 0.5 < failure.retry_seconds < 10


async def test_a_call_is_refused_with_the_time_to_come_back(narrow):
    for number in range(2):
        await narrow.profile.IngestEvents(ingest(event(f"e{number}")))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await narrow.profile.IngestEvents(ingest(event("e9")))
    assert told_to_come_back(raised.value)
    answer = await narrow.profile.GetProfile(profile_pb2.GetProfileRequest(subject="msisdn:+33600000001"))
    assert answer.profile.activity[0].entries == 2, "what was taken stays, what was refused is not there"


async def test_a_stream_ends_behind_what_was_acknowledged(narrow):
    call = narrow.profile.StreamEvents()
    opening = profile_pb2.OpenStream(stream_id="s")
    await call.write(profile_pb2.StreamEventsRequest(open=opening))
    await call.read()
    for number in range(1, 3):
        await call.write(batch_of(number, event(f"e{number}")))
        assert (await call.read()).acknowledged_sequence == number
    await call.write(batch_of(3, event("e3")))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert told_to_come_back(raised.value)
    call = narrow.profile.StreamEvents()
    await call.write(profile_pb2.StreamEventsRequest(open=opening))
    assert (await call.read()).acknowledged_sequence == 2
    await call.done_writing()

"""RetractEvent: an event taken by mistake counts no more, and its row stays, marked."""

import grpc
import pytest
from rapport.profile.v1 import correction_pb2, correction_pb2_grpc, profile_pb2

from services.runtime.database import Database
from tests.integration.profile.asking import ANNA, at, event, ingest, traits

REQUEST = {"request_id": "r1", "subject": ANNA, "source": "test", "id": "e2"}


@pytest.fixture
def retract(profile):
    stub = correction_pb2_grpc.CorrectionServiceStub(profile.grpc_channel)

    async def ask(**changes: str) -> correction_pb2.RetractEventResponse:
        return await stub.RetractEvent(correction_pb2.RetractEventRequest(**(REQUEST | changes)))

    return ask


async def entries(profile) -> dict[str, int]:
    answer = await profile.profile.GetProfile(profile_pb2.GetProfileRequest(subject=ANNA))
    return {one.type: one.entries for one in answer.profile.activity}


async def test_an_event_taken_back_counts_in_no_window_and_is_not_taken_again(profile, retract):
    request = profile_pb2.SetListenedTypesRequest(request_id="l", absence_types=["topup.received"])
    await profile.profile.SetListenedTypes(request)
    taken = ingest(
        event("e1", time=at(days=-2)), event("e2", time=at(days=-1)), traits("e3", plan="m", name="Anna")
    )
    await profile.profile.IngestEvents(taken)
    assert await entries(profile) == {"topup.received": 2, "profile.updated": 1}
    answer = await retract()
    assert (answer.type, answer.already, list(answer.standing_traits)) == ("topup.received", False, [])
    assert await entries(profile) == {"topup.received": 1, "profile.updated": 1}
    assert await retract() == answer
    assert (await retract(request_id="r2")).already
    again = await profile.profile.IngestEvents(ingest(event("e2", time=at(days=-1))))
    assert again.results[0].status == profile_pb2.INGEST_STATUS_DUPLICATE
    assert list((await retract(request_id="r3", id="e3")).standing_traits) == ["name", "plan"]
    database = Database(profile.settings.database_url, pool_size=1)
    try:
        async with database.transaction() as tx:
            rows = await tx.rows("SELECT event_id FROM event WHERE retracted_micros > 0 ORDER BY event_id")
            assert [row[0] for row in rows] == ["e2", "e3"]
            (last,) = await tx.rows("SELECT time_micros FROM last_time")
            assert last[0] == int(at(days=-2).timestamp()) * 1_000_000
            (audited,) = await tx.rows("SELECT count(*) FROM audit_entry WHERE action = 'event.retract'")
            assert audited[0] == 2
    finally:
        await database.close()
    await retract(request_id="r4", id="e1")
    assert await entries(profile) == {}


CANNOT = (
    ({"id": "e9"}, grpc.StatusCode.NOT_FOUND, "id"),
    ({"source": "other"}, grpc.StatusCode.NOT_FOUND, "id"),
    ({"subject": "crm:9"}, grpc.StatusCode.NOT_FOUND, "subject"),
    ({"id": "c1"}, grpc.StatusCode.INVALID_ARGUMENT, "a record that must be whole"),
    ({"source": ""}, grpc.StatusCode.INVALID_ARGUMENT, "source"),
)


async def test_what_cannot_be_taken_back_is_said(profile, retract):
    consent = {"purpose": "marketing", "state": "granted", "by": "person"}
    await profile.profile.IngestEvents(ingest(event("e2"), event("c1", "consent.changed", consent)))
    for number, (changes, status, field) in enumerate(CANNOT):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await retract(**changes, request_id=f"no-{number}")
        assert caught.value.code() is status, changes
        assert field in f"{caught.value.details()} {caught.value.trailing_metadata()}", changes
    assert (await entries(profile))["topup.received"] == 1

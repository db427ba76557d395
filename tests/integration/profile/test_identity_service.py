"""Numbers that change hands and persons who are two, as callers of the IdentityService see it."""

import grpc
import pytest
from rapport.profile.v1 import identity_pb2 as pb
from rapport.profile.v1 import profile_pb2
from rapport.profile.v1.identity_pb2_grpc import IdentityServiceStub

from tests.integration.profile.asking import NOON, at, event, ingest, stamp

NUMBER, OTHER = "msisdn:+33600000077", "msisdn:+33600000078"


async def test_a_number_is_assigned_released_and_split_off_once_per_request(profile):
    stub = IdentityServiceStub(profile.grpc_channel)
    clock = profile_pb2.AdvanceClockRequest(request_id="c", time=stamp(NOON))
    await profile.profile.AdvanceClock(clock)
    await profile.profile.IngestEvents(
        ingest(event("e1", subject=f"crm:1 {NUMBER} {OTHER}"), event("e2", subject="crm:2"))
    )

    async def whose(subject):
        request = profile_pb2.ResolveIdentityRequest(subject=subject)
        return await profile.profile.ResolveIdentity(request)

    one, two = (await whose("crm:1")).customer, (await whose("crm:2")).customer
    for wrong, field in (({"source": "web"}, "source"), ({"time": stamp(at(days=9))}, "time")):
        request = pb.AssignIdentityRequest(request_id=f"w-{field}", subject="crm:2", identity=NUMBER, **wrong)
        with pytest.raises(grpc.aio.AioRpcError, match=field) as refused:
            await stub.AssignIdentity(request)
        assert refused.value.code() in {
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.FAILED_PRECONDITION,
        }
    since = at(minutes=-10)
    assign = pb.AssignIdentityRequest(
        request_id="a1", subject="crm:2", identity=NUMBER, time=stamp(since), source="billing", line="9"
    )
    moved = await stub.AssignIdentity(assign)
    assert (moved.customer, moved.previous_customer, moved.line, moved.changed) == (two, one, "9", True)
    assert not moved.HasField("until_time")
    assert (await whose(NUMBER)).customer == two
    assert (await whose(NUMBER)).matched.line == "9"
    assert await stub.AssignIdentity(assign) == moved
    assign.request_id = "a2"
    assert not (await stub.AssignIdentity(assign)).changed
    assign.subject = "crm:1"
    with pytest.raises(grpc.aio.AioRpcError, match="request_id") as refused:
        await stub.AssignIdentity(assign)
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS

    release = pb.ReleaseIdentityRequest(
        request_id="r1", subject="crm:1", identity=NUMBER, time=stamp(at(minutes=-5)), source="billing"
    )
    assert not (await stub.ReleaseIdentity(release)).changed, "it is not theirs"
    release.request_id, release.subject = "r2", "crm:2"
    gone = await stub.ReleaseIdentity(release)
    assert (gone.customer, gone.changed) == (two, True)
    assert await stub.ReleaseIdentity(release) == gone
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await whose(NUMBER)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    split = pb.SplitCustomerRequest(request_id="s1", subject="crm:1", identities=[OTHER], reason="a son")
    done = await stub.SplitCustomer(split)
    assert (done.customer, (await whose(OTHER)).customer) == (one, done.new_customer)
    assert done.new_customer not in {one, two}
    assert await stub.SplitCustomer(split) == done
    with pytest.raises(grpc.aio.AioRpcError, match="identities"):
        await stub.SplitCustomer(pb.SplitCustomerRequest(request_id="s2", subject="crm:1"))
    history = await stub.ListIdentityHistory(pb.ListIdentityHistoryRequest(subject="crm:1"))
    kinds = [pb.IdentityHistoryKind.Name(one.kind)[22:] for one in history.entries]
    assert sorted(kinds) == ["LOST", "SPLIT"]

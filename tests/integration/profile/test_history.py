"""The past as it was: what a replay tells is what went out when the events were taken."""

from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from rapport.profile.v1 import (
    correction_pb2,
    correction_pb2_grpc,
    history_pb2,
    history_pb2_grpc,
    profile_pb2,
)
from rapport.types.v1 import stream_pb2

from services.profile.app.replaying import Share
from services.profile.app.take_events import ACCEPTED
from services.profile.domain.replaying import FOREVER, LeftOutReason, Wanted
from services.profile.main import MIGRATIONS
from tests.integration.profile.asking import ANNA, NOON, at, event, ingest, stamp
from tests.integration.profile.histories import (
    CATALOGUE,
    LISTENED,
    START,
    History,
    Life,
    differences,
    told,
)


@pytest.fixture
async def history(make_database) -> AsyncIterator[History]:
    made = History(make_database(MIGRATIONS))
    await made.listen()
    yield made
    await made.database.close()


def equal(sent, replayed) -> None:
    found = differences(sent, replayed)
    assert not found, f"{len(found)} differ:\n" + "\n".join(found[:3])


async def test_a_replay_tells_what_went_out_whole_or_in_parts(history):
    life = Life(history, seed=1, customers=12)
    known = []
    for number in range(12):
        await life.go_on(30)
        known.append((history.now, *await history.known(f"msisdn:+3361{number:07d}")))
    sent = await history.sent()
    assert len(sent) == 360
    assert sum(1 for _, snapshot in sent.values() if snapshot) > 150
    equal(sent, await history.replayed())

    # shares and what follows a position, put together
    things = {key for key in sent if not key[2]}
    parts = [await history.replayed(share=Share(shard, 3)) for shard in range(3)]
    assert sum(len(part.keys() - things) for part in parts) == len(sent.keys() - things)
    equal(sent, parts[0] | parts[1] | parts[2])
    half = await history.replayed(share=Share(sample=5_000))
    assert {key[2] for key in things} < {key[2] for key in half} < {key[2] for key in sent}
    middle = sorted({key[2] for key in sent})[5]
    rest = await history.replayed(share=Share(after=middle))
    assert {key[2] for key in rest} == {0} | {key[2] for key in sent if key[2] > middle}

    # only what happened in a span of time, as it was then
    since, until = START + (history.now - START) // 3, START + (history.now - START) // 2
    span = await history.replayed(since=since, until=until)
    assert 0 < len(span) < 300
    equal({key: one for key, one in sent.items() if since <= _time(one) < until}, span)

    # what was known at any time is what was told then
    then = await history.then(*((customer, moment) for moment, customer, _ in known))
    assert [(one.customer, one.snapshot) for one in then] == [one[1:] for one in known]
    nobody, unborn = await history.then((999, START), (known[0][1], START - 1))
    assert nobody.snapshot == unborn.snapshot == b""


def _time(told: tuple[bytes, bytes]) -> int:
    return stream_pb2.TakenEvent.FromString(told[0]).time_micros


async def test_who_was_two_is_replayed_as_two_and_then_as_one(history):
    life = Life(history, seed=2, customers=10)
    await life.go_on(200, merges=0.15)
    sent = await history.sent()
    assert sum(1 for key in sent if key[0] == "rapport.profile") >= 8
    equal(sent, await history.replayed())
    merged = next(key[2] for key in sorted(sent) if key[0] == "rapport.profile")
    before, after = await history.then((merged, START), (merged, history.now))
    assert before.customer == merged or after.customer != merged


async def test_households_are_replayed_as_they_were(history):
    life = Life(history, seed=5, customers=9, households=0.4)
    await life.go_on(200, merges=0.05)
    sent = await history.sent()
    homes = [stream_pb2.Snapshot.FromString(snapshot).household for _, snapshot in sent.values() if snapshot]
    assert len({home.members for home in homes}) > 2
    assert any(home.traits for home in homes)
    equal(sent, await history.replayed())


async def test_what_is_taken_beside_a_change_of_household_is_told_with_the_one_of_its_moment(history):
    one, other = "msisdn:+33610000001", "msisdn:+33610000002"

    async def take(*events):
        made = [history.event(who, kind, data) for who, kind, data in events]
        assert set(await history.take(*made)) == {ACCEPTED}
        return [event.id for event in made]

    used, home = ("usage.data_used", {"mb": 1}), ("household.changed", {"household": "h", "action": "join"})
    traits = {"plan": "s", "tenure_months": 3, "stage": "use"}
    await take((one, *home), (one, "profile.updated", {"traits": {"shared_data_mb": 5000}}))
    await take((other, "profile.updated", {"traits": traits}))
    before, _, after = await take((other, *used), (other, *home), (other, *used))
    # taken away and said again, a trait stands behind the others: what is written is read in another order
    await take((other, "profile.updated", {"traits": {"plan": None}}))
    await take((other, "profile.updated", {"traits": {"plan": "l"}}), (other, *used))
    sent = await history.sent()
    homes = {key[1]: stream_pb2.Snapshot.FromString(one[1]).household.members for key, one in sent.items()}
    assert (homes[before], homes[after]) == (0, 2)
    equal(sent, await history.replayed())


async def test_a_household_of_one_keeps_what_it_shares_when_its_member_is_merged_and_taken_apart(history):
    one, other = "msisdn:+33610000001", "msisdn:+33610000002"
    await history.one(one, "usage.data_used", mb=1)
    await history.one(other, "household.changed", household="h", action="join")
    await history.one(other, "profile.updated", traits={"shared_data_mb": 5000})
    (said,) = await shared(history, other)
    await history.merge(other, one)
    await history.one(one, "usage.data_used", mb=1)
    assert (said.name, await shared(history, one)) == ("shared_data_mb", [said])
    equal(await history.sent(), await history.replayed())
    await history.take_apart()
    assert await shared(history, other) == [said]
    assert await shared(history, one) == []


async def shared(history: History, subject: str):
    """What a customer's household shares now."""
    _, snapshot = await history.known(subject)
    return list(stream_pb2.Snapshot.FromString(snapshot).household.traits)


async def test_what_cannot_be_replayed_is_counted_and_named(history):
    said = {"purpose": "profiling_web", "state": "granted", "by": "person"}
    anna = await history.one(ANNA, "consent.changed", **said)
    for kind, data in (("web.page_viewed", {"topic": "a"}), ("case.opened", {"case": "c", "topic": "bill"})):
        await history.one(ANNA, kind, **data)
    await history.one(ANNA, "topup.received", amount={"amount": "7.00", "currency": "EUR"})
    wanted = Wanted(0, FOREVER, LISTENED | {"case.opened"})
    (page,) = await history.pages(wanted, Share())
    (past,) = page.pasts
    assert (past.customer, past.events, past.complete_since_micros) == (anna, 3, 0)
    (whole,) = await history.then((anna, history.now))
    assert (page.done, page.events_read, page.left_out) == (1, 4, {})

    # the catalogue lost one type, and another has other fields now
    events = {name: known for name, known in CATALOGUE.events.items() if name != "web.page_viewed"}
    known = events["case.opened"]
    events["case.opened"] = replace(known, fields={"case": known.fields["case"]})
    history.catalogue = replace(CATALOGUE, events=events)
    (page,) = await history.pages(wanted, Share())
    assert page.left_out == {
        ("web.page_viewed", LeftOutReason.UNKNOWN_TYPE): 1,
        ("case.opened", LeftOutReason.DOES_NOT_FIT): 1,
    }
    assert page.pasts[0].events == 2

    # the first event is kept no more: from the second on it is whole, and the ledger still has the consent
    async with history.database.transaction() as tx:
        await tx.execute("DELETE FROM event WHERE sequence = 1")
    (page,) = await history.pages(wanted, Share())
    assert (page.pasts[0].events, page.pasts[0].complete_since_micros) == (1, history.now - 2)
    (then,) = await history.then((anna, history.now))
    before, after = (stream_pb2.Snapshot.FromString(one.snapshot) for one in (whole, then))
    assert before.consents == after.consents
    assert len(after.consents) == 1


def replay(**changes) -> history_pb2.ReplayHistoryRequest:
    given = {"since": stamp(at(days=-9)), "types": ["topup.received"]}
    return history_pb2.ReplayHistoryRequest(**(given | changes))


async def told_by(stub, **changes) -> list[history_pb2.ReplayHistoryResponse]:
    return [one async for one in stub.ReplayHistory(replay(**changes))]


async def test_the_service_tells_a_header_pages_and_that_it_is_over(profile):
    stub = history_pb2_grpc.HistoryServiceStub(profile.grpc_channel)
    correct = correction_pb2_grpc.CorrectionServiceStub(profile.grpc_channel)
    await profile.profile.IngestEvents(ingest(event("e1", time=at(days=-3)), event("e2", time=at(days=-2))))
    await profile.profile.IngestEvents(ingest(event("o1", subject="crm:2", time=at(days=-2))))
    await profile.profile.AdvanceClock(profile_pb2.AdvanceClockRequest(request_id="c1", time=stamp(NOON)))
    await correct.RetractEvent(
        correction_pb2.RetractEventRequest(request_id="r1", subject=ANNA, source="test", id="e1")
    )
    await profile.profile.IngestEvents(ingest(event("e3", time=at(days=-1))))
    header, page, end = await told_by(stub)
    assert header.header.customers == 2
    assert header.header.HasField("kept_since")
    assert (page.customers_done, page.events_read, end.last) == (2, 4, True)
    (left,) = page.left_out
    assert (left.type, left.reason, left.events) == (
        "topup.received",
        history_pb2.LEFT_OUT_REASON_RETRACTED,
        1,
    )
    found = told([one.batch for one in page.customers])
    assert sorted(key[1] for key in found) == ["e2", "e3", "o1"]
    counted = {
        key[1]: len(stream_pb2.Snapshot.FromString(snapshot).activity[0].sequence_deltas)
        for key, (_, snapshot) in found.items()
    }
    assert counted == {"e2": 2, "e3": 2, "o1": 1}  # with e3 the one taken back is gone
    anna = page.customers[0].customer

    # one customer alone
    header, one, _ = await told_by(stub, customers=[anna])
    assert (header.header.customers, {part.customer for part in one.customers}) == (1, {anna})
    assert page.position >= str(anna)
    header, nothing, _ = await told_by(stub, until=stamp(at(days=-8)), customers=[anna, 999])
    assert (header.header.customers, len(nothing.customers)) == (1, 0)
    asked = history_pb2.ListPastSnapshotsRequest(
        moments=[history_pb2.PastMoment(customer=anna, time=stamp(NOON))]
    )
    (then,) = (await stub.ListPastSnapshots(asked)).snapshots
    assert stream_pb2.Snapshot.FromString(then.snapshot).customer == anna


REFUSED = (
    ({"since": None}, "since"),
    ({"until": stamp(at(days=-9))}, "until"),
    ({"types": []}, "types"),
    ({"shards": 5000}, "shards"),
    ({"shard": 2, "shards": 2}, "shard"),
    ({"sample": 10_001}, "sample"),
    ({"position": "behind"}, "position"),
    ({"customers": [1], "shards": 2}, "customers"),
    ({"customers": range(1, 1002)}, "customers"),
    ({"customers": [4, 0]}, "customers[1]"),
)


async def test_a_request_that_cannot_be_meant_is_refused_by_its_field(profile):
    stub = history_pb2_grpc.HistoryServiceStub(profile.grpc_channel)
    moments = history_pb2.PastMoment
    asked = [
        *((told_by(stub, **changes), field) for changes, field in REFUSED),
        (stub.ListPastSnapshots(history_pb2.ListPastSnapshotsRequest()), "moments"),
        (
            stub.ListPastSnapshots(history_pb2.ListPastSnapshotsRequest(moments=[moments(time=stamp(NOON))])),
            "moments[0].customer",
        ),
        (
            stub.ListPastSnapshots(history_pb2.ListPastSnapshotsRequest(moments=[moments(customer=1)])),
            "moments[0].time",
        ),
    ]
    for call, field in asked:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert f'"{field}"' in str(refused.value.trailing_metadata()) or field in str(refused.value), field

"""A person's history in one order, whom it is told to, and what changes about a person as it changes."""

import asyncio
import json

import grpc
import orjson
import pytest
from rapport.operations.v1 import readers_pb2
from rapport.profile.v1 import (
    correction_pb2,
    correction_pb2_grpc,
    profile_pb2,
    profile_pb2_grpc,
    timeline_pb2,
)

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.take_events import EventTaker
from services.profile.domain.events import EventChecker, RawEvent
from services.runtime.client import connect
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue
from tests.fakes.keys import sealer
from tests.fakes.trust import trust
from tests.integration.profile.asking import ANNA, NOON, at, event, ingest, stamp, traits
from tests.integration.profile.conftest import RULES, running_profile
from tests.integration.profile.test_consents import change, record
from tests.integration.profile.test_ingest import known

SAID = {"action": "a", "rule_set": "offers", "rule": "r", "name": "quota-50", "channel": "sms"}
CATALOGUE = load_catalogue(RULES)
KIND = timeline_pb2.TimelineKind


async def said(profile, customer: int, *own: tuple[str, dict, float]) -> None:
    """Events of our own, as a worker takes them: type, fields, hours after noon."""
    database = Database(profile.settings.database_url, pool_size=1)
    types = Types(CATALOGUE, sealer())
    packer = SnapshotPacker(types)
    store = PostgresStore(database, Outbox(database, partitions=4), types, partitions=4)
    checker = EventChecker(CATALOGUE, orjson.loads, orjson.dumps, wall=False)
    micros = int(NOON.timestamp()) * 1_000_000
    events = [
        checker.check_own(
            RawEvent(f"own-{place}-{kind}", "rapport.channel", kind, micros + int(hours * 3.6e9), "",
                     orjson.dumps(fields)),
            customer, micros, hops=1, line="",
        )
        for place, (kind, fields, hours) in enumerate(own)
    ]  # fmt: skip
    async with store.work() as work:
        await EventTaker(CATALOGUE, packer).take(work, events, micros)
    await database.close()


async def history(profile, **asked) -> list[timeline_pb2.TimelineEntry]:
    request = timeline_pb2.ListTimelineRequest(subject=ANNA, **asked)
    return list((await profile.timeline.ListTimeline(request)).entries)


async def test_a_history_has_everything_once_in_one_order_page_by_page(profile):
    await profile.profile.IngestEvents(
        ingest(
            *(event(f"e{n}", "roaming.entered", {"country": "ES"}, time=at(hours=-n)) for n in range(1, 6))
        )
    )
    customer = (await known(profile)).customer
    await record(profile, "r1", change("GRANTED", time=at(hours=-2.5), evidence="form 7"))
    await said(
        profile,
        customer,
        ("action.planned", SAID, -0.5),
        ("action.refused", SAID | {"reason": "CAPPED"}, -0.25),
        ("action.due", {"action": "a", "decision": "d"}, -0.125),
    )
    whole = await history(profile)
    assert [(KIND.Name(one.kind).removeprefix("TIMELINE_KIND_"), one.type) for one in whole] == [
        ("INTERNAL", "action.due"),
        ("REFUSAL", "action.refused"),
        ("MESSAGE", "action.planned"),
        ("EVENT", "roaming.entered"),
        ("EVENT", "roaming.entered"),
        ("CONSENT", "consent.changed"),
        ("EVENT", "roaming.entered"),
        ("EVENT", "roaming.entered"),
        ("EVENT", "roaming.entered"),
    ]
    assert [one.text for one in whole[1:3]] == ["quota-50 by sms not said: CAPPED", "quota-50 by sms planned"]
    assert json.loads(whole[5].data)["evidence"] == "form 7"
    assert await history(profile, oldest_first=True) == whole[::-1]
    # page by page, while something late comes in behind the reader's back
    paged: list[timeline_pb2.TimelineEntry] = []
    token = ""
    while True:
        request = timeline_pb2.ListTimelineRequest(subject=ANNA, page_size=2, page_token=token)
        page = await profile.timeline.ListTimeline(request)
        paged += page.entries
        await profile.profile.IngestEvents(ingest(event(f"late-{len(paged)}", time=at(hours=1))))
        token = page.next_page_token
        if not token:
            break
    assert paged == whole
    # from any entry on, either way; and only some of it
    assert await history(profile, page_token=whole[4].cursor) == whole[5:]
    back = await history(profile, page_token=whole[4].cursor, oldest_first=True, until_time=stamp(at()))
    assert back == whole[3::-1]
    some = await history(profile, kinds=[KIND.TIMELINE_KIND_CONSENT, KIND.TIMELINE_KIND_REFUSAL])
    assert [one.type for one in some] == ["action.refused", "consent.changed"]
    assert (
        await history(profile, from_time=stamp(at(hours=-4)), until_time=stamp(at(hours=-2.5))) == whole[6:8]
    )


async def test_a_person_reads_it_without_our_words_and_nobody_what_is_withheld(profile):
    await profile.profile.IngestEvents(ingest(event("u1", "usage.data_used", {"mb": 5}, time=at(hours=-9))))
    customer = (await known(profile)).customer
    await said(
        profile,
        customer,
        ("action.refused", SAID | {"reason": "CAPPED", "category": "sales"}, -2),
        ("action.refused", SAID | {"reason": "HOLDOUT"}, -1),
        ("action.due", {"action": "a", "decision": "d"}, -0.5),
    )
    mine = await history(profile, for_person=True)
    assert [one.text for one in mine] == [
        "We did not send you a message by sms",
        "We did not send you a message by sms because you had heard enough from us",
        "Usage data used",
    ]
    told = b"".join(one.SerializeToString() for one in mine)
    assert not any(word in told for word in (b"offers", b"quota-50", b"HOLDOUT", b"own-0"))
    assert json.loads(mine[2].data) == {"mb": 5}
    await record(profile, "r1", change("OBJECTED", purpose="PROFILING_USAGE"))
    for asked in ({"for_person": True}, {}):
        (usage,) = await history(profile, kinds=[KIND.TIMELINE_KIND_EVENT], **asked)
        assert (usage.withheld, usage.data) == (True, b"")


async def test_what_was_taken_back_is_marked_for_staff_and_gone_for_the_person(profile):
    await profile.profile.IngestEvents(ingest(event("e1"), event("e2", time=at(hours=-1))))
    request = correction_pb2.RetractEventRequest(request_id="r", subject=ANNA, source="test", id="e1")
    await correction_pb2_grpc.CorrectionServiceStub(profile.grpc_channel).RetractEvent(request)
    marked = {one.event_id: one.HasField("retracted_time") for one in await history(profile)}
    assert marked == {"e1": True, "e2": False}
    (left,) = await history(profile, for_person=True)
    assert left.time == stamp(at(hours=-1))


async def test_what_is_asked_wrongly_is_named(profile):
    wrong = [
        ({"page_size": -1}, "page_size"),
        ({"page_token": "1:2"}, "page_token"),
        ({"page_token": "1:2:3:-4"}, "page_token"),
        ({"kinds": [0]}, "kinds"),
        ({"subject": "phone:1"}, "subject"),
    ]
    for asked, field in wrong:
        request = timeline_pb2.ListTimelineRequest(**({"subject": ANNA} | asked))
        with pytest.raises(grpc.aio.AioRpcError, match=f"{field}:") as caught:
            await profile.timeline.ListTimeline(request)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def watching(stream_of, *cursors: str, subject: str = ANNA):
    watched = [timeline_pb2.WatchedSubject(subject=subject, cursor=cursor) for cursor in cursors or ("",)]
    return stream_of.WatchProfile(timeline_pb2.WatchProfileRequest(watched=watched))


async def following(stream) -> timeline_pb2.WatchProfileResponse:
    async with asyncio.timeout(5):
        return await stream.read()


async def test_a_watched_profile_is_told_first_and_then_each_change_also_after_a_restart(profile_settings):
    settings = profile_settings()
    async with running_profile(settings) as profile:
        unknown = watching(profile.timeline, subject="crm:nobody")
        first = await following(unknown)
        assert not first.HasField("profile")
        unknown.cancel()
        await profile.profile.IngestEvents(ingest(traits("t1", plan="S")))
        stream = watching(profile.timeline)
        first = await following(stream)
        assert (first.profile.traits[0].value.text, list(first.changed)) == ("S", [])
        await profile.profile.IngestEvents(ingest(traits("t2", plan="M", time=at(hours=1))))
        seen = await following(stream)
        assert seen.profile.traits[0].value.text == "M"
        assert seen.changed == [timeline_pb2.PROFILE_PART_TRAITS, timeline_pb2.PROFILE_PART_ACTIVITY]
        await record(profile, "r1", change("GRANTED"))
        seen = await following(stream)
        assert timeline_pb2.PROFILE_PART_CONSENTS in seen.changed
        assert timeline_pb2.PROFILE_PART_TRAITS not in seen.changed
    async with running_profile(settings) as profile:
        # nothing happened since: the first answer is the next change
        stream = watching(profile.timeline, seen.cursor)
        await profile.profile.IngestEvents(ingest(traits("t3", plan="L", time=at(hours=2))))
        again = await following(stream)
        while not again.changed or again.profile.traits[0].value.text != "L":
            again = await following(stream)
        assert timeline_pb2.PROFILE_PART_CONSENTS not in again.changed
        stream.cancel()
        # with the cursor from before that, what changed meanwhile is told at once
        missed = await following(watching(profile.timeline, seen.cursor))
        assert timeline_pb2.PROFILE_PART_TRAITS in missed.changed
        stream = watching(profile.timeline, "no cursor")
        with pytest.raises(grpc.aio.AioRpcError, match=r"watched\[0\].cursor"):
            await following(stream)
        with pytest.raises(grpc.aio.AioRpcError, match="watch 1 to 100"):
            await profile.timeline.WatchProfile(timeline_pb2.WatchProfileRequest()).read()


async def test_who_read_whom_is_on_record_unless_a_service_of_ours_did(profile):
    await profile.profile.IngestEvents(ingest(event("e1"), event("e2", subject="crm:2")))
    customer = (await known(profile)).customer  # GetProfile
    request = profile_pb2.BatchGetSnapshotsRequest(subjects=[ANNA, "crm:2", "crm:nobody"])
    await profile.profile.BatchGetSnapshots(request, metadata=[("rapport-reason", "case 4711")])
    await history(profile)
    await following(watching(profile.timeline))
    ours = trust().certificate("decision")
    async with connect(profile.address, ours) as channel:
        await profile_pb2_grpc.ProfileServiceStub(channel).BatchGetSnapshots(request)
    asked = readers_pb2.ListReadersRequest(customers=[customer], page_size=3)
    first = await profile.readers.ListReaders(asked)
    asked.page_token = first.next_page_token
    second = await profile.readers.ListReaders(asked)
    found = [(one.method.rpartition("/")[2], one.reason) for one in (*first.entries, *second.entries)]
    assert found == [
        ("WatchProfile", ""),
        ("ListTimeline", ""),
        ("BatchGetSnapshots", "case 4711"),
        ("GetProfile", ""),
    ]
    assert {(one.caller, one.customer) for one in first.entries} == {("rapport-local#tester", customer)}
    assert second.next_page_token == ""
    with pytest.raises(grpc.aio.AioRpcError, match="rapport-reason"):
        await profile.profile.BatchGetSnapshots(request, metadata=[("rapport-reason", "x" * 101)])
    with pytest.raises(grpc.aio.AioRpcError, match="101 customers are too many"):
        await profile.readers.ListReaders(readers_pb2.ListReadersRequest(customers=range(1, 102)))

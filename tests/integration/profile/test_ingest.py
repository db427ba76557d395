"""Events in, over gRPC: accepted, duplicate, rejected; what is then known; what is handed on."""

import asyncio

import grpc
import pytest
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import event_pb2, stream_pb2, vocabulary_pb2

from services.runtime.database import Database
from tests.integration.profile.asking import ANNA, NOON, at, event, ingest, stamp, traits
from tests.integration.profile.conftest import running_profile

ACCEPTED = profile_pb2.INGEST_STATUS_ACCEPTED
DUPLICATE = profile_pb2.INGEST_STATUS_DUPLICATE
REJECTED = profile_pb2.INGEST_STATUS_REJECTED


async def handed_on(settings) -> list[tuple[int, stream_pb2.EventBatch]]:
    """What lies in the outbox, in order."""
    database = Database(settings.database_url, pool_size=1)
    try:
        async with database.transaction() as tx:
            rows = await tx.rows("SELECT partition, payload FROM outbox WHERE stream = 'EVENTS' ORDER BY id")
    finally:
        await database.close()
    return [(partition, stream_pb2.EventBatch.FromString(payload)) for partition, payload in rows]


async def known(profile, subject: str = ANNA) -> profile_pb2.Profile:
    answer = await profile.profile.GetProfile(profile_pb2.GetProfileRequest(subject=subject))
    return answer.profile


async def listen(profile, *types: str, request_id: str = "listen") -> int:
    request = profile_pb2.SetListenedTypesRequest(request_id=request_id, types=types)
    return (await profile.profile.SetListenedTypes(request)).version


async def test_each_event_is_answered_by_itself(profile):
    answer = await profile.profile.IngestEvents(
        ingest(event("e1"), event("e2", "no.such_type"), event("e1"), event("e3", data={}))
    )
    assert [result.status for result in answer.results] == [ACCEPTED, REJECTED, DUPLICATE, REJECTED]
    assert [result.index for result in answer.results] == [0, 1, 2, 3]
    assert answer.results[1].reason == profile_pb2.REJECTION_REASON_UNKNOWN_TYPE
    assert answer.results[1].field == "type"
    assert answer.results[3].reason == profile_pb2.REJECTION_REASON_MISSING_FIELD
    assert answer.results[3].field == "data.amount"
    again = await profile.profile.IngestEvents(ingest(event("e1", data={"amount": None})))
    assert again.results[0].status == REJECTED
    again = await profile.profile.IngestEvents(ingest(event("e1")))
    assert again.results[0].status == DUPLICATE


async def test_an_event_of_an_unknown_identity_creates_a_customer_who_is_then_known(profile):
    await profile.profile.IngestEvents(
        ingest(event("e1", subject=f"crm:7 {ANNA}"), traits("e2", plan="m-20gb"))
    )
    found = await known(profile)
    assert {(item.kind, item.value) for item in found.identities} == {
        ("crm", "7"),
        ("msisdn", "+33600000001"),
    }
    assert {trait.name: trait.value.text for trait in found.traits} == {"plan": "m-20gb"}
    assert {item.type: item.entries for item in found.activity} == {"topup.received": 1, "profile.updated": 1}
    assert found.sequence == 2
    by_crm = await known(profile, "crm:7")
    assert by_crm.customer == found.customer
    by_id = await known(profile, f"customer:{found.customer}")
    assert by_id == by_crm


async def test_a_trait_said_earlier_does_not_overwrite_what_was_said_later(profile):
    await profile.profile.IngestEvents(
        ingest(traits("e1", plan="new"), traits("e2", plan="old", time=at(days=-3)))
    )
    found = await known(profile)
    assert [trait.value.text for trait in found.traits] == ["new"]
    assert found.traits[0].source == "test"


async def test_identities_that_meet_are_one_customer_and_a_conflict_is_recorded_not_merged(profile):
    await profile.profile.IngestEvents(
        ingest(event("e1", subject="crm:1"), event("e2", subject="email:b@example.org"))
    )
    await profile.profile.IngestEvents(ingest(event("e3", subject="crm:1 cookie:c")))
    assert (await known(profile, "cookie:c")).customer == (await known(profile, "crm:1")).customer
    answer = await profile.profile.ResolveIdentity(
        profile_pb2.ResolveIdentityRequest(subject="email:B@example.org crm:1")
    )
    assert answer.conflict
    assert answer.matched.kind == "crm"
    before = (await known(profile, "email:b@example.org")).customer
    await profile.profile.IngestEvents(ingest(event("e4", subject="crm:1 email:b@example.org")))
    assert (await known(profile, "email:b@example.org")).customer == before
    assert (await known(profile, "crm:1")).sequence == 3


async def test_many_identities_are_resolved_at_once_and_nothing_else_is_told(profile):
    await profile.profile.IngestEvents(
        ingest(
            event("e1", subject="crm:1 msisdn:+33612345678"),
            event("e2", subject="crm:1 msisdn:+33612345679"),
            event("e3", subject="crm:2"),
        )
    )
    one, two = [(await known(profile, subject)).customer for subject in ("crm:1", "crm:2")]
    subjects = ["msisdn:+33612345678", "msisdn:+33612345679", "msisdn:+33600000000", "msisdn:36111", "crm:2"]
    subjects += [f"customer:{two}", "customer:999999", "cell:FR-1"]
    answer = await profile.profile.BatchResolveIdentities(
        profile_pb2.BatchResolveIdentitiesRequest(subjects=subjects)
    )
    found = [(result.customer, result.line) for result in answer.results]
    assert found == [(one, ""), (one, "2"), (0, ""), (0, ""), (two, ""), (two, ""), (0, ""), (0, "")]


async def test_a_source_that_creates_no_customers_is_refused_until_the_identity_is_known(profile):
    mention = {"network": "x", "text": "hello"}
    one = event("s1", "social.mentioned", mention, subject="social:anna", source="social-listening")
    answer = await profile.profile.IngestEvents(ingest(one))
    assert answer.results[0].reason == profile_pb2.REJECTION_REASON_UNKNOWN_SUBJECT
    await profile.profile.IngestEvents(ingest(event("e1", subject="crm:1 social:anna")))
    answer = await profile.profile.IngestEvents(ingest(one))
    assert answer.results[0].status == ACCEPTED


async def test_listened_types_travel_with_a_snapshot_of_their_moment(profile):
    assert await listen(profile, "topup.received") == 1
    await profile.profile.IngestEvents(
        ingest(
            traits("e1", plan="a"),
            event("e2"),
            event("e3"),
            traits("e4", plan="b"),
            event("e5"),
            event("e6", "case.closed", {"case": "c", "topic": "t"}),
        )
    )
    (row,) = await handed_on(profile.settings)
    partition, batch = row
    assert partition == batch.events[0].customer % 4
    assert [item.snapshot for item in batch.events] == [0, 1, 1, 0, 2, 0]
    assert [item.sequence for item in batch.events] == [1, 2, 3, 4, 5, 6]
    first, second = (stream_pb2.Snapshot.FromString(packed) for packed in batch.snapshots)
    assert [trait.value.text for trait in first.traits] == ["a"]
    assert [trait.value.text for trait in second.traits] == ["b"]
    assert first.sequence == 3
    assert list(first.identity_kinds) == ["msisdn"]
    topups = next(item for item in first.activity if item.type == "topup.received")
    assert list(topups.sequence_deltas) == [2, 1]
    assert list(topups.columns[0].numbers) == [10.0, 10.0]


async def test_history_fills_the_profile_and_carries_no_snapshot(profile):
    await listen(profile, "topup.received")
    await profile.profile.IngestEvents(ingest(event("e1"), history=True))
    ((_, batch),) = await handed_on(profile.settings)
    assert batch.events[0].history
    assert batch.events[0].snapshot == 0
    assert (await known(profile)).activity[0].entries == 1


async def test_a_trait_with_an_end_is_gone_for_events_after_it(profile):
    await listen(profile, "topup.received")
    await profile.profile.IngestEvents(
        ingest(
            traits("e1", until="2026-11-03T12:00:00Z", upset=True),
            event("e2", time=at(hours=1)),
            event("e3", time=at(days=2)),
        )
    )
    ((_, batch),) = await handed_on(profile.settings)
    assert [item.snapshot for item in batch.events] == [0, 1, 2]
    before, after = (stream_pb2.Snapshot.FromString(packed) for packed in batch.snapshots)
    assert [trait.name for trait in before.traits] == ["upset"]
    assert not after.traits


async def test_an_outage_is_joined_to_the_event_and_to_the_customers_last_cell(profile):
    await listen(profile, "network.call_dropped", "topup.received")
    agreed = {"purpose": "profiling_location", "state": "granted", "by": "person"}
    started = {"cell": "FR-1", "incident": "INC7", "eta": "2026-11-02T18:00:00Z"}
    ended = {"cell": "FR-1", "incident": "INC7"}
    await profile.profile.IngestEvents(
        ingest(
            event("e0", "consent.changed", agreed),
            event("o1", "network.outage_started", started, subject="cell:FR-1"),
            event("e1", "network.call_dropped", {"cell": "FR-1"}),
            event("o2", "network.outage_ended", ended, subject="cell:FR-1", time=at(hours=2)),
            event("e2", time=at(hours=3)),
        )
    )
    rows = await handed_on(profile.settings)
    of_customer = next(batch for _, batch in rows if batch.snapshots)
    dropped, topup = (item for item in of_customer.events if item.snapshot)
    assert dropped.things[0].attributes["incident"].text == "INC7"
    snapshots = [stream_pb2.Snapshot.FromString(packed) for packed in of_customer.snapshots]
    assert snapshots[dropped.snapshot - 1].things[0].attributes["incident"].text == "INC7"
    assert snapshots[topup.snapshot - 1].things[0].key == "FR-1"
    assert "incident" not in snapshots[topup.snapshot - 1].things[0].attributes
    of_thing = [item for _, batch in rows for item in batch.events if not item.customer]
    assert [item.thing for item in of_thing] == ["cell:FR-1", "cell:FR-1"]


async def test_what_the_customer_did_not_agree_to_have_used_is_marked(profile):
    await listen(profile, "usage.data_used")
    objected = {"purpose": "profiling_usage", "state": "objected", "by": "person"}
    await profile.profile.IngestEvents(
        ingest(
            traits("e1", home_area="north", better_plan="l", plan="m"),
            event("e2", "usage.data_used", {"mb": 5}),
            event("e3", "consent.changed", objected),
            event("e4", "usage.data_used", {"mb": 6}),
        )
    )
    ((_, batch),) = await handed_on(profile.settings)
    before, after = (stream_pb2.Snapshot.FromString(packed) for packed in batch.snapshots)

    def withheld(snapshot):
        return {trait.name for trait in snapshot.traits if trait.withheld}

    assert withheld(before) == {"home_area"}
    assert withheld(after) == {"home_area", "better_plan"}
    assert not any(trait.HasField("value") for trait in after.traits if trait.withheld)
    assert vocabulary_pb2.PURPOSE_PROFILING_USAGE in after.withheld_purposes
    usage = next(item for item in after.activity if item.type == "usage.data_used")
    assert usage.withheld
    assert not usage.time_delta_micros


@pytest.mark.parametrize(
    ("wrong", "reason", "field", "said"),
    [
        (event("x", "topup.recieved"), "UNKNOWN_TYPE", "type", "topup.received"),
        (event("x", data={}), "MISSING_FIELD", "data.amount", "money"),
        (event("x", data={"amount": "10"}), "INVALID_FIELD", "data.amount", "currency"),
        (event("x", data={"amount": 1, "colour": 1}), "INVALID_FIELD", "data.amount", "currency"),
        (event("x", "usage.data_used", {"mb": 1, "mbb": 1}), "UNKNOWN_FIELD", "data.mbb", "mb"),
        (event("x", subject="passport:7"), "INVALID_SUBJECT", "subject", "msisdn"),
        (event("x", subject="msisdn:0612"), "INVALID_SUBJECT", "subject", "+33612345678"),
        (event("x", subject="cell:FR-1"), "INVALID_SUBJECT", "subject", "identity"),
        (
            event("x", "network.outage_started", {"cell": "c", "incident": "i"}),
            "INVALID_SUBJECT",
            "subject",
            "cell:",
        ),
        (traits("x", zone="Europe/Pariss"), "INVALID_FIELD", "data.traits.zone", "Europe/Paris"),
        (traits("x", plam="m"), "UNKNOWN_FIELD", "data.traits.plam", "plan"),
        (event("x", data=b"[]"), "MALFORMED", "data", "object"),
        (event("x", data=b"{"), "MALFORMED", "data", "JSON"),
        (event("x", data=b'{"amount": "' + b"9" * 70_000 + b'"}'), "TOO_LARGE", "data", "64000"),
        (event("x", time=None), "MISSING_FIELD", "time", "2026"),
        (event(""), "MISSING_FIELD", "id", "id"),
        (event("x", "action.sent", {}), "UNKNOWN_TYPE", "type", "Rapport"),
    ],
)
async def test_what_is_wrong_is_said_with_its_field_and_what_would_be_right(
    profile, wrong, reason, field, said
):
    (result,) = (await profile.profile.IngestEvents(ingest(wrong))).results
    assert result.status == REJECTED
    assert profile_pb2.RejectionReason.Name(result.reason) == f"REJECTION_REASON_{reason}"
    assert result.field == field
    assert said in result.message


async def test_on_the_wall_clock_the_future_and_the_distant_past_are_refused(profile_settings):
    async with running_profile(profile_settings(clock="wall")) as profile:
        answer = await profile.profile.IngestEvents(
            ingest(event("e1", time=at(days=36_500)), event("e2", time=at(days=-5_000)))
        )
        assert [result.reason for result in answer.results] == [
            profile_pb2.REJECTION_REASON_FUTURE,
            profile_pb2.REJECTION_REASON_TOO_OLD,
        ]
        assert "5 minutes" in answer.results[0].message
        assert "25 months" in answer.results[1].message


async def test_a_batch_over_the_limit_is_refused_and_the_limit_stated(profile):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await profile.profile.IngestEvents(ingest(*(event_pb2.Event() for _ in range(100_000))))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "1000" in caught.value.details()


async def test_a_payload_of_5_megabytes_is_refused_and_the_server_goes_on(profile):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await profile.profile.IngestEvents(ingest(event("e1", data=b"x" * 5_000_000)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "4194304" in caught.value.details()
    answer = await profile.profile.IngestEvents(ingest(event("e1")))
    assert answer.results[0].status == ACCEPTED


async def test_concurrent_callers_with_the_same_events_get_them_accepted_once(profile):
    async def send(number: int):
        events = [event(f"e{n}", subject=f"msisdn:+336000000{n % 7:02d}") for n in range(number, number + 50)]
        return await profile.profile.IngestEvents(ingest(*events))

    answers = await asyncio.gather(*(send(number) for number in (0, 10, 20, 0, 10, 20)))
    statuses = [result.status for answer in answers for result in answer.results]
    assert statuses.count(ACCEPTED) == 70
    assert statuses.count(DUPLICATE) == 230
    rows = await handed_on(profile.settings)
    assert sum(len(batch.events) for _, batch in rows) == 70
    by_customer: dict[int, list[int]] = {}
    for _, batch in rows:
        for item in batch.events:
            by_customer.setdefault(item.customer, []).append(item.sequence)
    assert len(by_customer) == 7
    assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in by_customer.values())


async def test_a_stream_acknowledges_by_sequence_and_goes_on_where_it_stood(profile):
    def batch(first: int, *events: event_pb2.Event) -> profile_pb2.StreamEventsRequest:
        return profile_pb2.StreamEventsRequest(
            batch=profile_pb2.StreamBatch(first_sequence=first, events=events)
        )

    opening = profile_pb2.StreamEventsRequest(open=profile_pb2.OpenStream(stream_id="file-1"))
    call = profile.profile.StreamEvents()
    await call.write(opening)
    assert (await call.read()).acknowledged_sequence == 0
    await call.write(batch(1, event("e1"), event("e2", "no.such_type"), event("e1")))
    answer = await call.read()
    assert answer.acknowledged_sequence == 3
    assert answer.accepted == 1
    assert [(item.index, item.status) for item in answer.exceptions] == [(1, REJECTED), (2, DUPLICATE)]
    await call.write(batch(9, event("e9")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "go on at 4" in caught.value.details()

    again = profile.profile.StreamEvents()
    await again.write(opening)
    assert (await again.read()).acknowledged_sequence == 3
    await again.write(batch(3, event("e1"), event("e4")))
    answer = await again.read()
    assert answer.acknowledged_sequence == 4
    assert answer.accepted == 1
    await again.done_writing()


async def test_listened_types_hold_for_every_transaction_after_the_answer_on_other_replicas_too(
    profile_settings,
):
    settings = profile_settings()
    async with running_profile(settings) as one, running_profile(settings) as other:
        for turn, types in enumerate((["topup.received"], [], ["topup.received"])):
            await listen(one, *types, request_id=f"r{turn}")
            await other.profile.IngestEvents(ingest(event(f"e{turn}")))
        rows = await handed_on(settings)
    assert [bool(batch.snapshots) for _, batch in rows] == [True, False, True]


async def test_only_types_of_the_catalogue_can_be_listened_to_and_a_request_id_has_one_answer(profile):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await listen(profile, "no.such_type")
    assert "types[0]" in caught.value.details()
    assert await listen(profile, "topup.received", request_id="a") == 1
    assert await listen(profile, "topup.received", request_id="a") == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await listen(profile, "bill.issued", request_id="a")
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS


async def test_the_clock_moves_on_and_never_back(profile_settings):
    settings = profile_settings()

    def advance(request_id: str, moment) -> profile_pb2.AdvanceClockRequest:
        return profile_pb2.AdvanceClockRequest(request_id=request_id, time=stamp(moment))

    async with running_profile(settings) as profile:
        answer = await profile.profile.AdvanceClock(advance("a", NOON))
        assert answer.business_time == stamp(NOON)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await profile.profile.AdvanceClock(advance("b", at(hours=-1)))
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    async with running_profile(settings) as profile:
        snapshots = await profile.profile.BatchGetSnapshots(
            profile_pb2.BatchGetSnapshotsRequest(subjects=["crm:none"])
        )
        assert snapshots.business_time == stamp(NOON)
        assert snapshots.results[0].error == "unknown subject"


async def test_the_walls_clock_is_not_fed(profile_settings):
    async with running_profile(profile_settings(clock="wall")) as profile:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await profile.profile.AdvanceClock(
                profile_pb2.AdvanceClockRequest(request_id="a", time=stamp(NOON))
            )
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "RAPPORT_CLOCK=events" in caught.value.details()


async def test_whom_to_believe_is_told_by_the_catalogue_and_what_the_others_say_is_shown(profile):
    """Sources.yaml: billing before crm about the plan, for 62 days."""

    def plan(number: str, value: str, source: str, days: float) -> event_pb2.Event:
        data = {"traits": {"plan": value}}
        return event(number, "profile.updated", data, source=source, time=at(days=days))

    await profile.profile.IngestEvents(
        ingest(plan("e1", "l", "billing", -70), plan("e2", "s", "crm", -1), plan("e3", "m", "crm", -2))
    )
    # the clock was never fed: nothing is stale
    found = await known(profile)
    assert [(trait.value.text, trait.source) for trait in found.traits] == [("l", "billing")]
    assert [(word.name, word.value.text, word.source) for word in found.other_words] == [("plan", "s", "crm")]
    request = profile_pb2.AdvanceClockRequest(request_id="on", time=stamp(NOON))
    await profile.profile.AdvanceClock(request)
    found = await known(profile)
    assert [(trait.value.text, trait.source) for trait in found.traits] == [("s", "crm")]
    assert [(word.value.text, word.source) for word in found.other_words] == [("l", "billing")]

"""Consents and contact over gRPC: the ledger, what is in force, and what a sender is told."""

import grpc
import pytest
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import stream_pb2
from rapport.types.v1 import vocabulary_pb2 as words

from services.runtime.database import Database
from tests.integration.profile.asking import ANNA, NOON, at, event, ingest, stamp, traits
from tests.integration.profile.test_ingest import REJECTED, handed_on, known, listen


def change(
    state: str,
    *,
    by: str = "PERSON",
    purpose: str = "MARKETING",
    channel: str = "UNSPECIFIED",
    time=NOON,
    **more,
):
    return profile_pb2.ConsentChange(
        purpose=words.Purpose.Value(f"PURPOSE_{purpose}"),
        channel=words.Channel.Value(f"CHANNEL_{channel}"),
        state=words.ConsentState.Value(f"CONSENT_STATE_{state}"),
        by=words.ConsentBy.Value(f"CONSENT_BY_{by}"),
        time=stamp(time),
        **more,
    )


async def record(
    profile, request_id: str, *changes, subject: str = ANNA
) -> profile_pb2.RecordConsentResponse:
    return await profile.profile.RecordConsent(
        profile_pb2.RecordConsentRequest(request_id=request_id, subject=subject, changes=changes)
    )


async def ask(profile, *questions: tuple[int, str]) -> list[profile_pb2.ContactAnswer]:
    request = profile_pb2.CheckContactRequest(
        questions=[
            profile_pb2.ContactQuestion(
                customer=customer, category=words.Category.Value(f"CATEGORY_{category}")
            )
            for customer, category in questions
        ]
    )
    return list((await profile.profile.CheckContact(request)).answers)


def on(answer: profile_pb2.ContactAnswer, channel: str) -> profile_pb2.ChannelPermission:
    return next(item for item in answer.channels if item.channel == words.Channel.Value(f"CHANNEL_{channel}"))


async def rows(profile, sql: str):
    database = Database(profile.settings.database_url, pool_size=1)
    async with database.transaction() as tx:
        found = await tx.rows(sql)
    await database.close()
    return found


async def test_a_consent_is_kept_with_its_evidence_and_in_force_when_answered(profile):
    await profile.profile.IngestEvents(ingest(event("e1")))
    answer = await record(profile, "r1", change("GRANTED", evidence="form 7", wording="v2"))
    assert [consent.state for consent in answer.consents] == [words.CONSENT_STATE_GRANTED]
    assert await rows(
        profile, "SELECT purpose, channel, state, said_by, evidence, wording FROM consent_ledger"
    ) == [("marketing", None, "granted", "person", "form 7", "v2")]
    (found,) = await ask(profile, (answer.customer, "SALES"))
    assert on(found, "SMS").allowed
    assert on(found, "SMS").address == "+33600000001"
    assert on(found, "EMAIL").reason == words.REFUSAL_REASON_NO_ADDRESS


async def test_the_same_request_id_gives_the_first_answer_and_writes_once(profile):
    await profile.profile.IngestEvents(ingest(event("e1")))
    first = await record(profile, "r1", change("GRANTED"))
    await record(profile, "r2", change("WITHDRAWN", time=at(hours=1)))
    assert await record(profile, "r1", change("GRANTED")) == first
    assert len(await rows(profile, "SELECT 1 FROM consent_ledger")) == 2
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await record(profile, "r1", change("DENIED"))
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS


async def test_a_persons_own_no_is_lifted_by_the_person_alone_also_by_events(profile):
    await profile.profile.IngestEvents(ingest(event("e1")))
    await record(profile, "r1", change("WITHDRAWN", channel="SMS"))
    answer = await record(profile, "r2", change("GRANTED", by="STAFF", time=at(hours=1)))
    staff = {"purpose": "marketing", "channel": "sms", "state": "granted", "by": "import"}
    await profile.profile.IngestEvents(ingest(event("e2", "consent.changed", staff, time=at(hours=2))))
    (found,) = await ask(profile, (answer.customer, "SALES"))
    assert on(found, "SMS").reason == words.REFUSAL_REASON_NO_CONSENT
    answer = await record(profile, "r3", change("GRANTED", by="STAFF", channel="SMS", time=at(hours=3)))
    assert "only the person" in answer.without_effect[0]
    await record(profile, "r4", change("GRANTED", channel="SMS", time=at(hours=4)))
    (found,) = await ask(profile, (answer.customer, "SALES"))
    assert on(found, "SMS").allowed
    assert len(await rows(profile, "SELECT 1 FROM consent_ledger")) == 5


async def test_a_consent_is_an_event_that_rules_can_listen_to(profile):
    await profile.profile.IngestEvents(ingest(event("e1")))
    await listen(profile, "consent.changed")
    await record(profile, "r1", change("GRANTED", purpose="PROFILING_LOCATION"))
    _, batch = (await handed_on(profile.settings))[-1]
    assert batch.events[0].type == "consent.changed"
    snapshot = stream_pb2.Snapshot.FromString(batch.snapshots[0])
    assert words.PURPOSE_PROFILING_LOCATION not in snapshot.withheld_purposes
    assert [consent.state for consent in snapshot.consents] == [words.CONSENT_STATE_GRANTED]


async def test_a_grant_that_ended_counts_no_more(profile):
    await profile.profile.IngestEvents(ingest(event("e1")))
    answer = await record(profile, "r1", change("GRANTED", expiry_time=stamp(at(days=1))))
    (found,) = await ask(profile, (answer.customer, "SALES"))
    assert on(found, "SMS").allowed
    await profile.profile.AdvanceClock(
        profile_pb2.AdvanceClockRequest(request_id="c", time=stamp(at(days=2)))
    )
    (found,) = await ask(profile, (answer.customer, "SALES"))
    assert on(found, "SMS").reason == words.REFUSAL_REASON_CONSENT_UNKNOWN


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"purpose": "UNSPECIFIED"}, "changes[0].purpose"),
        ({"by": "UNSPECIFIED"}, "changes[0].by"),
        ({"expiry_time": stamp(at(days=-1))}, "changes[0].expiry_time"),
    ],
)
async def test_a_consent_that_says_too_little_is_refused(profile, wrong, field):
    await profile.profile.IngestEvents(ingest(event("e1")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await record(profile, "r1", change("GRANTED", **wrong))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field in caught.value.details()


async def test_nobody_is_known_without_an_event_and_no_value_is_repeated_in_the_error(profile):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await record(profile, "r1", change("GRANTED"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "+336" not in caught.value.details()


async def test_one_call_answers_for_many_with_zone_language_preferences_and_what_may_be_shown(profile):
    await profile.profile.IngestEvents(
        ingest(
            traits(
                "e1",
                zone="Indian/Reunion",
                language="fr",
                preferred_channel="email",
                name="Anna",
                plan_price={"amount": "12.50", "currency": "EUR"},
                birth_date="1990-01-01",
                better_plan="l",
            ),
            event("e2", "preference.changed", {"key": "topic.plan", "value": "off"}),
            event(
                "e3", "consent.changed", {"purpose": "profiling_usage", "state": "objected", "by": "person"}
            ),
            event("e4", "consent.changed", {"purpose": "service", "state": "objected", "by": "person"}),
            event("e5", subject="email:b@example.org"),
        )
    )
    anna = (await known(profile)).customer
    other = (await known(profile, "email:b@example.org")).customer
    first, second, third = await ask(profile, (anna, "SERVICE"), (999_999, "SALES"), (other, "SERVICE"))
    assert (first.zone, first.language, first.preferred_channel) == (
        "Indian/Reunion",
        "fr",
        words.CHANNEL_EMAIL,
    )
    assert first.service_blocked
    assert on(first, "SMS").reason == words.REFUSAL_REASON_NO_CONSENT
    assert dict(first.preferences) == {"topic.plan": "off"}
    assert first.shown_traits["name"] == "Anna"
    assert first.shown_traits["plan_price"] == "12.50 EUR"
    assert not first.shown_traits.keys() & {"birth_date", "better_plan", "zone"}
    assert not second.known
    assert not any(item.allowed for item in second.channels)
    assert third.zone == "Europe/Paris"
    assert on(third, "EMAIL").allowed


async def test_contacts_by_other_systems_come_with_the_answer_and_an_unknown_zone_is_refused(profile):
    made = {"channel": "sms", "category": "sales", "by": "agency"}
    answer = await profile.profile.IngestEvents(
        ingest(
            event("e1", "contact.made", made, time=at(days=-36)),
            event("e2", "contact.made", made, time=at(days=-1)),
            event("e3", "contact.made", {"channel": "call", "by": "dialler"}, time=at(hours=-1)),
            traits("e4", zone="Mars/Base"),
        )
    )
    refused = [result.field for result in answer.results if result.status == REJECTED]
    assert refused == ["data.traits.zone"]
    await profile.profile.AdvanceClock(profile_pb2.AdvanceClockRequest(request_id="c", time=stamp(NOON)))
    (found,) = await ask(profile, ((await known(profile)).customer, "SALES"))
    told = [(one.channel, one.category, one.contact_time) for one in found.recent_contacts]
    assert told == [
        (words.CHANNEL_SMS, words.CATEGORY_SALES, stamp(at(days=-1))),
        (words.CHANNEL_CALL, words.CATEGORY_UNSPECIFIED, stamp(at(hours=-1))),
    ]


async def test_questions_without_a_category_or_too_many_are_refused(profile):
    for request, field in (
        (
            profile_pb2.CheckContactRequest(questions=[profile_pb2.ContactQuestion(customer=1)]),
            "questions[0].category",
        ),
        (profile_pb2.CheckContactRequest(), "questions"),
        (
            profile_pb2.CheckContactRequest(
                questions=[profile_pb2.ContactQuestion(customer=1, category=words.CATEGORY_SALES)] * 501
            ),
            "questions",
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await profile.profile.CheckContact(request)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert field in caught.value.details()


async def test_snapshots_are_answered_item_by_item(profile):
    await profile.profile.IngestEvents(ingest(event("e1"), traits("e2", plan="m")))
    answer = await profile.profile.BatchGetSnapshots(
        profile_pb2.BatchGetSnapshotsRequest(subjects=[ANNA, "passport:1", "crm:nobody", "customer:1"])
    )
    anna, wrong, nobody, again = answer.results
    assert anna.snapshot.sequence == 2
    assert {trait.name for trait in anna.snapshot.traits} == {"plan"}
    assert "subjects[1]" in wrong.error
    assert nobody.error == "unknown subject"
    assert again.snapshot == anna.snapshot

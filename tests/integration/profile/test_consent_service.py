"""The ConsentService: checked in bulk, listed, verified, confirmed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import grpc
import pytest
from rapport.profile.v1 import (
    consent_pb2,
    consent_pb2_grpc,
    identity_pb2,
    identity_pb2_grpc,
    profile_pb2,
)
from rapport.types.v1 import vocabulary_pb2 as words

from services.profile import main
from services.runtime.database import Database
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.words import Channel, Purpose
from tests.integration.profile.asking import ANNA, NOON, at, event, ingest, stamp
from tests.integration.profile.conftest import RULES, Running, running_profile
from tests.integration.profile.test_consents import ask, change, on, record

MARKETING = words.PURPOSE_MARKETING
EMAIL, SMS = words.CHANNEL_EMAIL, words.CHANNEL_SMS


@dataclass
class Desk:
    """A server whose marketing by mail must be confirmed."""

    running: Running
    consents: consent_pb2_grpc.ConsentServiceStub

    async def check(self, *questions) -> list[consent_pb2.ConsentAnswer]:
        request = consent_pb2.CheckConsentRequest(
            questions=[
                consent_pb2.ConsentQuestion(subject=subject, purpose=purpose, channel=channel)
                for subject, purpose, channel in questions
            ]
        )
        return list((await self.consents.CheckConsent(request)).answers)

    async def confirm(self, request_id: str, token: str) -> consent_pb2.ConfirmConsentResponse:
        return await self.consents.ConfirmConsent(
            consent_pb2.ConfirmConsentRequest(request_id=request_id, token=token, evidence="page 7")
        )

    async def verify(self, subject: str = "") -> consent_pb2.VerifyConsentsResponse:
        seen = [
            one
            async for one in self.consents.VerifyConsents(consent_pb2.VerifyConsentsRequest(subject=subject))
        ]
        assert seen[-1].done
        return seen[-1]

    async def readers(self, method: str) -> list[tuple]:
        """Of whom the log says that they were told by that method."""
        database = Database(self.running.settings.database_url, pool_size=1)
        async with database.transaction() as tx:
            found = await tx.rows(
                "SELECT customer FROM access_entry WHERE method = %(method)s ORDER BY customer",
                {"method": method},
            )
        await database.close()
        return found

    async def change_database(self, sql: str) -> None:
        database = Database(self.running.settings.database_url, pool_size=1)
        async with database.transaction() as transaction:
            await transaction.execute(sql)
        await database.close()


@pytest.fixture
async def desk(profile_settings, monkeypatch) -> AsyncIterator[Desk]:
    rules = load_catalogue(RULES)
    terms = replace(rules.purposes[Purpose.MARKETING], double_opt_in=frozenset({Channel.EMAIL}))
    confirmed = replace(rules, purposes={**rules.purposes, Purpose.MARKETING: terms})
    monkeypatch.setattr(main, "load_catalogue", lambda _: confirmed)
    async with running_profile(profile_settings()) as running:
        yield Desk(running, consent_pb2_grpc.ConsentServiceStub(running.grpc_channel))


async def test_many_questions_are_answered_item_by_item_and_fail_closed(desk):
    profile = desk.running
    await profile.profile.IngestEvents(ingest(event("e1"), event("e2", subject="crm:2")))
    customer = (
        await record(profile, "r1", change("GRANTED", channel="SMS", expiry_time=stamp(at(days=1))))
    ).customer
    await record(profile, "r2", change("OBJECTED", purpose="SERVICE"), subject="crm:2")
    granted, elsewhere, by_id, unknown, malformed, objected, usage = await desk.check(
        (ANNA, MARKETING, SMS),
        (ANNA, MARKETING, EMAIL),
        (f"customer:{customer}", MARKETING, SMS),
        ("crm:nobody", words.PURPOSE_SERVICE, SMS),
        ("phone:1", MARKETING, SMS),
        ("crm:2", words.PURPOSE_SERVICE, SMS),
        ("crm:2", words.PURPOSE_PROFILING_USAGE, 0),
    )
    assert granted == by_id
    assert (granted.allowed, granted.state, granted.by) == (
        True,
        words.CONSENT_STATE_GRANTED,
        words.CONSENT_BY_PERSON,
    )
    assert (granted.since_time, granted.expiry_time) == (stamp(NOON), stamp(at(days=1)))
    assert (elsewhere.allowed, elsewhere.state, elsewhere.customer) == (False, 0, customer)
    assert (unknown.allowed, unknown.customer) == (False, 0)
    assert "nobody" in unknown.error
    assert (malformed.allowed, "questions[4].subject" in malformed.error) == (False, True)
    assert (objected.allowed, objected.state) == (False, words.CONSENT_STATE_OBJECTED)
    assert (usage.allowed, usage.state) == (True, 0)
    noted = "/rapport.profile.v1.ConsentService/CheckConsent"
    assert await desk.readers(noted) == [(granted.customer,), (objected.customer,)]
    with pytest.raises(grpc.aio.AioRpcError, match=r"questions\[0\].purpose"):
        await desk.check((ANNA, 0, SMS))
    with pytest.raises(grpc.aio.AioRpcError, match="1001 questions"):
        await desk.check(*[(ANNA, MARKETING, SMS)] * 1001)


async def test_a_grant_that_must_be_confirmed_counts_once_the_person_did(desk):
    profile = desk.running
    await profile.profile.IngestEvents(ingest(event("e1", subject=f"{ANNA} email:a@example.org")))
    answer = await record(profile, "r1", change("GRANTED", evidence="form 7"))
    assert "confirm" in answer.without_effect[0]
    mail, text = await desk.check((ANNA, MARKETING, EMAIL), (ANNA, MARKETING, SMS))
    assert (mail.allowed, mail.pending, mail.state) == (False, True, 0)
    assert (text.allowed, text.pending) == (True, False)
    (found,) = await ask(profile, (answer.customer, "SALES"))
    assert on(found, "EMAIL").reason == words.REFUSAL_REASON_CONSENT_UNKNOWN
    asked = await desk.consents.AskConfirmation(consent_pb2.AskConfirmationRequest(subject=ANNA))
    (waiting,) = asked.confirmations
    assert (waiting.purpose, waiting.channel, waiting.said_time) == (MARKETING, EMAIL, stamp(NOON))

    bad = await desk.confirm("c0", waiting.token[:-1] + ("A" if waiting.token[-1] != "A" else "B"))
    assert bad.status == consent_pb2.CONFIRMATION_STATUS_NOT_GOOD
    done = await desk.confirm("c1", waiting.token)
    assert (done.status, done.customer) == (consent_pb2.CONFIRMATION_STATUS_CONFIRMED, answer.customer)
    assert await desk.confirm("c1", waiting.token) == done
    assert (await desk.confirm("c2", waiting.token)).status == consent_pb2.CONFIRMATION_STATUS_STOOD
    (mail,) = await desk.check((ANNA, MARKETING, EMAIL))
    assert (mail.allowed, mail.pending) == (True, False)
    lines = (await desk.consents.ListConsentLines(consent_pb2.ListConsentLinesRequest(subject=ANNA))).lines
    assert [line.number for line in lines] == list(range(1, 10))
    assert [line.channel for line in lines if line.pending] == [EMAIL]
    assert lines[-1].evidence.endswith("page 7")

    await record(profile, "r3", change("WITHDRAWN", channel="EMAIL", time=at(hours=2)))
    assert (await desk.confirm("c3", waiting.token)).status == consent_pb2.CONFIRMATION_STATUS_OUTDATED
    assert (await desk.verify(ANNA)).lines == 10


async def test_a_merged_customer_is_answered_for_by_whom_they_have_become(desk):
    profile = desk.running
    await profile.profile.IngestEvents(ingest(event("e1"), event("e2", subject="crm:2")))
    anna = (await record(profile, "r1", change("GRANTED", channel="EMAIL"))).customer
    other = (await record(profile, "r2", change("DENIED"), subject="crm:2")).customer
    (waiting,) = (
        await desk.consents.AskConfirmation(consent_pb2.AskConfirmationRequest(subject=ANNA))
    ).confirmations
    await record(profile, "r3", change("GRANTED", channel="SMS"))
    merged = f"UPDATE customer SET merged_into = {other} WHERE id = {anna}"
    await desk.change_database(merged)
    (answer,) = await desk.check((f"customer:{anna}", MARKETING, SMS))
    assert (answer.allowed, answer.customer, answer.state) == (False, other, words.CONSENT_STATE_DENIED)
    assert (await desk.confirm("c1", waiting.token)).status == consent_pb2.CONFIRMATION_STATUS_OUTDATED


async def test_a_grant_that_waits_is_confirmed_after_a_merge_unless_something_was_said_since(desk):
    profile = desk.running
    merging = identity_pb2_grpc.IdentityServiceStub(profile.grpc_channel)
    subjects = ("crm:1", "crm:2", "crm:3")
    events = (event(f"e{number}", subject=subject) for number, subject in enumerate(subjects))
    await profile.profile.IngestEvents(ingest(*events))
    tokens = {}
    for place, subject in enumerate(subjects[:2]):
        await record(profile, f"g{place}", change("GRANTED", channel="EMAIL"), subject=subject)
        asked = await desk.consents.AskConfirmation(consent_pb2.AskConfirmationRequest(subject=subject))
        ((tokens[subject],),) = [[one.token for one in asked.confirmations]]
    # the third says no after the first was asked, the fourth nothing
    await record(profile, "n", change("WITHDRAWN", channel="EMAIL", time=at(minutes=1)), subject="crm:3")
    await profile.profile.IngestEvents(ingest(event("e9", subject="crm:4")))
    into = {}
    for gone, stays in (("crm:1", "crm:3"), ("crm:2", "crm:4")):
        request = identity_pb2.MergeCustomersRequest(request_id=gone, into=stays, reason="one person")
        setattr(request, "from", gone)
        into[gone] = (await merging.MergeCustomers(request)).customer
    outdated = await desk.confirm("c1", tokens["crm:1"])
    assert outdated.status == consent_pb2.CONFIRMATION_STATUS_OUTDATED
    assert (await desk.check(("crm:3", MARKETING, EMAIL)))[0].allowed is False
    done = await desk.confirm("c2", tokens["crm:2"])
    assert (done.status, done.customer) == (consent_pb2.CONFIRMATION_STATUS_CONFIRMED, into["crm:2"])
    assert (await desk.check(("crm:4", MARKETING, EMAIL)))[0].allowed is True
    assert (await desk.confirm("c3", tokens["crm:2"])).status == consent_pb2.CONFIRMATION_STATUS_STOOD


async def test_an_import_that_proves_a_grant_need_not_ask_again(desk):
    said = {"purpose": "marketing", "channel": "email", "state": "granted", "by": "import"}
    await desk.running.profile.IngestEvents(
        ingest(
            event("e1", "consent.changed", said | {"evidence": "confirmed 2024-02-01"}),
            event("e2", "consent.changed", said, subject="crm:2"),
        )
    )
    proved, bare = await desk.check((ANNA, MARKETING, EMAIL), ("crm:2", MARKETING, EMAIL))
    assert (proved.allowed, bare.allowed, bare.pending) == (True, False, True)


async def test_verification_names_the_customer_and_the_line(desk):
    profile = desk.running
    await profile.profile.IngestEvents(ingest(event("e1"), event("e2", subject="crm:2")))
    anna = (await record(profile, "r1", change("GRANTED", channel="SMS"))).customer
    await record(profile, "r2", change("WITHDRAWN", channel="SMS", time=at(hours=1)))
    await record(profile, "r3", change("DENIED"), subject="crm:2")
    seen = await desk.verify()
    assert (seen.customers, seen.lines, list(seen.broken)) == (2, 3, [])
    await desk.change_database("UPDATE consent_ledger SET state = 'granted' WHERE state = 'withdrawn'")
    for subject in ("", ANNA):
        (broken,) = (await desk.verify(subject)).broken
        assert (broken.customer, broken.number) == (anna, 2)
    assert not (await desk.verify("crm:2")).broken


async def test_a_consent_dated_in_the_future_is_refused_on_a_fed_clock_too(desk):
    profile = desk.running.profile
    await profile.IngestEvents(ingest(event("e1")))
    await desk.running.profile.AdvanceClock(profile_pb2.AdvanceClockRequest(request_id="c", time=stamp(NOON)))
    ahead = timedelta(hours=6, minutes=6)
    with pytest.raises(grpc.aio.AioRpcError, match="in the future"):
        await record(desk.running, "r1", change("GRANTED", time=NOON + ahead))
    said = {"purpose": "marketing", "state": "granted", "by": "person"}
    late, soon = (
        await profile.IngestEvents(
            ingest(
                event("e2", "consent.changed", said, time=NOON + ahead),
                event("e3", "consent.changed", said, time=at(hours=6)),
            )
        )
    ).results
    assert (late.reason, late.field) == (profile_pb2.REJECTION_REASON_FUTURE, "time")
    assert soon.status == profile_pb2.INGEST_STATUS_ACCEPTED

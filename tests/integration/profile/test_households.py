"""Accounts, who uses and who pays, and households: over gRPC, on real PostgreSQL."""

import asyncio
import itertools

import grpc
import pytest
from rapport.profile.v1 import account_pb2, account_pb2_grpc, identity_pb2, identity_pb2_grpc, profile_pb2
from rapport.types.v1 import event_pb2, stream_pb2, vocabulary_pb2

from services.profile.main import MIGRATIONS
from services.runtime.database import Database
from tests.integration.profile.asking import at, event, ingest, traits
from tests.integration.profile.conftest import until
from tests.integration.profile.test_store import NOW, Profile

PAUL = "crm:paul account:A1 msisdn:+33600000010 email:paul@example.org"
MIA = "crm:mia msisdn:+33600000011 email:mia@example.org"
TOM = "crm:tom msisdn:+33600000012"
_names = itertools.count()


def line(number, user, *, name=None, time=None, subject="account:A1", **more) -> event_pb2.Event:
    data = {"subscription": f"S{number}", "account": "A1", "msisdn": f"+3360000001{number}"}
    if user:
        data["user"] = user
    name = name or f"line-{next(_names)}"
    return event(name, "subscription.changed", data | more, subject=subject, time=time or at())


async def send(profile, *events):
    answer = await profile.profile.IngestEvents(ingest(*events))
    wrong = [(one.field, one.message) for one in answer.results if one.status != 1]
    assert not wrong, wrong


async def family(profile):
    """Paul pays for his own line and for Mia's and Tom's."""
    await send(
        profile,
        *(event(f"met-{who}", subject=who) for who in (PAUL, MIA, TOM)),
        event("account", "account.changed", {"account": "A1", "status": "active"}, subject="crm:paul"),
        line(0, "crm:paul"),
        line(1, "crm:mia"),
        line(2, "crm:tom"),
    )


async def seen(profile, *subjects) -> list[stream_pb2.Snapshot]:
    request = profile_pb2.BatchGetSnapshotsRequest(subjects=subjects)
    answer = await profile.profile.BatchGetSnapshots(request)
    return [result.snapshot for result in answer.results]


async def asked(profile, customer, *, to_payer=True, line="", category=None) -> profile_pb2.ContactAnswer:
    question = profile_pb2.ContactQuestion(
        customer=customer,
        category=category or vocabulary_pb2.CATEGORY_SERVICE,
        to_payer=to_payer,
        line=line,
    )
    answer = await profile.profile.CheckContact(profile_pb2.CheckContactRequest(questions=[question]))
    return answer.answers[0]


def shared(snapshot):
    return {trait.name: trait.value.int for trait in snapshot.household.traits if not trait.withheld}


async def test_who_shares_an_account_is_a_household_and_has_what_any_member_says_it_has(profile):
    await send(profile, traits("before", shared_data_mb=50_000, subject="crm:mia", time=at(days=-1)))
    await family(profile)
    await send(profile, traits("left", shared_data_left_mb=700, subject="msisdn:+33600000012"))
    paul, mia, tom = await seen(profile, "crm:paul", "crm:mia", "crm:tom")
    assert paul.household.id == mia.household.id == tom.household.id > 0
    assert paul.household.id not in {paul.customer, mia.customer, tom.customer}
    assert (mia.household.members, mia.household.lines) == (3, 3)
    assert shared(paul) == shared(mia) == {"shared_data_mb": 50_000, "shared_data_left_mb": 700}
    assert [trait.name for trait in mia.traits] == []  # no more her own
    # somebody moves out, with the line
    await send(profile, line(2, "", status="ended", time=at(hours=1)))
    paul, tom = await seen(profile, "crm:paul", "crm:tom")
    assert (paul.household.members, paul.household.lines) == (2, 2)
    assert not tom.HasField("household")
    # one line alone is no household
    await send(profile, line(1, "", status="ended", time=at(hours=2)))
    assert not any(snapshot.HasField("household") for snapshot in await seen(profile, "crm:paul", "crm:mia"))


async def test_old_news_of_a_subscription_changes_nothing_in_whatever_order_it_comes(profile):
    await send(profile, *(event(f"met-{who}", subject=who) for who in (PAUL, MIA, TOM)))
    said = [
        line(0, "crm:paul", name="a"),
        line(1, "crm:tom", name="b", time=at(hours=1)),
        line(1, "crm:mia", name="c", time=at(hours=2), plan="m"),
        line(1, "", name="d", time=at(minutes=90), plan="s"),
    ]
    for one in reversed(said):
        await send(profile, one)
    paul, mia, tom = await seen(profile, "crm:paul", "crm:mia", "crm:tom")
    assert (paul.household.members, mia.household.lines) == (2, 2)
    assert not tom.HasField("household")


async def test_a_message_to_the_payer_is_judged_by_the_payer_and_shows_nothing_of_the_user(profile):
    await family(profile)
    said = {"purpose": "marketing", "state": "granted", "by": "person"}
    await send(
        profile,
        traits("t1", language="fr", zone="Europe/Paris", plan="family-l", subject="crm:paul"),
        traits("t2", language="de", zone="Asia/Tokyo", plan="teen-s", subject="crm:mia"),
        event("c1", "consent.changed", said, subject="crm:mia"),
        event("call", "contact.made", {"channel": "call", "by": "shop"}, subject="crm:mia"),
    )
    paul, mia = await seen(profile, "crm:paul", "crm:mia")
    sales = vocabulary_pb2.CATEGORY_SALES
    own = await asked(profile, mia.customer, to_payer=False, category=sales)
    assert (own.recipient, own.language, own.zone) == (mia.customer, "de", "Asia/Tokyo")
    assert len(own.recent_contacts) == 1
    answer = await asked(profile, mia.customer, category=sales)
    assert (answer.customer, answer.recipient) == (mia.customer, paul.customer)
    assert (answer.language, answer.zone, answer.household) == ("fr", "Europe/Paris", paul.household.id)
    sms, email = answer.channels[0], answer.channels[1]
    assert (sms.address, email.address) == ("+33600000010", "paul@example.org")
    assert not sms.allowed  # Mia's yes is not Paul's
    assert sms.reason == vocabulary_pb2.REFUSAL_REASON_CONSENT_UNKNOWN
    assert dict(answer.shown_traits) == {"language": "fr", "plan": "family-l"}
    assert not answer.recent_contacts
    whole = answer.SerializeToString()
    assert not any(word in whole for word in (b"mia", b"00000011", b"teen-s", b"Tokyo"))
    # and the user's snapshot has nothing of the payer
    text = mia.SerializeToString()
    assert not any(word in text for word in (b"paul", b"00000010", b"family-l", b"crm:"))


async def test_who_pays_follows_the_line_and_the_account_and_the_user_pays_who_has_no_other(profile):
    await family(profile)
    paul, mia, tom = await seen(profile, "crm:paul", "crm:mia", "crm:tom")
    assert (await asked(profile, paul.customer)).recipient == paul.customer
    # Tom was said to pay for Mia's line
    await send(profile, line(1, "", payer="crm:tom", time=at(hours=1)))
    assert (await asked(profile, mia.customer)).recipient == tom.customer
    # the account's owner was erased: nobody is written to instead
    database = Database(profile.settings.database_url, pool_size=1)
    try:
        async with database.transaction() as tx:
            await tx.execute(
                "WITH gone AS (DELETE FROM identity WHERE lookup IN (SELECT lookup FROM account) "
                "RETURNING lookup) INSERT INTO erased_identity (lookup, kind, time_micros) "
                "SELECT lookup, 'account', 1 FROM gone"
            )
    finally:
        await database.close()
    answer = await asked(profile, paul.customer)
    assert (answer.known, answer.recipient, len(answer.channels)) == (False, 0, 0)
    # a stranger has no payer; nobody knows the customer 999
    await send(profile, event("alone", subject="crm:alone"))
    (alone,) = await seen(profile, "crm:alone")
    assert (await asked(profile, alone.customer)).recipient == alone.customer
    assert not (await asked(profile, 999)).known


async def test_what_is_said_of_a_person_goes_before_what_follows_from_the_account(profile):
    await family(profile)

    def household(name, action, who="crm:tom", time=None):
        data = {"household": "flat-7", "action": action}
        return event(name, "household.changed", data, subject=who, time=time or at(hours=1))

    await send(profile, household("j1", "join"), household("j2", "join", "crm:friend"))
    paul, tom, friend = await seen(profile, "crm:paul", "crm:tom", "crm:friend")
    assert tom.household.id == friend.household.id != paul.household.id
    assert (tom.household.members, tom.household.lines, paul.household.members) == (2, 1, 2)
    # the account says so again, and an older word comes late
    await send(profile, line(2, "crm:tom", time=at(hours=2)), household("l0", "leave", time=at()))
    (tom,) = await seen(profile, "crm:tom")
    assert tom.household.id == friend.household.id
    await send(profile, household("l1", "leave", time=at(hours=3)), line(2, "crm:tom", time=at(hours=4)))
    assert not (await seen(profile, "crm:tom"))[0].HasField("household")


async def test_an_objection_withholds_what_the_household_used_from_that_person_alone(profile):
    await family(profile)
    said = {"purpose": "profiling_usage", "state": "objected", "by": "person"}
    await send(
        profile,
        traits("left", shared_data_left_mb=700, shared_data_mb=900, subject="crm:tom"),
        event("c1", "consent.changed", said, subject="crm:mia"),
    )
    paul, mia = await seen(profile, "crm:paul", "crm:mia")
    assert shared(paul) == {"shared_data_left_mb": 700, "shared_data_mb": 900}
    assert shared(mia) == {"shared_data_mb": 900}
    (hidden,) = [trait for trait in mia.household.traits if trait.withheld]
    assert (hidden.name, hidden.HasField("value")) == ("shared_data_left_mb", False)


async def test_snapshots_of_one_batch_each_see_the_household_as_it_was_then(profile):
    await family(profile)
    listening = profile_pb2.SetListenedTypesRequest(request_id="l", types=["topup.received"])
    await profile.profile.SetListenedTypes(listening)
    left = [
        traits(f"left-{mb}", shared_data_left_mb=mb, subject="crm:tom", time=at(minutes=mb)) for mb in (1, 2)
    ]
    await send(
        profile,
        left[0],
        event("mia-1", subject="crm:mia", time=at(hours=1)),
        left[1],
        event("mia-2", subject="crm:mia", time=at(hours=1)),
    )
    found = {}
    for batch in await handed_on(profile.settings):
        for taken in batch.events:
            if taken.snapshot:
                snapshot = stream_pb2.Snapshot.FromString(batch.snapshots[taken.snapshot - 1])
                found[taken.id] = shared(snapshot)["shared_data_left_mb"]
    assert found == {"mia-1": 1, "mia-2": 2}


async def test_lines_of_one_account_told_at_the_same_time_make_one_household(make_database):
    """Nobody is known to pay, so that no customer is common to both; the account is what they wait for."""
    profile = Profile(make_database(MIGRATIONS))

    def told(number):
        data = {"subscription": f"S{number}", "account": "A1", "user": f"crm:{number}"}
        return profile.event(f"e{number}", f"crm:{number}", kind="subscription.changed", **data)

    async def waits():
        return await profile.rows("SELECT 1 FROM pg_locks WHERE NOT granted")

    try:
        async with profile.store.work() as first:
            await profile.taker.take(first, [told(1)], NOW)
            second = asyncio.create_task(profile.intake().take([told(2)]))
            await until(waits)
        await second
        ((members,),) = await profile.rows("SELECT members FROM household")
        assert members == [row[0] for row in await profile.rows("SELECT id FROM customer ORDER BY id")]
        assert len(members) == 2
    finally:
        await profile.database.close()


async def test_what_names_an_account_or_a_line_stands_nowhere_in_plain_text(profile):
    await family(profile)
    database = Database(profile.settings.database_url, pool_size=1)
    try:
        async with database.transaction() as tx:
            for table in ("account", "subscription", "household"):
                rows = await tx.rows(f"SELECT to_jsonb(t)::text FROM {table} AS t")
                assert rows
                text = " ".join(row[0] for row in rows)
                for word in ("A1", "S1", "+336", "crm:mia"):
                    assert word.encode().hex() not in text.replace("\\\\x", "")
    finally:
        await database.close()


async def test_an_account_and_a_household_are_shown_and_read_by_whom_is_written_down(profile):
    await family(profile)
    await send(profile, traits("left", shared_data_mb=900, subject="crm:tom"))
    paul, mia = await seen(profile, "crm:paul", "crm:mia")
    stub = account_pb2_grpc.AccountServiceStub(profile.grpc_channel)

    async def account(number="A1", viewer=""):
        request = account_pb2.GetAccountRequest(account=number, viewer=viewer)
        return (await stub.GetAccount(request)).account

    whole = await account()
    assert (whole.account, whole.status, whole.payer) == ("A1", "active", paul.customer)
    assert whole.household == paul.household.id
    assert [one.subscription for one in whole.subscriptions] == ["S0", "S1", "S2"]
    (own,) = (await account(viewer="crm:mia")).subscriptions
    assert (own.user, own.payer, own.msisdn) == (mia.customer, 0, "+33600000011")
    await send(profile, event("alone", subject="crm:alone"))
    for number, viewer in (("A1", "crm:alone"), ("A2", "")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await account(number, viewer)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    request = account_pb2.GetHouseholdRequest(subject="crm:mia")
    answer = await stub.GetHousehold(request)
    assert (answer.household.members, len(answer.members)) == (3, 3)
    request.for_person = True
    assert not (await stub.GetHousehold(request)).members
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetHousehold(account_pb2.GetHouseholdRequest(subject="crm:alone"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    database = Database(profile.settings.database_url, pool_size=1)
    try:
        async with database.transaction() as tx:
            rows = await tx.rows("SELECT DISTINCT customer, method FROM access_entry")
    finally:
        await database.close()
    assert (mia.customer, "/rapport.profile.v1.AccountService/GetAccount") in rows


async def test_two_users_who_turn_out_to_be_one_person_are_one_member_with_both_lines(profile):
    await family(profile)
    await send(profile, event("met-twin", subject="crm:twin"), line(3, "crm:twin"))
    (twin,) = await seen(profile, "crm:twin")
    assert (twin.household.members, twin.household.lines) == (4, 4)
    stub = identity_pb2_grpc.IdentityServiceStub(profile.grpc_channel)
    request = identity_pb2.MergeCustomersRequest(request_id="m", into="crm:tom", reason="one person")
    setattr(request, "from", "crm:twin")
    await stub.MergeCustomers(request)
    for again in (False, True):
        if again:  # the account is looked at anew, and its subscriptions name the id of before
            await send(profile, line(3, "", plan="l", time=at(hours=1)))
        paul, tom = await seen(profile, "crm:paul", "crm:tom")
        assert (paul.household.id, paul.household.members, paul.household.lines) == (twin.household.id, 3, 4)
        assert tom.household == paul.household
    # who asks by the id of before is answered about who pays now, as for the other
    assert (await asked(profile, twin.customer)).recipient == paul.customer
    assert (await asked(profile, tom.customer)).recipient == paul.customer


async def handed_on(settings) -> list[stream_pb2.EventBatch]:
    database = Database(settings.database_url, pool_size=1)
    try:
        async with database.transaction() as tx:
            rows = await tx.rows("SELECT payload FROM outbox WHERE stream = 'EVENTS' ORDER BY id")
    finally:
        await database.close()
    return [stream_pb2.EventBatch.FromString(row[0]) for row in rows]

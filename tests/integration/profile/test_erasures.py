"""A person is erased in the profile service: what goes, what is refused from then on, and the receipt."""

import orjson
import pytest
from rapport.types.v1 import event_pb2

from services.profile.app.erasure import Erasures
from services.profile.app.merging import Merging
from services.profile.app.questions import Questions
from services.profile.app.take_events import ACCEPTED
from services.profile.domain.erasure import Ground
from services.profile.domain.errors import RejectedError, RejectionReason, UnknownSubjectError
from services.profile.domain.events import RawEvent
from services.runtime.dead_letters import DeadLetters
from services.runtime.outbox import Outbox
from services.vocabulary.words import ConsentBy
from tests.integration.profile.test_store import CATALOGUE, DAY, NOW, Profile

ADA = "msisdn:+33611111111 email:ada@example.org"
BOB = "msisdn:+33622222222"
GONE = NOW - DAY


@pytest.fixture
async def profile(make_database):
    from services.profile.main import MIGRATIONS

    made = Profile(make_database(MIGRATIONS))
    made.erasures = Erasures(CATALOGUE, Questions(CATALOGUE, made.packer))
    yield made
    await made.database.close()


async def take(profile, *events):
    async with profile.store.work() as work:
        return await profile.taker.take(work, events, NOW)


async def erase(profile, subject, request_id="r-1", **more):
    asked = {"ground": Ground.OBJECTED, "by": ConsentBy.PERSON, "reference": "case 1", "again": False} | more
    async with profile.store.work() as work:
        return await profile.erasures.request(work, subject, request_id=request_id, now_micros=GONE, **asked)


def reason(outcome):
    return outcome.reason if isinstance(outcome, RejectedError) else outcome


async def sent(profile):
    return [
        one for batch in await profile.handed_on() for one in batch.events if one.type == "customer.erased"
    ]


async def known(profile):
    """Two customers of whom there is something in every part of a profile."""
    consent = {"purpose": "marketing", "state": "granted", "by": "person", "evidence": "signed by Ada"}
    events = [
        profile.event(
            "a", ADA, GONE - DAY, "profile.updated", traits={"name": "Ada", "zone": "Europe/Paris"}
        ),
        profile.event("b", ADA, GONE - DAY, "consent.changed", **consent),
        profile.event("c", BOB, GONE - DAY),
    ]
    assert await take(profile, *events) == [ACCEPTED] * 3
    rows = await profile.rows("SELECT id FROM customer ORDER BY id")
    return [row[0] for row in rows]


async def test_nothing_is_left_but_the_ledger_without_its_texts(profile):
    ada, bob = await known(profile)
    erasure = await erase(profile, ADA.split(maxsplit=1)[0])
    assert erasure.customers == (ada,)
    for table, column in {"customer": "id", "customer_record": "customer", "event": "customer"}.items():
        assert await profile.rows(f"SELECT {column} FROM {table}") == [(bob,)], table
    assert await profile.rows(f"SELECT count(*) FROM identity WHERE customer = {ada}") == [(0,)]
    ledger = await profile.rows("SELECT customer, purpose, evidence, event_id FROM consent_ledger")
    assert ledger == [(ada, "marketing", "", "")]
    (told,) = await sent(profile)
    assert (told.customer, list(told.erasure.customers)) == (ada, [ada])
    assert {address.channel for address in told.erasure.addresses} >= {1, 2}
    assert b"336" not in told.SerializeToString()
    with pytest.raises(UnknownSubjectError):
        await erase(profile, ADA, "r-2")


@pytest.mark.parametrize("asked_as", [0, 1])
async def test_a_merged_person_is_erased_under_all_their_ids_whichever_is_named(profile, asked_as):
    ids = await known(profile)
    merging = Merging(
        CATALOGUE, Questions(CATALOGUE, profile.packer), profile.checker, profile.packer, orjson.dumps
    )
    async with profile.store.work() as work:
        await merging.merge(work, ids[1], ids[0], "same person", GONE)
    erasure = await erase(profile, f"customer:{ids[asked_as]}")
    assert sorted(erasure.customers) == ids
    told = await sent(profile)
    assert sorted(one.customer for one in told) == ids
    assert all(sorted(one.erasure.customers) == ids for one in told)
    for table in ("customer", "customer_record", "event", "customer_merge", "identity_conflict"):
        assert await profile.rows(f"SELECT 1 FROM {table}") == [], table
    assert await profile.rows("SELECT 1 FROM identity WHERE customer <> 0") == []
    late = profile.event("late", BOB, GONE - 1)
    assert [reason(one) for one in await take(profile, late)] == [RejectionReason.ERASED]


@pytest.mark.parametrize("sealed", [False, True])
async def test_events_set_aside_before_anybody_knew_whose_they_are_go_too(profile, sealed):
    await known(profile)
    outbox = Outbox(profile.database)
    letters = DeadLetters("profile", outbox, None, sealer=profile.store.types.sealer if sealed else None)
    payloads = [event_pb2.Event(subject=subject).SerializeToString() for subject in (ADA, BOB)]
    async with profile.database.transaction() as transaction:
        for number, payload in enumerate([*payloads, b"no event at all"]):
            await letters.add(
                transaction,
                kind="event",
                item_id=f"l-{number}",
                item_type="x",
                customer=0,
                payload=payload,
                reason="",
            )
    erasure = await erase(profile, ADA)
    assert erasure.parts["profile"].erased["dead_letter"] == 1
    assert await profile.rows("SELECT item_id FROM dead_letter ORDER BY id") == [("l-1",), ("l-2",)]


async def test_what_happened_before_is_refused_and_what_happens_later_begins_somebody_new(profile):
    ada, _ = await known(profile)
    await erase(profile, ADA)
    late = profile.event("late", ADA, GONE)
    assert [reason(one) for one in await take(profile, late)] == [RejectionReason.ERASED]
    assert await take(profile, profile.event("new", ADA, GONE + 1)) == [ACCEPTED]
    # now that somebody has the number again, what is older still is not theirs
    later = profile.event("later", ADA.split(maxsplit=1)[0], GONE - 5)
    assert [reason(one) for one in await take(profile, later)] == [RejectionReason.ERASED]
    assert await take(profile, profile.event("mixed", f"{BOB} {ADA.split(maxsplit=1)[0]}", GONE + 2)) == [
        ACCEPTED
    ]
    ((new,),) = await profile.rows("SELECT max(id) FROM customer")
    assert new != ada
    assert await profile.rows(f"SELECT count(*) FROM event WHERE customer = {new}") == [(1,)]


async def test_what_happened_while_the_erased_had_a_number_is_refused_though_it_is_anothers_since(profile):
    await known(profile)
    number, after = ADA.split(maxsplit=1)[0], GONE - DAY // 2
    moved = RawEvent("m", "billing", "identity.assigned", after, BOB, orjson.dumps({"identity": number}))
    assert await take(profile, profile.checker.check(moved, NOW)) == [ACCEPTED]
    await erase(profile, "email:ada@example.org")
    before, since = profile.event("l1", number, after - 1), profile.event("l2", number, after)
    assert [reason(one) for one in await take(profile, before, since)] == [RejectionReason.ERASED, ACCEPTED]
    (kept,) = await profile.rows("SELECT customer, line, sealed, until_micros FROM identity_past")
    assert kept == (0, "", None, after)


async def test_own_events_about_an_erased_id_are_refused_as_such(profile):
    ada, _ = await known(profile)
    await erase(profile, ADA)
    own = profile.event("own", ADA, GONE + 5)
    own.identities, own.customer = (), ada
    assert [reason(one) for one in await take(profile, own)] == [RejectionReason.ERASED]
    own.customer = 999_999
    assert [reason(one) for one in await take(profile, own)] == [RejectionReason.UNKNOWN_SUBJECT]


async def test_the_receipt_is_complete_when_every_service_has_done_every_id(profile):
    ada, _ = await known(profile)
    erasure = await erase(profile, ADA)
    assert erasure.completed_micros == 0
    assert erasure.parts["profile"].erased["event"] == 2
    assert erasure.parts["decision"].open_customers == [ada]
    for service in ("decision", "channel", "channel"):
        data = {"erasure": erasure.erasure_id, "service": service, "erased": ["a=1", "b=2"]}
        told = profile.event("f", ADA, NOW)
        told.fields, told.data, told.identities = data, orjson.dumps(data), ()
        told.customer = ada
        async with profile.store.work() as work:
            await profile.erasures.finished(work, told)
    async with profile.store.work() as work:
        done = await profile.erasures.receipt(work, erasure.erasure_id)
    assert done.completed_micros == NOW
    assert done.parts["channel"].erased == {"a": 1, "b": 2}


async def test_an_id_that_was_erased_has_one_erasure_which_can_be_sent_again(profile):
    ada, _ = await known(profile)
    first = await erase(profile, ADA)
    same = await erase(profile, f"customer:{ada}", "r-2")
    assert same.erasure_id == first.erasure_id
    assert len(await sent(profile)) == 1
    again = await erase(profile, f"customer:{ada}", "r-3", again=True)
    assert again.erasure_id == first.erasure_id
    one, two = await sent(profile)
    assert one.id != two.id
    addresses = [sorted(address.lookup for address in told.erasure.addresses) for told in (one, two)]
    assert addresses[0] == addresses[1]
    assert again.parts["decision"].open_customers == [ada]

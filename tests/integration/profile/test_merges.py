"""Who is who, on real PostgreSQL: merges, their undoing, splits, numbers that change hands."""

import asyncio
from pathlib import Path

import orjson
import pytest

from services.profile.adapters.audience import AudienceReader
from services.profile.adapters.packing import Types
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.identities import Identities, Suggested
from services.profile.app.joining import Joining
from services.profile.app.merging import Merging
from services.profile.app.ports import ContentionError
from services.profile.app.questions import ContactQuestion, Questions
from services.profile.app.take_events import ACCEPTED, EventTaker
from services.profile.domain.audience import Audience, Place
from services.profile.domain.errors import IdentityRefusedError, RejectedError, RejectionReason
from services.profile.domain.events import EventChecker, RawEvent
from services.profile.domain.merges import SuggestionState
from services.profile.main import MIGRATIONS
from services.runtime.clock import EventClock
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.identities import parse_identity
from services.vocabulary.words import Category, Channel, ConsentState, Purpose, RefusalReason
from tests.fakes.keys import sealer
from tests.integration.profile.conftest import until

CATALOGUE = load_catalogue(Path(__file__).parents[3] / "rules")
NOW = 1_790_000_000_000_000
DAY = 86_400_000_000
ANNA, OLD, BOB = "msisdn:+33600000001", "msisdn:+33600000002", "msisdn:+33600000003"
GRANTED = {"purpose": "marketing", "state": "granted", "by": "person"}
WITHDRAWN = {"purpose": "marketing", "channel": "sms", "state": "withdrawn", "by": "person"}


class Company:
    """The profile's use cases on one database."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, pool_size=3)
        types = Types(CATALOGUE, sealer())
        packer = SnapshotPacker(types)
        self.store = PostgresStore(self.database, Outbox(self.database), types)
        self.taker = EventTaker(CATALOGUE, packer)
        self.checker = EventChecker(CATALOGUE, orjson.loads, orjson.dumps, wall=False)
        self.questions = Questions(CATALOGUE, packer)
        self.merging = Merging(CATALOGUE, self.questions, self.checker, packer, orjson.dumps)
        self.suggested = Suggested(self.merging)
        self.identities = Identities(CATALOGUE)
        self.told = 0

    async def take(self, subject: str, kind: str, at: int = 0, *, source: str = "test", **data):
        """One event; its outcome, and whose it was."""
        self.told += 1
        time = NOW + at
        if subject.startswith("customer:"):
            raw = RawEvent(f"e{self.told}", "channel", kind, time, "", orjson.dumps(data))
            event = self.checker.check_own(raw, int(subject[9:]), NOW, hops=0, line="")
        else:
            raw = RawEvent(f"e{self.told}", source, kind, time, subject, orjson.dumps(data))
            event = self.checker.check(raw, NOW)
        async with self.store.work() as work:
            (outcome,) = await self.taker.take(work, [event], NOW)
        return outcome, event.customer

    async def take_in(self, work, subject: str) -> None:
        """An event in a transaction that goes on."""
        raw = RawEvent(
            f"in-{subject}", "test", "case.opened", NOW, subject, b'{"case": "c", "topic": "bill"}'
        )
        assert await self.taker.take(work, [self.checker.check(raw, NOW)], NOW) == [ACCEPTED]

    async def somebody_waits(self):
        return await self.rows("SELECT 1 FROM pg_locks WHERE NOT granted")

    async def case(self, subject: str, name: str, at: int = 0) -> int:
        outcome, customer = await self.take(subject, "case.opened", at, case=name, topic="bill")
        assert outcome is ACCEPTED
        return customer

    async def merge(self, other: str, into: str):
        async with self.store.work() as work:
            ids = [await self.questions.find(work, subject) for subject in (other, into)]
            return await self.merging.merge(work, *ids, "same person", NOW)

    async def undo(self, merge_id: int):
        async with self.store.work() as work:
            return await self.merging.undo(work, merge_id, "two people", NOW)

    async def split(self, subject: str, *identities: str):
        named = [parse_identity(text) for text in identities]
        async with self.store.work() as work:
            return await self.merging.split(work, subject, named, "a daughter", NOW)

    async def assign(self, subject: str, identity: str, at: int = 0):
        async with self.store.work() as work:
            customer = await self.questions.find(work, subject)
            return await self.identities.assign(work, customer, parse_identity(identity), NOW + at, "", NOW)

    async def known(self, subject: str):
        """Customer id, cases in order, traits, identities with their lines, and marketing by SMS and
        e-mail."""
        async with self.store.work() as work:
            customer = await self.questions.one(work, await self.questions.find(work, subject))
        cases = customer.kept.open_activity("case.opened")
        names = [] if cases is None else [round((time - NOW) / 1) for time in cases.times]
        said = [
            customer.record.consents.effective(Purpose.MARKETING, one, NOW + DAY)
            for one in (Channel.SMS, Channel.EMAIL)
        ]
        return (
            customer.id,
            names,
            {(name, line): trait.value for (name, line), trait in customer.traits.items()},
            {identity.text: line for identity, line in customer.record.identities},
            tuple(said),
        )

    async def rows(self, sql: str):
        async with self.database.transaction() as tx:
            return await tx.rows(sql)


@pytest.fixture
async def company(make_database):
    made = Company(make_database(MIGRATIONS))
    yield made
    await made.database.close()


async def test_two_become_one_and_two_again_each_with_what_came_since(company):
    anna = await company.case(f"crm:1 {ANNA}", "a1", 10)
    old = await company.case(f"{OLD} email:old@example.org", "o1", 5)
    await company.take(ANNA, "profile.updated", 1, traits={"plan": "s", "stage": "use"})
    await company.take(OLD, "profile.updated", 2, traits={"plan": "l", "stage": "leave"})
    await company.take(ANNA, "consent.changed", 9, **GRANTED)
    await company.take(OLD, "consent.changed", 3, **WITHDRAWN)
    before = {subject: await company.known(subject) for subject in (ANNA, OLD)}
    merge = await company.merge(OLD, "crm:1")
    assert (merge.from_customer, merge.into_customer) == (old, anna)

    # one person under every id and identity; the stricter consent holds
    one = await company.known(OLD)
    assert one == await company.known(f"customer:{old}") == await company.known(ANNA)
    assert one[0] == anna
    assert one[1] == [5, 10]
    assert one[2] == {("plan", ""): "s", ("plan", "2"): "l", ("stage", ""): "leave"}
    assert one[3] == {"crm:1": "", ANNA: "", OLD: "2", "email:old@example.org": ""}
    assert one[4] == (ConsentState.WITHDRAWN, ConsentState.GRANTED)
    async with company.database.transaction() as transaction:
        everybody = await AudienceReader("UTC").members(transaction, Audience(), Place(), 9)
    assert [customer for customer, _ in everybody.members] == [anna]
    async with company.store.work() as work:
        (answer,) = await company.questions.contacts(work, [ContactQuestion(old, Category.SALES)], NOW)
    assert (answer.customer, answer.merged_customers) == (old, (anna,))
    by_channel = {permission.channel: permission for permission in answer.permissions}
    assert by_channel[Channel.SMS].reason is RefusalReason.NO_CONSENT
    assert by_channel[Channel.SMS].address == OLD.removeprefix("msisdn:")  # the line it had under its own id

    # what comes since is the person's, and remembers under which id it came
    assert await company.case(OLD, "o2", 20) == anna
    assert await company.case(f"customer:{old}", "o3", 21) == anna
    assert await company.case(f"{ANNA} cookie:new", "a2", 22) == anna
    assert await company.case(f"{OLD} device:new", "o4", 23) == anna
    await company.take(OLD, "profile.updated", 24, traits={"stage": "buy"})
    await company.take(
        OLD, "consent.changed", 30, purpose="marketing", channel="email", state="denied", by="person"
    )
    with pytest.raises(IdentityRefusedError, match="one already"):
        await company.merge("crm:1", OLD)

    # an identity that moved on meanwhile stays where it is
    bob = await company.case(BOB, "b1")
    await company.assign(BOB, "email:old@example.org", 40)
    undone = await company.undo(merge.id)
    assert (undone.from_customer, undone.customer) == (old, anna)
    assert (undone.returned, undone.elsewhere, undone.events) == (2, 1, 5)
    anna_now, old_now = await company.known(ANNA), await company.known(OLD)
    assert anna_now[:2] == (anna, [10, 22])
    assert anna_now[2] == before[ANNA][2]
    assert anna_now[3] == {"crm:1": "", ANNA: "", "cookie:new": ""}
    assert old_now[:2] == (old, [5, 20, 21, 23])
    assert old_now[2] == {("plan", ""): "l", ("stage", ""): "buy"}
    assert old_now[3] == {OLD: "", "device:new": ""}
    # what was said since holds for both, and nobody has the other's old yes
    assert anna_now[4] == (ConsentState.GRANTED, ConsentState.DENIED)
    assert old_now[4] == (ConsentState.WITHDRAWN, ConsentState.DENIED)
    assert (await company.known("email:old@example.org"))[0] == bob
    assert await company.case(OLD, "o5") == old
    # what is theirs again is marked as nobody else's
    for table in ("identity", "event"):
        assert await company.rows(f"SELECT DISTINCT via FROM {table} WHERE customer = {old}") == [(0,)]
    with pytest.raises(IdentityRefusedError, match="taken back before"):
        await company.undo(merge.id)
    # every ledger proves what counts
    async with company.store.work() as work:
        lines = (await work.ledgers([old])).lines[old]
    assert [line.entry.consent.state for line in lines] == [ConsentState.WITHDRAWN, ConsentState.DENIED]


async def test_an_earlier_merge_is_taken_back_and_a_later_one_stays(company):
    anna, old, bob = [await company.case(subject, "c", at) for subject, at in ((ANNA, 1), (OLD, 2), (BOB, 3))]
    first = await company.merge(OLD, ANNA)
    await company.case(OLD, "o", 10)
    second = await company.merge(BOB, ANNA)
    await company.case(BOB, "b", 20)
    await company.case(ANNA, "a", 30)
    await company.undo(first.id)
    assert (await company.known(ANNA))[:2] == (anna, [1, 3, 20, 30])
    assert (await company.known(OLD))[:2] == (old, [2, 10])
    assert (await company.known(BOB))[0] == anna
    await company.undo(second.id)
    assert (await company.known(ANNA))[:2] == (anna, [1, 30])
    assert (await company.known(BOB))[:2] == (bob, [3, 20])
    # along a chain the last is taken back first
    third = await company.merge(OLD, ANNA)
    fourth = await company.merge(ANNA, BOB)
    await company.case(OLD, "o", 40)
    with pytest.raises(IdentityRefusedError, match="since"):
        await company.undo(third.id)
    assert (await company.known(f"customer:{old}"))[:2] == (bob, [1, 2, 3, 10, 20, 30, 40])
    await company.undo(fourth.id)
    assert (await company.known(OLD))[:2] == (anna, [1, 2, 10, 30, 40])
    await company.undo(third.id)
    assert (await company.known(OLD))[:2] == (old, [2, 10, 40])


async def test_who_is_two_is_told_apart_with_refusals_and_together_again(company):
    anna = await company.case(f"crm:1 {ANNA} {OLD}", "c1", 1)
    for at, subject in ((2, OLD), (3, ANNA)):
        await company.case(subject, "c", at)
    await company.take(OLD, "profile.updated", 4, traits={"plan": "l"})
    await company.take(ANNA, "consent.changed", 9, **GRANTED)
    await company.take(ANNA, "consent.changed", 10, **WITHDRAWN)
    with pytest.raises(IdentityRefusedError, match="not one of"):
        await company.split("crm:1", BOB)
    with pytest.raises(IdentityRefusedError, match="left"):
        await company.split("crm:1", "crm:1", ANNA, OLD)
    split, moved = await company.split("crm:1", OLD)
    assert moved == 2
    daughter, mother = await company.known(OLD), await company.known(ANNA)
    assert daughter == (
        split.from_customer,
        [2],
        {("plan", ""): "l"},
        {OLD: ""},
        (ConsentState.WITHDRAWN, None),
    )
    assert mother[:2] == (anna, [1, 3])
    assert mother[2:] == ({}, {"crm:1": "", ANNA: ""}, (ConsentState.WITHDRAWN, ConsentState.GRANTED))
    await company.undo(split.id)
    assert (await company.known(OLD))[:2] == (anna, [1, 2, 3])
    async with company.store.work() as work:
        history = await company.identities.history(work, anna)
    kinds = [(entry.merge.kind.value, bool(entry.merge.undone_micros)) for entry in history if entry.merge]
    assert sorted(kinds) == [("merge", False), ("split", True)]


async def test_a_recycled_number_takes_nothing_along_and_late_events_find_who_had_it(company):
    old = await company.case(f"crm:1 {ANNA}", "o1", -50)
    await company.take(ANNA, "consent.changed", -40, **GRANTED)
    outcome, new = await company.take("crm:2", "identity.assigned", -10, source="billing", identity=ANNA)
    assert outcome is ACCEPTED
    fresh = await company.known(ANNA)
    assert fresh == (new, [], {}, {"crm:2": "", ANNA: ""}, (None, None))
    assert (await company.known("crm:1"))[3] == {"crm:1": ""}
    assert (await company.known("crm:1"))[4] == (ConsentState.GRANTED, ConsentState.GRANTED)
    assert await company.case(ANNA, "late", -20) == old
    assert await company.case(ANNA, "now", -5) == new
    # the value stands with the identities only
    (data,) = [
        bytes(row[0]) for row in await company.rows("SELECT data FROM event WHERE type = 'identity.assigned'")
    ]
    assert orjson.loads(data) == {"identity": "msisdn"}
    # who may not say so is refused, and so is what nobody had then
    outcome, _ = await company.take("crm:1", "identity.assigned", source="web", identity=ANNA)
    assert isinstance(outcome, RejectedError)
    assert (outcome.reason, outcome.field) == (RejectionReason.INVALID_FIELD, "source")
    await company.take("crm:2", "identity.released", -4, source="billing", identity=ANNA)
    assert (await company.known("crm:2"))[3] == {"crm:2": ""}
    assert await company.case(ANNA, "before", -5) == new
    third = await company.case(ANNA, "after", -3)
    assert third not in {old, new}
    await company.take("crm:2", "identity.assigned", -30, source="billing", identity=BOB)
    outcome, _ = await company.take(BOB, "case.opened", -35, case="x", topic="bill")
    assert isinstance(outcome, RejectedError)
    assert outcome.reason is RejectionReason.UNKNOWN_SUBJECT
    # news of the past, told late, are put where they belong
    await company.assign("crm:1", BOB, -33)
    assert await company.case(BOB, "then", -32) == old
    assert await company.case(BOB, "since", -29) == new


async def test_two_events_that_claim_an_identity_at_once_leave_it_with_one_and_a_suggestion(company):
    anna, bob = await company.case("crm:1", "c"), await company.case("crm:2", "c")
    async with company.store.work() as first:
        await company.take_in(first, "crm:1 email:k@example.org")
        second = asyncio.create_task(company.case("crm:2 email:k@example.org", "c"))
        await until(company.somebody_waits)
    assert await second == bob
    assert (await company.known("email:k@example.org"))[0] == anna
    assert (await company.known("crm:2"))[3] == {"crm:2": ""}
    async with company.store.work() as work:
        (told,) = await work.suggestions(SuggestionState.OPEN, 0, 9)
    assert ({told.customer, told.other}, told.identities[1].text) == ({anna, bob}, "email:k@example.org")
    assert await company.rows("SELECT customer FROM identity_conflict") == [(bob,)]


async def test_who_assigns_what_an_event_claims_at_once_is_told_to_look_again(company):
    anna, bob = await company.case("crm:1", "c"), await company.case("crm:2", "c")
    async with company.store.work() as first:
        await company.take_in(first, f"crm:1 {ANNA}")
        second = asyncio.create_task(company.assign("crm:2", ANNA))
        await until(company.somebody_waits)
    with pytest.raises(ContentionError):
        await second
    assert (await company.known("crm:1"))[3] == {"crm:1": "", ANNA: ""}
    moved = await company.assign("crm:2", ANNA)
    assert (moved.before, moved.customer) == (anna, bob)
    assert (await company.known("crm:1"))[3] == {"crm:1": ""}


async def test_what_may_be_one_is_suggested_once_and_decided(company):
    anna, old = await company.case("crm:1", "c"), await company.case("email:a@example.org", "c")
    for _ in range(2):
        assert await company.case("crm:1 email:a@example.org", "c") == anna
    await company.case("crm:1 cookie:k", "c")
    async with company.store.work() as work:
        (found,) = await work.suggestions(SuggestionState.OPEN, 0, 9)
        assert (found.customer, found.other) == (anna, old)
        assert [identity.text for identity in found.identities] == ["crm:1", "email:a@example.org"]
        await company.suggested.decide(work, found.id, "", NOW, accept=False)
    await company.case("crm:1 email:a@example.org", "c")
    # a person has one crm id: a second is not theirs
    await company.case("crm:9 cookie:k", "c")
    assert (await company.known("cookie:k"))[3] == {"crm:1": "", "cookie:k": ""}
    async with company.store.work() as work:
        assert await work.suggestions(SuggestionState.OPEN, 0, 9) == []
        with pytest.raises(IdentityRefusedError, match="dismissed"):
            await company.suggested.decide(work, found.id, "", NOW, accept=True)
    await company.rows("UPDATE identity_suggestion SET state = 'joining' RETURNING id")
    joining = Joining(company.store, company.suggested, EventClock(NOW))
    assert await joining.join() == 1
    assert (await company.known("email:a@example.org"))[0] == anna
    assert await joining.join() == 0

"""The ledger on PostgreSQL: chained with the event, under many writers, with lines of the version before."""

import asyncio

import pytest

from services.profile.adapters.chaining import OPEN_MICROS, Chaining
from services.profile.domain.ledger import first_break
from services.profile.main import MIGRATIONS
from tests.fakes.channel import SetClock
from tests.integration.profile.test_store import NOW, Profile

OLD = (
    "INSERT INTO consent_ledger (customer, purpose, channel, state, said_by, time_micros, expiry_micros, "
    "evidence, wording, source, event_id) VALUES (1, 'marketing', NULL, %s, 'person', 5, 0, 'a form', '', "
    "'old', 'o1')"
)


@pytest.fixture
async def profile(make_database):
    made = Profile(make_database(MIGRATIONS))
    yield made
    await made.database.close()


def consent(profile, event_id: str, subject: str = "crm:1", time: int = NOW, state: str = "granted"):
    said = {"purpose": "marketing", "state": state, "by": "person", "evidence": f"form {event_id}"}
    return profile.event(event_id, subject, time, "consent.changed", **said)


async def breaks(profile, customer: int = 1):
    async with profile.store.work() as work:
        found = await work.ledgers([customer])
    return first_break(
        customer, found.lines.get(customer, []), found.heads.get(customer), profile.store.mac
    ), found


async def test_a_chain_grows_with_each_batch_whoever_writes_and_a_change_is_found(profile):
    intake = profile.intake()
    events = [consent(profile, f"e{n}", f"crm:{n % 3}", NOW - n) for n in range(60)]
    await asyncio.gather(*(intake.take(events[at : at + 7]) for at in range(0, 60, 7)))
    for customer in (1, 2, 3):
        broken, found = await breaks(profile, customer)
        assert broken is None
        assert sorted(line.number for line in found.lines[customer]) == list(range(1, 21))
    async with profile.store.work() as work:
        assert await work.forget_texts([2]) == 20
        assert await work.forget_texts([2]) == 0
    assert (await breaks(profile, 2))[0] is None
    assert await profile.rows("SELECT DISTINCT evidence, salt FROM consent_ledger WHERE customer = 2") == [
        ("", b"")
    ]
    for forged, number in (
        ("UPDATE consent_ledger SET state = 'denied' WHERE customer = 1 AND number = 4", 4),
        ("DELETE FROM consent_ledger WHERE customer = 3 AND number = 20", 20),
        ("DELETE FROM consent_ledger WHERE customer = 2", 1),
    ):
        async with profile.database.transaction() as tx:
            await tx.execute(forged)
        customer = int(forged.split("customer = ")[1].split()[0])
        broken, _ = await breaks(profile, customer)
        assert (broken.customer, broken.number) == (customer, number)


async def test_lines_of_the_version_before_are_chained_once_and_for_an_hour(profile):
    await profile.intake().take([consent(profile, "e1")])
    clock = SetClock(NOW)
    chaining = Chaining(profile.store, clock)
    async with profile.database.transaction() as tx:
        await tx.execute(OLD, ("denied",))
    broken, found = await breaks(profile)
    assert (broken, len(found.unchained[1])) == (None, 1)
    assert await chaining.chain() == 1
    broken, found = await breaks(profile)
    assert (broken, found.unchained) == (None, {})
    assert [line.entry.source for line in found.lines[1]] == ["test", "old"]
    assert found.lines[1][1].entry.recorded_micros > 0
    await profile.intake().take([consent(profile, "e2")])
    clock.wall += OPEN_MICROS + 1
    assert await chaining.chain() == 0
    async with profile.database.transaction() as tx:
        await tx.execute(OLD, ("granted",))
    assert await chaining.chain() == 0  # it is over: nobody may write such a line any more
    broken, found = await breaks(profile)
    assert (broken, len(found.unchained[1])) == (None, 1)


async def test_texts_of_lines_not_chained_yet_are_forgotten_too(profile):
    await profile.intake().take([consent(profile, "e1")])
    async with profile.database.transaction() as tx:
        await tx.execute(OLD, ("denied",))
    async with profile.store.work() as work:
        await work.customers([1], ())
        assert await work.forget_texts([1]) == 2
    broken, found = await breaks(profile)
    assert (broken, found.unchained, found.heads[1].length) == (None, {}, 2)
    assert not any(line.entry.evidence for line in found.lines[1])


async def test_ledgers_are_walked_by_customer(profile):
    await profile.intake().take([consent(profile, f"e{n}", f"crm:{n}") for n in range(5)])
    async with profile.store.work() as work:
        first, last = await work.ledgers_after(0, 3)
        rest, end = await work.ledgers_after(last, 3)
    assert sorted(first.lines) == [1, 2, 3]
    assert (sorted(rest.lines), sorted(rest.heads), end) == ([4, 5], [4, 5], None)

"""Customers over a real PostgreSQL, as several processes serve them, against a plain model of them.

Whatever comes in whatever order, and however often: everybody has exactly what is theirs. After every step

- each identity is whose the model says, and all that is read of a person is of one customer;
- of each trait the latest word is known, and of each type every event, once;
- on each channel that state counts which one finds by searching all that was ever said, and a sender is
  allowed what it allows and nothing else;
- the ledger's chain holds, and the timeline tells each thing once, in one order, from both ends and by pages.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis.strategies as st
import orjson
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from rapport.types.v1 import stream_pb2

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.changes import Changes
from services.profile.app.erasure import Erasures
from services.profile.app.intake import Intake
from services.profile.app.merging import Merging
from services.profile.app.questions import ContactQuestion, Questions
from services.profile.app.take_events import EventTaker
from services.profile.app.timeline import Timelines
from services.profile.domain.consent import Consent
from services.profile.domain.customer import Customer
from services.profile.domain.erasure import Ground
from services.profile.domain.errors import IdentityRefusedError, UnknownSubjectError
from services.profile.domain.events import EventChecker, RawEvent
from services.profile.domain.ledger import first_break
from services.profile.domain.timeline import Kind, Wanted
from services.profile.main import MIGRATIONS
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.identities import parse_identity
from services.vocabulary.words import Category, Channel, ConsentBy, ConsentState, Purpose
from tests.behaviours.machines import Processes, bounded
from tests.behaviours.population import CHANNELS, KEYS, PURPOSES, REFUSALS, Done, Person, Population, Word
from tests.fakes.keys import sealer

CATALOGUE = load_catalogue(Path(__file__).parents[2] / "rules")
NOON = 1_790_000_000_000_000
HOUR = 3_600_000_000
NOW = NOON + 1_000 * HOUR
NOW_HOUR = 6
PROCESSES = 2


class Process:
    """One process of the profile service, as far as it takes events and answers."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, pool_size=4)
        types = Types(CATALOGUE, sealer())
        packer = SnapshotPacker(types)
        self.store = PostgresStore(self.database, Outbox(self.database), types)
        self.taker = EventTaker(CATALOGUE, packer)
        self.checker = EventChecker(CATALOGUE, orjson.loads, orjson.dumps, wall=False)
        self.questions = Questions(CATALOGUE, packer)
        self.changes = Changes(CATALOGUE, self.taker, self.questions, packer, orjson.dumps, wall=False)
        self.erasures = Erasures(CATALOGUE, self.questions)
        self.merging = Merging(CATALOGUE, self.questions, self.checker, packer, orjson.dumps)
        self.timelines = Timelines(CATALOGUE, self.questions)
        self.intake = Intake(self.store, self.taker, lambda: NOW, self._fails, lanes=2)

    async def _fails(self, _work: object, _event: object, error: Exception) -> None:
        raise error


class Town(Processes):
    """Those of the profile; every example has identities of its own."""

    def __init__(self, make_database: Callable[..., str]) -> None:
        self._url = make_database(MIGRATIONS)
        self.processes: list[Process] = []
        super().__init__()

    async def _open(self) -> None:
        self.processes = [Process(self._url) for _ in range(PROCESSES)]

    async def _close(self) -> None:
        for process in self.processes:
            await process.database.close()


KINDS = ("crm", "email", "device", "cookie")
TYPES = ("consent.changed", "profile.updated", "topup.received")
subjects = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 1)), min_size=1, max_size=2, unique=True)
words = st.tuples(
    st.sampled_from((PURPOSES[0], *PURPOSES)),
    st.sampled_from(CHANNELS),
    st.sampled_from(
        (ConsentState.GRANTED, ConsentState.GRANTED, ConsentState.WITHDRAWN, ConsentState.DENIED)
    ),
    st.sampled_from(ConsentBy),
)
times = st.integers(0, 6)
"""Hours: some things are said at the same time, and much is heard late; the last stands for now."""
told = st.tuples(subjects, st.sampled_from(TYPES), times, words)


class CustomersMachine(RuleBasedStateMachine):
    """Tells, repeats, asks, restarts, and compares."""

    town: Town

    def __init__(self) -> None:
        super().__init__()
        self.own = uuid4().hex[:12]
        self.model = Population()
        self.number = 0
        self.sent: list[tuple[str, list[str], str, int, dict[str, object]]] = []

    @initialize(said=st.lists(st.tuples(words, times), min_size=3, max_size=6))
    def some_are_known(self, said: list[Any]) -> None:
        for place, (word, hours) in enumerate(said):
            who = [(KINDS[place % 3], 0)]
            self._tell(self._event(who, "consent.changed", hours, word), 0)
            self._tell(self._event(who, "profile.updated", hours, word), 1)
        self.everybody_has_what_is_theirs()

    @rule(batch=st.lists(told, min_size=1, max_size=5), process=st.integers(0, PROCESSES - 1))
    def events_come(self, batch: list[Any], process: int) -> None:
        for one in batch:
            # one at a time: of events told together the first decides whose an identity is, as here
            self._tell(self._event(*one), process)

    @rule(data=st.data(), process=st.integers(0, PROCESSES - 1))
    def events_come_again(self, data: st.DataObject, process: int) -> None:
        if self.sent:
            self._tell(data.draw(st.sampled_from(self.sent)), process)

    @rule(batch=st.lists(told, min_size=2, max_size=6))
    def known_customers_have_events_at_once(self, batch: list[Any]) -> None:
        """By several processes, of those who are known: nobody is made, so the order decides nothing."""
        events = []
        for subject, event_type, hours, word in batch:
            known = [one for one in map(self._identity, subject) if self.model.owner(one) is not None]
            if known:
                events.append(self._event(subject, event_type, hours, word, identities=known[:1]))
        self.town.together(*(self._send(event, place % PROCESSES) for place, event in enumerate(events)))
        for event in events:
            self._remember(event)

    @rule(data=st.data(), word=words, hours=times, process=st.integers(0, PROCESSES - 1))
    def a_consent_is_recorded(self, data: st.DataObject, word: Any, hours: int, process: int) -> None:
        known = [one for person in self.model.people for one in person.identities]
        identities = [data.draw(st.sampled_from([*known, self._identity(("crm", 9))]), label="whose")]
        person = self.model.meant(identities)
        self.number += 1
        said = Word(*word, time=self._time(hours))
        try:
            self.town.run(self._record(" ".join(identities), said, process))
        except UnknownSubjectError:
            assert person is None
            return
        assert person is not None
        via = person.via.get(identities[0], 0)
        person.done.append(Done(f"recorded-{self.number}", "consent.changed", said.time, via=via))
        person.hear(said, newest=hours == NOW_HOUR)

    @rule(subject=subjects, hours=st.integers(0, 5), process=st.integers(0, PROCESSES - 1))
    def somebody_is_erased(self, subject: list[Any], hours: int, process: int) -> None:
        person = self.model.meant([self._identity(one) for one in subject[:1]])
        if person is None or person.identities[0] != self._identity(subject[0]):
            return  # not too often
        time = NOON + hours * HOUR
        self.town.run(self._erase(person.identities[-1], time, process))
        self.model.erase(person, time)

    @rule(data=st.data(), process=st.integers(0, PROCESSES - 1))
    def two_are_found_to_be_one(self, data: st.DataObject, process: int) -> None:
        if not self.model.people:
            return
        into = data.draw(st.sampled_from(self.model.people), label="into")
        others = [one for one in self.model.people if one is not into]
        gone = data.draw(st.sampled_from([*others, *others, into]), label="gone")
        try:
            merge = self.town.run(self._merge(gone.ids[0], into.ids[0], process))
        except IdentityRefusedError:
            assert into is gone
            return
        self.model.merge(merge, gone, into)

    @rule(data=st.data(), process=st.integers(0, PROCESSES - 1))
    def that_was_wrong(self, data: st.DataObject, process: int) -> None:
        if not self.model.merges:
            return
        merge = data.draw(st.sampled_from(self.model.merges))
        try:
            self.town.run(self._undo(merge.id, process))
        except (IdentityRefusedError, UnknownSubjectError):
            assert not self.model.may_undo(merge)
            return
        assert self.model.may_undo(merge)
        self.model.undo(merge)

    @rule(subject=subjects, process=st.integers(0, PROCESSES - 1))
    def somebody_is_two(self, subject: list[Any], process: int) -> None:
        identities = [self._identity(one) for one in subject]
        person = self.model.owner(identities[0])
        mine = [one for one in identities if person is not None and one in person.identities]
        if person is None or len(mine) == len(person.identities):
            return
        self.town.run(self._split(person.ids[0], mine, process))
        self.model.split(person, mine)

    @rule()
    def everything_restarts(self) -> None:
        self.town.restart()

    @invariant()
    def everybody_has_what_is_theirs(self) -> None:
        for number, person in enumerate(self.model.people):
            self.town.run(self._check(person, self.town.processes[number % PROCESSES]))

    @invariant()
    def of_the_erased_nothing_is_left_but_what_proves_their_consents(self) -> None:
        self.town.run(self._check_gone(self.town.processes[0]))

    async def _check_gone(self, process: Process) -> None:
        for person in self.model.gone:
            if not person.ids:
                continue  # nobody had looked at them before they went
            async with process.store.work() as work:
                assert await work.read_customers(person.ids) == {}
                left = await work.transaction.rows(
                    "SELECT event_id FROM event WHERE customer = ANY(%s::bigint[])", (person.ids,)
                )
                assert left == []
                for customer in person.ids:
                    ledgers = await work.ledgers([customer])
                    lines = ledgers.lines.get(customer, [])
                    assert first_break(customer, lines, ledgers.heads.get(customer), work._store.mac) is None
                    assert all(not (line.entry.evidence or line.entry.wording) for line in lines)

    async def _check(self, person: Person, process: Process) -> None:
        async with process.store.work() as work:
            owners = {await process.questions.find(work, identity) for identity in person.identities}
            assert len(owners) == 1, "a person's identities are one customer's"
            (customer,) = owners
            person.ids = person.ids or [customer]
            for number in person.ids:
                found = await process.questions.one(
                    work, await process.questions.find(work, f"customer:{number}")
                )
                assert found.id == customer == person.ids[0]
            assert set(found.record.merged_customers) == set(person.ids[1:])
            assert {identity.text for identity, _ in found.record.identities} == set(person.identities)
            plan = found.traits.get(("plan", ""))
            assert (None if plan is None else plan.value) == person.plan()
            for event_type in TYPES:
                activity = found.kept.open_activity(event_type)
                if event_type != "consent.changed" or person.told_all:
                    assert ([] if activity is None else activity.times) == person.times(event_type)
            for key in KEYS:
                state = found.record.consents.effective(*key, NOW)
                assert person.fits(key, state), (key, state, person.stands()[key])
            await self._check_contact(found, process, work)
            await self._check_ledger(person, work)
            await self._check_timeline(person, process, work, customer)

    async def _check_contact(self, customer: Customer, process: Process, work: Any) -> None:
        question = ContactQuestion(customer.id, Category.SALES)
        (answer,) = await process.questions.contacts(work, [question], NOW)
        (mail,) = [one for one in answer.permissions if one.channel is Channel.EMAIL]
        consents = customer.record.consents
        agreed = consents.effective(Purpose.MARKETING, Channel.EMAIL, NOW) is ConsentState.GRANTED
        has = any(identity.kind == "email" for identity, _ in customer.record.identities)
        assert mail.allowed == (agreed and has)
        (packed,) = await process.questions.snapshots(work, [f"customer:{customer.id}"], NOW)
        snapshot = stream_pb2.Snapshot.FromString(packed)
        withheld = consents.effective(Purpose.PROFILING_USAGE, None, NOW) in REFUSALS
        assert bool(snapshot.withheld_purposes) >= withheld

    async def _check_ledger(self, person: Person, work: Any) -> None:
        ledgers = await work.ledgers(person.ids)
        for customer in person.ids:
            lines = ledgers.lines.get(customer, [])
            assert first_break(customer, lines, ledgers.heads.get(customer), work._store.mac) is None
        if person.standing is None:
            assert len(ledgers.lines.get(person.ids[0], [])) == len(person.words)

    async def _check_timeline(self, person: Person, process: Process, work: Any, customer: int) -> None:
        async def page(size: int, **how: Any) -> Any:
            wanted = Wanted(frozenset(Kind), **how)
            return await process.timelines.page(
                work, f"customer:{customer}", wanted, size=size, for_person=False, now_micros=NOW
            )

        whole = [one.entry for one in (await page(500)).entries]
        assert whole == sorted(whole, key=lambda one: one.place, reverse=True)
        left_out = {Kind.IDENTITY} if person.standing is None else {Kind.IDENTITY, Kind.CONSENT}
        assert sorted(one.place.time_micros for one in whole if one.kind not in left_out) == sorted(
            one.time for one in person.done if person.standing is None or one.type != "consent.changed"
        )
        backwards = [one.entry for one in (await page(500, oldest_first=True)).entries]
        assert backwards == whole[::-1]
        paged: list[Any] = []
        more = True
        while more:
            part = await page(3, behind=paged[-1].place if paged else None)
            paged += [one.entry for one in part.entries]
            more = part.more
        assert paged == whole

    # telling

    def _identity(self, one: tuple[str, int]) -> str:
        kind, number = one
        return f"{kind}:{self.own}-{number}" + ("@example.org" if kind == "email" else "")

    def _event(
        self,
        subject: list[Any],
        event_type: str,
        hours: int,
        word: Any,
        identities: list[str] | None = None,
    ) -> tuple[str, list[str], str, int, dict[str, object]]:
        self.number += 1
        data: dict[str, object]
        time = self._time(hours)
        if event_type == "consent.changed":
            purpose, channel, state, by = word
            data = {"purpose": purpose.value, "state": state.value, "by": by.value}
            data |= {} if channel is None else {"channel": channel.value}
        elif event_type == "profile.updated":
            data = {"traits": {"plan": f"plan-{self.number}"}}
            time += self.number  # of two words of one time either may count
        else:
            data = {"amount": {"amount": "1.00", "currency": "EUR"}}
        identities = identities or [self._identity(one) for one in subject]
        event = (f"{self.own}-{self.number}", identities, event_type, time, data)
        self.sent.append(event)
        return event

    def _time(self, hours: int) -> int:
        """Now is later than all that was said before."""
        if hours == NOW_HOUR:
            return NOON + 100 * HOUR + self.number * 1_000_000
        return NOON + hours * HOUR

    def _tell(self, event: Any, process: int) -> None:
        self.town.run(self._send(event, process))
        self._remember(event)

    async def _send(self, event: Any, process: int) -> None:
        key, identities, event_type, time, data = event
        chosen = self.town.processes[process]
        raw = RawEvent(key, "test", event_type, time, " ".join(identities), orjson.dumps(data))
        await chosen.intake.take([chosen.checker.check(raw, NOW)])

    def _remember(self, event: Any) -> None:
        key, identities, event_type, time, data = event
        word = None
        if event_type == "consent.changed":
            channel = Channel(data["channel"]) if "channel" in data else None
            word = Word(
                Purpose(data["purpose"]), channel, ConsentState(data["state"]), ConsentBy(data["by"]), time
            )
        plan = data["traits"]["plan"] if event_type == "profile.updated" else ""
        newest = time >= NOON + 100 * HOUR and key not in self.model.taken
        self.model.take(identities, Done(key, event_type, time, plan), word, newest=newest)

    async def _erase(self, subject: str, time: int, process: int) -> None:
        chosen = self.town.processes[process]
        async with chosen.store.work() as work:
            await chosen.erasures.request(
                work,
                subject,
                ground=Ground.OBJECTED,
                by=ConsentBy.PERSON,
                reference="case",
                again=False,
                request_id=uuid4().hex,
                now_micros=time,
            )

    async def _merge(self, gone: int, into: int, process: int) -> int:
        chosen = self.town.processes[process]
        async with chosen.store.work() as work:
            return (await chosen.merging.merge(work, gone, into, "one person", NOW)).id

    async def _undo(self, merge_id: int, process: int) -> None:
        chosen = self.town.processes[process]
        async with chosen.store.work() as work:
            await chosen.merging.undo(work, merge_id, "two persons", NOW)

    async def _split(self, customer: int, identities: list[str], process: int) -> None:
        chosen = self.town.processes[process]
        named = [parse_identity(text) for text in identities]
        async with chosen.store.work() as work:
            await chosen.merging.split(work, f"customer:{customer}", named, "two persons", NOW)

    async def _record(self, subject: str, said: Word, process: int) -> None:
        chosen = self.town.processes[process]
        consent = Consent(said.purpose, said.channel, said.state, said.time, said.by)
        async with chosen.store.work() as work:
            await chosen.changes.record_consent(
                work, subject, [(consent, "evidence", "v1")], uuid4().hex, NOW
            )


def test_no_order_of_events_leaves_anybody_without_what_is_theirs(
    make_database: Callable[..., str],
) -> None:
    town = Town(make_database)
    try:
        machine = type("Customers", (CustomersMachine,), {"town": town})
        run_state_machine_as_test(machine, settings=bounded(examples=10, steps=10))
    finally:
        town.close()

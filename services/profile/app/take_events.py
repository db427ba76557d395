"""Take a batch of checked events in one transaction: keys, identities, state, and what is handed on."""

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from services.profile.app.account_changes import AccountChanges
from services.profile.app.cutting import Cutting
from services.profile.app.identities import ASSIGNED, MOVES, Identities
from services.profile.app.ports import (
    ContentionError,
    Handed,
    LedgerEntry,
    ListenedTypes,
    Packer,
    TakenEvent,
    ThingKey,
    Work,
)
from services.profile.app.successors import successor, with_successors
from services.profile.app.whose import Whose, of_the_erased
from services.profile.domain.accounts import ACCOUNT_EVENTS
from services.profile.domain.consent import entries_of
from services.profile.domain.customer import (
    Customer,
    consent_of,
    trait_updates,
)
from services.profile.domain.errors import IdentityRefusedError, RejectedError, RejectionReason
from services.profile.domain.events import CONSENT_CHANGED, PREFERENCE_CHANGED, CheckedEvent
from services.profile.domain.identities import Resolution
from services.profile.domain.merging import line_with
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.identities import Identity
from services.vocabulary.words import ConsentBy

if TYPE_CHECKING:
    from services.profile.domain.things import ThingState

_LAST = "last_"
_CHANGE_RECORDS = frozenset({CONSENT_CHANGED, PREFERENCE_CHANGED, *ACCOUNT_EVENTS})
_BREATHE = 40  # events between two chances for others on the loop


class Accepted:
    """The event was taken."""


class Duplicate:
    """The event had been taken before, under the same source and id."""


ACCEPTED = Accepted()
DUPLICATE = Duplicate()
Outcome = Accepted | Duplicate | RejectedError


class EventTaker:
    """Takes checked events; the same code for what comes in from outside and for our own events."""

    def __init__(self, catalogue: Catalogue, packer: Packer) -> None:
        self._catalogue = catalogue
        self._packer = packer
        self._identities = Identities(catalogue)
        kinds = catalogue.things.keys()
        self._kinds_named = {
            name: tuple(kinds & event_type.fields.keys()) for name, event_type in catalogue.events.items()
        }

    async def take(
        self,
        work: Work,
        events: Sequence[CheckedEvent],
        now_micros: int,
    ) -> list[Outcome]:
        """One outcome per event, in order; `now_micros` is business time."""
        listened = await work.listened()
        if not any(event.type.name in MOVES for event in events):
            return await self._batch(work, listened, now_micros).take(events)
        # whose an identity is changes between the events before and those behind
        outcomes: list[Outcome] = []
        for moves, part in groupby(events, key=lambda event: event.type.name in MOVES):
            if moves:
                outcomes += [await self._move(work, listened, event, now_micros) for event in part]
            else:
                outcomes += await self._batch(work, listened, now_micros).take(list(part))
        return outcomes

    def _batch(self, work: Work, listened: ListenedTypes, now_micros: int) -> "_Batch":
        return _Batch(self._catalogue, self._packer, work, listened, now_micros, self._kinds_named)

    async def _move(
        self, work: Work, listened: ListenedTypes, event: CheckedEvent, now_micros: int
    ) -> Outcome:
        """An event that gives an identity to a customer, or takes it from them."""
        try:
            identity = self._identities.moved_by(event)
        except RejectedError as rejection:
            return rejection
        line = str(event.fields.get("line", ""))
        # what goes on and is kept says of which kind it was: the value stands with the identities
        fields = {**event.fields, "identity": identity.kind}
        kept = replace(event, fields=fields, data=json.dumps(fields).encode())
        (outcome,) = await self._batch(work, listened, now_micros).take([kept])
        if outcome is not ACCEPTED:
            return outcome
        event.customer = kept.customer
        about = (work, kept.customer, identity, event.time_micros)
        try:
            if event.type.name == ASSIGNED:
                await self._identities.assign(*about, line, now_micros)
            else:
                await self._identities.release(*about, now_micros)
        except IdentityRefusedError:
            await work.note_conflicts([(kept.customer, (identity,))], now_micros)
        return outcome


class _Batch:
    """One transaction's worth of events on their way in."""

    def __init__(
        self,
        catalogue: Catalogue,
        packer: Packer,
        work: Work,
        listened: ListenedTypes,
        now_micros: int,
        kinds_named: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.catalogue = catalogue
        self.kinds_named = kinds_named
        self.work = work
        self.listened = listened.types
        self.absence = listened.absence
        self.last_times: dict[tuple[str, int], int] = {}
        self.now = now_micros
        self.customers: dict[int, Customer] = {}
        self.things: dict[ThingKey, ThingState] = {}
        self.changed_things: dict[ThingKey, ThingState] = {}
        self.cutting = Cutting(catalogue, packer, self.things, now_micros)
        self.handed = Handed()
        self.accounts = AccountChanges(catalogue, work, now_micros)
        self.whose = Whose(catalogue, work, now_micros)

    async def take(self, events: Sequence[CheckedEvent]) -> list[Outcome]:
        await self.whose.look_up(events)
        outcomes: dict[int, Outcome] = {
            place: refusal
            for place, event in enumerate(events)
            if (refusal := self.whose.refusal(event)) is not None
        }
        await self._refuse_erased(events, outcomes)
        fresh = await self._new_ones(events, outcomes)
        if not fresh:
            return self._done(outcomes, events)
        resolutions, created = await self.whose.resolve(fresh)
        related = await self.accounts.prepare(fresh, self.whose.owners)
        await self._load(fresh, resolutions, created, related)
        await self._follow(fresh)
        await self.whose.attach(fresh, resolutions, self.customers)
        fresh = await self._known_only(fresh, outcomes, events)
        await self.accounts.load(self.customers, fresh)
        await self._load_things(fresh)
        for number, event in enumerate(fresh, start=1):
            if event.thing is not None:
                self._apply_to_thing(event)
            else:
                self._apply(event)
            if number % _BREATHE == 0:
                await asyncio.sleep(0)
        self.cutting.cut_all()
        await self.accounts.save()
        await self.work.save({one.id: one for one in self.customers.values()}.values(), self.now)
        if self.last_times:
            await self.work.save_last_times(self.last_times)
        await self.work.save_things(self.changed_things.values())
        await self.work.keep(self.handed)
        return self._done(outcomes, events)

    # who is meant

    async def _refuse_erased(self, events: Sequence[CheckedEvent], outcomes: dict[int, Outcome]) -> None:
        """What happened before a person was erased is not taken; what happened later begins somebody new."""
        # also where somebody has the identity: whoever came after the erasure must not gain what was before
        named = {identity for event in events for identity in event.identities}
        erased = await self.work.erased_identities(named) if named else {}
        for place, event in enumerate(events) if erased else ():
            if any(event.time_micros <= erased.get(identity, -1) for identity in event.identities):
                outcomes[place] = of_the_erased("subject")

    async def _new_ones(
        self, events: Sequence[CheckedEvent], outcomes: dict[int, Outcome]
    ) -> list[CheckedEvent]:
        keys = [event.key for event in events]
        wanted = {
            key: event.time_micros
            for place, (key, event) in enumerate(zip(keys, events, strict=True))
            if place not in outcomes
        }
        new = await self.work.new_keys(wanted) if wanted else set()
        fresh: list[CheckedEvent] = []
        for place, event in enumerate(events):
            if place in outcomes:
                continue
            if keys[place] in new:
                new.remove(keys[place])
                outcomes[place] = ACCEPTED
                fresh.append(event)
            else:
                outcomes[place] = DUPLICATE
        return fresh

    async def _load(
        self,
        events: Sequence[CheckedEvent],
        resolutions: Mapping[int, Resolution],
        created: Mapping[int, Iterable[tuple[Identity, str]]],
        related: Collection[int],
    ) -> None:
        ids: set[int] = set(created) | set(related)
        records: set[int] = set(ids)
        for number, event in enumerate(events):
            resolution = resolutions.get(number)
            if resolution is not None:
                event.customer = resolution.customer
                event.line = event.line or resolution.line
                event.via = resolution.via
                if resolution.unowned:
                    records.add(event.customer)
            if not event.customer:
                continue
            ids.add(event.customer)
            name = event.type.name
            if (name in self.listened and not event.history) or name in _CHANGE_RECORDS:
                records.add(event.customer)
        self.customers = await self.work.customers(ids, records) if ids else {}
        for customer, identities in created.items():
            for identity, line in identities:
                self.customers[customer].add_identity(identity, line)

    async def _known_only(
        self, fresh: list[CheckedEvent], outcomes: dict[int, Outcome], events: Sequence[CheckedEvent]
    ) -> list[CheckedEvent]:
        """Our own events may name a customer that does not exist, or was erased."""
        unknown = [event for event in fresh if event.customer and event.customer not in self.customers]
        if not unknown:
            return fresh
        if any(event.identities for event in unknown):
            raise ContentionError  # erased since it was looked up whose they are: look again
        strangers = {id(event) for event in unknown}
        erased = await self.work.erased_customers({event.customer for event in unknown})
        for place, event in enumerate(events):
            if id(event) in strangers:
                outcomes[place] = (
                    of_the_erased("customer")
                    if event.customer in erased
                    else RejectedError(
                        RejectionReason.UNKNOWN_SUBJECT, "customer", "is unknown", "name a customer by its id"
                    )
                )
        await self.work.forget_keys([event.key for event in fresh if id(event) in strangers])
        return [event for event in fresh if id(event) not in strangers]

    async def _follow(self, events: Sequence[CheckedEvent]) -> None:
        """Events of customers that were merged become those of whom they were merged into."""
        merged = [customer for customer in self.customers.values() if customer.merged_into]
        if not merged:
            return
        everyone = await with_successors(self.work, merged)
        for event in events:
            before = everyone.get(event.customer)
            if before is None or not before.merged_into:
                continue
            who = successor(before, everyone)
            event.via = event.via or before.id
            event.line = line_with(who.record, before.record, event.line)
            event.customer = who.id
        # nothing has been applied yet, and these have their records; an old id names who they are now
        self.customers |= {number: successor(customer, everyone) for number, customer in everyone.items()}

    # things

    async def _load_things(self, events: Sequence[CheckedEvent]) -> None:
        own: set[ThingKey] = set()
        wanted: set[ThingKey] = set()
        kinds = self.catalogue.things
        for event in events:
            if event.thing is not None:
                own.add((event.thing.kind, event.thing.key))
                continue
            wanted.update(self._named_by(event))
            if event.type.name in self.listened and not event.history:
                customer = self.customers[event.customer]
                wanted.update((kind, key) for kind, key in customer.places.items() if kind in kinds)
            for update in trait_updates(event, self.catalogue):
                if not update.name.startswith(_LAST):
                    continue
                kind = update.name.removeprefix(_LAST)
                if kind in kinds and isinstance(update.value, str):
                    wanted.add((kind, update.value))
        if own or wanted:
            self.things = await self.work.things(own | wanted, own)
            self.cutting.things = self.things

    def _named_by(self, event: CheckedEvent) -> list[ThingKey]:
        kinds = self.kinds_named.get(event.type.name)
        if not kinds:
            return []
        return [(kind, value) for kind in kinds if isinstance(value := event.fields.get(kind), str)]

    def _apply_to_thing(self, event: CheckedEvent) -> None:
        assert event.thing is not None
        key = (event.thing.kind, event.thing.key)
        thing = self.things[key]
        self.cutting.cut_all()  # what waits was decided before the thing changed
        thing.apply(event.type, event.fields, event.time_micros)
        self.changed_things[key] = thing
        self.handed.events.append(TakenEvent(event, 0, thing.sequence, "", self.now, things=(thing.copy(),)))

    # customers

    def _apply(self, event: CheckedEvent) -> None:
        customer = self.customers[event.customer]
        self.cutting.cut(self.accounts.concerned(event))
        self.cutting.before(customer, event)
        if event.type.name == CONSENT_CHANGED:
            sequence = self._enter_in_ledger(event, customer)
        else:
            sequence = customer.apply(event, self.catalogue)
            self.accounts.apply(event)
        if self.absence and event.type.name in self.absence:
            key = (event.type.name, customer.id)
            self.last_times[key] = max(event.time_micros, self.last_times.get(key, event.time_micros))
        named = self._named_by(event)
        taken = TakenEvent(
            event,
            customer.id,
            sequence,
            event.line,
            self.now,
            things=tuple(self.things[key].copy() for key in named) if named else (),
        )
        self.handed.events.append(taken)
        if event.type.name in self.listened and not event.history:
            self.cutting.wait(customer, taken)

    def _enter_in_ledger(self, event: CheckedEvent, customer: Customer) -> int:
        """Apply a change of consent; gives its sequence. A grant that must be confirmed is held back."""
        if event.consent is None:
            event.consent = consent_of(event)
        terms = self.catalogue.purposes.get(event.consent.purpose)
        evidence = str(event.fields.get("evidence", ""))
        event.entries = entries_of(
            event.consent,
            terms.double_opt_in if terms is not None else (),
            proved=event.confirmed or (event.consent.by is ConsentBy.IMPORT and bool(evidence)),
        )
        consents = customer.record.consents
        before = [consents.prevailing(entry.purpose, entry.channel) for entry in event.entries]
        sequence = customer.apply(event, self.catalogue)
        self.handed.ledger += [
            LedgerEntry(
                customer.id,
                entry,
                event.source,
                event.id,
                evidence=evidence,
                wording=str(event.fields.get("wording", "")),
                before=counted,
                after=consents.prevailing(entry.purpose, entry.channel),
                actor=event.told_by,
                recorded_micros=self.now,
            )
            for entry, counted in zip(event.entries, before, strict=True)
        ]
        return sequence

    def _done(self, outcomes: Mapping[int, Outcome], events: Sequence[CheckedEvent]) -> list[Outcome]:
        return [outcomes[place] for place in range(len(events))]

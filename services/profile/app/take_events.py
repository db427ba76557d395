"""Take a batch of checked events in one transaction: keys, identities, state, and what is handed on."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.profile.app.account_changes import AccountChanges
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
from services.profile.domain.accounts import ACCOUNT_EVENTS, persons_to_be
from services.profile.domain.activity import SLACK_MICROS
from services.profile.domain.consent import entries_of
from services.profile.domain.customer import (
    Customer,
    consent_of,
    trait_updates,
)
from services.profile.domain.errors import RejectedError, RejectionReason
from services.profile.domain.events import CONSENT_CHANGED, PREFERENCE_CHANGED, CheckedEvent
from services.profile.domain.identities import Owner, Resolution, line_of_new, resolve
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


@dataclass(slots=True)
class _Pending:
    """Events of one customer that wait for a snapshot, since the oldest of their times."""

    events: list[TakenEvent] = field(default_factory=list)
    since_micros: int = 0


class EventTaker:
    """Takes checked events; the same code for what comes in from outside and for our own events."""

    def __init__(self, catalogue: Catalogue, packer: Packer) -> None:
        self._catalogue = catalogue
        self._packer = packer
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
        batch = _Batch(self._catalogue, self._packer, work, listened, now_micros, self._kinds_named)
        return await batch.take(events)


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
        self.packer = packer
        self.work = work
        self.listened = listened.types
        self.absence = listened.absence
        self.last_times: dict[tuple[str, int], int] = {}
        self.now = now_micros
        self.customers: dict[int, Customer] = {}
        self.things: dict[ThingKey, ThingState] = {}
        self.changed_things: dict[ThingKey, ThingState] = {}
        self.pending: dict[int, _Pending] = {}
        self.handed = Handed()
        self.accounts = AccountChanges(catalogue, work, now_micros)

    async def take(self, events: Sequence[CheckedEvent]) -> list[Outcome]:
        identities = {identity for event in events for identity in event.identities}
        identities.update(named for event in events for each in event.persons.values() for named in each)
        owners = await self.work.owners(identities) if identities else {}
        outcomes = self._refuse_strangers(events, owners)
        await self._refuse_erased(events, outcomes)
        fresh = await self._new_ones(events, outcomes)
        if not fresh:
            return self._done(outcomes, events)
        resolutions, created = await self._resolve(fresh, owners)
        related = await self.accounts.prepare(fresh, owners)
        await self._load(fresh, resolutions, created, related)
        fresh = await self._known_only(fresh, outcomes, events)
        await self._attach(resolutions)
        await self.accounts.load(self.customers, fresh)
        await self._load_things(fresh)
        for number, event in enumerate(fresh, start=1):
            if event.thing is not None:
                self._apply_to_thing(event)
            else:
                self._apply(event)
            if number % _BREATHE == 0:
                await asyncio.sleep(0)
        for customer, pending in self.pending.items():
            self._cut(self.customers[customer], pending)
        await self.accounts.save()
        await self.work.save(self.customers.values(), self.now)
        if self.last_times:
            await self.work.save_last_times(self.last_times)
        await self.work.save_things(self.changed_things.values())
        await self.work.keep(self.handed)
        return self._done(outcomes, events)

    # who is meant

    def _refuse_strangers(
        self, events: Sequence[CheckedEvent], owners: Mapping[Identity, Owner]
    ) -> dict[int, Outcome]:
        outcomes: dict[int, Outcome] = {}
        strict = self.catalogue.creates_customers_except
        for place, event in enumerate(events):
            if event.source in strict and event.identities and not any(i in owners for i in event.identities):
                outcomes[place] = RejectedError(
                    RejectionReason.UNKNOWN_SUBJECT,
                    "subject",
                    "is unknown, and this source creates no customers",
                    "send it once another source has named this identity",
                )
            elif event.source in strict:
                for role, identities in persons_to_be(event.persons).items():
                    if not any(identity in owners for identity in identities):
                        outcomes[place] = RejectedError(
                            RejectionReason.UNKNOWN_SUBJECT,
                            f"data.{role}",
                            "is unknown, and this source creates no customers",
                            "send it once another source has named this identity",
                        )
        return outcomes

    async def _refuse_erased(self, events: Sequence[CheckedEvent], outcomes: dict[int, Outcome]) -> None:
        """What happened before a person was erased is not taken; what happened later begins somebody new."""
        # also where somebody has the identity: whoever came after the erasure must not gain what was before
        named = {identity for event in events for identity in event.identities}
        erased = await self.work.erased_identities(named) if named else {}
        for place, event in enumerate(events) if erased else ():
            if any(event.time_micros <= erased.get(identity, -1) for identity in event.identities):
                outcomes[place] = _erased("subject")

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

    async def _resolve(
        self, events: Sequence[CheckedEvent], owners: dict[Identity, Owner]
    ) -> tuple[dict[int, Resolution], dict[int, list[tuple[Identity, str]]]]:
        """Whose each event is; customers are created for identities that nobody owns."""
        created: set[int] = set()
        while True:
            claims = await self._claims(events, owners)
            if not claims:
                break
            created.update(owner.customer for owner in claims.values())
            ordered = sorted(claims.items(), key=lambda claim: claim[0].text)
            won = await self.work.claim(ordered)
            owners.update({identity: claims[identity] for identity in won})
            lost = claims.keys() - won
            if lost:
                # somebody else was faster: look again
                owners.update(await self.work.owners(lost))
        resolutions = {
            number: resolution
            for number, event in enumerate(events)
            if event.identities and (resolution := resolve(event.identities, owners)) is not None
        }
        conflicts = [
            (resolution.customer, events[number].identities)
            for number, resolution in resolutions.items()
            if resolution.conflict
        ]
        if conflicts:
            await self.work.note_conflicts(conflicts, self.now)
        gained: dict[int, list[tuple[Identity, str]]] = {}
        for identity, owner in owners.items():
            if owner.customer in created:
                gained.setdefault(owner.customer, []).append((identity, owner.line))
        if gained:
            await self.work.add_customers(sorted(gained))
        return resolutions, gained

    async def _claims(
        self, events: Sequence[CheckedEvent], owners: Mapping[Identity, Owner]
    ) -> dict[Identity, Owner]:
        """Identities of nobody, put together where an event names them together."""
        group_of: dict[Identity, int] = {}
        groups: list[list[Identity]] = []
        for event in events:
            for identities in (event.identities, *persons_to_be(event.persons).values()):
                if not identities or any(identity in owners for identity in identities):
                    continue
                known = [group_of[identity] for identity in identities if identity in group_of]
                if known:
                    group = min(known)
                else:
                    group = len(groups)
                    groups.append([])
                for identity in identities:
                    if identity not in group_of:
                        group_of[identity] = group
                        groups[group].append(identity)
        if not groups:
            return {}
        ids = await self.work.new_customer_ids(len(groups))
        claims: dict[Identity, Owner] = {}
        for customer, members in zip(ids, groups, strict=True):
            held: list[tuple[Identity, str]] = []
            for identity in members:
                line = line_of_new(identity, held)
                held.append((identity, line))
                claims[identity] = Owner(customer, line)
        return claims

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
                    _erased("customer")
                    if event.customer in erased
                    else RejectedError(
                        RejectionReason.UNKNOWN_SUBJECT, "customer", "is unknown", "name a customer by its id"
                    )
                )
        await self.work.forget_keys([event.key for event in fresh if id(event) in strangers])
        return [event for event in fresh if id(event) not in strangers]

    async def _attach(self, resolutions: Mapping[int, Resolution]) -> None:
        """Identities that came along with a known one become the same customer's."""
        for resolution in resolutions.values():
            if not resolution.unowned:
                continue
            customer = self.customers[resolution.customer]
            held = customer.record.identities
            known = {identity for identity, _ in held}
            claims = [
                (identity, Owner(customer.id, line_of_new(identity, held)))
                for identity in sorted(set(resolution.unowned) - known, key=_text)
            ]
            won = await self.work.claim(claims) if claims else set()
            for identity, owner in claims:
                if identity in won:
                    customer.add_identity(identity, owner.line)

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
                kind = update.name.removeprefix(_LAST)
                if kind != update.name and kind in kinds and isinstance(update.value, str):
                    wanted.add((kind, update.value))
        if own or wanted:
            self.things = await self.work.things(own | wanted, own)

    def _named_by(self, event: CheckedEvent) -> list[ThingKey]:
        kinds = self.kinds_named.get(event.type.name)
        if not kinds:
            return []
        return [(kind, value) for kind in kinds if isinstance(value := event.fields.get(kind), str)]

    def _apply_to_thing(self, event: CheckedEvent) -> None:
        assert event.thing is not None
        key = (event.thing.kind, event.thing.key)
        thing = self.things[key]
        for customer, pending in self.pending.items():
            # what waits was decided before the thing changed
            self._cut(self.customers[customer], pending)
        self.pending.clear()
        thing.apply(event.type, event.fields, event.time_micros)
        self.changed_things[key] = thing
        self.handed.events.append(TakenEvent(event, 0, thing.sequence, "", self.now, things=(thing.copy(),)))

    # customers

    def _apply(self, event: CheckedEvent) -> None:
        customer = self.customers[event.customer]
        for other in self.accounts.concerned(event):
            if other in self.pending:
                self._cut(self.customers[other], self.pending.pop(other))
        pending = self.pending.get(customer.id)
        if pending is not None and (
            event.time_micros - pending.since_micros > SLACK_MICROS
            or customer.changes_facts(event, self.catalogue)
            or self.packer.has_ends(customer)
        ):
            self._cut(customer, self.pending.pop(customer.id))
            pending = None
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
            if pending is None:
                pending = self.pending[customer.id] = _Pending(since_micros=event.time_micros)
            pending.events.append(taken)
            pending.since_micros = min(pending.since_micros, event.time_micros)

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

    def _cut(self, customer: Customer, pending: _Pending) -> None:
        time_micros = max(taken.event.time_micros for taken in pending.events)
        snapshot = self.packer.snapshot(customer, self.things, time_micros, self.now)
        for taken in pending.events:
            taken.snapshot = snapshot

    def _done(self, outcomes: Mapping[int, Outcome], events: Sequence[CheckedEvent]) -> list[Outcome]:
        return [outcomes[place] for place in range(len(events))]


def _erased(field_name: str) -> RejectedError:
    return RejectedError(
        RejectionReason.ERASED,
        field_name,
        "is of a person who was erased, and this happened before",
        "take it out of the source, which is to forget the person too",
    )


def _text(identity: Identity) -> str:
    return identity.text

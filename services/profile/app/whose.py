"""Whose the events of a batch are: by the owners of their identities at the events' times."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from services.profile.app.ports import Work
from services.profile.domain.accounts import persons_to_be
from services.profile.domain.customer import Customer
from services.profile.domain.errors import RejectedError, RejectionReason
from services.profile.domain.events import CheckedEvent
from services.profile.domain.identities import (
    ERASED,
    Owner,
    Period,
    Resolution,
    line_of_new,
    owner_at,
    period_at,
    resolve,
)
from services.profile.domain.merges import Met, SuggestionState
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.identities import Identity
from services.vocabulary.identity_rules import Joins, joins_of

_STATES = {Joins.SUGGEST: SuggestionState.OPEN, Joins.MERGE: SuggestionState.JOINING}


class Whose:
    """The `owners` of a batch's identities now; `known`: identities that anybody has or had."""

    def __init__(self, catalogue: Catalogue, work: Work, now_micros: int) -> None:
        self._catalogue = catalogue
        self._work = work
        self._now = now_micros
        self.owners: dict[Identity, Owner] = {}
        self._then: dict[int, dict[Identity, Owner]] = {}
        self._erased: set[int] = set()
        self.known: set[Identity] = set()
        self._named: set[Identity] = set()

    async def look_up(self, events: Sequence[CheckedEvent]) -> None:
        """Whose the identities are; of events before their owners had them, whose they were then."""
        identities = {identity for event in events for identity in event.identities}
        identities.update(named for event in events for each in event.persons.values() for named in each)
        self._named = identities
        if not identities:
            return
        found = await self._work.owners(identities)
        self._learn(found)
        if not any(owner.since_micros for owner in found.values()):
            return
        early = [
            event
            for event in events
            if any(found[one].since_micros > event.time_micros for one in event.identities if one in found)
        ]
        if early:
            periods = await self._work.periods({one for event in early for one in event.identities})
            for event in early:
                self._then[id(event)] = _owners_at(event, periods)
                if _was_erased(event, periods):
                    self._erased.add(id(event))

    def _learn(self, found: Mapping[Identity, Owner]) -> None:
        self.known.update(found)
        self.owners.update((identity, owner) for identity, owner in found.items() if owner.customer)

    def of(self, event: CheckedEvent) -> Mapping[Identity, Owner]:
        """The owners that count for an event."""
        return self._then.get(id(event), self.owners) if self._then else self.owners

    def refusal(self, event: CheckedEvent) -> RejectedError | None:
        """Why an event is nobody's and makes no new customer either."""
        if id(event) in self._erased:
            return of_the_erased("subject")
        strict = event.source in self._catalogue.creates_customers_except
        owners = self.of(event)
        if not event.identities or not owners.keys().isdisjoint(event.identities):
            for role, identities in persons_to_be(event.persons).items() if strict else ():
                if not any(identity in self.owners for identity in identities):
                    return _stranger(f"data.{role}")
            return None
        if id(event) in self._then:
            return RejectedError(
                RejectionReason.UNKNOWN_SUBJECT,
                "subject",
                "was nobody's at the time of the event",
                "check the time; what happened to somebody before is not the present owner's",
            )
        return _stranger("subject") if strict else None

    async def resolve(
        self, events: Sequence[CheckedEvent]
    ) -> tuple[dict[int, Resolution], dict[int, list[tuple[Identity, str]]]]:
        """Whose each event is; customers are created for identities that nobody owns."""
        created: set[int] = set()
        while True:
            claims = await self._claims(events)
            if not claims:
                break
            created.update(owner.customer for owner in claims.values())
            ordered = sorted(claims.items(), key=lambda claim: claim[0].text)
            won = await self._work.claim(ordered)
            self._learn({identity: claims[identity] for identity in won})
            lost = claims.keys() - won
            if lost:
                # somebody else was faster: look again
                self._learn(await self._work.owners(lost))
        kinds = self._catalogue.identities
        resolutions = {
            number: resolution
            for number, event in enumerate(events)
            if event.identities
            and (resolution := resolve(event.identities, self.of(event), kinds)) is not None
        }
        await self._note_conflicts(events, resolutions)
        gained: dict[int, list[tuple[Identity, str]]] = {}
        for identity, owner in self.owners.items():
            if owner.customer in created:
                gained.setdefault(owner.customer, []).append((identity, owner.line))
        if gained:
            await self._work.add_customers(sorted(gained))
        return resolutions, gained

    async def _claims(self, events: Sequence[CheckedEvent]) -> dict[Identity, Owner]:
        """Identities of nobody, put together where an event names them together."""
        if not self._then and self._named <= self.owners.keys():
            return {}
        group_of: dict[Identity, int] = {}
        groups: list[list[Identity]] = []
        for event in events:
            owners = self.of(event)
            for identities in (event.identities, *persons_to_be(event.persons).values()):
                if not identities or not owners.keys().isdisjoint(identities):
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
        ids = await self._work.new_customer_ids(len(groups))
        claims: dict[Identity, Owner] = {}
        for customer, members in zip(ids, groups, strict=True):
            held: list[tuple[Identity, str]] = []
            for identity in members:
                if not self._fits(identity, held):
                    continue
                line = line_of_new(identity, held)
                held.append((identity, line))
                claims[identity] = Owner(customer, line)
        return claims

    async def _note_conflicts(
        self, events: Sequence[CheckedEvent], resolutions: Mapping[int, Resolution]
    ) -> None:
        conflicts = [(one.customer, events[number]) for number, one in resolutions.items() if one.conflict]
        if not conflicts:
            return
        await self._work.note_conflicts([(who, event.identities) for who, event in conflicts], self._now)
        await self._suggest([(one, one.others) for one in resolutions.values()])

    async def _suggest(self, found: Iterable[tuple[Resolution, Iterable[tuple[Identity, int]]]]) -> None:
        """Pairs of customers whose identities came together."""
        met: dict[tuple[int, int], Met] = {}
        for resolution, others in found:
            for identity, other in others:
                joins = joins_of(self._catalogue.identities, (resolution.matched.kind, identity.kind))
                pair = (min(resolution.customer, other), max(resolution.customer, other))
                if joins is not Joins.NEVER and pair not in met:
                    named = (resolution.matched, identity)
                    met[pair] = Met(resolution.customer, other, named, _STATES[joins])
        if met:
            await self._work.suggest(list(met.values()), self._now)

    async def attach(
        self,
        events: Sequence[CheckedEvent],
        resolutions: Mapping[int, Resolution],
        customers: Mapping[int, Customer],
    ) -> None:
        """Identities that came along with a known one become the same customer's, if one has so many."""
        over: list[tuple[int, tuple[Identity, ...]]] = []
        lost: list[tuple[Resolution, list[tuple[Identity, int]]]] = []
        for number, resolution in resolutions.items():
            event = events[number]
            customer = customers.get(event.customer)
            if customer is None or not resolution.unowned:
                continue
            held = list(customer.record.identities)
            new = sorted({*resolution.unowned} - {identity for identity, _ in held}, key=_text)
            if id(event) in self._then:
                new = [identity for identity in new if identity not in self.known]
            claims: list[tuple[Identity, Owner]] = []
            for identity in new:
                if self._fits(identity, held):
                    owner = Owner(customer.id, line_of_new(identity, held), via=event.via)
                    claims.append((identity, owner))
                    held.append((identity, owner.line))
            if len(claims) < len(new):
                over.append((customer.id, event.identities))
            won = await self._work.claim(claims) if claims else set()
            for identity, owner in claims:
                if identity in won:
                    customer.add_identity(identity, owner.line)
            if others := await self._faster(customer.id, [one for one, _ in claims if one not in won]):
                over.append((customer.id, event.identities))
                lost.append((replace(resolution, customer=customer.id), others))
        if over:
            await self._work.note_conflicts(over, self._now)
        await self._suggest(lost)

    async def _faster(self, customer: int, lost: Sequence[Identity]) -> list[tuple[Identity, int]]:
        """Others whose these identities have become since it was looked up that they were nobody's."""
        owners = await self._work.owners(lost) if lost else {}
        self._learn(owners)
        return [
            (identity, owner.customer)
            for identity, owner in owners.items()
            if owner.customer not in {0, customer}
        ]

    def _fits(self, identity: Identity, held: Sequence[tuple[Identity, str]]) -> bool:
        most = self._catalogue.identities[identity.kind].most
        return sum(1 for other, _ in held if other.kind == identity.kind) < most


def _stranger(field: str) -> RejectedError:
    return RejectedError(
        RejectionReason.UNKNOWN_SUBJECT,
        field,
        "is unknown, and this source creates no customers",
        "send it once another source has named this identity",
    )


def of_the_erased(field: str) -> RejectedError:
    """Why an event about somebody who was erased is not taken."""
    return RejectedError(
        RejectionReason.ERASED,
        field,
        "is of a person who was erased, and this happened before",
        "take it out of the source, which is to forget the person too",
    )


def _was_erased(event: CheckedEvent, periods: Mapping[Identity, Sequence[Period]]) -> bool:
    """Whether who had one of its identities then was erased since."""
    had = (period_at(periods.get(identity, ()), event.time_micros) for identity in event.identities)
    return any(period is not None and period.via == ERASED for period in had)


def _owners_at(event: CheckedEvent, periods: Mapping[Identity, Sequence[Period]]) -> dict[Identity, Owner]:
    found: dict[Identity, Owner] = {}
    for identity in event.identities:
        owner = owner_at(periods.get(identity, ()), event.time_micros)
        if owner is not None:
            found[identity] = owner
    return found


def _text(identity: Identity) -> str:
    return identity.text

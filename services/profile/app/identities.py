"""Whose identities are from when on, what became of them, and which customers may be one person."""

from dataclasses import dataclass, replace
from operator import attrgetter

from services.profile.app.merging import Merging
from services.profile.app.ports import ContentionError, Work
from services.profile.app.successors import read_with_successors, successor
from services.profile.domain.customer import Customer
from services.profile.domain.errors import (
    IdentityRefusedError,
    InvalidRequestError,
    RejectedError,
    RejectionReason,
    UnknownSubjectError,
)
from services.profile.domain.events import CheckedEvent
from services.profile.domain.identities import FOREVER, Period, handed_over, line_of_new, period_at
from services.profile.domain.merges import Merge, Suggestion, SuggestionState
from services.profile.domain.merging import put_record
from services.runtime.audit import Change
from services.runtime.caller import current_caller
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.identities import Identity, parse_identity
from services.vocabulary.values import FieldError

ASSIGNED = "identity.assigned"
RELEASED = "identity.released"
MOVES = frozenset({ASSIGNED, RELEASED})


@dataclass(frozen=True, slots=True)
class Move:
    """What moving an identity came to. `before`: whose it was at that time, 0: nobody's."""

    customer: int
    before: int
    line: str
    until_micros: int
    changed: bool


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of who is who: a merge, or an identity that came (`gained`) or went."""

    time_micros: int
    merge: Merge | None = None
    customer: int = 0
    identity: Identity | None = None
    line: str = ""
    gained: bool = False


class Identities:
    """Each method is one use case in the transaction it is given."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def read(self, text: str, field: str = "identity") -> Identity:
        """An identity as it was written; raises InvalidRequestError, which does not repeat it."""
        try:
            return parse_identity(text.strip(), self._catalogue.things, self._catalogue.identities)
        except FieldError as error:
            raise InvalidRequestError(
                f"{field} {error.message}", field=field, suggestion=error.suggestion
            ) from None

    def check_source(self, identity: Identity, source: str) -> None:
        """Raises IdentityRefusedError for a source whose word moves no identity of this kind."""
        allowed = self._catalogue.identities[identity.kind].assigned_by
        if source not in allowed:
            raise IdentityRefusedError(
                f"source {source!r} does not say whose an identity of kind {identity.kind} is",
                field="source",
                suggestion="the catalogue's identities.yaml names who does: "
                + (", ".join(sorted(allowed)) or "nobody"),
            )

    def moved_by(self, event: CheckedEvent) -> Identity:
        """The identity that an event assigns or releases; raises RejectedError.

        The event keeps the kind only: the value stands with the identities, sealed.
        """
        try:
            identity = self.read(str(event.fields["identity"]), "data.identity")
            self.check_source(identity, event.source)
        except (InvalidRequestError, IdentityRefusedError) as error:
            raise RejectedError(
                RejectionReason.INVALID_FIELD, error.field, error.message, error.suggestion
            ) from None
        return identity

    async def assign(
        self, work: Work, customer_id: int, identity: Identity, time_micros: int, line: str, now_micros: int
    ) -> Move:
        """Have an identity be a customer's from a time on, until whoever is known to have it next.

        Consents, activity, traits and suppression of who had it stay where they are. Raises
        IdentityRefusedError for one more than a person has of its kind.
        """
        periods = (await work.periods([identity], lock=True)).get(identity, [])
        standing = period_at(periods, time_micros)
        before = standing.customer if standing is not None else 0
        customers = await self._locked(work, {customer_id, before})
        await _unchanged(work, identity, periods)
        customer = successor(customers[customer_id], customers)
        if standing is not None and before == customer.id:
            return Move(customer.id, before, standing.line, standing.until_micros, changed=False)
        held = customer.record.identities
        if sum(1 for other, _ in held if other.kind == identity.kind) >= self._most(identity):
            raise IdentityRefusedError(
                f"customer {customer.id} has {self._most(identity)} of kind {identity.kind}, the most",
                field="identity",
                suggestion="release one first, or raise `most` in identities.yaml",
            )
        line = line or line_of_new(identity, held)
        after = handed_over(periods, customer.id, line, time_micros)
        await _put(work, identity, after, periods)
        period = period_at(after, time_micros)
        assert period is not None
        if period.until_micros == FOREVER:
            self._give(customers, customer, before, identity, line)
            await work.save(customers.values(), now_micros)
        await self._audit(work, "identity.assign", identity, customer.id, before, time_micros)
        return Move(customer.id, before, line, period.until_micros, changed=True)

    async def release(
        self, work: Work, customer_id: int, identity: Identity, time_micros: int, now_micros: int
    ) -> Move:
        """Have an identity be nobody's from a time on, if it was this customer's then."""
        periods = (await work.periods([identity], lock=True)).get(identity, [])
        customers = await self._locked(work, {customer_id})
        await _unchanged(work, identity, periods)
        customer = successor(customers[customer_id], customers)
        standing = period_at(periods, time_micros)
        if standing is None or standing.customer not in {customer.id, customer_id}:
            return Move(customer.id, standing.customer if standing else 0, "", 0, changed=False)
        await _put(work, identity, handed_over(periods, 0, "", time_micros), periods)
        if standing.until_micros == FOREVER:
            self._take(customer, identity)
            await work.save([customer], now_micros)
        await self._audit(work, "identity.release", identity, 0, customer.id, time_micros)
        return Move(customer.id, customer.id, standing.line, standing.until_micros, changed=True)

    def _most(self, identity: Identity) -> int:
        return self._catalogue.identities[identity.kind].most

    def _give(
        self,
        customers: dict[int, Customer],
        customer: Customer,
        before: int,
        identity: Identity,
        line: str,
    ) -> None:
        if before in customers:
            self._take(customers[before], identity)
        customer.add_identity(identity, line)

    def _take(self, customer: Customer, identity: Identity) -> None:
        left = [held for held in customer.record.identities if held[0] != identity]
        put_record(customer, replace(customer.record, identities=left))

    async def _locked(self, work: Work, ids: set[int]) -> dict[int, Customer]:
        wanted = ids - {0}
        while True:
            found = await work.customers(wanted, wanted)
            if not wanted <= found.keys():
                raise UnknownSubjectError(
                    "nobody is known under this subject",
                    field="subject",
                    suggestion="send an event about them first",
                )
            further = {customer.merged_into for customer in found.values()} - {0} - wanted
            if not further:
                return found
            wanted = wanted | further

    async def _audit(
        self, work: Work, action: str, identity: Identity, customer: int, before: int, time_micros: int
    ) -> None:
        await work.audit(
            Change(
                action,
                f"customer/{customer or before}/identity/{identity.kind}",
                before={"customer": before} if before else None,
                after={"customer": customer, "since_micros": time_micros},
            )
        )

    # what became of them

    async def history(self, work: Work, customer_id: int) -> list[HistoryEntry]:
        """All that happened to who this customer is, and those merged into them, newest first."""
        everyone = await read_with_successors(work, [customer_id])
        if customer_id not in everyone:
            raise UnknownSubjectError(
                "nobody is known under this subject", field="subject", suggestion="name one that is known"
            )
        customer = successor(everyone[customer_id], everyone)
        ids = {customer.id, customer_id, *customer.record.merged_customers}
        entries = [HistoryEntry(merge.time_micros, merge) for merge in await work.merges_of(ids)]
        for identity, period in await work.past_of(ids):
            entries += _came_and_went(identity, period)
        present = [identity for identity, _ in customer.record.identities]
        for identity, periods in (await work.periods(present)).items() if present else ():
            entries += [
                entry
                for period in periods
                if period.until_micros == FOREVER and period.customer in ids
                for entry in _came_and_went(identity, period)
            ]
        return sorted(entries, key=attrgetter("time_micros"), reverse=True)


async def _put(work: Work, identity: Identity, after: list[Period], known: list[Period]) -> None:
    """Raises ContentionError where an event gave the identity to somebody at the same time."""
    if not await work.put_periods(identity, after, known):
        raise ContentionError


async def _unchanged(work: Work, identity: Identity, periods: list[Period]) -> None:
    """Raises ContentionError where whose an identity is changed before its customers were locked."""
    if (await work.periods([identity])).get(identity, []) != periods:
        raise ContentionError


def _came_and_went(identity: Identity, period: Period) -> list[HistoryEntry]:
    entries: list[HistoryEntry] = []
    if period.since_micros:
        entries.append(
            HistoryEntry(
                period.since_micros,
                customer=period.customer,
                identity=identity,
                line=period.line,
                gained=True,
            )
        )
    if period.until_micros != FOREVER:
        entries.append(
            HistoryEntry(period.until_micros, customer=period.customer, identity=identity, line=period.line)
        )
    return entries


class Suggested:
    """Decides what was suggested; each method is one use case in the transaction it is given."""

    def __init__(self, merging: Merging) -> None:
        self._merging = merging

    async def decide(
        self, work: Work, suggestion_id: int, reason: str, now_micros: int, *, accept: bool
    ) -> Suggestion:
        """Merge a pair, or have it never suggested again; raises IdentityRefusedError."""
        found = await work.suggestion(suggestion_id)
        if found is None:
            raise UnknownSubjectError(
                f"there is no suggestion {suggestion_id}",
                field="suggestion_id",
                suggestion="take it from the list",
            )
        if found.state in {SuggestionState.ACCEPTED, SuggestionState.DISMISSED}:
            raise IdentityRefusedError(
                f"suggestion {suggestion_id} was {found.state} before",
                field="suggestion_id",
                suggestion="merge them, or take the merge back, if that was wrong",
            )
        merge = 0
        state = SuggestionState.DISMISSED
        if accept:
            state = SuggestionState.ACCEPTED
            merge = await self._merge(work, found, reason, now_micros)
        by = current_caller().name
        await work.decide(suggestion_id, state, by, now_micros, merge)
        return replace(found, state=state, decided_by=by, decided_micros=now_micros, merge=merge)

    async def _merge(self, work: Work, found: Suggestion, reason: str, now_micros: int) -> int:
        customers = await read_with_successors(work, [found.customer, found.other])
        into, other = (successor(customers[number], customers) for number in (found.customer, found.other))
        if into.id == other.id:
            return 0  # somebody merged them in the meantime
        why = reason or f"suggestion {found.id}"
        return (await self._merging.merge(work, other.id, into.id, why, now_micros)).id

"""Takes a merge back: both are what they were, and what came since is whose it came under."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.profile.app.merged_homes import return_home
from services.profile.app.ports import Handed, LedgerEntry, Work
from services.profile.app.who_is_who import SEPARATED, WhoIsWho, events_after, locked
from services.profile.domain.accounts import Line
from services.profile.domain.consent import Consents
from services.profile.domain.customer import Customer
from services.profile.domain.errors import IdentityRefusedError, UnknownSubjectError
from services.profile.domain.events import CONSENT_CHANGED
from services.profile.domain.identities import Owner, line_of_new
from services.profile.domain.ledger import Line as LedgerLine
from services.profile.domain.merged_consents import merge_consents
from services.profile.domain.merges import Merge, MergeKind, PastEvent
from services.profile.domain.merging import join, put_record, put_traits
from services.runtime.audit import Change
from services.runtime.caller import current_caller

if TYPE_CHECKING:
    from services.vocabulary.identities import Identity


@dataclass(frozen=True, slots=True)
class Undone:
    """What came of taking a merge back."""

    from_customer: int
    customer: int
    returned: int
    elsewhere: int
    events: int


class Unmerging(WhoIsWho):
    """One use case, in the transaction it is given."""

    async def held(self, work: Work, merge_id: int) -> Merge:
        """A merge or split that holds, locked; raises IdentityRefusedError, UnknownSubjectError."""
        merge = await work.merge(merge_id)
        if merge is None:
            raise UnknownSubjectError(
                f"there is no merge {merge_id}", field="merge_id", suggestion="take it from the history"
            )
        if merge.undone_micros:
            raise IdentityRefusedError(
                f"merge {merge_id} was taken back before",
                field="merge_id",
                suggestion="merge both again if they are one after all",
            )
        return merge

    async def unmerge(self, work: Work, merge: Merge, reason: str, now_micros: int) -> Undone:
        """Take a merge back; raises IdentityRefusedError where something else comes first."""
        listened = await work.listened()
        everyone = await locked(work, (merge.from_customer, merge.into_customer))
        other, into = everyone[merge.from_customer], everyone[merge.into_customer]
        base = await work.base_of(merge)
        self._check_undo(merge, other, into, base, await _since(work, merge, MergeKind.SPLIT))
        assert base is not None
        parts = {other.id, *other.record.merged_customers}
        undone = await self._part(work, merge, other, into, base, parts, now_micros)
        handed = Handed()
        for customer, who in ((other, into.id), (into, other.id)):
            event = self.own(SEPARATED, merge.id, customer.id, {"of": str(who)}, now_micros)
            handed.events.append(self.happen(customer, event, listened, now_micros, snapshot=True))
        await self.finish(work, (other, into), handed, listened, now_micros)
        await work.undo(merge.id, now_micros, current_caller().name, reason)
        await work.audit(
            Change(
                "identity.undo_merge",
                f"customer/{into.id}/identity",
                before={"merge": merge.id, "from": other.id},
                after={"identities_returned": undone.returned, "events_returned": undone.events},
            )
        )
        return undone

    def _check_undo(
        self, merge: Merge, other: Customer, into: Customer, base: Customer | None, splits: Sequence[Merge]
    ) -> None:
        if into.merged_into:
            raise IdentityRefusedError(
                f"customer {into.id} was merged into customer {into.merged_into} since",
                field="merge_id",
                suggestion="take that merge back first",
            )
        if splits:
            raise IdentityRefusedError(
                f"customer {into.id} was split since (merge {splits[-1].id})",
                field="merge_id",
                suggestion="take that split back first, or split off what is wrong",
            )
        if other.merged_into != into.id or base is None:
            raise IdentityRefusedError(
                f"what merge {merge.id} rested on is kept no more",
                field="merge_id",
                suggestion="split the customer instead",
            )

    async def _part(
        self,
        work: Work,
        merge: Merge,
        other: Customer,
        into: Customer,
        base: Customer,
        parts: set[int],
        now_micros: int,
    ) -> Undone:
        """Give both what is theirs: what they were, and what came since under their own identities."""
        returned, elsewhere = await self._give_back(work, other, into, parts)
        await work.move_past(into.id, other.id, parts)
        since = await events_after(work, into.id, merge.into_sequence)
        theirs = [event for event in since if event.via in parts]
        sequences: dict[int, int] = {}
        for event in theirs:
            checked = self.checked(event)
            if checked is None or event.type == CONSENT_CHANGED:
                other.sequence += 1
            else:
                other.apply(checked, self._catalogue)
            sequences[event.sequence] = other.sequence
        later = await _since(work, merge, MergeKind.MERGE)
        own = base.record.consents
        rebuilt = await self._rebuild(work, base, [e for e in since if e.via not in parts], later, now_micros)
        words = (await work.ledgers([into.id])).lines.get(into.id, [])
        said = [line for line in words if line.number > merge.into_lines]
        await self._put_consents(work, other, rebuilt, own, said, later)
        back = dict(other.record.identities)
        record = replace(
            into.record,
            identities=[held for held in into.record.identities if held[0] not in back],
            consents=rebuilt.record.consents,
            preferences=rebuilt.record.preferences,
            preference_times=rebuilt.record.preference_times,
            merged_customers=[number for number in into.record.merged_customers if number not in parts],
            lines=[line for line in into.record.lines if line not in _subscribed(into, other)],
        )
        into.become(rebuilt, record)
        if sequences:
            await work.move_events(into.id, other.id, sequences, other.id)
        await return_home(work, into, other, base.kept.household, now_micros)
        await work.set_merged_into(other.id, 0)
        other.merged_into = 0
        put_traits(other, dict(other.traits))  # they are found by them again
        return Undone(other.id, into.id, returned, elsewhere, len(sequences))

    async def _give_back(
        self, work: Work, other: Customer, into: Customer, parts: set[int]
    ) -> tuple[int, int]:
        """Identities of `other` that are still with `into` go back; how many, and how many do not."""
        held = [identity for identity, _ in into.record.identities]
        owners = await work.owners(held) if held else {}
        before = dict(other.record.identities)
        back: list[tuple[Identity, str]] = []
        moved: dict[Identity, Owner] = {}
        for identity in held:
            owner = owners.get(identity)
            if owner is None or owner.customer != into.id or owner.via not in parts:
                continue
            line = before[identity] if identity in before else line_of_new(identity, back)
            back.append((identity, line))
            moved[identity] = Owner(other.id, line, via=0 if owner.via == other.id else owner.via)
        if moved:
            await work.move_identities(moved)
        gone = len(before.keys() - moved.keys())
        put_record(other, replace(other.record, identities=back))
        return len(back), gone

    async def _rebuild(
        self,
        work: Work,
        base: Customer,
        events: Sequence[PastEvent],
        later: Sequence[Merge],
        now_micros: int,
    ) -> Customer:
        """Who stays as if there had been no such merge: what they were, events and merges since."""
        waiting = list(later)
        for event in events:
            while waiting and waiting[0].into_sequence < event.sequence:
                await self._join_again(work, base, waiting.pop(0), now_micros)
            checked = self.checked(event)
            if checked is not None and event.type != CONSENT_CHANGED:
                base.sequence = event.sequence - 1
                base.apply(checked, self._catalogue)
        for merge in waiting:
            await self._join_again(work, base, merge, now_micros)
        return base

    async def _join_again(self, work: Work, base: Customer, merge: Merge, now_micros: int) -> None:
        base.sequence = merge.into_sequence
        await work.put_base(merge, base, now_micros)
        others = await work.read_customers([merge.from_customer])
        consents = base.record.consents
        join(base, others[merge.from_customer], self._catalogue)
        # these are put together in the order of the ledger
        put_record(base, replace(base.record, consents=consents))

    async def _put_consents(
        self,
        work: Work,
        other: Customer,
        rebuilt: Customer,
        own: Consents,
        said: Sequence[LedgerLine],
        later: Sequence[Merge],
    ) -> None:
        """What was said since stays with both; it is written into the ledger of who is their own again."""
        waiting = list(later)
        entries: list[LedgerEntry] = []
        for line in said:
            while waiting and waiting[0].into_lines < line.number:
                own = await _with_consents_of(work, own, waiting.pop(0))
            entry, consent = line.entry, line.entry.consent
            own.add(consent)
            before = other.record.consents.prevailing(consent.purpose, consent.channel)
            other.add_consent(consent)
            after = other.record.consents.prevailing(consent.purpose, consent.channel)
            entries.append(
                LedgerEntry(
                    other.id,
                    consent,
                    entry.source,
                    entry.event_id,
                    entry.evidence,
                    entry.wording,
                    before,
                    after,
                    recorded_micros=entry.recorded_micros,
                )
            )
        for merge in waiting:
            own = await _with_consents_of(work, own, merge)
        put_record(rebuilt, replace(rebuilt.record, consents=own))
        await work.keep_ledger(entries)


async def _since(work: Work, merge: Merge, kind: MergeKind) -> list[Merge]:
    """What was done to who stays after a merge, and holds."""
    return [
        one
        for one in await work.merges_of([merge.into_customer])
        if one.kind is kind
        and one.into_customer == merge.into_customer
        and not one.undone_micros
        and one.id > merge.id
    ]


def _subscribed(into: Customer, other: Customer) -> list[Line]:
    """Lines of `into` that are subscriptions of `other`."""
    theirs = {line.subscription for line in other.record.lines}
    return [line for line in into.record.lines if line.subscription in theirs]


async def _with_consents_of(work: Work, own: Consents, merge: Merge) -> Consents:
    others = await work.read_customers([merge.from_customer])
    return merge_consents(own, others[merge.from_customer].record.consents)

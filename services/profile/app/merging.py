"""Makes one customer of two, takes it back, and makes two of one; each in the transaction it is given."""

from dataclasses import replace

from services.profile.app.merged_homes import move_home
from services.profile.app.ports import Handed, Work
from services.profile.app.splitting import Splitting
from services.profile.app.successors import successor
from services.profile.app.unmerging import Undone, Unmerging
from services.profile.app.who_is_who import MERGED, locked
from services.profile.domain.customer import Customer
from services.profile.domain.errors import IdentityRefusedError
from services.profile.domain.identities import Owner
from services.profile.domain.merges import Merge, MergeKind
from services.profile.domain.merging import join
from services.runtime.audit import Change
from services.runtime.caller import current_caller


class Merging(Unmerging, Splitting):
    """Each method is one use case."""

    async def merge(self, work: Work, from_id: int, into_id: int, reason: str, now_micros: int) -> Merge:
        """Merge whoever `from_id` is now into whoever `into_id` is now.

        Raises IdentityRefusedError where both are one already, UnknownSubjectError where one is nobody.
        """
        listened = await work.listened()
        everyone = await locked(work, (from_id, into_id))
        other, into = (successor(everyone[number], everyone) for number in (from_id, into_id))
        if other.id == into.id:
            raise IdentityRefusedError(
                f"customers {from_id} and {into_id} are one already: customer {into.id}",
                field="from",
                suggestion="look at `rapport identity history`",
            )
        merge = Merge(
            0,
            MergeKind.MERGE,
            other.id,
            into.id,
            now_micros,
            current_caller().name,
            reason,
            into.sequence,
            await work.lines_of_ledger(into.id),
        )
        merge = replace(merge, id=await work.add_merge(merge, into, now_micros))
        before = into.sequence
        join(into, other, self._catalogue)
        await work.set_merged_into(other.id, into.id)
        other.merged_into = into.id
        await self._move_to(work, into, other)
        await move_home(work, into, other, self._catalogue, now_micros)
        fields = {"into": str(into.id)}
        handed = Handed()
        for customer, snapshot in ((other, False), (into, True)):
            event = self.own(MERGED, merge.id, customer.id, fields, now_micros)
            handed.events.append(self.happen(customer, event, listened, now_micros, snapshot=snapshot))
        await self.finish(work, (other, into), handed, listened, now_micros)
        await work.audit(
            Change(
                "identity.merge",
                f"customer/{into.id}/identity",
                before={"sequence": before},
                after={"merge": merge.id, "from": other.id},
            )
        )
        return merge

    async def _move_to(self, work: Work, into: Customer, other: Customer) -> None:
        """The identities of `other` are those of `into` from now on, marked with whose they were."""
        held = dict(into.record.identities)
        theirs = [identity for identity, _ in other.record.identities]
        owners = await work.owners(theirs) if theirs else {}
        moved = {
            identity: Owner(into.id, held[identity], via=owners[identity].via or other.id)
            for identity in theirs
            if identity in owners and owners[identity].customer == other.id
        }
        if moved:
            await work.move_identities(moved)

    async def undo(self, work: Work, merge_id: int, reason: str, now_micros: int) -> Undone:
        """Take a merge back; of a split, merge both again. Raises IdentityRefusedError."""
        merge = await self.held(work, merge_id)
        if merge.kind is MergeKind.MERGE:
            return await self.unmerge(work, merge, reason, now_micros)
        again = await self.merge(work, merge.from_customer, merge.into_customer, reason, now_micros)
        await work.undo(merge_id, now_micros, current_caller().name, reason)
        return Undone(again.from_customer, again.into_customer, 0, 0, 0)

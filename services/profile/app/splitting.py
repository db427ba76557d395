"""Makes two customers of one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from services.profile.app.ports import Handed, LedgerEntry, Work
from services.profile.app.successors import successor
from services.profile.app.who_is_who import OWN_SOURCE, SEPARATED, WhoIsWho, events_after, locked
from services.profile.domain.customer import Customer
from services.profile.domain.errors import IdentityRefusedError
from services.profile.domain.events import CONSENT_CHANGED
from services.profile.domain.identities import Owner
from services.profile.domain.merges import Merge, MergeKind
from services.profile.domain.merging import put_record, put_traits, split_record, split_traits, take_out
from services.runtime.audit import Change
from services.runtime.caller import current_caller
from services.vocabulary.identities import Identity
from services.vocabulary.ids import own_event_id

if TYPE_CHECKING:
    from services.profile.domain.consent import Consent


class Splitting(WhoIsWho):
    """One use case, in the transaction it is given."""

    async def split(
        self, work: Work, subject: str, identities: Sequence[Identity], reason: str, now_micros: int
    ) -> tuple[Merge, int]:
        """Make a new customer of some identities of another; gives how many events went along.

        Raises IdentityRefusedError where an identity is not theirs, or none would be left.
        """
        listened = await work.listened()
        customer_id = await self._questions.find(work, subject)
        everyone = await locked(work, (customer_id,))
        customer = successor(everyone[customer_id], everyone)
        wanted = list(dict.fromkeys(identities))
        held = dict(customer.record.identities)
        for place, identity in enumerate(wanted):
            if identity not in held:
                raise IdentityRefusedError(
                    f"the identity is not one of customer {customer.id}",
                    field=f"identities[{place}]",
                    suggestion="look at `rapport profile show`",
                )
        if len(wanted) == len(held):
            raise IdentityRefusedError(
                "no identity would be left",
                field="identities",
                suggestion="leave at least one with the customer",
            )
        (new_id,) = await work.new_customer_ids(1)
        await work.add_customers([new_id])
        new = (await work.customers([new_id], [new_id]))[new_id]
        left, record, lines = split_record(customer.record, set(wanted))
        stay, go = split_traits(customer.traits, lines, self._catalogue)
        put_traits(customer, stay)
        put_traits(new, go)
        put_record(customer, left)
        put_record(new, record)
        await work.move_identities({identity: Owner(new_id, line) for identity, line in record.identities})
        moved = await self._move_lines(work, customer, new, lines)
        merge = Merge(
            0,
            MergeKind.SPLIT,
            new_id,
            customer.id,
            now_micros,
            current_caller().name,
            reason,
            customer.sequence,
        )
        merge = replace(merge, id=await work.add_merge(merge, None, now_micros))
        await work.keep_ledger(_copied(new, merge, now_micros))
        handed = Handed()
        for one, who in ((new, customer.id), (customer, new_id)):
            event = self.own(SEPARATED, merge.id, one.id, {"of": str(who)}, now_micros)
            handed.events.append(self.happen(one, event, listened, now_micros, snapshot=True))
        await self.finish(work, (customer, new), handed, listened, now_micros)
        await work.audit(
            Change(
                "identity.split",
                f"customer/{customer.id}/identity",
                after={
                    "merge": merge.id,
                    "new": new_id,
                    "kinds": sorted(identity.kind for identity in wanted),
                },
            )
        )
        return merge, moved

    async def _move_lines(
        self, work: Work, customer: Customer, new: Customer, lines: Mapping[str, str]
    ) -> int:
        """What happened on lines of their own goes along; the main line is also what concerns the person."""
        own = {line for line in lines if line}
        if not own:
            return 0
        sequences: dict[int, int] = {}
        for event in await events_after(work, customer.id, 0):
            if event.line not in own:
                continue
            checked = self.checked(event)
            if checked is None or event.type == CONSENT_CHANGED:
                continue
            checked.line = lines[event.line]
            # its traits are split already
            new.note(checked, self._catalogue)
            sequences[event.sequence] = new.sequence
        take_out(customer, sequences.keys())
        if sequences:
            await work.move_events(customer.id, new.id, sequences, 0)
        return len(sequences)


def _copied(new: Customer, merge: Merge, now_micros: int) -> list[LedgerEntry]:
    consents = new.record.consents
    words: list[Consent] = [*consents.by_person.values(), *consents.by_others.values()]
    return [
        LedgerEntry(
            new.id,
            word,
            OWN_SOURCE,
            own_event_id(SEPARATED, merge.id, place),
            after=consents.prevailing(word.purpose, word.channel),
            actor=merge.by,
            recorded_micros=now_micros,
        )
        for place, word in enumerate(words)
    ]

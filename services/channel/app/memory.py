"""A transaction that is never committed: what a simulation's actions take, in memory and bounded."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from services.channel.app.admit import Prepared
from services.channel.app.store import MessageKey, MessageStore, Reached
from services.channel.domain.campaigns import CampaignUse
from services.channel.domain.contact import Contact, SuppressedFor
from services.channel.domain.gap import Gap
from services.channel.domain.messages import Message
from services.channel.domain.outcomes import OwnEvent
from services.channel.domain.policies import Policies
from services.channel.domain.rate import Grant, Wish
from services.runtime.clock import Clock
from services.runtime.errors import TooLargeError
from services.vocabulary.words import ActionKind, Category, Channel

MOST_REMEMBERED = 300_000
"""Actions and slots; at about 250 bytes each."""
_NANOS = 1_000_000_000
_LONGEST_QUEUE_NANOS = 600 * _NANOS

Suppressions = Mapping[tuple[int, Channel], frozenset[SuppressedFor]]


class Stored:
    """What is stored, read without locks: by others it may be changed meanwhile."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store

    async def read(
        self, customers: Sequence[int], keys: Sequence[MessageKey], after_micros: int
    ) -> tuple[Mapping[int, list[Contact]], Suppressions, Mapping[str, Message]]:
        """Slots and suppression list of these customers, and what there is of these messages."""
        async with self._store.transaction() as tx:
            contacts = await tx.contacts(customers, after_micros) if customers else {}
            suppressed = await tx.suppressed(customers) if customers else {}
            return contacts, suppressed, await tx.messages(keys)

    async def households(self, households: Sequence[int], after_micros: int) -> Mapping[int, list[Contact]]:
        """Slots that members of these households took."""
        async with self._store.transaction() as tx:
            return await tx.household_contacts(households, after_micros)

    async def campaigns(self, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
        """What campaigns have used; one never used is left out."""
        async with self._store.transaction() as tx:
            return await tx.campaign_uses(since)


@dataclass(slots=True)
class MemoryRates:
    """Shared rates as in the database (the generic cell rate algorithm, ITU-T I.371), on the given clock."""

    clock: Clock
    free: dict[str, int] = field(default_factory=dict)
    queues: dict[str, int] = field(default_factory=dict)

    def take(self, wish: Wish) -> Grant:
        """What the pace gives of what is asked."""
        pace, now = wish.pace, self.clock.now_micros() * 1000
        interval = -int(-_NANOS // pace.per_second)
        due = min(max(self.free.get(pace.name, now), now), now + pace.burst * interval)
        room = (now + pace.burst * interval - due) // interval
        granted = wish.count if wish.count < 0 else max(0, min(wish.count, room))
        free = self.free[pace.name] = due + granted * interval
        first = min(max(self.queues.get(pace.name, now), free, now), now + _LONGEST_QUEUE_NANOS)
        self.queues[pace.name] = first + min(wish.queued, max(0, wish.count - granted)) * interval
        wait = free - (pace.burst - 1) * interval - now
        return Grant(granted, _micros(wait), _micros(interval), _micros(first - now))


class MemoryTransaction:
    """What taking actions needs of a transaction; nobody else sees it, so nothing is locked."""

    def __init__(self, clock: Clock, policies: Policies, stored: Stored | None) -> None:
        self._clock = clock
        self._window = policies.looks_back_micros
        self._stored = stored
        self._contacts: dict[int, list[Contact]] = {}
        self._households: dict[int, dict[str, Contact]] = {}
        self._suppressed: dict[tuple[int, Channel], frozenset[SuppressedFor]] = {}
        self._seen: set[int] = set()
        self._done: set[str] = set()
        """Messages of actions that passed or were refused."""
        self._waiting: dict[str, int] = {}
        """Until when those wait that were told to."""
        self._slots = 0
        self._uses: dict[str, CampaignUse] = {}
        self._rates = MemoryRates(clock)

    async def fetch(self, prepared: Sequence[Prepared]) -> None:
        """Reads what is stored about people seen for the first time, up to now; refuses to grow too large."""
        kept = len(self._done) + len(self._waiting) + self._slots + len(self._seen)
        if kept + len(prepared) > MOST_REMEMBERED:
            raise TooLargeError(
                f"more than {MOST_REMEMBERED} actions, slots and people are too many for one stream",
                field="actions",
                suggestion="begin another one",
            )
        new = sorted({customer for one in prepared for customer in one.person} - self._seen)
        self._seen.update(new)
        if self._stored is None:
            return
        now_micros = self._clock.now_micros()
        keys = [(one.action.customer, one.message_id) for one in prepared]
        contacts, suppressed, known = await self._stored.read(new, keys, now_micros - self._window)
        for customer, found in contacts.items():
            self._keep(customer, [contact for contact in found if contact.time_micros <= now_micros])
        self._suppressed.update(suppressed)
        homes = sorted({one.household for one in prepared if one.household} - self._households.keys())
        for household in homes:
            self._households[household] = {}
        if homes:
            shared = await self._stored.households(homes, now_micros - self._window)
            for household, found in shared.items():
                recent = [contact for contact in found if contact.time_micros <= now_micros]
                self._households[household].update({contact.message_id: contact for contact in recent})
        for message_id, message in known.items():
            if message_id not in self._done and message_id not in self._waiting:
                self._remember(message_id, message)

    async def lock_customers(self, customers: Sequence[int]) -> frozenset[int]:
        """Nobody else is here."""
        del customers
        return frozenset()

    async def contacts(self, customers: Sequence[int], after_micros: int) -> dict[int, list[Contact]]:
        """Slots taken after that time; older ones are forgotten, as time never goes back."""
        found: dict[int, list[Contact]] = {}
        for customer in customers:
            kept = self._contacts.pop(customer, None)
            if kept:
                self._slots -= len(kept)
                recent = [contact for contact in kept if contact.time_micros > after_micros]
                self._keep(customer, recent)
                found[customer] = list(recent)
        return found

    async def household_contacts(
        self, households: Sequence[int], after_micros: int
    ) -> dict[int, list[Contact]]:
        """Slots that members of these households took after that time."""
        return {
            household: [contact for contact in kept.values() if contact.time_micros > after_micros]
            for household in households
            if (kept := self._households.get(household))
        }

    async def suppressed(self, customers: Sequence[int]) -> Suppressions:
        """The suppression list as it was read."""
        del customers  # it holds nobody else's channels under their ids
        return self._suppressed

    async def messages(self, keys: Sequence[MessageKey], *, lock: bool = False) -> dict[str, Message]:
        """Only that there is one; one whose time to wait is over is judged again."""
        del lock
        now_micros = self._clock.now_micros()
        return {
            message_id: _TAKEN
            for _, message_id in keys
            if message_id in self._done or self._waiting.get(message_id, 0) > now_micros
        }

    async def adopt_suppressions(self, addresses: Sequence[Reached]) -> None:
        """Nobody's list is changed by what is imagined."""

    async def gap(self) -> Gap | None:
        """Nothing was lost here."""
        return None

    async def add(self, messages: Sequence[Message], records: Mapping[str, bytes]) -> None:
        """Remembers which are done with, and until when the others wait."""
        del records
        for message in messages:
            self._remember(message.message_id, message)

    async def take_slots(self, contacts: Sequence[Contact]) -> None:
        """Slots taken, and what their campaigns have used."""
        for contact in contacts:
            self._keep(contact.customer, [contact])
            if contact.household:
                self._households.setdefault(contact.household, {})[contact.message_id] = contact
            for name in contact.campaign.split():
                self._uses[name].take(contact.time_micros, contact.cost_micros)

    async def give_back_slots(self, keys: Sequence[MessageKey]) -> None:
        """Slots that pass to another message of the same action; what campaigns have used stays used."""
        for customer, message_id in keys:
            kept = self._contacts.get(customer, [])
            left = [contact for contact in kept if contact.message_id != message_id]
            self._slots -= len(kept) - len(left)
            if kept:
                self._contacts[customer] = left
            for shared in self._households.values():
                shared.pop(message_id, None)

    async def lock_campaigns(self, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
        """What campaigns have used here, on top of what is stored where that counts; copies."""
        new = {name: start for name, start in since.items() if name not in self._uses}
        if new:
            known = {} if self._stored is None else await self._stored.campaigns(new)
            self._uses.update({name: known.get(name, CampaignUse()) for name in new})
        for name, start in since.items():
            use = self._uses[name]
            use.buckets = {bucket: spent for bucket, spent in use.buckets.items() if bucket >= (start or 0)}
        return {name: deepcopy(self._uses[name]) for name in since}

    async def take_rates(self, wishes: Sequence[Wish]) -> dict[str, Grant]:
        """Takes from rates of this simulation."""
        return {wish.pace.name: self._rates.take(wish) for wish in wishes}

    async def publish(self, events: Sequence[OwnEvent]) -> None:
        """Nobody is told."""

    async def count(self, totals: Mapping[str, int]) -> None:
        """Nothing is counted."""

    def _remember(self, message_id: str, message: Message) -> None:
        if message.waits:
            self._waiting[message_id] = message.due_micros
        else:
            self._waiting.pop(message_id, None)
            self._done.add(message_id)

    def _keep(self, customer: int, contacts: Sequence[Contact]) -> None:
        if contacts:
            self._contacts.setdefault(customer, []).extend(contacts)
            self._slots += len(contacts)


_TAKEN = Message("", "", 0, Category.MANDATORY, ActionKind.MESSAGE, "")
"""Stands for a message of which nothing is kept but that there is one."""


def _micros(nanos: int) -> int:
    return max(0, -(-nanos // 1000))

"""What the use cases need of the service's database. One use case is one transaction."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from services.channel.app.ports import Receipt
from services.channel.domain.actions import Action
from services.channel.domain.campaigns import CampaignUse
from services.channel.domain.contact import Contact, SuppressedFor
from services.channel.domain.gap import Gap
from services.channel.domain.inbound import Written
from services.channel.domain.messages import Change, Message
from services.channel.domain.outcomes import OwnEvent
from services.channel.domain.rate import Grant, Wish
from services.channel.domain.suppression import LiftedBy, Suppression, SuppressionFilter
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason

MessageKey = tuple[int, str]
"""Customer and message id."""
Reached = tuple[int, Channel, str]
"""A customer, a channel, and the address by which the channel reaches them."""


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages to list; what is empty or None does not narrow."""

    customer: int = 0
    states: frozenset[MessageState] = frozenset()
    channel: Channel | None = None
    reason: RefusalReason | None = None


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Which messages in quarantine; what is empty or None does not narrow."""

    message_ids: tuple[str, ...] = ()
    category: Category | None = None
    name: str = ""


class GateTransaction(Protocol):
    """What taking actions needs of a transaction; a simulation has one of its own.

    Rows of customers are locked in id order before anything of theirs is read.
    """

    async def lock_customers(self, customers: Sequence[int]) -> frozenset[int]:
        """Locks these customers' gates until the end; they must have been made known before.

        Those of them who were erased: nothing more may be written about these.
        """

    async def messages(self, keys: Sequence[MessageKey], *, lock: bool = False) -> dict[str, Message]:
        """Stored messages by id, with what the customer reads; locked in key order where asked for.

        One whose id is known under another customer is found too: an id comes once.
        """

    async def contacts(self, customers: Sequence[int], after_micros: int) -> dict[int, list[Contact]]:
        """Slots taken after that time, by customer."""

    async def household_contacts(
        self, households: Sequence[int], after_micros: int
    ) -> dict[int, list[Contact]]:
        """Slots that members of these households took after that time, by household; they must be locked."""

    async def suppressed(
        self, customers: Sequence[int]
    ) -> Mapping[tuple[int, Channel], frozenset[SuppressedFor]]:
        """The suppression list of these customers: every reason that stands."""

    async def adopt_suppressions(self, addresses: Sequence[Reached]) -> None:
        """Puts on the list, for who has them now, addresses that were on it for somebody who was erased."""

    async def gap(self) -> Gap | None:
        """The gap of the recovery that is under way; None: none is."""

    async def add(self, messages: Sequence[Message], records: Mapping[str, bytes]) -> None:
        """Stores new messages; `records` keeps the action of those that wait, by message id."""

    async def take_slots(self, contacts: Sequence[Contact]) -> None:
        """Slots taken; the customers must be locked. One per message, however often it is tried."""

    async def give_back_slots(self, keys: Sequence[MessageKey]) -> None:
        """Slots free again; taken ones need no lock to become free."""

    async def lock_campaigns(self, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
        """Locks these campaigns until the end, after the customers; what each has used.

        With the buckets from the moment given; None: only totals are needed.
        """

    async def take_rates(self, wishes: Sequence[Wish]) -> dict[str, Grant]:
        """Takes from shared rates, exact over all processes; by name, each of which is asked once.

        Each rate's row stays locked until the end of the transaction: ask in one call, not in several.
        """

    async def publish(self, events: Sequence[OwnEvent]) -> None:
        """Puts events on OUTCOMES."""

    async def count(self, totals: Mapping[str, int]) -> None:
        """Adds to exact counters."""


class MessageTransaction(GateTransaction, Protocol):
    """One transaction."""

    async def suppressions(self, wanted: SuppressionFilter, before: int, limit: int) -> list[Suppression]:
        """Entries of the suppression list with numbers below `before` (0: the newest), newest first."""

    async def suppress(
        self, entries: Sequence[Suppression], by: LiftedBy = LiftedBy.PERSON
    ) -> list[Suppression]:
        """Puts channels on the suppression list, with entries of the audit log; those that were new."""

    async def not_written(self, inbound_ids: Sequence[str]) -> set[str]:
        """Of these messages that customers wrote, those that were not taken before."""

    async def keep_written(self, written: Sequence[Written]) -> None:
        """Keeps messages that customers wrote; raises StaleWriteError when one was kept meanwhile."""

    async def sent_to(self, person: Sequence[int], channel: Channel, after_micros: int) -> list[Message]:
        """The last few messages a person got on a channel, newest first, without automatic answers."""

    async def answered(self, person: Sequence[int], after_micros: int) -> int:
        """How many automatic answers a person got since then."""

    async def replies_to(self, message_id: str) -> list[Written]:
        """What was written in answer to a message, oldest first."""

    async def lift(
        self,
        customer: int,
        channel: Channel,
        reasons: Collection[SuppressedFor],
        by: LiftedBy,
        evidence: str = "",
    ) -> list[Suppression]:
        """Takes these reasons off the list, with entries of the audit log; those that stood."""

    async def save(self, messages: Sequence[Message]) -> None:
        """Stores what changed in messages that are stored already, with their new steps."""

    async def campaign_uses(self, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
        """What campaigns have used, not locked; one never used is left out."""

    async def let_go(self, now_micros: int, limit: int) -> int:
        """Messages that a kill switch holds are due now; how many were not yet."""

    async def claim_planned(
        self,
        channel: Channel,
        wall_micros: int,
        limit: int,
    ) -> list[Message]:
        """Messages planned on the channel and not resting, longest waiting first. Locked."""

    async def claim_waiting(
        self,
        now_micros: int,
        wall_micros: int,
        limit: int,
        lease_micros: int,
    ) -> list[tuple[Message, Action]]:
        """Messages that wait for the gates and are due; no other worker gets them before the lease ends."""

    async def claim_lost(self, wall_micros: int, limit: int) -> list[Message]:
        """Messages being handed over whose lease has ended: their sender died. Locked."""

    async def claim_expired(self, now_micros: int, limit: int) -> list[Message]:
        """Planned messages whose validity has ended. Locked."""

    async def claim_escalating(self, now_micros: int, limit: int) -> list[tuple[Message, Action | None]]:
        """Messages whose next channel has its turn, with their actions where they are kept. Locked."""

    async def claim_unconfirmed(self, before_wall_micros: int, limit: int) -> list[Message]:
        """Messages handed over before that moment of the wall's clock of which no receipt came. Locked.

        Each is claimed once.
        """

    async def end_rests(self, wall_micros: int, longest_micros: int, lease_micros: int) -> int:
        """Ends rests and leases that no clock could have begun which now shows that; how many there were.

        A message being handed over gets one lease more.
        """

    async def claim_quarantined(self, wanted: QuarantineFilter, limit: int) -> list[Message]:
        """Messages in quarantine, the oldest first. Locked."""

    async def quarantined(self, wanted: QuarantineFilter) -> int:
        """How many are in quarantine."""

    async def handed_over(self, provider: str, provider_ids: Mapping[str, Message]) -> dict[str, Receipt]:
        """Remembers which message a provider id names; receipts that came before, by message id."""

    async def received(self, receipts: Sequence[Receipt]) -> list[tuple[Receipt, Message]]:
        """Remembers receipts; those whose message is known, with the message, locked."""


class Customers(Protocol):
    """Whose gates can be locked."""

    async def know_customers(self, customers: Sequence[int]) -> None:
        """Makes rows to lock for customers that have none; in a transaction of its own."""


class MessageStore(Customers, Protocol):
    """The service's database."""

    def transaction(self) -> AbstractAsyncContextManager[MessageTransaction]:
        """One transaction: committed when the block ends, rolled back when it raises."""

    async def find(self, message_id: str) -> tuple[Message, list[Change]] | None:
        """A message with its history, oldest step first; None: there is none."""

    async def list(self, wanted: MessageFilter, before: int, limit: int) -> list[tuple[int, Message]]:
        """Messages with their numbers, newest first, below the number `before` (0: from the newest)."""

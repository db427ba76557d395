"""What the use cases need from outside: a store that works in transactions, and a packer of snapshots."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.profile.app.identity_ports import IdentityWork
from services.profile.domain.accounts import Account, Key, Subscription
from services.profile.domain.audience import Audience, Members, Place
from services.profile.domain.consent import Consent, Consents
from services.profile.domain.customer import Customer
from services.profile.domain.erasure import ErasureNotice
from services.profile.domain.events import CheckedEvent
from services.profile.domain.households import Household
from services.profile.domain.identities import Owner
from services.profile.domain.ledger import Entry, Head, Line
from services.profile.domain.things import ThingState
from services.profile.domain.timeline import Happening, Kinds, Wanted
from services.vocabulary.identities import Identity

ThingKey = tuple[str, str]


class ContentionError(Exception):
    """Two transactions met in a ring and this one was undone; the same again will most likely pass."""

    message = "the transaction met others in a ring and was undone"
    suggestion = "send it again"


@dataclass(frozen=True, slots=True)
class ListenedTypes:
    """Event types that travel with a snapshot, and those of which last times are kept (`absence`).

    `version` grows with every change, 0: none set yet.
    """

    version: int = 0
    types: frozenset[str] = frozenset()
    absence: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line for the consent ledger, with what proves it.

    `before` and `after` are what counted for its purpose and channel before it and since; `actor` said so to
    the system; `recorded_micros` is when, in business time.
    """

    customer: int
    consent: Consent
    source: str
    event_id: str
    evidence: str = ""
    wording: str = ""
    before: Consent | None = None
    after: Consent | None = None
    actor: str = ""
    recorded_micros: int = 0


@dataclass(slots=True)
class Ledgers:
    """Lines of the consent ledger by customer, and where each customer's chain ends.

    `unchained`: lines that a version before the chain wrote, and that no worker has put into it yet.
    """

    lines: dict[int, list[Line]] = field(default_factory=dict)
    heads: dict[int, Head] = field(default_factory=dict)
    unchained: dict[int, list[Entry]] = field(default_factory=dict)


@dataclass(slots=True)
class TakenEvent:
    """An event that was taken: whose, at which position, what travels with it (`snapshot` None: nothing).

    `erasure`: of a customer.erased, who is erased.
    """

    event: CheckedEvent
    customer: int
    sequence: int
    line: str
    accepted_micros: int
    things: Sequence[ThingState] = ()
    snapshot: bytes | None = None
    erasure: ErasureNotice | None = None


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event as it is kept of a customer. `retracted`: it was taken back."""

    customer: int
    sequence: int
    type: str
    time_micros: int
    line: str
    data: bytes
    retracted: bool = False


@dataclass(slots=True)
class Handed:
    """All that one transaction hands on, in order, and what it must keep."""

    events: list[TakenEvent] = field(default_factory=list)
    ledger: list[LedgerEntry] = field(default_factory=list)


@dataclass(slots=True)
class AccountState:
    """Accounts and subscriptions by what they are found by."""

    accounts: dict[Key, Account] = field(default_factory=dict)
    subscriptions: dict[Key, Subscription] = field(default_factory=dict)


class Accounts(Protocol):
    """Accounts, subscriptions and households. Lock the customers (`Work.customers`) before any of them."""

    def account_key(self, number: str) -> Key:
        """What an account, and the household that its users form, is found by."""
        ...

    def subscription_key(self, name: str) -> Key:
        """What a subscription is found by."""
        ...

    def household_key(self, name: str) -> Key:
        """What a household is found by that an operator names."""
        ...

    async def account_state(
        self, accounts: Collection[str], subscriptions: Collection[str], *, lock: bool
    ) -> AccountState:
        """These accounts and subscriptions, with all that belong to the same accounts as those.

        `lock`: rows of new ones are made, and all named are locked first; of accounts with very many
        subscriptions only those named are read (`Account.large`).
        """
        ...

    async def save_account_state(
        self, accounts: Sequence[Account], subscriptions: Sequence[Subscription]
    ) -> None:
        """Write what changed."""
        ...

    async def owners_by_key(self, keys: Collection[Key]) -> dict[Key, int]:
        """Whose accounts these are, as their identities say; those of an erased person are NOBODY's."""
        ...

    async def homes(self, ids: Collection[int], *, lock: bool) -> dict[int, Household]:
        """Households by id; with `lock` their rows are locked in order first."""
        ...

    async def homes_by_key(self, keys: Collection[Key]) -> dict[int, Household]:
        """Households by id, found by their keys."""
        ...

    async def make_homes(self, keys: Collection[Key]) -> None:
        """Make households that nobody belongs to yet of those keys that have none."""
        ...

    async def save_homes(self, homes: Sequence[Household], now_micros: int) -> None:
        """Write households, new ones too, as they are from now on."""
        ...


class Packer(Protocol):
    """Turns a customer into what travels. Pure: the same customer gives the same bytes."""

    def snapshot(
        self, customer: Customer, things: Mapping[ThingKey, ThingState], time_micros: int, now_micros: int
    ) -> bytes:
        """A snapshot judged at `time_micros` (traits that end) and `now_micros` (consents that end)."""
        ...

    def has_ends(self, customer: Customer) -> bool:
        """Whether a trait of this customer ends by itself, so that each event needs its own snapshot."""
        ...


class ConsentLedger(Protocol):
    """The append-only ledger of consents. Lock the customers (`Work.customers`) before adding lines."""

    async def keep_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        """Add lines to their customers' chains."""
        ...

    async def consents_of(self, customers: Collection[int]) -> dict[int, tuple[int, Consents]]:
        """Who these customers are now, and what is in force for them; unknown ones are left out."""
        ...

    async def ledgers(self, customers: Collection[int]) -> Ledgers:
        """The ledgers of these customers."""
        ...

    async def ledgers_after(self, customer: int, most: int) -> tuple[Ledgers, int | None]:
        """The ledgers of the next customers after one that have any; the last of them, None: no more."""
        ...

    async def forget_texts(self, customers: Collection[int]) -> int:
        """Take evidence, wording and events' ids out of the lines; the chains hold as before. How many."""
        ...


class Work(ConsentLedger, Accounts, IdentityWork, Protocol):
    """One transaction on the profile's database. Everything in it is committed together, or nothing is."""

    async def listened(self) -> ListenedTypes:
        """The list in force; it cannot change before this transaction ends. Call it first."""
        ...

    async def set_listened(
        self, types: frozenset[str], absence: frozenset[str] = frozenset()
    ) -> ListenedTypes:
        """Put lists in force; waits until no transaction is under way that read those before."""
        ...

    async def owners(self, identities: Collection[Identity]) -> dict[Identity, Owner]:
        """Whose these identities are now, customer 0 those given up; unknown ones are left out."""
        ...

    async def new_keys(self, keys: Mapping[bytes, int]) -> set[bytes]:
        """Keep event keys (with their times); gives those that were not known before."""
        ...

    async def forget_keys(self, keys: Sequence[bytes]) -> None:
        """Undo `new_keys` for events that were not taken after all."""
        ...

    async def new_customer_ids(self, count: int) -> list[int]:
        """Ids that nobody has."""
        ...

    async def claim(self, claims: Sequence[tuple[Identity, Owner]]) -> set[Identity]:
        """Make identities their owners'; gives those that belonged to nobody before.

        One that somebody gave up is its owner's since then.
        """
        ...

    async def add_customers(self, customers: Sequence[int]) -> None:
        """Begin with these customers, who stand there once they are saved."""
        ...

    async def customers(self, ids: Collection[int], records: Collection[int]) -> dict[int, Customer]:
        """Lock customers in id order, then read them; of those in `records` also what changes rarely."""
        ...

    async def read_customers(self, ids: Collection[int]) -> dict[int, Customer]:
        """Read customers whole, without locking: for answers, never to change them."""
        ...

    async def save(self, customers: Collection[Customer], now_micros: int) -> None:
        """Write what changed."""
        ...

    async def save_last_times(self, times: Mapping[tuple[str, int], int]) -> None:
        """Keep times of last events by (event type, customer); never an earlier one than is known."""
        ...

    async def things(
        self, keys: Collection[ThingKey], lock: Collection[ThingKey]
    ) -> dict[ThingKey, ThingState]:
        """Things as they stand (new ones empty); those in `lock` are locked in order first."""
        ...

    async def save_things(self, things: Collection[ThingState]) -> None:
        """Write things."""
        ...

    async def keep(self, handed: Handed) -> None:
        """Write events and ledger, and hand the events on."""
        ...

    async def kept_event(self, customer: int, source: str, event_id: str) -> KeptEvent | None:
        """An event of a locked customer; None: no such event is kept."""
        ...

    async def retract(self, event: KeptEvent, last_micros: int | None, now_micros: int) -> None:
        """Mark an event as taken back; `last_micros`: its type's newest time now, 0 none, None as it was."""

    async def erased_customers(self, customers: Collection[int]) -> set[int]:
        """Those of the ids whose persons were erased."""
        ...

    async def erased_identities(self, identities: Collection[Identity]) -> dict[Identity, int]:
        """When a person was erased who had it last; identities of nobody who was are left out."""
        ...

    async def note_conflicts(
        self, conflicts: Sequence[tuple[int, Sequence[Identity]]], now_micros: int
    ) -> None:
        """Record that identities of several customers came together."""
        ...

    async def timeline(
        self, customers: Sequence[int], wanted: Wanted, kinds: Kinds, limit: int
    ) -> list[Happening]:
        """The next entries of these customers' history in the order asked for, at most so many."""
        ...

    async def versions(self, customers: Collection[int]) -> dict[int, tuple[int, int]]:
        """What names the present version of each customer: another one means that it was written."""
        ...

    async def note_reads(self, customers: Collection[int], method: str, reason: str = "") -> None:
        """Write down that whoever asks is told of these customers, unless it is a service of ours."""
        ...

    async def hand_on(self, events: Sequence[TakenEvent]) -> None:
        """Put events on their way to the decision service; nothing else is written."""
        ...

    async def count(self, totals: Mapping[str, int]) -> None:
        """Add to the exact totals."""
        ...

    async def stream_position(self, stream_id: str) -> int:
        """The last sequence acknowledged on a stream; 0: none."""
        ...

    async def move_stream(self, stream_id: str, sequence: int) -> None:
        """Set the last sequence acknowledged; it never goes back."""
        ...

    async def clock(self) -> int:
        """Business time as fed; 0: never."""
        ...

    async def set_clock(self, micros: int) -> int:
        """Move business time on; gives where it stands, which is later where another was faster."""
        ...


class Audiences(Protocol):
    """Customers found by what is known of them, page by page; see domain.audience."""

    async def members(self, transaction: Any, audience: Audience, place: Place, size: int) -> Members:
        """The next customers after a place: never too few on the whole, perhaps too many."""
        ...

    async def zones(self, transaction: Any, after: str, size: int) -> tuple[list[str], str | None, bool]:
        """Zones after one, in order; the last of them if more follow; whether they are still gathered."""
        ...


class ProfileStore(Protocol):
    """Where profiles are kept."""

    def work(self) -> AbstractAsyncContextManager[Work]:
        """A transaction: committed when the block ends, rolled back when it raises."""
        ...

    def join(self, transaction: Any) -> Work:
        """The same in a transaction of this store that somebody else began, and will end."""
        ...

    def met_others(self, error: Exception) -> bool:
        """Whether an error says that two transactions met in a ring, and this one was undone."""
        ...

    def is_away(self, error: Exception) -> bool:
        """Whether an error says that the store cannot be reached, and nothing about what was done."""
        ...

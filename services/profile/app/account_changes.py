"""What events of accounts, subscriptions and households change, within the transaction of a batch.

Order of locks: customers, then accounts, subscriptions and households, each in the order of its key. Who is
concerned is read before the customers are locked and again after it; where that differs, all is done anew.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.profile.app.ports import AccountState, ContentionError, Work
from services.profile.domain.accounts import (
    ACCOUNT_CHANGED,
    ACCOUNT_EVENTS,
    HOUSEHOLD_CHANGED,
    NUMBER,
    SUBSCRIPTION_CHANGED,
    USER,
    Key,
    Line,
    Subscription,
)
from services.profile.domain.customer import NO_HOUSEHOLD, Customer, household_words
from services.profile.domain.events import CheckedEvent
from services.profile.domain.households import Household, persons_together
from services.profile.domain.identities import Owner, line_of_new, resolve
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.identities import Identity
from services.vocabulary.words import Households

_JOIN = "join"


@dataclass(slots=True)
class _Concerned:
    """Whom and what the events of accounts in a batch concern."""

    state: AccountState = field(default_factory=AccountState)
    owners: dict[Identity, Owner] = field(default_factory=dict)
    homes: dict[int, Household] = field(default_factory=dict)

    def customers(self) -> set[int]:
        found = {owner.customer for owner in self.owners.values()}
        found.update(one.user for one in self.state.subscriptions.values())
        found.update(one.payer for one in self.state.subscriptions.values())
        found.update(member for home in self.homes.values() for member in home.members)
        return found - {0}


class AccountChanges:
    """The part of a batch that knows who belongs together; `now_micros` is business time."""

    def __init__(self, catalogue: Catalogue, work: Work, now_micros: int) -> None:
        self._catalogue = catalogue
        self._work = work
        self._now = now_micros
        self._events: list[CheckedEvent] = []
        self._persons: dict[int, dict[str, int]] = {}
        self._unowned: dict[int, dict[str, list[Identity]]] = {}
        self._found = _Concerned()
        self._customers: Mapping[int, Customer] = {}
        self._by_key: dict[Key, Household] = {}
        self._free_ids: list[int] = []
        self._asked: frozenset[int] = frozenset()

    async def prepare(self, events: Sequence[CheckedEvent], owners: Mapping[Identity, Owner]) -> set[int]:
        """The customers besides the events' own that must be locked; `owners` of all identities named."""
        self._events = [event for event in events if event.type.name in ACCOUNT_EVENTS]
        if not self._events:
            return set()
        for event in self._events:
            persons = self._persons[id(event)] = {}
            for role, identities in event.persons.items():
                found = resolve(identities, owners)
                if found is not None:
                    persons[role] = found.customer
                    if found.unowned:
                        self._unowned.setdefault(id(event), {})[role] = list(found.unowned)
                elif role == NUMBER:
                    self._unowned.setdefault(id(event), {})[role] = list(identities)
        self._found = await self._read(lock=False)
        named = {customer for persons in self._persons.values() for customer in persons.values()}
        self._asked = frozenset(named | self._found.customers())
        return set(self._asked)

    async def load(self, customers: Mapping[int, Customer], events: Iterable[CheckedEvent]) -> None:
        """Lock and read what belongs to the customers, who are locked by now."""
        self._customers = customers
        homes = {
            customers[event.customer].home_id
            for event in events
            if event.customer in customers and customers[event.customer].home_id
            if event.type.name in ACCOUNT_EVENTS or household_words(event, self._catalogue)
        }
        if not (self._events or homes):
            return
        if self._events:
            found = await self._read(lock=True)
            if (
                found.customers() - customers.keys() - self._asked
            ):  # what was asked for and is not there is gone
                raise ContentionError
            self._found = found
            homes.update(found.homes)
            homes.update(
                customers[one].home_id for one in self._asked | found.customers() if one in customers
            )
        fresh = await self._work.homes(homes - {0}, lock=True)
        for customer in customers.values():
            if customer.home_id in fresh:
                customer.home = fresh[customer.home_id]
        self._by_key = {home.key: home for home in fresh.values()}
        formed = [home for home in fresh.values() if home.key in self._found.state.accounts]
        if any(home.members.keys() - customers.keys() for home in formed):
            raise ContentionError
        if self._events:
            self._free_ids = await self._work.new_customer_ids(len(self._found.state.accounts) + 1)
            await self._claim()

    async def _read(self, *, lock: bool) -> _Concerned:
        work = self._work
        accounts = {str(event.fields["account"]) for event in self._events if event.fields.get("account")}
        lines = {
            str(event.fields["subscription"])
            for event in self._events
            if event.type.name == SUBSCRIPTION_CHANGED
        }
        state = await work.account_state(accounts, lines, lock=lock)
        said = {
            work.household_key(str(event.fields["household"]))
            for event in self._events
            if event.type.name == HOUSEHOLD_CHANGED
        }
        if lock and said:
            await work.make_homes(said)
        homes = await work.homes_by_key({*said, *state.accounts})
        wanted = {Identity("account", account.name) for account in state.accounts.values()}
        wanted |= {
            Identity(NUMBER, one.text(NUMBER)) for one in state.subscriptions.values() if one.text(NUMBER)
        }
        wanted |= {identity for event in self._events for each in event.persons.values() for identity in each}
        return _Concerned(state, await work.owners(wanted) if wanted else {}, homes)

    async def _claim(self) -> None:
        """Numbers of nobody become those of who uses them."""
        for event in self._events:
            for role, identities in self._unowned.get(id(event), {}).items():
                owner = self._persons[id(event)].get(role) or self._user_before(event) or event.customer
                customer = self._customers[owner]
                held = customer.record.identities
                claims = [
                    (one, Owner(customer.id, line_of_new(one, held)))
                    for one in identities
                    if one not in self._found.owners
                ]
                won = await self._work.claim(claims) if claims else set()
                for identity, owned in claims:
                    if identity in won:
                        customer.add_identity(identity, owned.line)
                        self._found.owners[identity] = owned

    def _user_before(self, event: CheckedEvent) -> int:
        key = self._work.subscription_key(str(event.fields.get("subscription", "")))
        known = self._found.state.subscriptions.get(key)
        return known.user if known is not None else 0

    # what they change

    def concerned(self, event: CheckedEvent) -> Collection[int]:
        """Customers whose snapshots this event may change, besides its own."""
        if event.type.name in ACCOUNT_EVENTS:
            return self._customers.keys()
        customer = self._customers.get(event.customer)
        home = None if customer is None else customer.home
        if home is None or not any(map(home.changed_by, household_words(event, self._catalogue))):
            return ()
        return home.members.keys()

    def apply(self, event: CheckedEvent) -> None:
        """Take one event of an account, a subscription or a household."""
        match event.type.name:
            case name if name == ACCOUNT_CHANGED:
                account = self._found.state.accounts[self._work.account_key(str(event.fields["account"]))]
                if event.fields.get("status") is not None:
                    account.put("status", str(event.fields["status"]), event.time_micros)
                self._regroup(account.key)
            case name if name == SUBSCRIPTION_CHANGED:
                self._change_subscription(event)
            case name if name == HOUSEHOLD_CHANGED:
                self._change_household(event)
            case _:
                pass

    def _change_subscription(self, event: CheckedEvent) -> None:
        work, state = self._work, self._found.state
        one = state.subscriptions[work.subscription_key(str(event.fields["subscription"]))]
        user, account = one.user, one.account
        persons = dict(self._persons[id(event)])
        number = persons.pop(NUMBER, 0)
        if number:
            persons.setdefault(USER, number)
        one.take(event.fields, persons, event.time_micros)
        if not one.user:
            one.put(USER, event.customer, 0)  # any word goes before what is only supposed
        told = one.text("account")
        one.account = work.account_key(told) if told else b""
        if user and self._who(user) != self._who(one.user):
            self._hold(user, [line for line in self._lines(user) if line.subscription != one.key])
        line = next((line.line for line in self._lines(one.user) if line.subscription == one.key), None)
        owned = self._found.owners.get(Identity(NUMBER, one.text(NUMBER)))
        if owned is not None and self._who(owned.customer) == self._who(one.user):
            line = owned.line
        others = [other for other in self._lines(one.user) if other.subscription != one.key]
        self._hold(one.user, [*others, one.line(line or "")])
        for key in dict.fromkeys((account, one.account)):
            if key:
                self._regroup(key)

    def _who(self, customer: int) -> int:
        """Who a customer is now: whom they were merged into; 0: nobody any more."""
        person = self._customers.get(customer)
        return 0 if person is None else person.id

    def _lines(self, customer: int) -> Sequence[Line]:
        person = self._customers.get(customer)
        return () if person is None else person.record.lines

    def _hold(self, customer: int, lines: Sequence[Line]) -> None:
        person = self._customers.get(customer)
        if person is None:
            return
        ordered = sorted(lines, key=lambda line: (line.line, line.subscription))
        if ordered != person.record.lines:
            person.record.lines = ordered
            person.record_changed = True
        if person.home is not None:
            person.home.hold_lines(person.id, ordered)

    def _regroup(self, key: Key) -> None:
        """Who shares an account is a household, as far as nothing else was said of a person."""
        account = self._found.state.accounts[key]
        if self._catalogue.households is not Households.ACCOUNT:
            return
        owner = self._found.owners.get(Identity("account", account.name))
        lines: list[Subscription] = [
            one for one in self._found.state.subscriptions.values() if one.account == key
        ]
        together = (
            frozenset()
            if account.large
            else persons_together(lines, owner.customer if owner is not None else 0, self._now, self._who)
        )
        home = self._by_key.get(key)
        if home is None:
            if not together:
                return
            home = self._by_key[key] = Household(self._free_ids.pop(), key)
        for number in [one for one, member in home.members.items() if not member.said]:
            if number not in together:
                self._leave(home, self._customers[number])
        for number in sorted(together):
            person = self._customers[number]
            if person.home is None and not person.record.said_household:
                self._join(home, person, said=False)

    def _change_household(self, event: CheckedEvent) -> None:
        person = self._customers[event.customer]
        record = person.record
        if event.time_micros < record.said_household_micros:
            return
        home = self._by_key[self._work.household_key(str(event.fields["household"]))]
        joins = event.fields["action"] == _JOIN
        if not joins and person.home is not home and record.said_household != home.id:
            return
        record.said_household = home.id if joins else NO_HOUSEHOLD
        record.said_household_micros = event.time_micros
        person.record_changed = True
        if person.home is not None and (person.home is not home or not joins):
            self._leave(person.home, person)
        if joins:
            self._join(home, person, said=True)

    def _join(self, home: Household, person: Customer, *, said: bool) -> None:
        home.join(person.id, person.record.lines, said=said)
        person.enter(home, self._catalogue)

    def _leave(self, home: Household, person: Customer) -> None:
        home.leave(person.id)
        person.leave_home()

    async def save(self) -> None:
        """Write what changed."""
        state = self._found.state
        accounts = [one for one in state.accounts.values() if one.changed]
        subscriptions = [one for one in state.subscriptions.values() if one.changed]
        if accounts or subscriptions:
            await self._work.save_account_state(accounts, subscriptions)
        homes = {home.id: home for home in self._by_key.values() if home.changed}
        if homes:
            await self._work.save_homes([homes[number] for number in sorted(homes)], self._now)

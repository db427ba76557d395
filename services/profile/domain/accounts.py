"""Accounts and subscriptions: which line is whose, who uses it and who pays for it.

An account belongs to whom its identity `account:<number>` belongs. A subscription knows its account, who
uses it and, where somebody else was said to pay, that person. Each attribute is as it was said last, by the
time of the events, so that the order of their arrival does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.profile.domain.errors import RejectedError, RejectionReason
from services.vocabulary.catalogue import EventType
from services.vocabulary.identities import Identity, parse_identity
from services.vocabulary.values import FieldError, FieldValue, Value

ACCOUNT_CHANGED: Final = "account.changed"
SUBSCRIPTION_CHANGED: Final = "subscription.changed"
HOUSEHOLD_CHANGED: Final = "household.changed"
ACCOUNT_EVENTS: Final = frozenset({ACCOUNT_CHANGED, SUBSCRIPTION_CHANGED, HOUSEHOLD_CHANGED})
"""Events that say who belongs together; all others leave that as it is."""

NOBODY: Final = -1
"""Whose account it is that belonged to a person who was erased."""
USER: Final = "user"
PAYER: Final = "payer"
NUMBER: Final = "msisdn"
ENDED: Final = "ended"
_KEPT: Final = ("account", "msisdn", "sim", "device", "plan", "status", "from", "until")

Key = bytes
"""What an account or a subscription is found by: a keyed hash."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a customer uses. `payer` 0: the one whose account it is; times 0: not said."""

    line: str
    subscription: Key
    account: Key = b""
    payer: int = 0
    from_micros: int = 0
    until_micros: int = 0

    def counts_at(self, time_micros: int) -> bool:
        """Whether it is in use then."""
        return self.from_micros <= time_micros and not 0 < self.until_micros <= time_micros


@dataclass(slots=True)
class Facts:
    """What is known of an account or a subscription: each attribute with its time; None: taken away then."""

    key: Key
    name: str
    attributes: dict[str, tuple[Value | None, int]] = field(default_factory=dict)
    changed: bool = False

    def put(self, name: str, value: Value | None, time_micros: int) -> None:
        """Take one word; an older one never replaces a newer."""
        before = self.attributes.get(name)
        if before is not None and time_micros < before[1]:
            return
        if before != (value, time_micros):
            self.attributes[name] = (value, time_micros)
            self.changed = True

    def text(self, name: str) -> str:
        """A text; empty: not known."""
        value = self.attributes.get(name, (None, 0))[0]
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """A customer's id or a time; 0: not known."""
        value = self.attributes.get(name, (None, 0))[0]
        return value if isinstance(value, int) else 0


@dataclass(slots=True)
class Account(Facts):
    """An account. `large`: so many subscriptions belong to it that they are not looked at together."""

    large: bool = False


@dataclass(slots=True)
class Subscription(Facts):
    """A subscription; `account` is what its account is looked up by, empty: none is known."""

    account: Key = b""

    @property
    def user(self) -> int:
        """The customer who uses it."""
        return self.number(USER)

    @property
    def payer(self) -> int:
        """The customer who was said to pay; 0: nobody was."""
        return self.number(PAYER)

    def counts_at(self, time_micros: int) -> bool:
        """Whether it is in use then."""
        return self.text("status") != ENDED and self.line("").counts_at(time_micros)

    def line(self, line: str) -> Line:
        """It as a line of its user; one that has ended without a time ended when that was said."""
        until = self.number("until")
        status, said = self.attributes.get("status", (None, 0))
        if status == ENDED:
            until = min(until or said, said)
        return Line(line, self.key, self.account, self.payer, self.number("from"), until)

    def take(self, fields: Mapping[str, FieldValue], persons: Mapping[str, int], time_micros: int) -> None:
        """What a `subscription.changed` says; `persons`: the customers it names, by what they are to it."""
        for name in _KEPT:
            value = fields.get(name)
            if value is not None and not isinstance(value, Mapping):
                self.put(name, value, time_micros)
        for role, customer in persons.items():
            self.put(role, customer, time_micros)


def persons_of(event_type: EventType, fields: Mapping[str, FieldValue]) -> dict[str, tuple[Identity, ...]]:
    """The persons that an event of a subscription names besides its subject; raises RejectedError."""
    if event_type.name != SUBSCRIPTION_CHANGED:
        return {}
    found: dict[str, tuple[Identity, ...]] = {}
    for role in (USER, PAYER):
        if fields.get(role) is not None:
            found[role] = (_identity(role, str(fields[role])),)
    if fields.get(NUMBER) is not None:
        number = _identity(NUMBER, f"{NUMBER}:{fields[NUMBER]}")
        found[USER if USER in found else NUMBER] = (*found.get(USER, ()), number)
    return found


def persons_to_be(persons: Mapping[str, tuple[Identity, ...]]) -> Mapping[str, tuple[Identity, ...]]:
    """Of the persons named those who are customers, new ones where nobody has their identities.

    A number alone is no other person: where nobody has it, it becomes one of the subject's.
    """
    if not persons:
        return persons
    return {role: identities for role, identities in persons.items() if role != NUMBER}


def account_of(event_type: EventType, fields: Mapping[str, FieldValue]) -> Identity | None:
    """The account that an event of an account is about, which is one of its subject's identities."""
    if event_type.name != ACCOUNT_CHANGED:
        return None
    return _identity("account", f"account:{fields['account']}")


def _identity(field_name: str, text: str) -> Identity:
    try:
        return parse_identity(text)
    except FieldError as error:
        raise RejectedError(
            RejectionReason.INVALID_FIELD, f"data.{field_name}", error.message, error.suggestion
        ) from None


def line_asked(lines: Sequence[Line], line: str, time_micros: int) -> Line | None:
    """The subscription behind a line, as far as it can be told; None: it cannot."""
    counting = [one for one in lines if one.counts_at(time_micros)]
    same = [one for one in counting if one.line == line]
    if same:
        return same[0]
    payers = {(one.account, one.payer) for one in counting}
    return counting[0] if len(payers) == 1 else None

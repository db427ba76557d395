"""Which customer several identities mean, and which subscription; whose an identity was at which time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.vocabulary.identities import Identity
from services.vocabulary.identity_rules import IdentityKind, core_kinds

FOREVER: Final = 1 << 62
"""Until when an identity is somebody's who still has it."""

ERASED: Final = -1
"""In the place of `via`: who had it then was erased since."""

_CORE: Final = core_kinds()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an identity is since a time (0: always). `line`: its subscription; empty: the main line or none.

    `customer` 0: nobody's since then. `via`: the customer whose it was before that one was merged, 0: none.
    """

    customer: int
    line: str = ""
    since_micros: int = 0
    via: int = 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """The customer meant. `others`: whose the weaker identities are, where they are not all the customer's.

    `via`: the id under which the customer was known by the matched identity before a merge; 0: this one.
    """

    customer: int
    line: str
    matched: Identity
    unowned: tuple[Identity, ...]
    others: tuple[tuple[Identity, int], ...] = ()
    via: int = 0

    @property
    def conflict(self) -> bool:
        """Whether the identities belong to several; the strongest kind won."""
        return bool(self.others)


def resolve(
    identities: Sequence[Identity],
    owners: Mapping[Identity, Owner],
    kinds: Mapping[str, IdentityKind] = _CORE,
) -> Resolution | None:
    """The owner of the strongest identity that anybody owns; None: nobody owns any of them.

    Nothing is merged: on a conflict each identity stays where it is. An identity that names one person for
    certain goes before one that may be shared, then the kind's strength decides.
    """
    if len(identities) == 1:
        only = identities[0]
        found = owners.get(only)
        return None if found is None else Resolution(found.customer, found.line, only, (), via=found.via)
    owned = [identity for identity in identities if identity in owners]
    if not owned:
        return None
    strongest = min(
        owned, key=lambda identity: (not kinds[identity.kind].exact, kinds[identity.kind].strength)
    )
    customer = owners[strongest].customer
    lines = [
        owners[identity].line
        for identity in owned
        if identity.kind == "msisdn" and owners[identity].customer == customer
    ]
    return Resolution(
        customer=customer,
        line=lines[0] if lines else owners[strongest].line,
        matched=strongest,
        unowned=tuple(identity for identity in identities if identity not in owners),
        others=tuple(
            (identity, owners[identity].customer)
            for identity in owned
            if owners[identity].customer != customer
        ),
        via=owners[strongest].via,
    )


def line_of_new(identity: Identity, held: Sequence[tuple[Identity, str]]) -> str:
    """The line of an identity that a customer gains: empty for the first number, then 2, 3 and so on."""
    if identity.kind != "msisdn":
        return ""
    numbers = sum(1 for other, _ in held if other.kind == "msisdn")
    return "" if numbers == 0 else str(numbers + 1)


@dataclass(frozen=True, slots=True)
class Period:
    """Whose an identity was from `since_micros` until before `until_micros`; customer 0: nobody's.

    `via` as an owner's, or ERASED.
    """

    customer: int
    line: str
    since_micros: int
    until_micros: int = FOREVER
    via: int = 0

    def holds_at(self, time_micros: int) -> bool:
        """Whether it was theirs then."""
        return self.since_micros <= time_micros < self.until_micros


def owner_at(periods: Sequence[Period], time_micros: int) -> Owner | None:
    """Whose an identity was at a time; None: nobody's."""
    for period in periods:
        if period.holds_at(time_micros) and period.customer:
            return Owner(period.customer, period.line, period.since_micros, period.via)
    return None


def period_at(periods: Sequence[Period], time_micros: int) -> Period | None:
    """The period that a time falls into; None: before anything is known."""
    return next((period for period in periods if period.holds_at(time_micros)), None)


def handed_over(periods: Sequence[Period], customer: int, line: str, time_micros: int) -> list[Period]:
    """The periods of an identity, oldest first, once it is said that it is `customer`'s from a time on.

    It is theirs until whoever is known to have it next. Who has it at that time already keeps it as it was,
    so that the same word again, from a system that says it every night, changes nothing. Customer 0 gives
    it up.
    """
    found = list(periods)
    place = next((place for place, period in enumerate(found) if period.holds_at(time_micros)), None)
    if place is None:
        until = found[0].since_micros if found else FOREVER
        return [Period(customer, line, time_micros, until), *found] if customer else found
    standing = found[place]
    if standing.customer == customer:
        return found
    new = Period(customer, line, time_micros, standing.until_micros)
    before = [replace(standing, until_micros=time_micros)] if standing.since_micros < time_micros else []
    found[place : place + 1] = [*before, new]
    return found

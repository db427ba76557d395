"""Which customer several identities mean, and which subscription."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.vocabulary.identities import Identity, identity_strength


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an identity is. `line`: its subscription; empty: the main line or none."""

    customer: int
    line: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The customer meant. `conflict`: the identities belong to several; the strongest kind won."""

    customer: int
    line: str
    matched: Identity
    conflict: bool
    unowned: tuple[Identity, ...]


def resolve(identities: Sequence[Identity], owners: Mapping[Identity, Owner]) -> Resolution | None:
    """The owner of the strongest identity that anybody owns; None: nobody owns any of them.

    Nothing is merged: on a conflict each identity stays where it is.
    """
    if len(identities) == 1:
        only = identities[0]
        found = owners.get(only)
        return (
            None
            if found is None
            else Resolution(found.customer, found.line, only, conflict=False, unowned=())
        )
    owned = [identity for identity in identities if identity in owners]
    if not owned:
        return None
    strongest = min(owned, key=lambda identity: identity_strength(identity.kind))
    customer = owners[strongest].customer
    mine = [identity for identity in owned if owners[identity].customer == customer]
    lines = [owners[identity].line for identity in mine if identity.kind == "msisdn"]
    return Resolution(
        customer=customer,
        line=lines[0] if lines else owners[strongest].line,
        matched=strongest,
        conflict=len(mine) < len(owned),
        unowned=tuple(identity for identity in identities if identity not in owners),
    )


def line_of_new(identity: Identity, held: Sequence[tuple[Identity, str]]) -> str:
    """The line of an identity that a customer gains: empty for the first number, then 2, 3 and so on."""
    if identity.kind != "msisdn":
        return ""
    numbers = sum(1 for other, _ in held if other.kind == "msisdn")
    return "" if numbers == 0 else str(numbers + 1)

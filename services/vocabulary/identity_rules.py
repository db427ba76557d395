"""How identities resolve: per kind its strength, how many a person has, who assigns it, what it joins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.vocabulary.identities import IDENTITY_KINDS, MAX_IDENTITIES

STAFF: Final = "staff"
"""The source of what people at the operator's desks do."""


class Joins(StrEnum):
    """What is done when one event names identities of two customers."""

    NEVER = "never"
    SUGGEST = "suggest"
    MERGE = "merge"


_CAUTION: Final = {Joins.NEVER: 0, Joins.SUGGEST: 1, Joins.MERGE: 2}


@dataclass(frozen=True, slots=True)
class IdentityKind:
    """One kind of identity. `strength` 0 is the strongest.

    `exact`: one such identity is one person's, so that it may prove who somebody is. `most`: how many of
    them one person has at the same time. `assigned_by`: sources whose word moves one from one person to
    another.
    """

    kind: str
    strength: int
    exact: bool = True
    most: int = MAX_IDENTITIES
    assigned_by: frozenset[str] = frozenset()
    joins: Joins = Joins.SUGGEST


def core_kinds() -> dict[str, IdentityKind]:
    """The kinds of the core vocabulary, for a catalogue that says nothing of them."""
    return {
        kind: IdentityKind(kind, strength, assigned_by=frozenset({STAFF}))
        for strength, kind in enumerate(IDENTITY_KINDS)
    }


def joins_of(kinds: Mapping[str, IdentityKind], met: Iterable[str]) -> Joins:
    """What is done when identities of these kinds met that are of several customers: the most careful."""
    return min((kinds[kind].joins for kind in met), key=lambda joins: _CAUTION[joins])

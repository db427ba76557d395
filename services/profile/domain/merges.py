"""Merges, splits and suggestions as they are kept."""

from dataclasses import dataclass
from enum import StrEnum

from services.vocabulary.identities import Identity


class MergeKind(StrEnum):
    """What was done to who is who."""

    MERGE = "merge"
    SPLIT = "split"


@dataclass(frozen=True, slots=True)
class Merge:
    """Two customers made one, or one made two. `from_customer` was merged away, or is new.

    `into_sequence` and `into_lines` say how many events and lines of the consent ledger `into_customer` had
    before; `undone_micros` 0: it holds.
    """

    id: int
    kind: MergeKind
    from_customer: int
    into_customer: int
    time_micros: int
    by: str
    reason: str
    into_sequence: int = 0
    into_lines: int = 0
    undone_micros: int = 0
    undone_by: str = ""
    undone_reason: str = ""


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event as it is kept, as far as it can still be read. `retracted`: it was taken back."""

    customer: int
    sequence: int
    time_micros: int
    type: str
    source: str
    line: str
    via: int
    data: bytes
    event_id: str
    retracted: bool = False


class SuggestionState(StrEnum):
    """Where a suggestion stands; `JOINING`: the catalogue has such a pair merged, a worker is about to."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    JOINING = "joining"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two customers who may be one person: one event named identities of both.

    `customer` is whose the stronger identity is; `merge` 0: none.
    """

    id: int
    customer: int
    other: int
    state: SuggestionState
    time_micros: int
    identities: tuple[Identity, ...] = ()
    decided_by: str = ""
    decided_micros: int = 0
    merge: int = 0


@dataclass(frozen=True, slots=True)
class Met:
    """Two customers whose identities one event named, on their way to become a suggestion."""

    customer: int
    other: int
    identities: tuple[Identity, ...]
    state: SuggestionState = SuggestionState.OPEN

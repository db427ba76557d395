"""What is kept of the past, and in which order it was taken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import Final

from services.profile.domain.events import CheckedEvent
from services.profile.domain.households import Household
from services.profile.domain.ledger import Entry
from services.profile.domain.merges import Merge
from services.vocabulary.identities import Identity

FOREVER: Final = 1 << 62


class LeftOutReason(Enum):
    """Why an event that is kept cannot be replayed."""

    UNKNOWN_TYPE = "unknown type"
    DOES_NOT_FIT = "does not fit"
    RETRACTED = "retracted"


@dataclass(slots=True)
class KeptRow:
    """An event as it is kept, of a customer or (`thing`) of a thing. `written` names the transaction.

    `retracted_micros`: when it was taken back; 0: it stands. `read`: the event, once it was read again,
    or why it cannot be.
    """

    customer: int
    sequence: int
    time_micros: int
    accepted_micros: int
    type: str
    source: str
    event_id: str
    line: str
    hops: int
    history: bool
    data: bytes
    via: int = 0
    retracted_micros: int = 0
    written: bytes = b""
    thing: str = ""
    read: CheckedEvent | LeftOutReason = LeftOutReason.UNKNOWN_TYPE


@dataclass(frozen=True, slots=True)
class HomeRow:
    """A household as it was from a time on, and who belonged to it. `written` names the transaction."""

    home: Household
    members: frozenset[int]
    accepted_micros: int
    written: bytes


@dataclass(frozen=True, slots=True)
class Kinds:
    """Of which kinds a customer's identities were, each since the event behind a sequence, oldest first."""

    since: Sequence[tuple[int, tuple[str, ...]]] = ()

    def at(self, sequence: int) -> tuple[str, ...] | None:
        """When an event was taken; None: nothing was remembered."""
        for after, kinds in reversed(self.since):
            if after < sequence:
                return kinds
        return self.since[0][1] if self.since else None


@dataclass(slots=True)
class Life:
    """All that is kept of one customer under one id: events by sequence, the ledger in its order.

    `identities` are today's; `joined` are the merges into this customer that
    hold, oldest first, `merged` the one by which it became another. `torn_micros`: when something was taken
    out of it, or put into it, that no event tells of; 0: never. `homes` are the households to which it ever
    belonged.
    """

    customer: int
    identities: list[tuple[Identity, str]] = field(default_factory=list)
    kinds: Kinds = field(default_factory=Kinds)
    rows: list[KeptRow] = field(default_factory=list)
    ledger: list[Entry] = field(default_factory=list)
    joined: list[Merge] = field(default_factory=list)
    merged: Merge | None = None
    torn_micros: int = 0
    homes: list[HomeRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are asked for, by when they happened: `types` with snapshots, `bare` without."""

    since_micros: int
    until_micros: int
    types: frozenset[str]
    bare: frozenset[str] = frozenset()

    def wants(self, row: KeptRow) -> bool:
        """Whether this one is."""
        return self.since_micros <= row.time_micros < self.until_micros and (
            row.type in self.types or row.type in self.bare
        )


def batches(rows: Sequence[KeptRow]) -> Iterator[list[KeptRow]]:
    """Events of one customer that were taken together."""
    for _, together in groupby(rows, key=lambda row: (row.accepted_micros, row.written)):
        yield list(together)

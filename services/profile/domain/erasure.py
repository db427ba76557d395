"""The erasure of a person (GDPR art. 17): what is asked, what travels, and the receipt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from services.vocabulary.words import ADDRESS_KINDS, Channel, ConsentBy

CUSTOMER_ERASED: Final = "customer.erased"
PROFILE: Final = "profile"
OTHERS: Final = ("decision", "channel")
"""Services that an erasure travels to, in the order of the road."""


class Ground(StrEnum):
    """Why a person is erased (GDPR art. 17 (1)); the names are those of the proto."""

    NOT_NEEDED = "not_needed"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    OBJECTED = "objected"
    UNLAWFUL = "unlawful"
    LEGAL_DUTY = "legal_duty"
    CHILD = "child"


@dataclass(frozen=True, slots=True)
class ErasedIdentity:
    """An identity that a person had, by its look-up alone."""

    lookup: bytes
    kind: str

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Those on which it is an address."""
        return tuple(channel for channel, kind in ADDRESS_KINDS.items() if kind == self.kind)


@dataclass(frozen=True, slots=True)
class ErasureNotice:
    """What tells the other services: all ids of a person, and by which look-ups they were reached."""

    erasure_id: str
    customers: tuple[int, ...]
    erased_micros: int
    identities: tuple[ErasedIdentity, ...] = ()


@dataclass(slots=True)
class Part:
    """What one service did, over all ids of the person. `finished_micros` 0: it is not done for all yet."""

    service: str
    finished_micros: int = 0
    erased: dict[str, int] = field(default_factory=dict)
    open_customers: list[int] = field(default_factory=list)

    def add(self, customer: int, finished_micros: int, erased: Mapping[str, int]) -> None:
        """What it did, or has not done yet (0), for one id."""
        if not finished_micros:
            self.open_customers.append(customer)
        for table, rows in erased.items():
            self.erased[table] = self.erased.get(table, 0) + rows
        self.finished_micros = 0 if self.open_customers else max(self.finished_micros, finished_micros)


@dataclass(slots=True)
class Erasure:
    """A receipt; `number` grows with every erasure."""

    number: int
    erasure_id: str
    customers: tuple[int, ...]
    requested_micros: int
    ground: Ground
    by: ConsentBy
    reference: str
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def completed_micros(self) -> int:
        """When the last service was done; 0: one is not yet."""
        times = [part.finished_micros for part in self.parts.values()]
        return max(times) if times and all(times) else 0


def counts_of(told: Sequence[str]) -> dict[str, int]:
    """Rows by table, from the `table=rows` of an `erasure.finished`; what is neither is left out."""
    found: dict[str, int] = {}
    for text in told:
        table, _, rows = text.partition("=")
        if table and rows.isdecimal():
            found[table] = int(rows)
    return found

"""Whom a question concerns: what is asked of customers, as far as it can be answered without opening them."""

from dataclasses import dataclass, field
from enum import StrEnum

from services.vocabulary.values import Value
from services.vocabulary.words import Purpose


class Operator(StrEnum):
    """How a trait is compared."""

    IS = "is"
    EXISTS = "exists"
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    CONTAINS = "contains"
    STARTS_WITH = "starts with"


@dataclass(frozen=True, slots=True)
class TraitTest:
    """A comparison of one of the person's traits; one value holding is enough."""

    trait: str
    operator: Operator
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class AgreedTest:
    """The person may have agreed to a purpose, on some channel."""

    purpose: Purpose


AudienceTest = TraitTest | AgreedTest
Clause = tuple[AudienceTest, ...]
"""At least one must hold."""


@dataclass(frozen=True, slots=True)
class AbsenceFilter:
    """The last event of a type was later than `after_micros` and not after `until_micros`."""

    type: str
    after_micros: int
    until_micros: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a listing has come: the last customer looked at, with an absence also its last time."""

    customer: int = 0
    time_micros: int = -(1 << 62)


@dataclass(frozen=True, slots=True)
class Audience:
    """All must hold; `zone` empty: wherever they live."""

    clauses: tuple[Clause, ...] = ()
    zone: str = ""
    absence: AbsenceFilter | None = None


@dataclass(slots=True)
class Members:
    """A page: customers with their last times (0 without an absence); `place` None: no more.

    `filling`: what is needed is still being gathered, and nothing is told. `walked`: what part of all that is
    walked through lies behind the page, as estimated from where it ends: from 0 to 1.
    """

    members: list[tuple[int, int]] = field(default_factory=list)
    place: Place | None = None
    filling: bool = False
    walked: float = 1.0

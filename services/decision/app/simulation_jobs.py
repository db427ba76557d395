"""What the processes of a simulation are asked and answer: plain values that travel over a pipe."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.decision.domain.simulation_funnel import Funnel, Would

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.domain.ledger import Account
    from services.decision.domain.limits import Limits
    from services.decision.domain.problems import Problem

DRAFT, LIVE = "draft", "live"
"""The two worlds of a simulation."""

Moment = tuple[int, int]
"""A customer and a time, in micros."""


@dataclass(frozen=True)
class CustomerPast:
    """One customer's events, as EVENTS carries them; ``accounts``: what is known of before, by id."""

    customer: int
    batches: tuple[bytes, ...]
    accounts: Mapping[int, Account] = field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    """The simulated time, in micros, and the traits by which customers are compared."""

    since_micros: int
    until_micros: int
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """What compiling the two programs came to. All but the problems is empty when there are errors.

    ``types``: event types wanted with snapshots, ``bare`` those wanted without. ``limits``: by world and rule
    set. ``called``: drafts called for by something whose calls the past need not have. ``digests``: of the
    drafts' texts, by name.
    """

    problems: tuple[Problem, ...]
    types: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    drafts: tuple[str, ...] = ()
    limits: Mapping[str, Mapping[str, Limits]] = field(default_factory=dict)
    called: tuple[str, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass
class World:
    """What came of some customers in one world. ``asked``: customers for whom rules asked for a contact."""

    funnel: Funnel = field(default_factory=Funnel)
    would: list[Would] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)


@dataclass
class Walked:
    """What came of some customers. ``events``: of theirs, in the time. ``missing``: what must be known first.

    ``why``: of actions that one world (by name) has and the other has not, why not. ``failed``: events that
    could not be decided, by type. ``groups``: the values by which customers are compared. ``history``,
    ``late``: events that would trigger rules, and trigger none: they came as history or too long after.
    """

    worlds: dict[str, World] = field(default_factory=dict)
    events: int = 0
    customers: int = 0
    missing: dict[int, tuple[Moment, ...]] = field(default_factory=dict)
    why: dict[tuple[str, str], str] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    groups: dict[int, tuple[str, ...]] = field(default_factory=dict)
    history: int = 0
    late: int = 0

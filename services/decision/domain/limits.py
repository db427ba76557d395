"""`limits`: how much a rule set may do in a second, in a day, and for how much money in all."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from services.decision.domain.calendar import local_day
from services.vocabulary.values import SECOND, format_time
from services.vocabulary.words import RefusalReason

if TYPE_CHECKING:
    from collections.abc import Mapping

_AT_ONCE = SECOND
"""An action whose turn comes within this is not planned for it, but said."""


@dataclass(frozen=True)
class Limits:
    """How much a rule set may do: actions a second, actions a day (of `zone`), cost in all; None: no limit.

    The days are the operator's, the money is in the operator's currency.
    """

    per_second: float | None = None
    per_day: int | None = None
    budget: Decimal | None = None
    zone: str = "UTC"

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return self.per_second is not None or self.per_day is not None or self.budget is not None

    @property
    def interval_micros(self) -> int:
        """How long after one action the next may follow; 0: at once."""
        return 0 if self.per_second is None else max(1, round(SECOND / self.per_second))


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Use:
    """What one action takes of the limits of its rule set; the day is a number of the operator's calendar."""

    rule_set: str
    day: int
    cost: Decimal


@dataclass(frozen=True)
class Room:
    """What a rule set has used of its limits, at one moment of business time.

    ``free_micros``: from when on the next action may follow. ``days``: actions by day. ``holders``: of the
    actions now decided, those that have their place already, because they were planned for it.
    """

    limits: Limits
    now_micros: int
    spent: Decimal = Decimal(0)
    free_micros: int = 0
    days: Mapping[int, int] = field(default_factory=dict)
    holders: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Turn:
    """An action may be done at ``at_micros``; ``use``: what it takes for that, None: it has it already."""

    at_micros: int
    planned: bool
    use: Use | None


class Turns:
    """Hands out what is left of one rule set's limits to the actions of one decision, in turn."""

    def __init__(self, rule_set: str, room: Room) -> None:
        self._rule_set = rule_set
        self._room = room
        self._limits = room.limits
        self._spent = room.spent
        self._days = dict(room.days)
        self.free_micros = room.free_micros

    @property
    def has_budget(self) -> bool:
        """Whether there is a budget for what its actions cost."""
        return self._limits.budget is not None

    def take(
        self, action_id: str, cost: float, expires_micros: int | None
    ) -> Turn | tuple[RefusalReason, str]:
        """The action's turn, which is then taken; or why it has none, which takes nothing."""
        room, limits = self._room, self._limits
        if action_id in room.holders:
            return Turn(room.now_micros, planned=False, use=None)
        costs = Decimal(str(cost))
        if limits.budget is not None and costs > 0 and self._spent + costs > limits.budget:
            detail = f"of the budget of {self._rule_set}, {limits.budget:.2f}, {self._spent:.2f} is spent"
            return RefusalReason.BUDGET, detail
        at_micros = max(self.free_micros, room.now_micros) if limits.interval_micros else room.now_micros
        if at_micros - room.now_micros <= _AT_ONCE:
            planned = False
        else:
            planned = True
            if expires_micros is not None and expires_micros <= at_micros:
                detail = f"its turn, {format_time(at_micros)}, comes after its validity"
                return RefusalReason.EXPIRED, detail
        day = local_day(at_micros if planned else room.now_micros, limits.zone)
        if limits.per_day is not None and self._days.get(day, 0) >= limits.per_day:
            detail = f"{self._rule_set} has done the {limits.per_day} actions that it may do in a day"
            return RefusalReason.BUDGET, detail
        self._spent += costs
        self._days[day] = self._days.get(day, 0) + 1
        if limits.interval_micros:
            self.free_micros = at_micros + limits.interval_micros
        return Turn(at_micros, planned, Use(self._rule_set, day, costs))

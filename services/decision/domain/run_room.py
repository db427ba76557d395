"""Whether a run over an audience may go on: what the rule set's own limits leave, what the channel says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.decision.domain.occasions import Called


class Wait(StrEnum):
    """For what a run waits."""

    CARE = "care"
    BUDGET = "budget"
    KILLED = "killed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Room:
    """What a run finds: it may go on, at most so many customers a second (None: no bound), or it waits."""

    waits: Wait | None = None
    detail: str = ""
    per_second: float | None = None

    def paced(self, per_second: float | None) -> Room:
        """At that pace too."""
        paces = [pace for pace in (self.per_second, per_second) if pace is not None]
        return replace(self, per_second=min(paces, default=None))


@dataclass(frozen=True, slots=True)
class Spent:
    """What a rule set has used of its own limits: money in all, and actions on one day."""

    money: Decimal = Decimal(0)
    actions: int = 0


def own_room(called: Called, spent: Spent) -> Room:
    """What the rule set's own `limits` leave. A budget is spent when none of its actions fits in any more.

    An action without a cost, or with one that is a formula, fits in always.
    """
    limits = called.limits
    if limits.per_day is not None and spent.actions >= limits.per_day:
        return Room(
            Wait.BUDGET, f"{called.rule_set} has done the {limits.per_day} actions that it may do in a day"
        )
    if limits.budget is not None and called.least_cost is not None:
        least = Decimal(str(called.least_cost))
        if least > 0 and spent.money + least > limits.budget:
            detail = (
                f"of the budget of {called.rule_set}, {limits.budget:.2f}, {spent.money:.2f} is spent, and "
                f"its cheapest action costs {least:.2f}"
            )
            return Room(Wait.BUDGET, detail)
    return Room(per_second=called.per_second)

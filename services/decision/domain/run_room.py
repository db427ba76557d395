"""Whether a run over an audience may go on: what the rule set's own limits leave, what the channel says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.decision.domain.occasions import Called

PAUSED = "paused"
"""Why a run is held that a person paused; all other reasons are words of Wait."""


class Wait(StrEnum):
    """For what a run waits."""

    CARE = "care"
    BUDGET = "budget"
    KILLED = "killed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Room:
    """What a run finds: it may go on, at most so many customers a second (None: no bound), or it waits.

    `most`: customers who may be asked now; None: no bound.
    """

    waits: Wait | None = None
    detail: str = ""
    per_second: float | None = None
    most: int | None = None

    def paced(self, per_second: float | None) -> Room:
        """At that pace too."""
        paces = [pace for pace in (self.per_second, per_second) if pace is not None]
        return replace(self, per_second=min(paces, default=None))


@dataclass(frozen=True, slots=True)
class Spent:
    """What a rule set has used of its own limits: money in all, and actions on one day.

    `asked`: customers who were asked just now and are not decided about yet.
    """

    money: Decimal = Decimal(0)
    actions: int = 0
    asked: int = 0


def own_room(called: Called, spent: Spent) -> Room:
    """What the rule set's own `limits` leave. A budget is spent when none of its actions fits in any more.

    An action without a cost, or with one that is a formula, fits in always. Nobody is asked for whom
    nothing would be left if all those asked before got something.
    """
    limits = called.limits
    fits: list[int] = []
    if limits.per_day is not None and spent.actions >= limits.per_day:
        return Room(
            Wait.BUDGET, f"{called.rule_set} has done the {limits.per_day} actions that it may do in a day"
        )
    if limits.per_day is not None:
        fits.append(limits.per_day - spent.actions)
    if limits.budget is not None and called.least_cost:
        least = Decimal(str(called.least_cost))
        fits.append(int((limits.budget - spent.money) / least))
        if spent.money + least > limits.budget:
            detail = (
                f"of the budget of {called.rule_set}, {limits.budget:.2f}, {spent.money:.2f} is spent, and "
                f"its cheapest action costs {least:.2f}"
            )
            return Room(Wait.BUDGET, detail)
    if not fits:
        return Room(per_second=called.per_second)
    most = min(fits) - spent.asked
    if most < 1:
        return Room(
            Wait.BUDGET,
            f"{spent.asked} customers were asked who may use up what the limits of {called.rule_set} leave",
        )
    return Room(per_second=called.per_second, most=most)

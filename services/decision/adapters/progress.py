"""What this service alone can count of its progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.runtime.operations import Progress

if TYPE_CHECKING:
    from services.decision.adapters.decision_store import DecisionStore
    from services.decision.adapters.journey_store import JourneyStore
    from services.decision.adapters.run_store import RunStore
    from services.runtime.database import Transaction


class PlansProgress:
    """The runtime's ProgressSource: plans, runs over audiences, checks, journeys' steps, due and not yet."""

    def __init__(self, decisions: DecisionStore, runs: RunStore, journeys: JourneyStore) -> None:
        self._decisions = decisions
        self._runs = runs
        self._journeys = journeys

    async def progress(self, transaction: Transaction, now_micros: int) -> Progress:
        """Counts plans at that business time."""
        due, planned = await self._decisions.count_plans(transaction, now_micros)
        called_due, called_later = await self._runs.count_due(transaction, now_micros)
        steps_due, steps = await self._journeys.count_due(transaction, now_micros)
        return Progress(due_pending=due + called_due + steps_due, planned=planned + called_later + steps)

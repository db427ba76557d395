"""What this service alone can count of its progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.runtime.operations import Progress

if TYPE_CHECKING:
    from services.decision.adapters.decision_store import DecisionStore
    from services.decision.adapters.run_store import RunStore
    from services.runtime.database import Transaction


class PlansProgress:
    """The runtime's ProgressSource: planned actions, runs over audiences and checks, due and not yet due."""

    def __init__(self, decisions: DecisionStore, runs: RunStore) -> None:
        self._decisions = decisions
        self._runs = runs

    async def progress(self, transaction: Transaction, now_micros: int) -> Progress:
        """Counts plans at that business time."""
        due, planned = await self._decisions.count_plans(transaction, now_micros)
        called_due, called_later = await self._runs.count_due(transaction, now_micros)
        return Progress(due_pending=due + called_due, planned=planned + called_later)

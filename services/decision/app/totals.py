"""What is counted of decisions: exact totals with the commit, and metrics after it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from services.runtime import metrics
from services.vocabulary.words import ActionKind, ActionOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.ports import Decided
    from services.decision.domain.arbitration import DecidedAction
    from services.runtime.database import Transaction


def counted(decided: Sequence[Decided]) -> Counter[str]:
    """Totals: an action is counted by kind once, when first asked for, and by outcome at each decision."""
    counts: Counter[str] = Counter()
    counts["decisions"] += len(decided)
    for one in decided:
        for action in one.arbitration.actions:
            if one.planned is None:
                counts[f"actions.{action.candidate.kind}"] += 1
            counts[f"outcome.{action.outcome}"] += 1
            if action.reason is not None:
                counts[f"refused.{action.reason}"] += 1
    return counts


def measure(transaction: Transaction, decided: Sequence[Decided], *, nothing: int = 0) -> None:
    """Count decisions and their actions for the metrics, once committed; ``nothing``: events without one."""
    results = Counter(_result(one) for one in decided)
    results["nothing"] += nothing
    actions = Counter(
        (action.candidate.kind.value, _category(action))
        for one in decided
        if one.planned is None
        for action in one.arbitration.actions
    )

    def count() -> None:
        for result, number in results.items():
            if number:
                metrics.DECISIONS.labels(result).inc(number)
        for labels, number in actions.items():
            metrics.ACTIONS.labels(*labels).inc(number)

    transaction.after_commit(count)


def _result(one: Decided) -> str:
    refused = all(
        action.outcome is ActionOutcome.REFUSED or action.candidate.kind is ActionKind.STEP
        for action in one.arbitration.actions
    )
    return "silent" if refused else "acted"


def _category(action: DecidedAction) -> str:
    return "none" if action.candidate.category is None else action.candidate.category.value

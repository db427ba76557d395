"""What is counted of decisions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.ports import Decided


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

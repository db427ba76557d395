"""What of a simulation's result is told, in which words and order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

STAGES = (
    ("events", "events that can trigger"),
    ("decisions", "decisions, plans fallen due too"),
    ("asked", "actions asked for"),
    ("eligible", "eligible"),
    ("decided", "won arbitration"),
    ("sent", "would be sent"),
)
"""From what happened to what would be said."""


def stage(world: Mapping[str, Any], key: str) -> int:
    """A count of one world, by its name in STAGES; what fell due again counts as asked for."""
    if key in {"events", "decisions"}:
        return int(world[key])
    funnel = world["funnel"]
    return int(funnel["asked"] + funnel["fell_due"] if key == "asked" else funnel[key])


def deltas(result: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """By rule and action what would be sent with the drafts, and with what is live; the largest first."""
    sent: dict[tuple[str, str], list[int]] = {}
    for place, world in enumerate((result["draft"], result["live"])):
        for row in world["rules"] if world else ():
            name = (f"{row['rule_set']}/{row['rule']}", row["name"])
            sent.setdefault(name, [0, 0])[place] += row["sent"]
    rows = sorted(sent.items(), key=lambda one: (-abs(one[1][0] - one[1][1]), -max(one[1]), one[0]))
    return [
        (rule, name, f"{counts[0]:,}", f"{counts[1]:,}" if result["live"] else "–")
        for (rule, name), counts in rows
        if any(counts)
    ]

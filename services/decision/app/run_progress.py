"""Counts what comes of those whom runs over audiences asked: in the transaction in which it comes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from services.decision.app.jobs import CameBack, Evaluated, SetAside
from services.decision.domain.triggers import TRIGGER_DUE
from services.vocabulary.words import ActionOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.decision.app.jobs import Item, Told
    from services.decision.app.ports import Decided
    from services.decision.app.run_ports import RunCounts
    from services.runtime.database import Transaction

CAME = "came"
"""Customers asked who came back with a fresh snapshot."""
ACTED = "acted"
"""Of them those for whom a rule asked for something."""
DISPATCHED, DONE, PLANNED, SENT, FAILED = "dispatched", "done", "planned", "sent", "failed"
REFUSED, STOPPED = "refused ", "stopped "
"""With the reason behind it: refused by arbitration, and at the channel's gates."""
Counts = Counter[tuple[int, str]]


async def came_back(
    transaction: Transaction, runs: RunCounts, items: Iterable[Item], counts: Counts
) -> list[Item]:
    """The items, each decision with the run that called for it; customers who were asked are counted.

    One whose event is set aside has not come yet: it may come again.
    """
    given = list(items)
    aside = {item.event_id for item in given if isinstance(item, SetAside)}
    ids = {item.event_id for item in given if isinstance(item, CameBack)} - aside
    numbers = await runs.take_calls(transaction, ids) if ids else {}
    counts.update((number, CAME) for number in numbers.values())
    return [
        replace(item, run=numbers.get(item.event_id, 0))
        if isinstance(item, Evaluated) and item.event_type == TRIGGER_DUE
        else item
        for item in given
    ]


async def outcomes_of(transaction: Transaction, runs: RunCounts, items: Sequence[Told]) -> Counts:
    """What the channel told of actions that runs called for."""
    counts: Counts = Counter()
    if items:
        numbers = await runs.runs_of(transaction, {item.action_id for item in items})
        for item in items:
            if item.action_id in numbers:
                counts[numbers[item.action_id], _word(item)] += 1
    return counts


async def decisions_of(
    transaction: Transaction, runs: RunCounts, decided: Sequence[tuple[Evaluated, Decided]]
) -> Counts:
    """What was decided about those whom runs asked, then and when their plans fell due; keeps whose it is."""
    counts: Counts = Counter()
    asked = [(item, one) for item, one in decided if item.run or item.planned]
    planned = {item.planned for item, _ in asked if item.planned}
    numbers = await runs.runs_of(transaction, planned) if planned else {}
    noted: dict[str, int] = {}
    for item, one in asked:
        number = item.run or numbers.get(item.planned, 0)
        if not number:
            continue
        counts[number, ACTED if item.run else PLANNED] += 1 if item.run else -1
        for action in one.arbitration.actions:
            reason = "" if action.reason is None else action.reason.value
            counts[number, _WORDS.get(action.outcome, f"{REFUSED}{reason}")] += 1
            if item.run and action.outcome in _HEARD_OF_LATER:
                noted[action.candidate.action_id] = number
    await runs.note_actions(transaction, noted)
    return counts


_HEARD_OF_LATER = frozenset({ActionOutcome.DISPATCHED, ActionOutcome.PLANNED})
_WORDS = {
    ActionOutcome.DISPATCHED: DISPATCHED,
    ActionOutcome.DONE: DONE,
    ActionOutcome.PLANNED: PLANNED,
}


def _word(item: Told) -> str:
    match item.event_type:
        case "action.sent":
            return SENT
        case "action.failed":
            return FAILED
        case _:
            return f"{STOPPED}{item.reason}"

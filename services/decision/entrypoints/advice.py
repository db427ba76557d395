"""What Decide tells whoever talks to the customer: what to do, what to say, what not to bring up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rapport.decision.v1 import decision_pb2

from services.decision.app.ask import best_first
from services.decision.domain.arbitration import DecidedAction
from services.decision.domain.avoiding import NAMES
from services.decision.entrypoints.translate import action_to_wire, decided_to_wire
from services.vocabulary.wire import CATEGORIES
from services.vocabulary.words import ActionKind, ActionOutcome, Category

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from services.decision.app.ask import Answer
    from services.decision.app.outcome_ports import Waiting
    from services.decision.app.ports import Decided
    from services.decision.domain.avoiding import SlotName
    from services.decision.domain.once import Taken


def answer_to_wire(answer: Answer) -> decision_pb2.DecideResponse:
    """The whole answer; actions the best first."""
    decided = answer.decided
    return decision_pb2.DecideResponse(
        decision=decided_to_wire(decided, best_first(decided), answer.because),
        reserved=answer.reserved,
        say=_sayings(decided, answer.because),
        avoid=_avoidances(decided, answer.because),
        waiting=[waiting_to_wire(plan) for plan in answer.waiting],
    )


def _sayings(decided: Decided, because: Mapping[str, Sequence[str]]) -> list[decision_pb2.Saying]:
    """What to say, in the order of the rules."""
    return [
        decision_pb2.Saying(
            text=action.candidate.say,
            because=because.get(action.candidate.action_id, ()),
            rule_set=action.candidate.rule_set,
            rule=action.candidate.rule,
        )
        for action in _done(decided, ActionKind.SAY)
    ]


def _avoidances(decided: Decided, because: Mapping[str, Sequence[str]]) -> list[decision_pb2.Avoidance]:
    """What not to bring up: what rules ask for, then what is refused to this customer now, whoever asks.

    Also what rules asked for earlier in the conversation.
    """
    found = [
        decision_pb2.Avoidance(
            category=CATEGORIES.to_wire(category),
            because=because.get(action.candidate.action_id, ()),
            rule_set=action.candidate.rule_set,
            rule=action.candidate.rule,
        )
        for action in _done(decided, ActionKind.AVOID)
        for category in action.candidate.avoid
    ]
    why: dict[Category, list[str]] = {Category.SALES: [*_no_sales(decided)]}
    said = {category for action in _done(decided, ActionKind.AVOID) for category in action.candidate.avoid}
    time = decided.evaluation.circumstances.time_micros
    for (_, _, word), taken in _avoided_before(decided):
        if time < taken.ends_micros and Category(word) not in said:
            why.setdefault(Category(word), []).append("asked for earlier in this conversation")
    found += [
        decision_pb2.Avoidance(category=CATEGORIES.to_wire(category), because=reasons)
        for category, reasons in why.items()
        if reasons
    ]
    return found


def waiting_to_wire(plan: Waiting) -> decision_pb2.DecidedAction:
    """An action that was planned earlier."""
    return action_to_wire(DecidedAction(plan.candidate, ActionOutcome.PLANNED))


def _done(decided: Decided, kind: ActionKind) -> Iterator[DecidedAction]:
    return (
        action
        for action in decided.arbitration.actions
        if action.candidate.kind is kind and action.outcome is ActionOutcome.DONE
    )


def _avoided_before(decided: Decided) -> Iterator[tuple[SlotName, Taken]]:
    slots = decided.standing.slots
    return ((name, slots[name]) for name in sorted(slots) if name in NAMES)


def _no_sales(decided: Decided) -> Iterator[str]:
    """Why nothing may be sold to the customer now."""
    circumstances = decided.evaluation.circumstances
    if circumstances.service_first:
        yield circumstances.service_first
    if circumstances.vulnerable:
        yield "the customer is marked as vulnerable"

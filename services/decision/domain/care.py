"""What a decision meant, in one sentence for a care agent: no word of rules, codes or paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.decision.domain.explain import called_by, chain_of
from services.decision.domain.language.ast import All
from services.decision.domain.looking import is_written
from services.decision.domain.phrases import condition_words, joined
from services.decision.domain.regulator import REFUSED, why_it_waits
from services.vocabulary.values import format_time
from services.vocabulary.words import ActionKind, ActionOutcome, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from services.decision.domain.arbitration import Candidate, DecidedAction
    from services.decision.domain.language.ast import Condition
    from services.decision.domain.program import ActionRule, Program
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation
    from services.vocabulary.catalogue import Catalogue

_DONE = {
    ActionKind.OFFER: "made",
    ActionKind.MESSAGE: "sent",
    ActionKind.SURVEY: "asked",
    ActionKind.TASK: "given to a colleague",
    ActionKind.SAY: "suggested",
    ActionKind.AVOID: "asked for",
    ActionKind.SET: "made",
    ActionKind.EMIT: "made",
}
_TOLD_BY_DETAIL = frozenset({RefusalReason.SERVICE_FIRST})


@dataclass(frozen=True)
class Afterwards:
    """What is known beside the decision itself.

    ``stopped``: actions that the channel service stopped, with why if it is known. ``waiting``: those that
    wait there for their time, the same. ``winners``: actions of earlier decisions that won the conversation,
    by id.
    """

    stopped: Mapping[str, RefusalReason | None] = field(default_factory=dict)
    winners: Mapping[str, Candidate] = field(default_factory=dict)
    waiting: Mapping[str, RefusalReason | None] = field(default_factory=dict)


def care_sentence(
    catalogue: Catalogue,
    actions: Sequence[DecidedAction],
    because: Mapping[str, Sequence[str]],
    afterwards: Afterwards,
) -> str:
    """One sentence that a care agent can say about these actions of one decision."""
    labels = {action_id: label_for_care(catalogue, one) for action_id, one in afterwards.winners.items()}
    labels |= {one.candidate.action_id: label_for_care(catalogue, one.candidate) for one in actions}
    parts = [
        _part(action, labels, because.get(action.candidate.action_id, ()), afterwards)
        for action in actions
        if action.candidate.kind is not ActionKind.STEP
    ]
    if not parts:
        return "Nothing was asked for."
    sentence = "; ".join(dict.fromkeys(parts))
    return sentence[0].upper() + sentence[1:] + "."


def label_for_care(catalogue: Catalogue, candidate: Candidate) -> str:
    """What an action is called to somebody who does not know the rules."""
    name = f"“{candidate.name.replace('-', ' ').replace('_', ' ')}”"
    match candidate.kind:
        case ActionKind.OFFER:
            offer = catalogue.offers.get(candidate.name)
            return f"the offer {name}" if offer is None or not offer.title else f"the offer “{offer.title}”"
        case ActionKind.SAY:
            return f"the sentence “{candidate.say}”" if candidate.say else "a sentence"
        case ActionKind.AVOID:
            return f"silence about {joined(word.value for word in candidate.avoid)}"
        case ActionKind.SET:
            return f"a note about {name}"
        case ActionKind.EMIT:
            return f"a note that {name.replace('.', ' ')} happened"
        case kind:
            return f"the {kind.value} {name}"


def reasons_for_care(
    program: Program, outcome: Outcome, situation: Situation, rule: ActionRule
) -> tuple[str, ...]:
    """Why a rule fired: the sentences of the facts it rests on, else its conditions in words."""
    sentences = dict.fromkeys(chain_of(rule.when, outcome, situation, _in_words))
    rule_set = program.rule_set(rule.rule_set)
    called = called_by(rule_set.occasion, situation) if rule_set is not None else ""
    return (*([called] if called else ()), *(sentences or dict.fromkeys(_in_words(rule.when))))


def _part(
    action: DecidedAction, labels: Mapping[str, str], reasons: Sequence[str], afterwards: Afterwards
) -> str:
    candidate = action.candidate
    label, done = labels[candidate.action_id], _DONE[candidate.kind]
    why = f" because {joined(reasons)}" if reasons else ""
    if action.outcome is ActionOutcome.REFUSED:
        return f"{label} was not {done}: {_why_refused(action, labels)}"
    if action.outcome is ActionOutcome.PLANNED:
        day, _, clock = format_time(candidate.planned_micros or 0).partition("T")
        return f"{label} is planned for {day} at {clock[:5]} UTC, to be decided again then{why}"
    if candidate.action_id in afterwards.waiting:
        return f"{label} was decided{why}, and waits: {why_it_waits(afterwards.waiting[candidate.action_id])}"
    if candidate.action_id in afterwards.stopped:
        return f"{label} was decided{why}, but not {done}: {why_stopped(afterwards, candidate.action_id)}"
    return f"{label} was {done}{why}"


def why_stopped(afterwards: Afterwards, action_id: str) -> str:
    """Why the channel service stopped an action, as part of a sentence."""
    reason = afterwards.stopped[action_id]
    return "it could not be delivered" if reason is None else REFUSED.get(reason, "it could not be delivered")


def _why_refused(action: DecidedAction, labels: Mapping[str, str]) -> str:
    if action.outranked_by in labels:
        return f"{labels[action.outranked_by]} went before it"
    if action.reason in _TOLD_BY_DETAIL and action.detail:
        return action.detail
    return (
        "it could not be done"
        if action.reason is None
        else REFUSED.get(action.reason, "it could not be done")
    )


def _in_words(condition: Condition) -> Iterator[str]:
    """The conditions that its author wrote, one by one."""
    if isinstance(condition, All):
        for part in condition.parts:
            yield from _in_words(part)
    elif is_written(condition):
        yield condition_words(condition)

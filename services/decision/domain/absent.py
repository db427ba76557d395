"""Why something did not happen: the first thing that stood against it, and what would have been needed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from services.decision.domain.language.ast import All
from services.decision.domain.looking import Looked
from services.decision.domain.phrases import joined
from services.decision.domain.run import run_program
from services.decision.domain.tree import rule_node
from services.decision.domain.triggers import type_of_key
from services.vocabulary.values import format_duration, format_time
from services.vocabulary.words import ActionOutcome, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from services.decision.domain.arbitration import Candidate, Circumstances, DecidedAction, Standing
    from services.decision.domain.engine import RulesEngine
    from services.decision.domain.language.ast import Condition
    from services.decision.domain.program import ActionRule, Program, RuleSet
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation
    from services.decision.domain.tree import Node


class Cause(StrEnum):
    """Why an action did not happen."""

    HAPPENED = "happened"
    WAITS = "waits"
    REFUSED = "refused"
    CHANNEL = "channel"
    CONDITION = "condition"
    WITHHELD = "withheld"
    NO_EVENT = "no_event"
    NOT_LIVE = "not_live"
    UNKNOWN = "unknown"
    NOT_FOUND = "not_found"


@dataclass(frozen=True)
class Absence:
    """Why one rule did not ask for its action at one event.

    ``met``: how much of what it asks for was so, from 0 to 1.
    """

    rule_set: str
    version: int
    rule: str
    cause: Cause
    sentence: str
    needed: str
    met: float
    node: Node


@dataclass(frozen=True)
class Asking:
    """A rule that asks for what is looked for, and by which event types its rule set is called."""

    rule_set: str
    version: int
    rule: str
    called_by: tuple[str, ...]
    from_micros: int | None
    to_micros: int | None


def asking_for(program: Program, wanted: str) -> tuple[ActionRule, ...]:
    """The rules of ``rule_set``, the rule ``rule_set/rule``, or those with an action of that name."""
    return tuple(
        rule
        for rule_set in program.rule_sets
        for rule in rule_set.rules
        if not rule.moves
        and (
            wanted in {rule.rule_set, rule.key, f"{rule.rule_set}/{rule.rule}"}
            or any(action.name == wanted for action in rule.actions)
        )
    )


def described(program: Program, rule: ActionRule) -> Asking:
    """What calls for a rule."""
    rule_set = program.by_name[rule.rule_set]
    called_by = tuple(dict.fromkeys(type_of_key(key) for key in rule_set.triggers))
    return Asking(rule.rule_set, rule.version, rule.rule, called_by, rule_set.from_micros, rule_set.to_micros)


def matches(candidate: Candidate, wanted: str) -> bool:
    """Whether an action decided is one that is looked for."""
    return wanted in {candidate.name, candidate.rule_set, f"{candidate.rule_set}/{candidate.rule}"}


def absences(
    program: Program, engine: RulesEngine, rules: Iterable[ActionRule], situation: Situation
) -> Iterator[Absence]:
    """For each rule, why it did not ask for its action in that situation."""
    outcome = run_program(program, engine, situation)
    for rule in rules:
        rule_set = program.by_name[rule.rule_set]
        looked = Looked(program, rule_set, situation, outcome)
        cause, sentence, needed = _why(rule_set, rule, looked, situation, outcome)
        node = rule_node(program, rule, outcome, situation)
        yield Absence(
            rule.rule_set, rule.version, rule.rule, cause, sentence, needed, _met(rule.when, looked), node
        )


def needed_for(action: DecidedAction, standing: Standing, circumstances: Circumstances) -> str:
    """What would have had to be different for an action that was refused; empty: nothing can be said."""
    if action.outcome is not ActionOutcome.REFUSED or action.reason is None:
        return ""
    candidate = action.candidate
    match action.reason:
        case RefusalReason.ONCE:
            return _once(candidate, standing)
        case RefusalReason.OUTRANKED:
            return (
                "the winner's score would have had to be lower than its own "
                f"({action.score}), or the conversation over"
            )
        case RefusalReason.EXPIRED if candidate.expires_micros is not None:
            return f"it would have had to be said before {format_time(candidate.expires_micros)}"
        case RefusalReason.SERVICE_FIRST if action.detail in {"", circumstances.service_first}:
            return f"it would have to be over that {circumstances.service_first}"
        case RefusalReason.SERVICE_FIRST:
            return f"{action.detail}: it would have had to keep silent, or the conversation to be over"
        case RefusalReason.DATA_WITHHELD:
            return "the customer would have to agree to the use of these data"
        case reason:
            return _NEEDED.get(reason, "")


_NEEDED = {
    RefusalReason.NOT_ELIGIBLE: "the offer's own conditions would have to hold",
    RefusalReason.VULNERABLE: "nothing: customers marked as vulnerable are not sold to",
    RefusalReason.HOLDOUT: "nothing: who is left alone by an experiment stays so",
    RefusalReason.BUDGET: "more budget, or a day or rate that is not used up, in the limits of its rule set",
    RefusalReason.CAPPED: "fewer contacts before it within the limit's time; for a share, fewer sales",
    RefusalReason.NO_LONGER_TRUE: "what it was planned on would have had to stay so until it was due",
    RefusalReason.KILLED: "its rule would have to be live",
    RefusalReason.NO_CONSENT: "the customer would have to agree to it",
    RefusalReason.CONSENT_UNKNOWN: "the customer's word on it would have to be known",
    RefusalReason.QUIET_HOURS: "another hour of the customer's day",
    RefusalReason.NO_ADDRESS: "an address of the customer on one of its channels",
    RefusalReason.SUPPRESSED: "the person's own word that the address may be used again",
    RefusalReason.NO_TEMPLATE: "a text for the customer's language and channel",
}


def needed_by_gate(reason: RefusalReason | None) -> str:
    """What would have had to be different for a gate of the channel service; empty: nothing can be said."""
    return "" if reason is None else _NEEDED.get(reason, "")


def best_of(found: Iterable[Absence]) -> Absence | None:
    """The rule that came nearest to asking; of equals the first."""
    order = [Cause.NOT_FOUND, Cause.WITHHELD, Cause.CONDITION, Cause.NOT_LIVE]
    ranked = sorted(found, key=lambda each: (order.index(each.cause), -each.met))
    return ranked[0] if ranked else None


def _why(
    rule_set: RuleSet, rule: ActionRule, looked: Looked, situation: Situation, outcome: Outcome
) -> tuple[Cause, str, str]:
    """Cause, sentence, and what would be needed."""
    name = f"the rule {rule.rule_set}/{rule.rule}"
    if not rule_set.applies(situation):
        return Cause.NOT_LIVE, *_not_active(rule_set, situation)
    if rule in outcome.rules:
        return Cause.NOT_FOUND, f"by what is known, {name} asks for it at this event", ""
    if rule.needs.withheld(situation):
        asked = rule.needs.purposes | {purpose for _, purpose in rule.needs.things}
        lacking = joined(sorted(purpose.value for purpose in asked & situation.withheld))
        return (
            Cause.WITHHELD,
            f"{name} looks at data that the customer did not agree to have used ({lacking})",
            f"the customer would have to agree to {lacking}",
        )
    needed = looked.needed(All(rule.when.parts))
    return Cause.CONDITION, f"{name} did not fire: {looked.why_not(rule)}", needed


def _not_active(rule_set: RuleSet, situation: Situation) -> tuple[str, str]:
    late = situation.accepted_micros - situation.event_micros
    if late > rule_set.late_micros:
        most = format_duration(rule_set.late_micros)
        took = f"the event reached us {format_duration(late)} after it happened"
        return f"{took}, and {rule_set.name} takes none older than {most}", f"it had to come within {most}"
    first, last = (
        "always" if each is None else format_time(each) for each in (rule_set.from_micros, rule_set.to_micros)
    )
    return (
        f"{rule_set.name} was not active at {format_time(situation.event_micros)}",
        f"it is active from {first} until {last}",
    )


def _once(candidate: Candidate, standing: Standing) -> str:
    slot = candidate.slot
    taken = None if slot is None else standing.slots.get(slot.name)
    if slot is None or taken is None:
        return ""
    since = format_time(taken.taken_micros)
    if slot.period_micros is None:
        return f"it was done at {since}, and may be done once only"
    again = format_time(taken.taken_micros + slot.period_micros)
    return f"it was done at {since}; it could be again from {again}"


def _met(condition: Condition, looked: Looked) -> float:
    """The share of its conditions that held, one by one."""
    parts = condition.parts if isinstance(condition, All) else (condition,)
    return sum(map(looked.held, parts)) / len(parts) if parts else 1.0

"""Why a decision came out as it did: what was looked at, step by step, and one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.decision.domain.expressions import value_function
from services.decision.domain.language.ast import All, AnyOf, FactIs, Text, WindowValue, walk
from services.decision.domain.language.types import Kind, show
from services.decision.domain.triggers import Absence, OpenPair, Schedule, ThingEvent
from services.vocabulary.values import DAY, HOUR, MINUTE, SECOND, format_duration, format_time
from services.vocabulary.words import ActionKind, ActionOutcome, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from services.decision.domain.arbitration import Candidate, DecidedAction
    from services.decision.domain.language.ast import Condition
    from services.decision.domain.program import ActionRule, FactRule, Program, RuleSet
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation
    from services.decision.domain.triggers import Occasion

_REASONS = {
    RefusalReason.DATA_WITHHELD: "the customer did not agree to have the data used",
    RefusalReason.EXPIRED: "its validity had ended",
    RefusalReason.NOT_ELIGIBLE: "the customer may not have it",
    RefusalReason.SERVICE_FIRST: "service goes before sales",
    RefusalReason.VULNERABLE: "the customer is marked as vulnerable",
    RefusalReason.BUDGET: "its rule set has done what it may",
    RefusalReason.HOLDOUT: "the customer is in the group left alone",
    RefusalReason.ONCE: "it was done already",
    RefusalReason.OUTRANKED: "another action won this conversation",
    RefusalReason.NO_LONGER_TRUE: "its reason had gone when it was due",
    RefusalReason.KILLED: "it was taken out of use",
}
_DONE = {
    ActionKind.OFFER: "offered",
    ActionKind.MESSAGE: "sent as a message",
    ActionKind.SURVEY: "asked as a survey",
    ActionKind.TASK: "given to a care agent as a task",
    ActionKind.SAY: "suggested to the agent",
    ActionKind.AVOID: "kept from being brought up",
    ActionKind.SET: "set on the profile",
    ActionKind.EMIT: "emitted",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing looked at: ``kind`` is "window", "fact", "rule" or "gate"."""

    kind: str
    rule_set: str
    name: str
    text: str
    held: bool


def steps_of(program: Program, outcome: Outcome, situation: Situation) -> tuple[Step, ...]:
    """Windows, facts and rules of the rule sets that the event triggers, in order."""
    concerned = concerned_sets(program, situation)
    return (
        *(step for rule_set in concerned for step in _windows(rule_set, situation)),
        *(step for rule_set in concerned for step in _facts(rule_set, outcome, situation)),
        *(step for rule_set in concerned for step in _rules(rule_set, outcome)),
    )


def because_of(program: Program, outcome: Outcome, situation: Situation, rule: ActionRule) -> tuple[str, ...]:
    """Why a rule fired: the sentences of the facts it rests on, else its conditions as written."""
    sentences = list(dict.fromkeys(chain_of(rule.when, outcome, situation, _sources)))
    rule_set = program.rule_set(rule.rule_set)
    called = called_by(rule_set.occasion, situation) if rule_set is not None else ""
    return (*([called] if called else ()), *(sentences or _sources(rule.when)))


def called_by(occasion: Occasion | None, situation: Situation) -> str:
    """What called for a rule set when no event of the customer did, as a sentence has it; else empty."""
    match occasion:
        case Absence(type=name, for_micros=length):
            return f"there was no {name} for {format_duration(length)}"
        case OpenPair(type=name, after=after, by=by, for_micros=length):
            which = situation.event.get(by)
            return f"there was no {name} within {format_duration(length)} of {after} ({by} {which})"
        case ThingEvent(type=name):
            return f"{name} happened"
        case Schedule(minute=minute):
            return f"it is said by schedule, at {minute // 60:02}:{minute % 60:02}"
        case _:
            return ""


def gate_step(action: DecidedAction, names: Mapping[str, str]) -> Step:
    """What arbitration said about one action; ``names`` of the actions that may have outranked it."""
    candidate = action.candidate
    return Step(
        "gate",
        candidate.rule_set,
        candidate.rule,
        fate(action, names),
        action.outcome is not ActionOutcome.REFUSED,
    )


def sentence_of(
    actions: Sequence[DecidedAction], because: Mapping[str, Sequence[str]], names: Mapping[str, str]
) -> str:
    """One sentence for whoever knows the rules about these actions of one decision."""
    if not actions:
        return "Nothing was asked for."
    parts = []
    for action in actions:
        part = fate(action, names)
        reasons = because.get(action.candidate.action_id, ())
        moves = action.candidate.kind is ActionKind.STEP
        if reasons and action.outcome is not ActionOutcome.REFUSED and not moves:
            part += " because " + " and ".join(reasons)
        parts.append(part)
    sentence = "; ".join(parts)
    return sentence[0].upper() + sentence[1:] + "."


def label_of(candidate: Candidate) -> str:
    """What an action is called in a sentence."""
    return f"{candidate.kind} {candidate.name}".strip() + f" (rule {candidate.rule_set}/{candidate.rule})"


def fate(action: DecidedAction, names: Mapping[str, str]) -> str:
    """What became of one action, as part of a sentence."""
    candidate, reason = action.candidate, action.reason
    label = label_of(candidate)
    match action.outcome:
        case ActionOutcome.REFUSED if reason is not None:
            detail = action.detail or _REASONS.get(reason, "")
            if action.outranked_by:
                winner = names.get(action.outranked_by, f"action {action.outranked_by}")
                detail = f"{winner} won this conversation"
            return (
                f"{label} was not said: {reason}, {detail}" if detail else f"{label} was not said: {reason}"
            )
        case _ if candidate.kind is ActionKind.STEP:
            return _move(candidate)
        case ActionOutcome.PLANNED:
            planned = f"{label} was planned for {format_time(candidate.planned_micros or 0)}"
            return f"{planned}, {action.detail}" if action.detail else planned
        case _:
            return f"{label} was {_DONE[candidate.kind]}"


def _move(candidate: Candidate) -> str:
    """Where a journey went on to."""
    if candidate.name:
        return f"the journey {candidate.rule_set} went on to {candidate.name}"
    return f"the journey {candidate.rule_set} ended" + (f": {candidate.detail}" if candidate.detail else "")


def concerned_sets(program: Program, situation: Situation) -> list[RuleSet]:
    """The rule sets that the event can trigger, and the shared ones, where they are active."""
    names = {rule_set.name for shard in program.shards_for(situation.trigger) for rule_set in shard.rule_sets}
    return [
        rule_set for rule_set in program.rule_sets if rule_set.name in names and rule_set.applies(situation)
    ]


def _windows(rule_set: RuleSet, situation: Situation) -> Iterator[Step]:
    for name, window in rule_set.windows.items():
        value = value_function(WindowValue(f"{rule_set.name}/{name}", window, window.kind, name))(situation)
        yield Step("window", rule_set.name, name, f"{name} is {shown(value, window.kind)}", value is not None)


def _facts(rule_set: RuleSet, outcome: Outcome, situation: Situation) -> Iterator[Step]:
    fired = {rule.key for rule in outcome.fact_rules}
    for rule in rule_set.facts:
        held = rule.key in fired
        text = (
            filled(rule.because, situation)
            if held and rule.because is not None
            else ", ".join(_sources(rule.when))
        )
        yield Step("fact", rule_set.name, rule.fact.rpartition("/")[2], text, held)


def _rules(rule_set: RuleSet, outcome: Outcome) -> Iterator[Step]:
    fired = {rule.key for rule in outcome.rules}
    withheld = {rule.key for rule in outcome.withheld}
    for rule in rule_set.rules:
        text = ", ".join(_sources(rule.when)) or "always"
        if rule.key in withheld:
            text += " (needs data the customer did not agree to have used)"
        yield Step("rule", rule_set.name, rule.rule, text, rule.key in fired)


def chain_of(
    condition: Condition,
    outcome: Outcome,
    situation: Situation,
    written: Callable[[Condition], Iterator[str]],
) -> Iterator[str]:
    """The `because` of each fact that a condition rests on, the deepest first.

    ``written``: how conditions are told of a fact that has none.
    """
    fired = {fact_rule.fact: fact_rule for fact_rule in reversed(outcome.fact_rules)}
    return _chain(condition, fired, situation, set(), written)


def _chain(
    condition: Condition,
    fired: Mapping[str, FactRule],
    situation: Situation,
    seen: set[str],
    written: Callable[[Condition], Iterator[str]],
) -> Iterator[str]:
    for part in walk(condition):
        if not isinstance(part, FactIs) or part.negated or part.key in seen:
            continue
        seen.add(part.key)
        rule = fired.get(part.key)
        if rule is None:
            continue
        if rule.because is not None:
            yield filled(rule.because, situation)
            continue
        inner = list(_chain(rule.when, fired, situation, seen, written))
        yield from inner or written(rule.when)


def _sources(condition: Condition) -> Iterator[str]:
    """The conditions as written, one by one."""
    if isinstance(condition, All) and not condition.source:
        for part in condition.parts:
            yield from _sources(part)
    elif isinstance(condition, AnyOf) and not condition.source:
        yield " or ".join(source for part in condition.parts for source in _sources(part))
    elif condition.source:
        yield condition.source


def filled(text: Text, situation: Situation) -> str:
    """A `because` with its places filled."""
    return "".join(
        part if isinstance(part, str) else shown(value_function(part)(situation), part.kind)
        for part in text.parts
    )


def shown(value: Any, kind: Kind) -> str:
    """A value as a sentence shows it; a length of time by its two largest units."""
    if value is None:
        return "not known"
    return _length(value) if kind is Kind.DURATION else show(value, kind)


def _length(micros: int) -> str:
    """A length of time by its two largest units: 7 d 16 h."""
    left, parts = abs(micros), list[str]()
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        number, left = divmod(left, unit)
        if number and len(parts) < 2:
            parts.append(f"{number} {name}")
    return ("-" if micros < 0 else "") + (" ".join(parts) or "0 s")

"""What the tests of a rule set reach: rules that fired, conditions seen to hold and seen not to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.decision.domain.language.ast import All, AnyOf, NoneOf, walk
from services.decision.domain.oracle import holds
from services.decision.domain.run import run_program
from services.decision.domain.trial import situation_of, where_it_stands
from services.decision.domain.triggers import Schedule, ThingEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.decision.domain.engine import RulesEngine
    from services.decision.domain.language.ast import Condition
    from services.decision.domain.program import ActionRule, Program, RuleSet


@dataclass(frozen=True, slots=True)
class RuleSeen:
    """A rule, or a fact (`what` says which), and whether it fired in some test."""

    what: str
    name: str
    line: int
    fired: bool


@dataclass(frozen=True, slots=True)
class ConditionSeen:
    """A condition as written, the rule or fact it stands in, and what it came to in the tests."""

    owner: str
    line: int
    source: str
    true: bool
    false: bool

    @property
    def both(self) -> bool:
        """Seen to hold, and seen not to hold."""
        return self.true and self.false


@dataclass(frozen=True, slots=True)
class Coverage:
    """All of one rule set, in the order of the file."""

    rule_set: str
    file: str
    rules: tuple[RuleSeen, ...]
    conditions: tuple[ConditionSeen, ...]

    @property
    def percent(self) -> float:
        """Of everything that can be seen: each rule fire, each condition hold, each not hold."""
        seen = sum(rule.fired for rule in self.rules)
        seen += sum(condition.true + condition.false for condition in self.conditions)
        possible = len(self.rules) + 2 * len(self.conditions)
        return 100 * seen / possible if possible else 100.0

    def gaps(self) -> Iterator[tuple[int, str]]:
        """What no test has shown: the line and what is missing there, in words; in the order of lines."""
        found = [(rule.line, f"{rule.what} {rule.name} never fired") for rule in self.rules if not rule.fired]
        for condition in self.conditions:
            if not condition.true:
                found.append((condition.line, f"never true: {condition.source}  ({condition.owner})"))
            if not condition.false:
                found.append((condition.line, f"never false: {condition.source}  ({condition.owner})"))
        yield from sorted(found, key=lambda gap: gap[0])


def coverage_of(program: Program, rule_set: RuleSet, engine: RulesEngine) -> Coverage:
    """Runs every test of the set and looks at each of its rules and conditions in the very same situation.

    A condition is asked in every test, whether or not one before it in its rule held. What waits for a later
    moment (`keep`) and what looks at single entries (`where`) is not asked. Conditions that the compiler adds
    itself have no line and do not count.
    """
    fired: set[str] = set()
    owned = [(owner, leaf) for owner, when in _conditions(rule_set) for leaf in _leaves(when)]
    seen = [[False, False] for _ in owned]
    for case in rule_set.tests:
        situation = situation_of(case, rule_set, program.catalogue)
        outcome = where_it_stands(case, rule_set, run_program(program, engine, situation, case.facts))
        fired.update(rule.key for rule in outcome.rules)
        fired.update(fact.key for fact in outcome.fact_rules)
        facts = frozenset((*case.facts, *outcome.facts))
        for number, (_, leaf) in enumerate(owned):
            seen[number][holds(leaf, situation, facts)] = True
    return Coverage(
        rule_set.name,
        rule_set.file,
        (
            *(
                RuleSeen("fact", fact.fact.rpartition("/")[2], fact.line, fact.key in fired)
                for fact in rule_set.facts
            ),
            *(
                RuleSeen(_what(rule), rule.rule, rule.line, rule.key in fired)
                for rule in rule_set.rules
                if not rule.moves
            ),
        ),
        tuple(
            ConditionSeen(owner, leaf.line, leaf.source, true, false)
            for (owner, leaf), (false, true) in zip(owned, seen, strict=True)
            if not isinstance(leaf, All | AnyOf | NoneOf)
        ),
    )


def _conditions(rule_set: RuleSet) -> Iterator[tuple[str, Condition]]:
    """Each list of conditions under the name of what it belongs to."""
    if isinstance(rule_set.occasion, Schedule | ThingEvent):
        yield "audience", rule_set.occasion.audience
    for fact in rule_set.facts:
        yield f"fact {fact.fact.rpartition('/')[2]}", fact.when
    for rule in rule_set.rules:
        if not rule.moves:
            yield f"{_what(rule)} {rule.rule}", rule.when


def _what(rule: ActionRule) -> str:
    return "rule" if rule.step is None else "step"


def _leaves(condition: Condition) -> Iterator[Condition]:
    for part in walk(condition):
        if not isinstance(part, All | AnyOf | NoneOf) and part.line:
            yield part

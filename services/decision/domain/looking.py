"""Conditions looked at one by one: whether each held, the values seen, what would have been needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.decision.domain.calendar import local
from services.decision.domain.explain import shown
from services.decision.domain.language.ast import (
    All,
    AnyOf,
    ArmIs,
    FactIs,
    Literal,
    NoneOf,
    NowBetween,
    TodayIs,
    expressions_of,
    leaves_of,
)
from services.decision.domain.oracle import holds, value
from services.decision.domain.phrases import DAYS, condition_words
from services.decision.domain.program import ActionRule, FactRule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from services.decision.domain.language.ast import Condition, Expression
    from services.decision.domain.program import Program, RuleSet
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation

NOT_ACTIVE = "the rule set was not active at that time"
WITHHELD = "it looks at data that the customer withheld"
NOT_THERE = "the customer does not come to this step then"
OUTDONE = "another rule fired before it, and only the first counts (choose: first)"
_NOT_CALLED = "all its conditions held, but the event is no trigger of it"
_HELD = {True: "held", False: "did not hold"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A value that was looked at; ``path`` as its author wrote it, ``text`` as a sentence shows it."""

    path: str
    text: str
    missing: bool = False


class Looked:
    """What can be said of the rules of one rule set after its run; by the plain evaluator, not the engine.

    ``given``: facts that a test gives.
    """

    def __init__(
        self,
        program: Program,
        rule_set: RuleSet,
        situation: Situation,
        outcome: Outcome,
        given: Collection[str] = (),
    ) -> None:
        self.rule_set = rule_set
        self.situation = situation
        self.facts = frozenset((*given, *outcome.facts))
        self._given = frozenset(given)
        self._outcome = outcome
        self._looked_at: set[str] = set()
        self.inferring: dict[str, list[FactRule]] = {}
        for other in program.rule_sets:
            if other.shared or other.name == rule_set.name:
                for fact in other.facts:
                    self.inferring.setdefault(fact.fact, []).append(fact)

    def held(self, condition: Condition) -> bool:
        """Whether it held."""
        return holds(condition, self.situation, self.facts)

    def why_not(self, rule: ActionRule | FactRule) -> str:
        """The first thing that kept a rule from firing."""
        if not self.rule_set.applies(self.situation) and isinstance(rule, ActionRule):
            return NOT_ACTIVE
        if rule.needs.withheld(self.situation):
            return WITHHELD
        if isinstance(rule, ActionRule) and rule.step is not None and not self.is_there(rule):
            return NOT_THERE
        failing = self.first_failing(rule.when)
        if failing is not None:
            return failing
        if isinstance(rule, ActionRule) and self.rule_set.choose_first:
            return OUTDONE
        return _NOT_CALLED

    def is_there(self, rule: ActionRule) -> bool:
        """Whether a step of a journey could be said by where the customer stands, whatever it asks itself."""
        added = [part for part in rule.when.parts if not is_written(part)]
        asked = [part for part in rule.when.parts if is_written(part)]
        came = all(self.held(part) for part in added)
        return came and not (all(self.held(part) for part in asked) and rule not in self._outcome.rules)

    def first_failing(self, condition: Condition) -> str | None:
        """What kept a condition from holding; None when it held."""
        if self.held(condition):
            return None
        match condition:
            case All(parts=parts):
                return next(filter(None, map(self.first_failing, parts)), None)
            case AnyOf(parts=parts):
                each = [found for part in parts if (found := self.first_failing(part))]
                return "none of its alternatives held: " + "; ".join(each) if each else "`any` is empty"
            case NoneOf(parts=parts):
                return f"under `none`, this held: {self.said(next(filter(self.held, parts)))}"
            case FactIs(key=key, negated=False):
                return f"{self.said(condition)}, because {self.why_no_fact(key)}"
            case _:
                return self.said(condition)

    def needed(self, condition: Condition) -> str:
        """What would have had to be for a condition to hold that did not; empty: it held."""
        if self.held(condition):
            return ""
        match condition:
            case All(parts=parts):
                return " and ".join(filter(None, map(self.needed, parts)))
            case AnyOf(parts=parts) if parts:
                return "either " + ", or ".join(map(self.needed, parts))
            case NoneOf(parts=parts):
                return " and ".join(
                    f"it is not so that {self._wanted(part)}" for part in parts if self.held(part)
                )
            case FactIs(key=key, negated=False) if key not in self._looked_at:
                self._looked_at.add(key)
                ways = dict.fromkeys(
                    filter(None, (self.needed(rule.when) for rule in self.inferring.get(key, ())))
                )
                self._looked_at.remove(key)
                return ", or else ".join(ways) or self._wanted(condition)
            case _:
                return self._wanted(condition)

    def _wanted(self, condition: Condition) -> str:
        """The condition in words, with what was seen instead."""
        if isinstance(condition, All | AnyOf | NoneOf):
            return condition_words(condition)
        return f"{condition_words(condition)} ({self.seen(condition)})"

    def why_no_fact(self, key: str) -> str:
        """Why a fact was not inferred."""
        if key in self._looked_at:
            return "it rests on itself"
        self._looked_at.add(key)
        reasons = [self.why_not(rule) for rule in self.inferring.get(key, ())]
        self._looked_at.remove(key)
        return " and ".join(dict.fromkeys(reasons)) or "nothing infers it"

    def said(self, condition: Condition) -> str:
        """The condition with its line, and what was seen."""
        held = self.held(condition)
        if isinstance(condition, All | AnyOf | NoneOf):
            return f"`{condition.source or 'all'}` {_HELD[held]}"
        line = f"line {condition.line}, " if condition.line else ""
        return f"{line}`{condition.source}` {_HELD[held]} ({self.seen(condition)})"

    def seen(self, condition: Condition) -> str:
        """The values that a condition looked at, in words."""
        match condition:
            case FactIs(key=key):
                if key in self._given:
                    return "the test gives the fact"
                return "the fact was inferred" if key in self.facts else "the fact was not inferred"
            case NowBetween():
                now = local(self.situation.now_micros, self.situation.zone)
                return f"it was {now:%H:%M}"
            case TodayIs():
                return f"it was a {DAYS[local(self.situation.now_micros, self.situation.zone).weekday()]}"
            case ArmIs(experiment=experiment):
                return f"the arm was {self.situation.arms.get(experiment) or 'none'}"
            case _:
                return ", ".join(f"{each.path} was {each.text}" for each in self.values(condition))

    def values(self, condition: Condition) -> tuple[Seen, ...]:
        """The values that a condition looked at, each once."""
        found: dict[str, Seen] = {}
        for expression in expressions_of(condition):
            for leaf in _paths(expression):
                if leaf.source not in found:
                    seen = value(leaf, self.situation)
                    found[leaf.source] = Seen(leaf.source, shown(seen, leaf.kind), seen is None)
        return tuple(found.values())


def is_written(condition: Condition) -> bool:
    """Whether its author wrote it: the compiler's own conditions stand in no line."""
    if isinstance(condition, All | AnyOf | NoneOf):
        return all(map(is_written, condition.parts))
    return bool(condition.line)


def _paths(expression: Expression) -> Iterator[Expression]:
    return (leaf for leaf in leaves_of(expression) if not isinstance(leaf, Literal))

"""Why a rule fired in a test, or did not: the first condition that did not hold, with the value seen."""

from __future__ import annotations

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
from services.decision.domain.program import ActionRule, FactRule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.decision.domain.language.ast import Condition, Expression
    from services.decision.domain.program import Case, Program, RuleSet
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def why_it_failed(
    case: Case, program: Program, rule_set: RuleSet, situation: Situation, outcome: Outcome
) -> tuple[str, ...]:
    """One sentence for each rule and fact that the test did not expect as it was; none if all were."""
    asked = _Asked(program, rule_set, situation, outcome, case.facts)
    return tuple(asked.sentences(case))


class _Asked:
    """One test after its run."""

    def __init__(
        self,
        program: Program,
        rule_set: RuleSet,
        situation: Situation,
        outcome: Outcome,
        given: tuple[str, ...],
    ) -> None:
        self._rule_set = rule_set
        self._situation = situation
        self._given = frozenset(given)
        self._facts = frozenset((*given, *outcome.facts))
        self._outcome = outcome
        self._looked_at: set[str] = set()
        self._inferring: dict[str, list[FactRule]] = {}
        for other in program.rule_sets:
            if other.shared or other.name == rule_set.name:
                for fact in other.facts:
                    self._inferring.setdefault(fact.fact, []).append(fact)

    def sentences(self, case: Case) -> Iterator[str]:
        own = [rule for rule in self._outcome.rules if rule.rule_set == self._rule_set.name]
        fired = [rule.rule for rule in own if not rule.moves]
        if case.then_fires is not None:
            for rule in self._rule_set.rules:
                if rule.rule in case.then_fires and rule.rule not in fired:
                    yield f"{rule.rule} did not fire: {self._why_not(rule)}"
                elif rule.rule in fired and rule.rule not in case.then_fires:
                    yield f"{rule.rule} fired: {self._why(rule.when)}"
            if sorted(fired) == sorted(case.then_fires) and tuple(fired) != case.then_fires:
                yield f"the same rules fired in another order: {_priorities(self._rule_set, fired)}"
        if case.then_facts is not None:
            for key, rules in self._inferring.items():
                name = key.rpartition("/")[2]
                if key in case.then_facts and key not in self._facts:
                    yield f"the fact {name} was not inferred: {self._no_fact(key)}"
                elif key in self._outcome.facts and key not in case.then_facts:
                    held = [rule for rule in rules if rule in self._outcome.fact_rules]
                    if rules[0].rule_set == self._rule_set.name and held:
                        yield f"the fact {name} was inferred: {self._why(held[0].when)}"

    def _why_not(self, rule: ActionRule | FactRule) -> str:
        if not self._rule_set.applies(self._situation) and isinstance(rule, ActionRule):
            return "the rule set was not active at that time"
        if rule.needs.withheld(self._situation):
            return "it looks at data that the customer withheld"
        if isinstance(rule, ActionRule) and rule.step is not None and not self._is_there(rule):
            return "the customer does not come to this step then"
        failing = self._first_failing(rule.when)
        if failing is not None:
            return failing
        if isinstance(rule, ActionRule) and self._rule_set.choose_first:
            return "another rule fired before it, and only the first counts (choose: first)"
        return "all its conditions held, but the event is no trigger of it"

    def _is_there(self, rule: ActionRule) -> bool:
        """Whether a step of a journey could be said by where the customer stands, whatever it asks itself."""
        added = [part for part in rule.when.parts if not _is_written(part)]
        asked = [part for part in rule.when.parts if _is_written(part)]
        came = all(holds(part, self._situation, self._facts) for part in added)
        held = all(holds(part, self._situation, self._facts) for part in asked)
        return came and not (held and rule not in self._outcome.rules)

    def _first_failing(self, condition: Condition) -> str | None:
        """What kept a condition from holding; None when it held."""
        if holds(condition, self._situation, self._facts):
            return None
        match condition:
            case All(parts=parts):
                return next(filter(None, map(self._first_failing, parts)), None)
            case AnyOf(parts=parts):
                each = [found for part in parts if (found := self._first_failing(part))]
                return "none of its alternatives held: " + "; ".join(each) if each else "`any` is empty"
            case NoneOf(parts=parts):
                held = next(part for part in parts if holds(part, self._situation, self._facts))
                return f"under `none`, this held: {self._said(held)}"
            case FactIs(key=key, negated=False):
                return f"{self._said(condition)}, because {self._no_fact(key)}"
            case _:
                return self._said(condition)

    def _no_fact(self, key: str) -> str:
        if key in self._looked_at:
            return "it rests on itself"
        self._looked_at.add(key)
        reasons = [self._why_not(rule) for rule in self._inferring.get(key, ())]
        self._looked_at.remove(key)
        return " and ".join(dict.fromkeys(reasons)) or "nothing infers it"

    def _why(self, when: All) -> str:
        said = "; ".join(self._said(part) for part in when.parts if _is_written(part))
        return said or "it has no conditions"

    def _said(self, condition: Condition) -> str:
        """The condition with its line, and what was seen."""
        held = holds(condition, self._situation, self._facts)
        if isinstance(condition, All | AnyOf | NoneOf):
            return f"`{condition.source or 'all'}` {_HELD[held]}"
        line = f"line {condition.line}, " if condition.line else ""
        return f"{line}`{condition.source}` {_HELD[held]} ({self._seen(condition)})"

    def _seen(self, condition: Condition) -> str:
        """The values that a condition looked at."""
        match condition:
            case FactIs(key=key):
                if key in self._given:
                    return "the test gives the fact"
                return "the fact was inferred" if key in self._facts else "the fact was not inferred"
            case NowBetween():
                now = local(self._situation.now_micros, self._situation.zone)
                return f"it was {now:%H:%M}"
            case TodayIs():
                return f"it was a {DAYS[local(self._situation.now_micros, self._situation.zone).weekday()]}"
            case ArmIs(experiment=experiment):
                return f"the arm was {self._situation.arms.get(experiment) or 'none'}"
            case _:
                values = (
                    f"{leaf.source} was {shown(value(leaf, self._situation), leaf.kind)}"
                    for expression in expressions_of(condition)
                    for leaf in _paths(expression)
                )
                return ", ".join(dict.fromkeys(values))


def _is_written(condition: Condition) -> bool:
    """Whether its author wrote it: the compiler's own conditions stand in no line."""
    if isinstance(condition, All | AnyOf | NoneOf):
        return all(map(_is_written, condition.parts))
    return bool(condition.line)


_HELD = {True: "held", False: "did not hold"}


def _paths(expression: Expression) -> Iterator[Expression]:
    return (leaf for leaf in leaves_of(expression) if not isinstance(leaf, Literal))


def _priorities(rule_set: RuleSet, fired: list[str]) -> str:
    priorities = {rule.rule: rule.priority for rule in rule_set.rules}
    return ", ".join(f"{name} has priority {priorities[name]}" for name in fired)

"""The compiled rules of one event type in a form that any rule engine can be told, and their snapshots.

What our compiler computes beforehand (a comparison of two paths, money, dates, the clock) is ready in the
snapshot for the others too. They are spared what ours checks besides: that the rule set is active, the event
not late, and nothing that a rule needs withheld.
"""

import operator as compare
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from services.decision.domain.expressions import condition_function, value_function
from services.decision.domain.language.ast import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Exists,
    Expression,
    FactIs,
    Literal,
    NoneOf,
    OneOf,
)
from services.decision.domain.language.types import NUMERIC, Kind
from services.decision.domain.program import ActionRule, FactRule, Program
from services.decision.domain.situation import Situation

Value = bool | int | float | str
_NATIVE = NUMERIC | {Kind.BOOL, Kind.TEXT}
_SHARED_FIRST = 100
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "is": compare.eq,
    "<": compare.lt,
    "<=": compare.le,
    ">": compare.gt,
    ">=": compare.ge,
}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "is": "is not", "is not": "is"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing asked of the snapshot: is, is not, <, <=, >, >=, exists, missing.

    A field that is missing is not anything, so that `is not` holds and all others but `missing` do not.
    """

    field: str
    operator: str
    value: Value = True


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact inferred; negated: not inferred."""

    name: str
    negated: bool


@dataclass(frozen=True, slots=True)
class Every:
    """All of these."""

    parts: tuple["Formula", ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one of these."""

    parts: tuple["Formula", ...]


Formula = Asked | Fact | Every | Some


@dataclass(frozen=True, slots=True)
class PlainRule:
    """Fires where the formula holds; a fact rule infers its fact, in its stratum."""

    name: str
    fact: str
    stratum: int
    priority: int
    when: Formula


class PlainRules:
    """The rules that one event type triggers, shared ones included, and the fields they look at."""

    def __init__(self, program: Program, event_type: str) -> None:
        self.event_type = event_type
        self.rules: list[PlainRule] = []
        self._names: dict[str, str] = {}
        self._values: dict[Expression, str] = {}
        self._flags: dict[Condition, str] = {}
        shards = program.shards_for(event_type)
        facts = {fact.key: fact for shard in shards for fact in shard.facts.values()}
        actions = {rule.key: rule for shard in shards for rule in shard.rules.values()}
        last = 1 + max((fact.stratum for fact in facts.values()), default=0)
        shared = {rule_set.name for rule_set in program.rule_sets if rule_set.shared}
        every: list[FactRule | ActionRule] = [*facts.values(), *actions.values()]
        for rule in every:
            self.rules.append(self._rule(rule, last, shared))
        self._read = {name: value_function(expression) for expression, name in self._values.items()}
        self._holds = {name: condition_function(condition) for condition, name in self._flags.items()}

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields of a snapshot."""
        return (*self._values.values(), *self._flags.values())

    @property
    def facts(self) -> tuple[PlainRule, ...]:
        """Fact rules, those of low strata first."""
        return tuple(sorted((rule for rule in self.rules if rule.fact), key=lambda rule: rule.stratum))

    @property
    def actions(self) -> tuple[PlainRule, ...]:
        """Rules that ask for actions."""
        return tuple(rule for rule in self.rules if not rule.fact)

    def snapshot(self, situation: Situation) -> dict[str, Value]:
        """The fields that have a value."""
        found: dict[str, Value] = {}
        for name, read in self._read.items():
            value = read(situation)
            if value is not None:
                found[name] = float(value) if isinstance(value, Decimal) else value
        return found | {name: holds(situation) for name, holds in self._holds.items()}

    def _rule(self, rule: FactRule | ActionRule, last: int, shared: Iterable[str]) -> PlainRule:
        formula = self._formula(rule.when, negate=False)
        if isinstance(rule, ActionRule):
            return PlainRule(rule.key, "", last, rule.priority, formula)
        stratum = rule.stratum - _SHARED_FIRST if rule.rule_set in shared else rule.stratum
        return PlainRule(rule.key, self._fact(rule.fact), stratum, rule.priority, formula)

    def _formula(self, condition: Condition, *, negate: bool) -> Formula:
        match condition:
            case All(parts=parts):
                inner = tuple(self._formula(part, negate=negate) for part in parts)
                return Some(inner) if negate else Every(inner)
            case AnyOf(parts=parts):
                inner = tuple(self._formula(part, negate=negate) for part in parts)
                return Every(inner) if negate else Some(inner)
            case NoneOf(parts=parts):
                return self._formula(AnyOf(parts), negate=not negate)
            case FactIs(key=key, negated=negated):
                return Fact(self._fact(key), negated is not negate)
            case Comparison(operator=operator, left=left, right=Literal(value=value)) if _native(left):
                return self._test(left, operator, value, negate=negate)
            case OneOf(left=left, values=values, negated=negated) if _native(left):
                tests = tuple(Asked(self._name(left), "is", value) for value in values)
                if negated is not negate:
                    return Every(tuple(Asked(test.field, "is not", test.value) for test in tests))
                return Some(tests)
            case Exists(left=left, negated=negated) if _native(left):
                return Asked(self._name(left), "missing" if negated is not negate else "exists")
            case _:
                name = self._flags.setdefault(condition, f"flag{len(self._flags)}")
                return Asked(name, "is", not negate)

    def _test(self, left: Expression, operator: str, value: Value, *, negate: bool) -> Formula:
        test = Asked(self._name(left), operator, value)
        return negation(test) if negate else test

    def _name(self, expression: Expression) -> str:
        return self._values.setdefault(expression, f"field{len(self._values)}")

    def _fact(self, key: str) -> str:
        return self._names.setdefault(key, f"fact{len(self._names)}")


def _native(expression: Expression) -> bool:
    return expression.kind in _NATIVE


def without_facts(rules: PlainRules) -> Mapping[str, Formula]:
    """The action rules with each fact replaced by what it rests on, for engines that cannot negate one."""
    known: dict[str, Formula] = {}
    for rule in rules.facts:
        written = replaced(rule.when, known)
        known[rule.fact] = Some((known[rule.fact], written)) if rule.fact in known else written
    return {rule.name: replaced(rule.when, known) for rule in rules.actions}


def replaced(formula: Formula, known: Mapping[str, Formula]) -> Formula:
    """The formula without facts."""
    match formula:
        case Fact(name=name, negated=negated):
            return negation(known[name]) if negated else known[name]
        case Every(parts=parts):
            return Every(tuple(replaced(part, known) for part in parts))
        case Some(parts=parts):
            return Some(tuple(replaced(part, known) for part in parts))
        case _:
            return formula


def negation(formula: Formula) -> Formula:
    """Holds where the formula does not."""
    match formula:
        case Every(parts=parts):
            return Some(tuple(negation(part) for part in parts))
        case Some(parts=parts):
            return Every(tuple(negation(part) for part in parts))
        case Fact(name=name, negated=negated):
            return Fact(name, not negated)
        case Asked(field=field, operator="exists"):
            return Asked(field, "missing")
        case Asked(field=field, operator="missing"):
            return Asked(field, "exists")
        case Asked(field=field, operator=operator, value=value):
            opposite = Asked(field, _OPPOSITE[operator], value)
            if operator in {"is", "is not"}:
                return opposite
            return Some((Asked(field, "missing"), opposite))


def conjuncts(formula: Formula) -> Sequence[Formula]:
    """What must hold together, flattened."""
    if isinstance(formula, Every):
        return [inner for part in formula.parts for inner in conjuncts(part)]
    return [formula]


def evaluated(formula: Formula, snapshot: Mapping[str, Value]) -> bool:
    """Whether a formula without facts holds, plainly."""
    match formula:
        case Every(parts=parts):
            return all(evaluated(part, snapshot) for part in parts)
        case Some(parts=parts):
            return any(evaluated(part, snapshot) for part in parts)
        case Asked(field=field, operator=operator, value=value):
            there = field in snapshot
            if operator in {"exists", "missing"}:
                return there is (operator == "exists")
            if operator == "is not":
                return not there or snapshot[field] != value
            return there and _COMPARE[operator](snapshot[field], value)
        case Fact(name=name):
            raise AssertionError(f"{name} was to be replaced")

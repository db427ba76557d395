"""A third opinion: the same rules run by CLIPS.

The rules go over as written: `any`, `all`, `none` and facts become CLIPS' own `or`, `and`, `not` and facts;
comparisons of numbers, texts and flags are matched by CLIPS on values asserted for the situation. What CLIPS
has no word for (dates, money, the clock, lists, crossing) is worked out beforehand by the oracle. Order comes
from salience alone: a band for each layer of negation, priority and the order of the file within it.
"""

from collections.abc import Callable
from functools import cache

import clips

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
from services.decision.domain.oracle import holds, value
from services.decision.domain.program import ActionRule, FactRule, Program
from services.decision.domain.situation import Situation
from tests.fuzz.reference import Expected, expected, withheld

_MATCHED = NUMERIC | {Kind.TEXT, Kind.BOOL}
_ALWAYS, _NEVER = "(test (eq 1 1))", "(test (eq 1 2))"
Read = Callable[[Situation], bool | float | str | None]


@cache
def _environment() -> clips.Environment:
    """The one CLIPS of this process: making and ending one for each program leaves memory behind."""
    return clips.Environment()


class Clips:
    """A program in CLIPS; it takes the place of the one before."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._environment = _environment()
        self._environment.clear()
        self._names: dict[object, str] = {}
        self._reads: dict[str, Read] = {}
        self._rules: dict[str, ActionRule | FactRule] = {}
        self._variables = 0
        rules = [rule for one in program.rule_sets for rule in one.all_rules]
        last = max((rule.stratum for rule in rules if isinstance(rule, FactRule)), default=0) + 1
        sets = {one.name: (not one.shared, number) for number, one in enumerate(program.rule_sets)}

        def rank(rule: ActionRule | FactRule) -> tuple[object, ...]:
            layer = rule.stratum if isinstance(rule, FactRule) else last
            shared_first, number = sets[rule.rule_set]
            return (shared_first, layer, -rule.priority, number, rule.order)

        for position, rule in enumerate(sorted(rules, key=rank)):
            self._build(f"r{position}", rule, 10_000 - position)

    def _build(self, name: str, rule: ActionRule | FactRule, salience: int) -> None:
        self._rules[name] = rule
        infers = f'(assert (fact "{rule.fact}"))' if isinstance(rule, FactRule) else ""
        self._environment.build(
            f"(defrule {name} (declare (salience {salience})) (allowed {name}) (not (fired {name})) "
            f"{self._written(rule.when)} => (assert (fired {name})) {infers})"
        )

    def run(self, situation: Situation) -> Expected:
        """What CLIPS comes to; rules that are withheld or whose set does not apply are not allowed."""
        environment, program = self._environment, self._program
        environment.reset()
        for name, rule in self._rules.items():
            rule_set = program.rule_set(rule.rule_set)
            assert rule_set is not None
            if not rule_set.shared and (
                situation.trigger not in rule_set.triggers or not rule_set.applies(situation)
            ):
                continue
            if not withheld(rule, program, situation):
                environment.assert_string(f"(allowed {name})")
        for name, read in self._reads.items():
            found = read(situation)
            if found is not None:
                environment.assert_string(f"(value {name} {_literal(found)})")
        environment.run()
        return self._outcome()

    def _outcome(self) -> Expected:
        facts: list[str] = []
        fact_rules: list[FactRule] = []
        rules: list[ActionRule] = []
        for fact in self._environment.facts():
            if fact.template.name == "fact":
                facts.append(str(fact[0]))
            elif fact.template.name == "fired":
                rule = self._rules[str(fact[0])]
                rules.append(rule) if isinstance(rule, ActionRule) else fact_rules.append(rule)
        chosen: dict[tuple[str, str], ActionRule] = {}
        for rule in rules:
            only = "" if rule.rule_set in self._program.choosing_first else rule.first_of or rule.rule
            chosen.setdefault((rule.rule_set, only), rule)
        return expected(self._program, facts, fact_rules, [*chosen.values()], ())

    # --- conditions --------------------------------------------------------------------------------------

    def _written(self, condition: Condition) -> str:
        match condition:
            case All(parts=()):
                return _ALWAYS
            case AnyOf(parts=()):
                return _NEVER
            case All(parts=parts):
                return self._joined("and", parts)
            case AnyOf(parts=parts):
                return self._joined("or", parts)
            case NoneOf(parts=parts):
                return f"(not {self._written(AnyOf(parts))})" if parts else _ALWAYS
            case FactIs(key=key, negated=negated):
                return f'(not (fact "{key}"))' if negated else f'(fact "{key}")'
            case Exists(left=left, negated=negated):
                there = f"(value {self._value(left)} ?)"
                return f"(not {there})" if negated else there
            case OneOf(left=left, values=values, negated=negated) if left.kind in _MATCHED:
                either = self._either(left, values)
                return f"(not {either})" if negated else either
            case Comparison() if condition.left.kind in _MATCHED:
                return self._compared(condition)
            case _:
                return f"(value {self._beforehand(condition)} TRUE)"

    def _joined(self, word: str, parts: tuple[Condition, ...]) -> str:
        inner = [self._written(part) for part in parts]
        return inner[0] if len(inner) == 1 else f"({word} {' '.join(inner)})"

    def _either(self, left: Expression, values: tuple[object, ...]) -> str:
        variable = self._variable()
        tests = " ".join(f"({_same(value)} ?{variable} {_literal(value)})" for value in values)
        return f"(value {self._value(left)} ?{variable}&:(or {tests}))"

    def _compared(self, condition: Comparison) -> str:
        """A comparison of two values, joined by CLIPS; `is not` holds where `is` does not."""
        name, sign = self._value(condition.left), condition.operator
        operator = "is" if sign == "is not" else sign
        one, other = self._variable(), self._variable()
        equal = "=" if condition.left.kind in NUMERIC else "eq"
        test = equal if operator == "is" else operator
        if isinstance(condition.right, Literal):
            pattern = f"(value {name} ?{one}&:({test} ?{one} {_literal(condition.right.value)}))"
        else:
            right = self._value(condition.right)
            pattern = f"(and (value {name} ?{one}) (value {right} ?{other}&:({test} ?{one} ?{other})))"
        return f"(not {pattern})" if sign == "is not" else pattern

    def _value(self, expression: Expression) -> str:
        name = self._names.setdefault(expression, f"v{len(self._names)}")
        self._reads[name] = lambda situation: _plain(value(expression, situation))
        return name

    def _beforehand(self, condition: Condition) -> str:
        name = self._names.setdefault(condition, f"v{len(self._names)}")
        self._reads[name] = lambda situation: holds(condition, situation, frozenset())
        return name

    def _variable(self) -> str:
        self._variables += 1
        return f"x{self._variables}"


def _same(value: object) -> str:
    return "=" if isinstance(value, int | float) and not isinstance(value, bool) else "eq"


def _plain(value: object) -> bool | float | str | None:
    if value is None or isinstance(value, bool | str):
        return value
    return float(value) if isinstance(value, int | float) else "there"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    number = float(value)  # type: ignore[arg-type]
    return repr(number) if "e" not in repr(number) else f"{number:.12f}"

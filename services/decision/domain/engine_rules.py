"""From conditions to the engine's safe subset: flat properties, facts, and a gate placed first.

Comparisons of a property with a literal run in the engine; everything else (two paths, money, dates, the
clock, `crosses`, lists) is computed beforehand as a boolean property. Alternatives between facts become
several engine rules for one rule. No pattern refers to another pattern's property.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
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
from services.decision.domain.situation import Situation

Compute = Callable[[Situation], bool | float | str | None]
MOST_ALTERNATIVES = 12
_MOST_TRIED = 1000
_OPERATORS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
_OPPOSITE = {"<": "$gte", "<=": "$gt", ">": "$lte", ">=": "$lt"}
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@ -]{0,99}")
_OTHER = "~"  # stands for any text that no rule compares with


class TooManyAlternatives(ValueError):  # noqa: N818 - what an author wrote, not a failure
    """A rule joins facts by `any` in more ways than the engine is given."""


@dataclass(frozen=True, slots=True)
class _Snap:
    """Something asked of the snapshot alone."""

    json: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Fact:
    """A fact there, or not there."""

    key: str
    negated: bool


@dataclass(frozen=True, slots=True)
class _And:
    """All of these; of none: always."""

    parts: tuple["_Formula", ...]


@dataclass(frozen=True, slots=True)
class _Or:
    """One of these; of none: never."""

    parts: tuple["_Formula", ...]


_Formula = _Snap | _Fact | _And | _Or


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way for a rule to fire: what the snapshot must show, which facts must be there, which must not."""

    snapshot: tuple[dict[str, Any], ...]
    facts: tuple[str, ...]
    absent: tuple[str, ...]


class PropertyTable:
    """The properties that the rules of one shard mention, each computed once a situation."""

    def __init__(self) -> None:
        self._values: dict[Expression, str] = {}
        self._conditions: dict[Condition, str] = {}
        self._extra: dict[str, Compute] = {}
        self._texts: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._values) + len(self._conditions) + len(self._extra)

    def add(self, name: str, compute: Compute) -> None:
        """A property of the compiler's own, such as whether a rule set applies."""
        self._extra[name] = compute

    def functions(self) -> dict[str, Compute]:
        """How to compute each property."""
        found = dict(self._extra)
        for expression, name in self._values.items():
            found[name] = _property(expression, frozenset(self._texts.get(name, ())))
        for condition, name in self._conditions.items():
            found[name] = condition_function(condition)
        return found

    def alternatives(self, condition: Condition) -> tuple[Alternative, ...]:
        """The ways in which a condition can hold; none when it cannot. Raises TooManyAlternatives."""
        return tuple(_disjoin(_pack(self._lower(condition, negate=False))))

    def _lower(self, condition: Condition, *, negate: bool) -> _Formula:
        match condition:
            case All(parts=parts):
                inner = tuple(self._lower(part, negate=negate) for part in parts)
                return _Or(inner) if negate else _And(inner)
            case AnyOf(parts=parts):
                inner = tuple(self._lower(part, negate=negate) for part in parts)
                return _And(inner) if negate else _Or(inner)
            case NoneOf(parts=parts):
                return self._lower(AnyOf(parts), negate=not negate)
            case FactIs(key=key, negated=negated):
                return _Fact(key, negated is not negate)
            case Comparison(left=left, right=Literal(value=value)) if _runs_in_engine(left, (value,)):
                return _Snap(self._compare(condition, left, value, negate=negate))
            case OneOf(left=left, values=values, negated=negated) if _runs_in_engine(left, values):
                return _Snap(_one_of(self._name(left, values), values, negated is not negate))
            case Exists(left=left, negated=negated) if left.kind in NUMERIC | {Kind.BOOL, Kind.TEXT}:
                name = self._name(left, ())
                return _Snap({"$nex": {name: 1}} if negated is not negate else {"$ex": {name: 1}})
            case _:
                name = self._conditions.setdefault(condition, f"b{len(self._conditions)}")
                return _Snap({name: not negate})

    def _compare(
        self, condition: Comparison, left: Expression, value: Any, *, negate: bool
    ) -> dict[str, Any]:
        name = self._name(left, (value,))
        if condition.operator in {"is", "is not"}:
            return _one_of(name, (value,), (condition.operator == "is not") is not negate)
        if negate:
            return {"$or": [{"$nex": {name: 1}}, {_OPPOSITE[condition.operator]: {name: float(value)}}]}
        return {_OPERATORS[condition.operator]: {name: float(value)}}

    def _name(self, expression: Expression, values: Sequence[Any]) -> str:
        name = self._values.setdefault(expression, f"p{len(self._values)}")
        self._texts.setdefault(name, set()).update(value for value in values if isinstance(value, str))
        return name


def _runs_in_engine(left: Expression, values: Sequence[Any]) -> bool:
    if left.kind in NUMERIC or left.kind is Kind.BOOL:
        return True
    return left.kind is Kind.TEXT and all(_PLAIN.fullmatch(value) for value in values)


def _one_of(name: str, values: Sequence[Any], negated: bool) -> dict[str, Any]:  # noqa: FBT001 - private, one caller
    literals = [_plain(value) for value in values]
    if not negated:
        return {name: literals[0]} if len(literals) == 1 else {"$or": [{name: value} for value in literals]}
    others = [{"$neq": {name: value}} for value in literals]
    return {"$or": [{"$nex": {name: 1}}, others[0] if len(others) == 1 else {"$and": others}]}


def _plain(value: Any) -> bool | float | str:
    return value if isinstance(value, bool | str) else float(value)


def _property(expression: Expression, texts: frozenset[str]) -> Compute:
    read = value_function(expression)
    if expression.kind is Kind.TEXT:

        def text(situation: Situation) -> str | None:
            value = read(situation)
            return value if value is None or value in texts else _OTHER

        return text
    if expression.kind is Kind.BOOL:
        return read

    def number(situation: Situation) -> float | None:
        value = read(situation)
        return None if value is None else float(value) if 1e-4 <= value <= 9.1e15 else printable(value)

    return number


def printable(value: float) -> float | None:
    """The number, or one that prints without an exponent and compares alike with every literal allowed.

    Literals are 0 or from 0.001 to 9e15 in size. None for what is no number.
    """
    number = float(value)
    size = abs(number)
    if 1e-4 <= size <= 9.1e15 or number == 0:
        return number
    if math.isnan(number):
        return None
    return math.copysign(1e-4 if size < 1 else 9.1e15, number)


# --- from a formula to alternatives ----------------------------------------------------------------------


def _pack(formula: _Formula) -> _Formula:
    """The same formula with parts that ask only the snapshot joined into one."""
    match formula:
        case _And(parts=parts):
            return _join([_pack(part) for part in parts], _And, _Or, "$and")
        case _Or(parts=parts):
            return _join([_pack(part) for part in parts], _Or, _And, "$or")
        case _:
            return formula


def _join(
    parts: Sequence[_Formula], same: type[_And] | type[_Or], other: type[_And] | type[_Or], word: str
) -> _Formula:
    if any(part == other(()) for part in parts):
        return other(())
    kept = [part for part in parts if part != same(())]
    snaps = [part.json for part in kept if isinstance(part, _Snap)]
    rest: list[_Formula] = [part for part in kept if not isinstance(part, _Snap)]
    if snaps:
        rest.insert(0, _Snap(snaps[0] if len(snaps) == 1 else {word: snaps}))
    return rest[0] if len(rest) == 1 else same(tuple(rest))


def _disjoin(formula: _Formula) -> list[Alternative]:
    match formula:
        case _Snap(json=json):
            return [Alternative((json,), (), ())]
        case _Fact(key=key, negated=negated):
            return [Alternative((), () if negated else (key,), (key,) if negated else ())]
        case _Or(parts=parts):
            found = [alternative for part in parts for alternative in _disjoin(part)]
        case _And(parts=parts):
            ways = [_disjoin(part) for part in parts]
            if math.prod(len(way) for way in ways) > _MOST_TRIED:
                raise TooManyAlternatives
            found = [_merged(choice) for choice in product(*ways)]
    kept = [each for each in found if not set(each.facts) & set(each.absent)]
    if len(kept) > MOST_ALTERNATIVES:
        raise TooManyAlternatives
    return kept


def _merged(choice: Sequence[Alternative]) -> Alternative:
    return Alternative(
        tuple(json for each in choice for json in each.snapshot),
        tuple(dict.fromkeys(key for each in choice for key in each.facts)),
        tuple(dict.fromkeys(key for each in choice for key in each.absent)),
    )


def engine_rule(
    alternative: Alternative, stratum: int, rank: int, required: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The engine's rule for one alternative: gate first, snapshot, facts; low `pri` runs first."""
    patterns: list[dict[str, Any]] = [
        {"g": {"gate": stratum}},
        {"s": {"$and": [{"kind": "snap"}, *required, *alternative.snapshot]}},
    ]
    patterns += [{f"f{position}": {"fact": key}} for position, key in enumerate(alternative.facts)]
    patterns += [{f"n{position}$not": {"fact": key}} for position, key in enumerate(alternative.absent)]
    return {"pri": rank, "all": patterns}

"""What a query can narrow an audience down to, before the audience's conditions are asked with snapshots."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.decision.domain.language.ast import (
    All,
    Comparison,
    Condition,
    Contains,
    EventField,
    Exists,
    Expression,
    Literal,
    NoneOf,
    OneOf,
    StartsWith,
    Trait,
    Within,
)
from services.decision.domain.language.types import NUMERIC, Kind, to_operand
from services.vocabulary.catalogue import CONSENTS
from services.vocabulary.values import DAY, MINUTE, micros_to_time
from services.vocabulary.words import Purpose

_SLACK_DAYS = 2
"""Days of the calendar differ by at most this between the query's moment and a customer's own."""


@dataclass(frozen=True, slots=True)
class Clause:
    """What must be so of one trait: `trait operator values`.

    `operator`: "is" and "contains" and "starts with" (one of the values), "is not" (none of them; also true
    without a value), "<", "<=", ">", ">=" (one value), "exists", "missing" (no value). Values are operands of
    `kind`: money is a Decimal amount in the operator's currency, times and durations are micros.
    """

    trait: str
    operator: str
    kind: Kind
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Superset:
    """Everyone for whom all clauses hold, and who agreed to one purpose of each of `consents`.

    It holds the whole audience and perhaps others: what cannot be a clause is left out.
    """

    clauses: tuple[Clause, ...] = ()
    consents: tuple[frozenset[Purpose], ...] = ()


def superset_of(
    audience: All, event: Mapping[str, Any], now_micros: int, currency: str = "EUR"
) -> Superset | None:
    """What to ask for an audience at a moment; None: nobody can be in it.

    `event`: the typed fields of what happened to the thing; empty for a schedule.
    """
    clauses: list[Clause] = []
    consents: list[frozenset[Purpose]] = []
    for condition in _lines(audience):
        found = _clauses(condition, event, now_micros, currency)
        if found is None:
            return None
        for clause in found:
            if clause.trait != CONSENTS:
                clauses.append(clause)
            elif clause.operator == "contains":
                consents.append(frozenset(Purpose(value) for value in clause.values))
    return Superset(tuple(dict.fromkeys(clauses)), tuple(dict.fromkeys(consents)))


def _lines(condition: Condition) -> Iterator[Condition]:
    """The conditions that must hold in any case."""
    if isinstance(condition, All):
        for part in condition.parts:
            yield from _lines(part)
    else:
        yield condition


def _clauses(
    condition: Condition, event: Mapping[str, Any], now_micros: int, currency: str
) -> list[Clause] | None:
    match condition:
        case Exists(left=Trait(name=name, kind=kind), negated=negated):
            return [Clause(name, "missing" if negated else "exists", kind)]
        case OneOf(left=Trait(name=name, kind=kind), values=values, negated=negated):
            return [Clause(name, "is not" if negated else "is", kind, values)]
        case Contains(left=Trait(name=name, kind=kind), values=values, paths=()):
            return [Clause(name, "contains", kind, values)]
        case StartsWith(left=Trait(name=name, kind=kind), values=values, paths=()):
            return [Clause(name, "starts with", kind, values)]
        case Comparison(operator=operator, left=Trait() as trait, right=right):
            return _comparison(trait, operator, right, event, currency)
        case Within(left=Trait() as trait, direction=direction, micros=micros):
            return _within(trait, direction, micros, now_micros)
        case NoneOf(parts=parts):
            # none of them exists: all are missing; other denials are asked with the snapshot
            return [
                Clause(part.left.name, "exists" if part.negated else "missing", part.left.kind)
                for part in parts
                if isinstance(part, Exists) and isinstance(part.left, Trait)
            ]
        case _:
            return []


def _comparison(
    trait: Trait, operator: str, right: Expression, event: Mapping[str, Any], currency: str
) -> list[Clause] | None:
    if isinstance(right, Literal):
        value = right.value
    elif isinstance(right, EventField):
        value = to_operand(event.get(right.name), right.kind, currency)
        if value is None:
            # nothing is equal to what is missing, and everything is not
            return [] if operator == "is not" else None
    else:
        return []
    if {trait.kind, right.kind} <= NUMERIC or trait.kind is right.kind:
        return [Clause(trait.name, operator, trait.kind, (value,))]
    return []


def _within(trait: Trait, direction: str, micros: int, now_micros: int) -> list[Clause]:
    first, last = (0, micros) if direction == "next" else (-micros, 0)
    slack = _SLACK_DAYS * DAY
    low, high = now_micros + first - slack, now_micros + last + slack
    if trait.kind is Kind.DATE:
        days = tuple(micros_to_time(bound).date() for bound in (low, high))
        return [
            Clause(trait.name, ">=", Kind.DATE, days[:1]),
            Clause(trait.name, "<=", Kind.DATE, days[1:]),
        ]
    return [
        Clause(trait.name, ">=", Kind.TIME, (low - low % MINUTE,)),
        Clause(trait.name, "<=", Kind.TIME, (high,)),
    ]

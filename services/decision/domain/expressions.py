"""Expressions and conditions as Python functions of a situation, made once when a rule set is compiled."""

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from services.decision.domain.calendar import day_number, local, local_day
from services.decision.domain.language.ast import (
    All,
    AnyOf,
    Arithmetic,
    ArmIs,
    AskField,
    Comparison,
    Condition,
    Contains,
    Crosses,
    EntryField,
    EventField,
    Exists,
    Expression,
    FactIs,
    HouseholdValue,
    Literal,
    NoneOf,
    NowBetween,
    OneOf,
    StartsWith,
    ThingAttribute,
    TodayIs,
    Trait,
    WindowValue,
    Within,
)
from services.decision.domain.language.types import Kind
from services.decision.domain.situation import Situation
from services.decision.domain.windows import entry_value, event_operand, window_function
from services.vocabulary.values import DAY, Money

Read = Callable[[Situation], Any]
Holds = Callable[[Situation], bool]
FACTS = "facts known"

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "is": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CALCULATE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def value_function(expression: Expression) -> Read:
    """How to read an expression: its operand, or None when missing. Money reads as its Decimal amount."""
    match expression:
        case EventField(name="type"):
            return lambda situation: situation.event_type
        case EventField(name=name, kind=kind):
            return lambda situation: event_operand(situation, name, kind)
        case AskField(name=name, kind=kind):
            return lambda situation: _operand(situation.ask.get(name), kind, situation)
        case Trait(name=name, kind=kind):
            return _trait(name, kind)
        case HouseholdValue(name=name, kind=kind):
            return lambda situation: _operand(situation.household.get(name), kind, situation)
        case ThingAttribute(thing=thing, name=name, kind=kind):
            return lambda situation: _operand(
                situation.things.get(thing, _NOTHING).get(name), kind, situation
            )
        case EntryField(name=name, kind=kind):
            return lambda situation: entry_value(situation, name, kind)
        case WindowValue():
            return _window(expression)
        case Literal(value=value):
            return lambda _: value
        case Arithmetic():
            return _arithmetic(expression)


_NOTHING: dict[str, Any] = {}


def _operand(value: Any, kind: Kind, situation: Situation) -> Any:
    if kind is Kind.MONEY:
        return value.amount if isinstance(value, Money) and value.currency == situation.currency else None
    if kind is Kind.NUMBER and isinstance(value, int):
        return float(value)
    return value


def _trait(name: str, kind: Kind) -> Read:
    if kind in {Kind.MONEY, Kind.NUMBER}:
        return lambda situation: _operand(situation.traits.get(name), kind, situation)
    return lambda situation: situation.traits.get(name)


def _window(expression: WindowValue) -> Read:
    key = expression.key
    compute = window_function(expression.window)

    def read(situation: Situation) -> Any:
        given = situation.windows
        if given and key in given:
            return given[key]
        cache = situation.cache
        if compute in cache:
            return cache[compute]
        value = cache[compute] = compute(situation, True)
        return value

    return read


def _arithmetic(expression: Arithmetic) -> Read:
    left, right = value_function(expression.left), value_function(expression.right)
    sign = expression.operator
    money = Kind.MONEY in {expression.left.kind, expression.right.kind}
    dates = expression.left.kind is Kind.DATE
    plain = _CALCULATE.get(sign)
    if plain is not None and expression.kind is Kind.NUMBER and not (money or dates):

        def read_number(situation: Situation) -> float | None:
            a, b = left(situation), right(situation)
            return None if a is None or b is None else round(float(plain(a, b)), 9)

        return read_number
    if plain is not None and expression.kind is Kind.INT and not dates:

        def read_int(situation: Situation) -> int | None:
            a, b = left(situation), right(situation)
            return None if a is None or b is None else plain(a, b)

        return read_int

    def read(situation: Situation) -> Any:
        a, b = left(situation), right(situation)
        if a is None or b is None:
            return None
        return calculate(sign, a, b, expression.kind, money=money, dates=dates)

    return read


def calculate(operator: str, a: Any, b: Any, kind: Kind, *, money: bool, dates: bool) -> Any:
    """`a operator b` for operands that are there; None when dividing by zero."""
    if dates:
        return (a - b).days * DAY
    if money:
        a = a if isinstance(a, Decimal) else Decimal(repr(a))
        b = b if isinstance(b, Decimal) else Decimal(repr(b))
    match operator:
        case "+":
            value = a + b
        case "-":
            value = a - b
        case "*":
            value = a * b
        case _:
            if b == 0:
                return None
            value = a / b
    return finish(value, kind)


def finish(value: Any, kind: Kind) -> Any:
    """The result of arithmetic as an operand of its kind; numbers lose the dust of binary fractions."""
    match kind:
        case Kind.NUMBER:
            return round(float(value), 9)
        case Kind.DURATION | Kind.TIME:
            return round(value)
        case _:
            return value


def condition_function(condition: Condition) -> Holds:
    """Whether a condition holds. A fact is looked up among `situation.cache[FACTS]`."""
    match condition:
        case All(parts=parts):
            inner = [condition_function(part) for part in parts]
            return lambda situation: all(holds(situation) for holds in inner)
        case AnyOf(parts=parts):
            inner = [condition_function(part) for part in parts]
            return lambda situation: any(holds(situation) for holds in inner)
        case NoneOf(parts=parts):
            inner = [condition_function(part) for part in parts]
            return lambda situation: not any(holds(situation) for holds in inner)
        case Comparison(operator=operator, left=left, right=right):
            return _comparison(operator, value_function(left), value_function(right))
        case OneOf(left=left, values=values, negated=negated):
            read, known = value_function(left), frozenset(values)
            return lambda situation: (read(situation) in known) is not negated
        case Exists(left=left, negated=negated):
            read = value_function(left)
            return lambda situation: (read(situation) is None) is negated
        case Contains() | StartsWith():
            return _texts(condition)
        case _:
            return _other_function(condition)


def _texts(condition: Contains | StartsWith) -> Holds:
    read, values = value_function(condition.left), condition.values
    paths = [value_function(path) for path in condition.paths]
    if isinstance(condition, Contains):
        known = frozenset(values)
        if not paths:
            return lambda situation: not known.isdisjoint(read(situation) or ())
        return lambda situation: (
            not known.union(path(situation) for path in paths).isdisjoint(read(situation) or ())
        )

    def starts(situation: Situation) -> bool:
        text: str | None = read(situation)
        if text is None:
            return False
        more = tuple(start for path in paths if (start := path(situation)) is not None)
        return text.startswith(values + more)

    return starts


def _other_function(condition: Condition) -> Holds:
    match condition:
        case Within():
            return _within(condition)
        case NowBetween():
            return _now_between(condition)
        case TodayIs(days=days, negated=negated):
            return lambda situation: (
                (local(situation.now_micros, situation.zone).weekday() in days) is not negated
            )
        case ArmIs(experiment=experiment, arms=arms, negated=negated):
            return lambda situation: (situation.arms.get(experiment) in arms) is not negated
        case Crosses():
            return _crosses(condition)
        case FactIs(key=key, negated=negated):
            return lambda situation: (key in situation.cache.get(FACTS, ())) is not negated
        case _:  # pragma: no cover - all others are above
            raise TypeError(f"no such condition: {condition!r}")


def _comparison(operator: str, left: Read, right: Read) -> Holds:
    if operator == "is not":
        # True also when a side is missing.
        return lambda situation: (value := left(situation)) is None or value != right(situation)
    compare = _COMPARE[operator]

    def holds(situation: Situation) -> bool:
        a, b = left(situation), right(situation)
        return a is not None and b is not None and compare(a, b)

    return holds


def _within(condition: Within) -> Holds:
    read = value_function(condition.left)
    ahead = condition.direction == "next"
    if condition.left.kind is Kind.DATE:
        days = condition.micros // DAY

        def on_day(situation: Situation) -> bool:
            value = read(situation)
            if value is None:
                return False
            distance = day_number(value) - local_day(situation.now_micros, situation.zone)
            return 0 <= (distance if ahead else -distance) <= days

        return on_day

    def in_time(situation: Situation) -> bool:
        value: int | None = read(situation)
        if value is None:
            return False
        distance = value - situation.now_micros
        return 0 <= (distance if ahead else -distance) <= condition.micros

    return in_time


def _now_between(condition: NowBetween) -> Holds:
    start, end = condition.start, condition.end

    def holds(situation: Situation) -> bool:
        now = local(situation.now_micros, situation.zone)
        minute = now.hour * 60 + now.minute
        if start < end:
            return start <= minute < end
        return minute >= start or minute < end

    return holds


def _crosses(condition: Crosses) -> Holds:
    window = condition.window
    with_it, threshold = value_function(window), value_function(condition.threshold)
    compute = window_function(window.window)

    event_type = window.window.type

    def holds(situation: Situation) -> bool:
        if situation.event_type != event_type:
            return False
        after = with_it(situation)
        if after is None:
            return False
        limit = threshold(situation)
        if limit is None or after < limit:
            return False
        given = window.key in situation.windows
        before = _without_this(window, after, situation) if given else compute(situation, False)
        return before is None or before < limit

    return holds


def _without_this(window: WindowValue, value: Any, situation: Situation) -> Any:
    """In a test that gives the window's value: the value without the event, where that can be told."""
    match window.window.function:
        case "count":
            return value - 1
        case "sum":
            own = event_operand(situation, window.window.field, window.kind)
            return value if own is None else finish(value - own, window.kind)
        case _:
            return value

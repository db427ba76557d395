"""The types of the rule language: which may meet, and how a written literal becomes a value."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from services.vocabulary.values import (
    Money,
    ValueMistake,
    ValueType,
    parse_date,
    parse_duration,
    parse_time,
)

Check = Callable[[object], object]
"""Turns what was written for a field into its value, or raises ValueMistake."""


class Kind(StrEnum):
    """Type of an expression. Enumerations are texts here; their values are checked when a literal is read."""

    TEXT = "text"
    INT = "int"
    NUMBER = "number"
    MONEY = "money"
    BOOL = "bool"
    TIME = "time"
    DATE = "date"
    DURATION = "duration"
    LIST = "list"


IN_WORDS: Mapping[Kind, str] = {
    Kind.TEXT: "a text",
    Kind.INT: "a whole number",
    Kind.NUMBER: "a number",
    Kind.MONEY: "an amount of money",
    Kind.BOOL: "true or false",
    Kind.TIME: "a time",
    Kind.DATE: "a day",
    Kind.DURATION: "a length of time",
    Kind.LIST: "a list",
}
"""Each kind as a sentence for an author names it."""

NUMERIC = frozenset({Kind.INT, Kind.NUMBER})
ORDERED = frozenset({Kind.INT, Kind.NUMBER, Kind.MONEY, Kind.TIME, Kind.DATE, Kind.DURATION})
LARGEST = 9e15  # beyond it whole numbers and floats part ways
SMALLEST = 1e-3  # far below it a float prints with an exponent, which the engine does not read


def kind_of(value_type: ValueType) -> Kind | None:
    """The kind of a catalogue type; None for a map, which no condition can read."""
    if value_type is ValueType.ENUM:
        return Kind.TEXT
    return None if value_type is ValueType.MAP else Kind(value_type.value)


def value_type_of(kind: Kind) -> ValueType:
    """The catalogue type of a kind."""
    return ValueType(kind.value)


def comparable(left: Kind, right: Kind) -> bool:
    """Whether values of the two kinds may be compared at all."""
    return left is right or {left, right} <= NUMERIC


def arithmetic_kind(operator: str, left: Kind, right: Kind) -> Kind | None:
    """The kind of `left operator right`; None when it has no meaning."""
    number = Kind.INT if left is right is Kind.INT and operator != "/" else Kind.NUMBER
    if {left, right} <= NUMERIC:
        return number
    scaled = {Kind.MONEY, Kind.DURATION}
    table: dict[str, dict[tuple[Kind, Kind], Kind]] = {
        "+": {
            (Kind.MONEY, Kind.MONEY): Kind.MONEY,
            (Kind.DURATION, Kind.DURATION): Kind.DURATION,
            (Kind.TIME, Kind.DURATION): Kind.TIME,
        },
        "-": {
            (Kind.MONEY, Kind.MONEY): Kind.MONEY,
            (Kind.DURATION, Kind.DURATION): Kind.DURATION,
            (Kind.TIME, Kind.DURATION): Kind.TIME,
            (Kind.TIME, Kind.TIME): Kind.DURATION,
            (Kind.DATE, Kind.DATE): Kind.DURATION,
        },
        "*": {},
        "/": {(kind, kind): Kind.NUMBER for kind in scaled},
    }
    if operator in {"*", "/"} and left in scaled and right in NUMERIC:
        return left
    if operator == "*" and right in scaled and left in NUMERIC:
        return right
    return table[operator].get((left, right))


def read_literal(text: str, kind: Kind, check: Check | None, currency: str) -> Any:
    """The value of a written literal for the other side's kind; raises ValueMistake.

    Money becomes the Decimal amount in the operator's currency; `9.90` and `9.90 EUR` are both read.
    """
    match kind:
        case Kind.TEXT:
            return check(text) if check else text
        case Kind.INT | Kind.NUMBER:
            return read_number(text)
        case Kind.MONEY:
            return _read_amount(text, currency)
        case Kind.BOOL:
            if text not in {"true", "false"}:
                raise ValueMistake("is not true or false", "write true or false")
            return text == "true"
        case Kind.TIME:
            return parse_time(text)
        case Kind.DATE:
            return parse_date(text)
        case Kind.DURATION:
            return parse_duration(text)
        case Kind.LIST:
            raise ValueMistake("cannot be compared with a list", "use `contains`")


def read_number(text: str) -> int | float:
    """A whole or decimal number of a size that the engine can be given; raises ValueMistake."""
    try:
        value: int | float = int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise ValueMistake("is not a number", "write it as 120 or 0.5") from None
    if not abs(value) <= LARGEST or 0 < abs(value) < SMALLEST:
        raise ValueMistake("is out of range", "write a number from 0.001 to 9000000000000000")
    return value


def _read_amount(text: str, currency: str) -> Decimal:
    amount, _, written = text.partition(" ")
    if written and written != currency:
        raise ValueMistake("is in another currency", f"write it in {currency}")
    return Decimal(str(read_number(amount)))


def to_operand(value: Any, kind: Kind, currency: str) -> Any:
    """A catalogue value as conditions compare it: money as its amount, None when in another currency."""
    if kind is Kind.MONEY:
        return value.amount if isinstance(value, Money) and value.currency == currency else None
    return value


def to_value(operand: Any, kind: Kind, currency: str) -> Any:
    """The catalogue value of an operand: the reverse of `to_operand`."""
    return Money(operand, currency) if kind is Kind.MONEY else operand


def show(operand: Any, kind: Kind) -> str:
    """An operand as a sentence would have it."""
    from services.vocabulary.values import format_duration, format_time

    match kind:
        case Kind.NUMBER | Kind.INT:
            return f"{operand:.10g}"
        case Kind.MONEY:
            return f"{operand:.2f}"
        case Kind.BOOL:
            return "true" if operand else "false"
        case Kind.TIME:
            return format_time(operand)
        case Kind.DURATION:
            return format_duration(operand)
        case Kind.LIST:
            return ", ".join(operand)
        case _:
            return operand.isoformat() if isinstance(operand, date) else str(operand)

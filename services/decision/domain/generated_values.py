"""Values made up for tests of rules: a constant and its nearest neighbours, and how each is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from services.decision.domain.language.types import Kind
from services.vocabulary.values import DAY, HOUR, SECOND, Money, ValueMistake, format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GENERIC: dict[Kind, tuple[Any, ...]] = {
    Kind.TEXT: ("one", "two"),
    Kind.INT: (0, 1, 2, 5, 20, 100),
    Kind.NUMBER: (0.0, 0.5, 1.0, 10.0, 100.0),
    Kind.MONEY: (Decimal(0), Decimal(5), Decimal(20), Decimal(100)),
    Kind.BOOL: (True, False),
    Kind.DURATION: (HOUR, DAY, 30 * DAY),
    Kind.LIST: (("one",), ("one", "two"), ()),
}


@dataclass
class Slot:
    """Something that can be given to a customer: which values it may have, and how each is written."""

    kind: Kind
    write: Callable[[Any], Any]
    check: Callable[[Any], Any]
    values: list[Any] = field(default_factory=list)
    """As conditions and situations hold them."""

    def add(self, found: Sequence[Any], currency: str) -> None:
        """Takes in those that the catalogue lets stand there."""
        for operand in found:
            given = Money(operand, currency) if self.kind is Kind.MONEY else operand
            try:
                self.check(self.write(operand))
            except (ValueMistake, ValueError, OverflowError):
                continue
            if given not in self.values:
                self.values.append(given)


def near(operand: Any, kind: Kind) -> list[Any]:
    """A value and its nearest neighbours of that kind."""
    match kind:
        case Kind.INT:
            whole = round(operand)
            return [whole, whole - 1, whole + 1]
        case Kind.NUMBER:
            step = 10.0 ** -max(_decimals(operand), 2)
            return [float(operand), round(operand - step, 9), round(operand + step, 9)]
        case Kind.MONEY:
            cent = Decimal("0.01")
            amount = Decimal(str(operand)).quantize(cent)
            return [amount, amount - cent, amount + cent]
        case Kind.BOOL:
            return [True, False]
        case Kind.DATE if isinstance(operand, date):
            return [operand, operand - timedelta(days=1), operand + timedelta(days=1)]
        case Kind.TIME | Kind.DURATION:
            second = round(operand / SECOND) * SECOND
            return [second, second - SECOND, second + SECOND]
        case _:
            return [operand, "another"]


def _decimals(number: Any) -> int:
    return len(repr(float(number)).partition(".")[2])


def writer(kind: Kind) -> Callable[[Any], Any]:
    """How a value is written in a test."""

    def write(operand: Any) -> Any:
        if operand is None:
            return None
        match kind:
            case Kind.MONEY:
                return f"{operand.amount if isinstance(operand, Money) else operand}"
            case Kind.TIME:
                return format_time(operand)
            case Kind.DATE:
                return operand.isoformat() if isinstance(operand, date) else operand
            case Kind.DURATION:
                return format_duration(operand)
            case Kind.LIST:
                return list(operand)
            case Kind.TEXT:
                return str(operand)
            case _:
                return operand

    return write

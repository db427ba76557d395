"""What an action states of its worth: a number, or a formula over what its rule may look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import DecimalException
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from services.decision.domain.expressions import value_function
from services.decision.domain.language.ast import (
    Arithmetic,
    HouseholdValue,
    Literal,
    Trait,
    WindowValue,
    leaves_of,
)
from services.decision.domain.language.types import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.decision.domain.language.ast import Expression
    from services.decision.domain.program import Needs
    from services.decision.domain.situation import Situation
    from services.vocabulary.catalogue import Catalogue

_ANY = (-inf, inf)
_COUNTS = frozenset({"count", "distinct", "since"})
"""Functions of a window that never come to less than 0."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number between two bounds, both included, that an action states.

    ``needs``: what its formula looks at only with the customer's agreement. Without it, without one of its
    inputs, divided by zero or outside the bounds, it comes to nothing, and whoever wanted it takes a default.
    """

    source: str
    expression: Expression
    least: float
    most: float
    needs: Needs
    _read: Callable[[Situation], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Makes the formula a function, once."""
        object.__setattr__(self, "_read", value_function(self.expression))

    @property
    def number(self) -> float | None:
        """The number itself, where no formula is written."""
        return float(self.expression.value) if isinstance(self.expression, Literal) else None

    def of(self, situation: Situation) -> tuple[float | None, str]:
        """What it comes to for a customer; None, and why, when it comes to nothing."""
        if isinstance(self.expression, Literal):
            return float(self.expression.value), ""
        if self.needs.withheld(situation):
            return None, "formula needs data the customer did not agree to have used"
        try:
            found = self._read(situation)
            value = None if found is None else float(found)
        except (OverflowError, DecimalException):
            return None, "formula has no finite result"
        if value is None:
            return None, self._lacking(situation)
        if not isfinite(value):
            return None, "formula has no finite result"
        if not self.least <= value <= self.most:
            return None, f"formula gave {value:.10g}, not {self.least:.10g} to {self.most:.10g}"
        return value, ""

    def _lacking(self, situation: Situation) -> str:
        for leaf in leaves_of(self.expression):
            if value_function(leaf)(situation) is None:
                return f"formula lacks {leaf.source}"
        return "formula divided by zero"


def divisors_of(expression: Expression) -> tuple[Expression, ...]:
    """All that an expression divides by, in order."""
    if not isinstance(expression, Arithmetic):
        return ()
    own = (expression.right,) if expression.operator == "/" else ()
    return (*divisors_of(expression.left), *divisors_of(expression.right), *own)


def bounds_of(expression: Expression, catalogue: Catalogue) -> tuple[float, float]:
    """Between which numbers an expression certainly lies, both included, by what the catalogue says."""
    match expression:
        case Literal(value=value) if expression.kind in {Kind.INT, Kind.NUMBER, Kind.MONEY, Kind.DURATION}:
            return float(value), float(value)
        case Trait(name=name) if name in catalogue.traits:
            known = catalogue.traits[name]
            return _bounds(known.least, known.most)
        case HouseholdValue(name="members"):
            return 1, inf
        case WindowValue(window=window) if window.function in _COUNTS:
            return 0, inf
        case Arithmetic(operator=operator, left=left, right=right):
            return _joined(operator, bounds_of(left, catalogue), bounds_of(right, catalogue))
        case _:
            return _ANY


def may_be_zero(bounds: tuple[float, float]) -> bool:
    """Whether zero lies between them."""
    return bounds[0] <= 0 <= bounds[1]


def _bounds(least: float | None, most: float | None) -> tuple[float, float]:
    return -inf if least is None else least, inf if most is None else most


def _joined(operator: str, a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    match operator:
        case "+":
            return a[0] + b[0], a[1] + b[1]
        case "-":
            return a[0] - b[1], a[1] - b[0]
        case "/" if may_be_zero(b):
            return _ANY
        case "/":
            return _joined("*", a, (1 / b[1], 1 / b[0]))
        case _:
            found = [x * y if x and y else 0.0 for x in a for y in b]
            return min(found), max(found)

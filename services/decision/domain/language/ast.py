"""The rule language as a tree: expressions, conditions and texts with places to fill.

Every node is typed and checked before it gets here; `source` is what the author wrote, for explanations, and
`line` where (0: nowhere in particular). Conditions that differ in their line alone are equal.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from services.decision.domain.language.types import Kind


@dataclass(frozen=True, slots=True)
class Window:
    """What to compute over the activity of one event type. Times in micros.

    `function`: count, distinct, sum, avg, min, max, latest, earliest, since. `over`: "rolling" (`last`
    micros), "days" or "cycles" (`last` of them) or "ever" (since). `before` micros: it ends that long ago.
    `this`: the event being decided counts. `where`: conditions on the fields of each entry. `kind`: of the
    value; `field_kind`: of the field it is made of.
    """

    function: str
    type: str
    field: str
    over: str
    last: int
    before: int
    this: bool
    where: "All | None"
    kind: Kind
    field_kind: Kind = Kind.NUMBER


@dataclass(frozen=True, slots=True)
class EventField:
    """A field of the event being decided; `type` for the event type itself."""

    name: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class AskField:
    """A parameter of the question being answered; missing when none is."""

    name: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class Trait:
    """A trait of the profile."""

    name: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class HouseholdValue:
    """What the customer's household has: `members`, `lines`, or a trait that it shares."""

    name: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class ThingAttribute:
    """An attribute of the thing of this sort that the event, or the profile, names."""

    thing: str
    name: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class WindowValue:
    """The value of a window. `key` is `rule_set/window`."""

    key: str
    window: Window
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class EntryField:
    """Inside `where`: a field of the activity entry being looked at."""

    name: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A written value, typed by the other side. Money is a Decimal amount in the operator's currency."""

    value: Any
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left operator right`, one of + - * /. Missing when either side is, or when dividing by zero."""

    operator: str
    left: "Expression"
    right: "Expression"
    kind: Kind
    source: str


Expression = (
    EventField
    | AskField
    | Trait
    | HouseholdValue
    | ThingAttribute
    | WindowValue
    | EntryField
    | Literal
    | Arithmetic
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`: is, is not, <, <=, >, >=. False when a side is missing; `is not` then true."""

    operator: str
    left: Expression
    right: Expression
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class OneOf:
    """`left is a or b`; negated: neither (true when missing)."""

    left: Expression
    values: tuple[Any, ...]
    negated: bool
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Exists:
    """There is a value; negated: `missing`."""

    left: Expression
    negated: bool
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Contains:
    """The list holds at least one of these: texts, and what `paths` (of texts) stand for."""

    left: Expression
    values: tuple[str, ...]
    source: str
    line: int = field(default=0, compare=False)
    paths: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class StartsWith:
    """The text begins with one of these: texts, and what `paths` (of texts) stand for."""

    left: Expression
    values: tuple[str, ...]
    source: str
    line: int = field(default=0, compare=False)
    paths: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Within:
    """A time or date at most `micros` ahead of now (`next`) or ago (`last`).

    The present moment or day is both. For dates the customer's calendar days count.
    """

    left: Expression
    direction: str
    micros: int
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class NowBetween:
    """The customer's clock: from `start`, before `end`, in minutes of the day; overnight if end < start."""

    start: int
    end: int
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TodayIs:
    """The customer's weekday, 0 = Monday."""

    days: frozenset[int]
    negated: bool
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ArmIs:
    """The customer is in one of these arms of the experiment."""

    experiment: str
    arms: frozenset[str]
    negated: bool
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class FactIs:
    """The fact was inferred; negated: it was not. `key`: `rule_set/fact`, or a shared fact's bare name."""

    key: str
    negated: bool
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Crosses:
    """The window was below the threshold without this event, and is at or above it with it."""

    window: WindowValue
    threshold: Expression
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; empty: true."""

    parts: tuple["Condition", ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds; empty: false."""

    parts: tuple["Condition", ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class NoneOf:
    """No part holds; empty: true."""

    parts: tuple["Condition", ...]
    source: str = ""


Condition = (
    Comparison
    | OneOf
    | Exists
    | Contains
    | StartsWith
    | Within
    | NowBetween
    | TodayIs
    | ArmIs
    | FactIs
    | Crosses
    | All
    | AnyOf
    | NoneOf
)


Placed = TypeVar("Placed", bound=Condition)


def placed(condition: Placed, line: int) -> Placed:
    """The condition as written in that line of its file; a group has no line but those of its parts."""
    if isinstance(condition, All | AnyOf | NoneOf):
        return replace(condition, parts=tuple(placed(part, line) for part in condition.parts))
    return replace(condition, line=line)


@dataclass(frozen=True, slots=True)
class Text:
    """A text with places to fill: literal pieces and expressions in turn."""

    parts: tuple[str | Expression, ...]
    source: str


def walk(condition: Condition) -> Iterator[Condition]:
    """The condition and all conditions inside it, outermost first."""
    yield condition
    if isinstance(condition, All | AnyOf | NoneOf):
        for part in condition.parts:
            yield from walk(part)


def expressions_of(condition: Condition) -> Iterator[Expression]:
    """The expressions that a condition, or one inside it, looks at; arithmetic as a whole."""
    for inner in walk(condition):
        match inner:
            case Comparison(left=left, right=right):
                yield left
                yield right
            case Crosses(window=window, threshold=threshold):
                yield window
                yield threshold
            case Contains(left=left, paths=paths) | StartsWith(left=left, paths=paths):
                yield left
                yield from paths
            case OneOf(left=left) | Exists(left=left) | Within(left=left):
                yield left
            case _:
                pass


def leaves_of(expression: Expression) -> Iterator[Expression]:
    """The paths and literals of an expression."""
    if isinstance(expression, Arithmetic):
        yield from leaves_of(expression.left)
        yield from leaves_of(expression.right)
    else:
        yield expression

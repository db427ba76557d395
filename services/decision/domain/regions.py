"""What conditions leave open, as boxes: for each thing looked at, which of its regions are still possible.

Everything looked at is a dimension with finitely many regions (see `samples`). Dimensions count as
independent of each other. So when one box lies within others here, it does so for every customer; that a box
is not empty here says so only in an `exact` space, where no two dimensions depend on each other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.decision.domain.language.ast import (
    All,
    AnyOf,
    Arithmetic,
    ArmIs,
    AskField,
    Comparison,
    Condition,
    Contains,
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
    TodayIs,
    Trait,
    WindowValue,
    Within,
    walk,
)
from services.decision.domain.language.types import ORDERED, Kind
from services.decision.domain.samples import Named, Possible, samples_of
from services.vocabulary.catalogue import Catalogue, Field

MOST_BOXES = 200
MOST_STEPS = 3000
_NEVER_MISSING = frozenset({"count", "distinct", "sum"})
_NEVER_NEGATIVE = frozenset({"count", "distinct", "since"})
_MINUTES = 24 * 60

Key = tuple[Any, ...]
"""What a dimension is: its sort, then what it looks at."""
Box = Mapping[Key, int]
"""By dimension, the set of regions still possible, as bits; a dimension left out is not narrowed."""
Point = Mapping[Key, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """What may call for a rule set: an event type with its fields, or a question with its parameters."""

    type: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    parameters: Mapping[str, Field] = field(default_factory=dict)


class TooMuch(Exception):  # noqa: N818 - not a failure: nothing is said then
    """There are more cases than are looked through."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A condition on one dimension: where on it, it holds."""

    key: Key
    holds: Callable[[Any], bool]


class Space:
    """The dimensions that some conditions look at, divided as finely as these conditions need."""

    def __init__(
        self, conditions: Iterable[Condition], catalogue: Catalogue, callers: Sequence[Caller]
    ) -> None:
        self._catalogue = catalogue
        self._callers = callers
        leaves = [
            part
            for condition in conditions
            for part in walk(condition)
            if not isinstance(part, All | AnyOf | NoneOf)
        ]
        self._named: dict[Key, Named] = {}
        self._arms: dict[str, set[str]] = {}
        self._times: set[int] = set()
        for leaf in leaves:
            self._note(leaf)
        self._leaves: dict[Condition, _Leaf] = {}
        self._samples: dict[Key, tuple[Any, ...]] = {}
        self._expressions: dict[Key, Expression] = {}
        self._masks: dict[Condition, tuple[Key, int]] = {}
        self._steps = 0
        for leaf in leaves:
            self._mask(leaf)
        self._full = {key: (1 << len(samples)) - 1 for key, samples in self._samples.items()}

    @property
    def exact(self) -> bool:
        """Whether no two dimensions depend on each other, so that every box stands for some customer."""
        found = self._expressions.values()
        windows = sum(isinstance(each, WindowValue) for each in found)
        return windows <= 1 and all(
            (key[0] == "value" and not isinstance(self._expressions[key], Arithmetic))
            or (key[0] == "distance" and ("value", key[1]) not in self._samples)
            or key[0] in {"now", "today", "arm"}
            for key in self._samples
        )

    # --- boxes -------------------------------------------------------------------------------------------

    def boxes(self, condition: Condition) -> tuple[Box, ...]:
        """The boxes in one of which a customer must lie for the condition to hold. Raises TooMuch."""
        return tuple(self._boxes(condition, negate=False))

    def _boxes(self, condition: Condition, *, negate: bool) -> list[Box]:
        match condition:
            case All(parts=parts):
                return self._any(parts, negate=True) if negate else self._all(parts, negate=False)
            case AnyOf(parts=parts):
                return self._all(parts, negate=True) if negate else self._any(parts, negate=False)
            case NoneOf(parts=parts):
                return self._boxes(AnyOf(parts), negate=not negate)
            case _:
                key, mask = self._mask(condition)
                wanted = self._full[key] & ~mask if negate else mask
                return [{key: wanted}] if wanted else []

    def _any(self, parts: Sequence[Condition], *, negate: bool) -> list[Box]:
        found = [box for part in parts for box in self._boxes(part, negate=negate)]
        if len(found) > MOST_BOXES:
            raise TooMuch
        return found

    def _all(self, parts: Sequence[Condition], *, negate: bool) -> list[Box]:
        found: list[Box] = [{}]
        for part in parts:
            more = self._boxes(part, negate=negate)
            found = [both for box in found for other in more if (both := self.both(box, other)) is not None]
            if len(found) > MOST_BOXES:
                raise TooMuch
        return found

    def both(self, one: Box, other: Box) -> Box | None:
        """What lies in both boxes; None: nothing."""
        found = dict(one)
        for key, mask in other.items():
            found[key] = found.get(key, self._full[key]) & mask
            if not found[key]:
                return None
        return found

    def _meet(self, one: Box, other: Box) -> bool:
        return all(one.get(key, self._full[key]) & mask for key, mask in other.items())

    def whole(self) -> tuple[Box, ...]:
        """Everything that can be: for each that may call, the fields that it has, and must have."""
        asked = {
            key: found for key, found in self._expressions.items() if isinstance(found, EventField | AskField)
        }
        if not self._callers or not asked:
            return ({},)
        boxes = [self._called_by(caller, asked) for caller in self._callers]
        types = next(
            (key for key, found in asked.items() if found == EventField("type", found.kind, found.source)),
            None,
        )
        known = {caller.type for caller in self._callers}
        if types is not None and not known.issuperset(self._samples[types]):
            # What the compiler itself asks for, as for the steps of a journey.
            boxes.append({types: self._where(types, lambda sample: sample not in known)})
        return tuple(boxes)

    def _called_by(self, caller: Caller, asked: Mapping[Key, EventField | AskField]) -> Box:
        box: dict[Key, int] = {}
        for key, found in asked.items():
            if _is_type(found):
                box[key] = self._where(key, lambda sample: sample == caller.type)
                continue
            fields = caller.fields if isinstance(found, EventField) else caller.parameters
            known = fields.get(found.name)
            if known is None:
                box[key] = self._where(key, lambda sample: sample is None)
            elif known.required or known.default is not None:
                box[key] = self._where(key, lambda sample: sample is not None)
        return box

    def _where(self, key: Key, wanted: Callable[[Any], bool]) -> int:
        return sum(1 << index for index, sample in enumerate(self._samples[key]) if wanted(sample))

    def without_gaps(self, box: Box) -> Box:
        """The part of a box in which nothing is missing, as far as something need not be."""
        found = dict(box)
        for key, samples in self._samples.items():
            there = sum(1 << index for index, sample in enumerate(samples) if sample is not None)
            found[key] = (box.get(key, self._full[key]) & there) or box.get(key, self._full[key])
        return found

    def outside(self, box: Box, others: Sequence[Box]) -> Box | None:
        """A part of a box that lies in none of the others; None: they cover it. Raises TooMuch."""
        self._steps = 0
        return self._outside(box, others)

    def _outside(self, box: Box, others: Sequence[Box]) -> Box | None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise TooMuch
        near = [other for other in others if self._meet(box, other)]
        if not near:
            return box
        rest = dict(box)
        for key, mask in near[0].items():
            here = rest.get(key, self._full[key])
            beyond = here & ~mask
            if beyond:
                found = self._outside({**rest, key: beyond}, near[1:])
                if found is not None:
                    return found
                rest[key] = here & mask
        return None

    def point(self, box: Box) -> dict[Key, Any]:
        """One customer of a box: a value for each dimension, missing only where it must be."""
        found: dict[Key, Any] = {}
        for key, samples in self._samples.items():
            mask = box.get(key, self._full[key])
            possible = [sample for index, sample in enumerate(samples) if mask >> index & 1]
            found[key] = next((sample for sample in possible if sample is not None), None)
        return found

    def expressions(self) -> Mapping[Key, Expression]:
        """What each dimension of values is, by its key."""
        return self._expressions

    # --- dimensions --------------------------------------------------------------------------------------

    def _note(self, leaf: Condition) -> None:
        """Where a condition divides its dimension."""
        match leaf:
            case Comparison(left=left, right=Literal(value=value)):
                self._named.setdefault(_value_key(left), Named()).values.add(value)
            case OneOf(left=left, values=values):
                self._named.setdefault(_value_key(left), Named()).values.update(values)
            case StartsWith(left=left, values=values):
                self._named.setdefault(_value_key(left), Named()).starts.update(values)
            case Contains(left=left, values=values):
                self._named.setdefault(_value_key(left), Named()).items.update(values)
            case Within(left=left, micros=micros):
                self._named.setdefault(("distance", left), Named()).values.update((0, micros, -micros))
            case NowBetween(start=start, end=end):
                self._times.update((start, end))
            case ArmIs(experiment=experiment, arms=arms):
                self._arms.setdefault(experiment, set()).update(arms)
            case _:
                pass

    def _mask(self, leaf: Condition) -> tuple[Key, int]:
        found = self._masks.get(leaf)
        if found is None:
            read = self._leaf(leaf)
            samples = self._samples[read.key]
            mask = sum(1 << index for index, sample in enumerate(samples) if read.holds(sample))
            found = self._masks[leaf] = (read.key, mask)
        return found

    def _leaf(self, leaf: Condition) -> _Leaf:
        match leaf:
            case FactIs(key=key, negated=negated):
                return self._dimension(("fact", key), (True, False), lambda there: there is not negated)
            case NowBetween():
                return self._now(leaf)
            case TodayIs(days=days, negated=negated):
                return self._dimension(("today",), range(7), lambda day: (day in days) is not negated)
            case ArmIs(experiment=name, arms=arms, negated=negated):
                every = (*sorted(self._arms[name]), "")
                return self._dimension(("arm", name), every, lambda arm: (arm in arms) is not negated)
            case Within(left=left, direction=direction, micros=micros):
                away_key: Key = ("distance", left)
                samples = samples_of(Possible(Kind.DURATION), self._named[away_key]) or ()
                low, high = (0, micros) if direction == "next" else (-micros, 0)
                return self._dimension(
                    away_key, samples, lambda away: away is not None and low <= away <= high
                )
            case Comparison(operator=operator, left=left, right=right) if not isinstance(right, Literal):
                known = (0, 1, -1, None) if left.kind in ORDERED else (0, 1, None)
                pair: Key = ("pair", _value_key(left), _value_key(right))
                return self._dimension(pair, known, lambda sign: _compare(operator, sign, 0))
            case Contains(paths=()) | StartsWith(paths=()) | Comparison() | OneOf() | Exists():
                return self._value(leaf)
            case _:
                return self._unknown(leaf)

    def _value(self, leaf: Contains | StartsWith | Comparison | OneOf | Exists) -> _Leaf:
        left = leaf.left
        key = _value_key(left)
        if key not in self._samples:
            samples = samples_of(self._possible(left), self._named.get(key, Named()))
            if samples is None:
                return self._unknown(leaf)
            self._samples[key] = samples
            self._expressions[key] = left
        match leaf:
            case Comparison(operator=operator, right=Literal(value=value)):
                return _Leaf(key, lambda sample: _compare(operator, sample, value))
            case OneOf(values=values, negated=negated):
                return _Leaf(key, lambda sample: (sample in values) is not negated)
            case Exists(negated=negated):
                return _Leaf(key, lambda sample: (sample is None) is negated)
            case Contains(values=items):
                return _Leaf(key, lambda sample: any(item in (sample or ()) for item in items))
            case StartsWith(values=starts):
                return _Leaf(key, lambda sample: sample is not None and sample.startswith(starts))
            case _:  # pragma: no cover - the others are above
                raise TypeError(f"no such condition: {leaf!r}")

    def _unknown(self, leaf: Condition) -> _Leaf:
        """A condition of which no more is known than that it holds or does not."""
        return self._dimension(("condition", leaf), (True, False), bool)

    def _now(self, leaf: NowBetween) -> _Leaf:
        start, end = leaf.start, leaf.end

        def holds(minute: int) -> bool:
            return start <= minute < end if start < end else not end <= minute < start

        return self._dimension(("now",), sorted({0, *self._times}), holds)

    def _dimension(self, key: Key, samples: Iterable[Any], holds: Callable[[Any], bool]) -> _Leaf:
        self._samples.setdefault(key, tuple(samples))
        return _Leaf(key, holds)

    def _possible(self, left: Expression) -> Possible:
        match left:
            case EventField(name="type"):
                named = self._named.get(_value_key(left), Named()).values
                types = [caller.type for caller in self._callers] or self._catalogue.events
                return Possible(
                    Kind.TEXT, missing=False, words=tuple(dict.fromkeys((*types, *sorted(named))))
                )
            case EventField(name=name, kind=kind):
                return _of_fields(kind, [caller.fields.get(name) for caller in self._callers])
            case AskField(name=name, kind=kind):
                return _of_fields(kind, [caller.parameters.get(name) for caller in self._callers])
            case Trait(name=name, kind=kind) if name in self._catalogue.traits:
                trait = self._catalogue.traits[name]
                return Possible(kind, True, trait.enum, trait.format, trait.least, trait.most)
            case HouseholdValue(name=name, kind=kind) if name in self._catalogue.traits:
                trait = self._catalogue.traits[name]
                return Possible(kind, True, trait.enum, trait.format, trait.least, trait.most)
            case HouseholdValue(name=name, kind=kind):
                return Possible(kind, least=1 if name == "members" else 0)
            case WindowValue(window=window, kind=kind):
                least = 0 if window.function in _NEVER_NEGATIVE else None
                return Possible(kind, window.function not in _NEVER_MISSING, least=least)
            case _:
                return Possible(left.kind)


def _is_type(expression: Expression) -> bool:
    return isinstance(expression, EventField) and expression.name == "type"


def _of_fields(kind: Kind, fields: Sequence[Field | None]) -> Possible:
    """What a field of several types can be: what is known of it if one type alone has it."""
    known = [each for each in fields if each is not None]
    if len(known) != 1:
        return Possible(kind)
    return Possible(kind, True, known[0].enum, known[0].format, known[0].least, known[0].most)


def _value_key(expression: Expression) -> Key:
    """Windows that count the same are the same, whatever they are called."""
    return ("value", expression.window if isinstance(expression, WindowValue) else expression)


def _compare(operator: str, left: Any, right: Any) -> bool:
    if left is None:
        return operator == "is not"
    match operator:
        case "is":
            return bool(left == right)
        case "is not":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case _:
            return bool(left >= right)

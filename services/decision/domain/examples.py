"""Finds a customer for whom two rules fire at one event; proof is that the oracle says so."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from services.decision.domain.contradictions import with_facts
from services.decision.domain.language.ast import (
    All,
    AskField,
    Condition,
    EventField,
    Expression,
    HouseholdValue,
    Literal,
    ThingAttribute,
    Trait,
    Window,
    WindowValue,
    expressions_of,
    leaves_of,
)
from services.decision.domain.language.types import Kind, kind_of, show, to_value
from services.decision.domain.oracle import Oracle
from services.decision.domain.program import ActionRule, Program, RuleSet
from services.decision.domain.regions import Box, Caller, Key, Space, TooMuch
from services.decision.domain.run import run_program
from services.decision.domain.samples import Named, Possible, samples_of
from services.decision.domain.situation import Situation
from services.vocabulary.catalogue import EventType
from services.vocabulary.values import DAY, micros_to_time, time_to_micros, zone

_MOST_BOXES = 10
_MOST_TRIES = 30
_MOST_SHOWN = 4
_SOME_DAY = date(2026, 1, 1)
_NUMBERS = (0, 1, 2, 5, 10, 50, 100, 500, 1000, 5000)
_WINDOWS_THAT_GROW = frozenset({"count", "distinct"})


@dataclass(frozen=True, slots=True)
class Example:
    """A customer at an event. `told`: what of it matters, in words."""

    situation: Situation
    told: str


def find_example(
    program: Program, event: EventType, one: tuple[RuleSet, ActionRule], other: tuple[RuleSet, ActionRule]
) -> Example | None:
    """A customer for whom both rules fire at such an event; None: none was found, though there may be one."""
    facts = [
        fact
        for rule_set in program.rule_sets
        if rule_set.shared or rule_set in (one[0], other[0])
        for fact in rule_set.facts
    ]
    condition = All((with_facts(one[1].when, facts), with_facts(other[1].when, facts)))
    moments = _moments(one[0], other[0], program.catalogue.default_zone)
    if moments is None:
        return None
    finder = _Finder(program, event, condition, (one[0], other[0]), moments)
    return finder.find(frozenset((one[1].key, other[1].key)))


def _moments(one: RuleSet, other: RuleSet, default_zone: str) -> tuple[int, str] | None:
    """A time at which both sets are active, and the zone it is told in; None: there is no such time."""
    starts = [each for each in (one.from_micros, other.from_micros) if each is not None]
    ends = [each for each in (one.to_micros, other.to_micros) if each is not None]
    start = max(starts) if starts else None
    if start is not None and ends and start >= min(ends):
        return None
    if start is None:
        some_time = time_to_micros(datetime.combine(_SOME_DAY, time(12), zone(default_zone)))
        start = min(ends) - 8 * DAY if ends else some_time
    return start, default_zone


class _Finder:
    """Looks for one example."""

    def __init__(
        self,
        program: Program,
        event: EventType,
        condition: Condition,
        rule_sets: Sequence[RuleSet],
        moment: tuple[int, str],
    ) -> None:
        self._program = program
        self._event = event
        self._condition = condition
        self._start, self._zone = moment
        catalogue = program.catalogue
        self._space = Space([condition], catalogue, [Caller(event.name, event.fields)])
        shared = [rule_set for rule_set in program.rule_sets if rule_set.shared]
        self._windows = [
            (f"{rule_set.name}/{name}", window)
            for rule_set in (*rule_sets, *shared)
            for name, window in rule_set.windows.items()
        ]
        self._chance = random.Random(event.name)  # noqa: S311  reproducible, not secret
        leaves = [leaf for each in expressions_of(condition) for leaf in leaves_of(each)]
        self._leaves = [leaf for leaf in dict.fromkeys(leaves) if not isinstance(leaf, Literal)]
        self._numbers = sorted(
            {float(leaf.value) for leaf in leaves if isinstance(leaf, Literal) and _is_number(leaf.value)}
            | set(_NUMBERS)
        )

    def find(self, wanted: frozenset[str]) -> Example | None:
        """The first that the oracle confirms."""
        try:
            boxes = self._space.boxes(self._condition)
        except TooMuch:
            return None
        tries = 0
        for box in boxes[:_MOST_BOXES]:
            for whole in self._space.whole():
                both = self._space.both(box, whole)
                for values in self._values(both) if both is not None else ():
                    tries += 1
                    situation = self._situation(both or {}, values)
                    if situation is not None and wanted <= self._fired(situation):
                        return Example(situation, self._told(values))
                    if tries >= _MOST_TRIES:
                        return None
        return None

    def _fired(self, situation: Situation) -> frozenset[str]:
        return frozenset(rule.key for rule in run_program(self._program, Oracle(), situation).rules)

    def _values(self, box: Box) -> Iterator[dict[Key, Any]]:
        """Values of all that the conditions look at: those of the box; the rest is drawn, a few times."""
        point = self._space.point(box)
        known = {key: value for key, value in point.items() if key[0] == "value"}
        rest = [leaf for leaf in self._leaves if _key(leaf) not in known and not _is_type(leaf)]
        yield {**known, **{_key(leaf): None for leaf in rest}}
        for _ in range(_MOST_TRIES if rest else 0):
            yield {**known, **{_key(leaf): self._drawn(leaf.kind) for leaf in rest}}

    def _drawn(self, kind: Kind) -> Any:
        number = self._chance.choice(self._numbers)
        match kind:
            case Kind.INT:
                return int(number)
            case Kind.NUMBER:
                return number
            case Kind.MONEY:
                return Decimal(str(number))
            case Kind.BOOL:
                return self._chance.random() < 0.5
            case Kind.DURATION:
                return int(number) * DAY
            case Kind.TIME:
                return self._start + (int(number) - 50) * DAY
            case Kind.DATE:
                return micros_to_time(self._start).date() + timedelta(days=int(number) - 50)
            case Kind.LIST:
                return ("another",)
            case _:
                return self._chance.choice(("another", "one"))

    # --- the situation -----------------------------------------------------------------------------------

    def _situation(self, box: Box, values: Mapping[Key, Any]) -> Situation | None:
        point = self._space.point(box)
        now = self._now(point)
        currency = self._program.catalogue.currency
        event: dict[str, Any] = {}
        traits: dict[str, Any] = {}
        household: dict[str, Any] = {}
        things: dict[str, dict[str, Any]] = {}
        windows: dict[Window, Any] = {}
        for key, expression in self._expressions().items():
            operand = values.get(key)
            if operand is None:
                operand = self._at_distance(point, expression, now)
            if operand is None:
                continue
            value = to_value(operand, expression.kind, currency)
            match expression:
                case EventField(name=name) if name != "type":
                    event[name] = value
                case Trait(name=name):
                    traits[name] = value
                case HouseholdValue(name=name):
                    household[name] = value
                case ThingAttribute(thing=thing, name=name):
                    things.setdefault(thing, {})[name] = value
                case WindowValue(window=window):
                    windows[window] = operand
                case _:
                    pass
        if not self._plausible(windows):
            return None
        return Situation(
            event_type=self._event.name,
            event={**self._required(), **event},
            event_micros=now,
            sequence=1,
            accepted_micros=now,
            now_micros=now,
            traits=traits,
            household=household,
            things=things,
            zone=self._zone,
            currency=currency,
            arms={key[1]: arm for key, arm in point.items() if key[0] == "arm" and arm},
            windows={name: windows[window] for name, window in self._windows if window in windows},
        )

    def _expressions(self) -> dict[Key, Expression]:
        return {_key(leaf): leaf for leaf in self._leaves}

    def _at_distance(self, point: Mapping[Key, Any], expression: Expression, now: int) -> Any:
        """A time, or a date, as far from now as `within` asks for."""
        away = point.get(("distance", expression))
        if away is None:
            return None
        if expression.kind is Kind.TIME:
            return now + away
        return micros_to_time(now).astimezone(zone(self._zone)).date() + timedelta(days=away // DAY)

    def _now(self, point: Mapping[Key, Any]) -> int:
        """The first moment of the weekday and time of day asked for, noon if none is."""
        place = zone(self._zone)
        minute = point.get(("now",), 12 * 60)
        clock = time(minute // 60, minute % 60)
        day = micros_to_time(self._start).astimezone(place).date()
        if time_to_micros(datetime.combine(day, clock, place)) < self._start:
            day += timedelta(days=1)
        weekday = point.get(("today",))
        if weekday is not None:
            day += timedelta(days=(weekday - day.weekday()) % 7)
        return time_to_micros(datetime.combine(day, clock, place))

    def _required(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, known in self._event.fields.items():
            kind = kind_of(known.type)
            if known.default is not None:
                found[name] = known.default
            elif known.required and kind is not None:
                possible = Possible(kind, False, known.enum, known.format, known.least, known.most)
                samples = samples_of(possible, Named()) or (None,)
                found[name] = to_value(samples[0], kind, self._program.catalogue.currency)
        return found

    def _plausible(self, windows: Mapping[Window, Any]) -> bool:
        """Whether one history can come to these: what is counted over longer is not less."""
        for window, value in windows.items():
            if window.function not in _WINDOWS_THAT_GROW:
                continue
            own = (
                window.type == self._event.name and window.this and not window.before and window.where is None
            )
            if own and window.function == "count" and value < 1:
                return False
            for longer, other in windows.items():
                if _differs_in_length(window, longer) and longer.last > window.last and other < value:
                    return False
        return True

    # --- in words ----------------------------------------------------------------------------------------

    def _told(self, values: Mapping[Key, Any]) -> str:
        parts: list[str] = []
        for key, expression in self._expressions().items():
            value = values.get(key)
            if value is None or _is_type(expression):
                continue
            name = expression.source.partition(".")[2] or expression.source
            parts.append(f"{name} {show(value, expression.kind) or 'without items'}")
        shown = list(dict.fromkeys(parts))
        more = ", …" if len(shown) > _MOST_SHOWN else ""
        return ", ".join(shown[:_MOST_SHOWN]) + more


def _key(expression: Expression) -> Key:
    return ("value", expression.window if isinstance(expression, WindowValue) else expression)


def _is_type(expression: Expression) -> bool:
    return isinstance(expression, EventField | AskField) and expression.name == "type"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool | date)


def _differs_in_length(one: Window, other: Window) -> bool:
    return (one.function, one.type, one.field, one.over, one.before, one.this, one.where) == (
        other.function,
        other.type,
        other.field,
        other.over,
        other.before,
        other.this,
        other.where,
    )

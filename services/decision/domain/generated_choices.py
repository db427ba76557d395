"""What made-up customers may be given: the paths of conditions, with values near their constants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.decision.domain.calendar import local
from services.decision.domain.generated_values import GENERIC, Slot, near, writer
from services.decision.domain.language.ast import (
    All,
    AnyOf,
    AskField,
    Comparison,
    Contains,
    Crosses,
    EntryField,
    EventField,
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
    expressions_of,
    leaves_of,
    walk,
)
from services.decision.domain.language.types import Kind, read_literal
from services.decision.domain.trial import noon_of_first_day
from services.decision.domain.triggers import Schedule, ThingEvent
from services.vocabulary.catalogue import CONSENTS
from services.vocabulary.values import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    ValueType,
    value_check,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from services.decision.domain.customers import Version
    from services.decision.domain.language.ast import Condition, Expression
    from services.vocabulary.catalogue import Catalogue


TYPE = "event.type"
ARM = "arm"
STEP = "step"


class Choices:
    """What customers of some versions of a rule set may be given, and what to aim at."""

    def __init__(self, versions: Sequence[Version]) -> None:
        self.versions = versions
        self.catalogue: Catalogue = versions[0].program.catalogue
        self.stops = {
            step: types for version in versions for step, types in (version.scope.stops or {}).items()
        }
        self.starts = {version.rule_set.journey.start for version in versions if version.rule_set.journey}
        self.base = noon_of_first_day(versions[-1].rule_set, versions[-1].rule_set.zone)
        self.zone = versions[-1].rule_set.zone
        self.types = list(dict.fromkeys(name for version in versions for name in version.calls))
        self.arms = sorted({arm for version in versions for arm in version.scope.arms or ()})
        self.facts: dict[str, list[All]] = {}
        self.shared: set[str] = set()
        self.slots: dict[str, Slot] = {}
        self.moments: list[int] = [self.base] * 6
        self.aims: list[Condition] = []
        self.purposes = sorted(
            {
                purpose
                for version in versions
                for rule in version.rule_set.all_rules
                for purpose in rule.needs.purposes
            }
        )
        for version in versions:
            self._learn(version)
        if len(self.types) > 1:
            self.slots[TYPE] = Slot(Kind.TEXT, str, str, list(self.types))

    def _learn(self, version: Version) -> None:
        rule_set = version.rule_set
        if version.scope.any_event and not self.types:
            self.types = sorted(name for name, event in self.catalogue.events.items() if not event.thing)
        conditions: list[Condition] = [rule.when for rule in rule_set.all_rules]
        if isinstance(rule_set.occasion, Schedule | ThingEvent):
            conditions.append(rule_set.occasion.audience)
            self.aims.append(rule_set.occasion.audience)
        self.aims += [rule.when for rule in (rule_set.facts if rule_set.shared else rule_set.rules)]
        for fact in rule_set.facts:
            self.facts.setdefault(fact.fact, []).append(fact.when)
        for other in version.program.rule_sets:
            if other.shared and other.name != rule_set.name:
                self.shared.update(fact.fact for fact in other.facts)
        for rule in rule_set.rules:
            for action in rule.actions:
                for text in (*action.parameters.values(), action.say, action.to_text):
                    for part in text.parts if text is not None else ():
                        if not isinstance(part, str):
                            self._slot_of(part)
        for condition in conditions:
            for inside in walk(condition):
                self._learn_condition(inside)
        for edge in (rule_set.from_micros, rule_set.to_micros):
            if edge is not None:
                self.moments += [edge - SECOND, edge]

    def _learn_condition(self, condition: Condition) -> None:
        slots = [slot for leaf in paths_of(condition) if (slot := self._slot_of(leaf)) is not None]
        currency = self.catalogue.currency
        match condition:
            case Comparison(left=left, right=right):
                for literal in (each for side in (left, right) for each in leaves_of(side)):
                    if isinstance(literal, Literal):
                        for slot in slots:
                            if slot.kind is literal.kind or {slot.kind, literal.kind} <= {
                                Kind.INT,
                                Kind.NUMBER,
                            }:
                                slot.add(near(literal.value, slot.kind), currency)
            case Crosses(threshold=Literal(value=limit)) if slots:
                slots[0].add(near(limit, slots[0].kind), currency)
            case OneOf(values=values) if slots:
                slots[0].add([found for each in values for found in near(each, slots[0].kind)], currency)
            case Contains(values=values) if slots:
                slots[0].add([(each,) for each in values] + [tuple(values), ("another",)], currency)
            case StartsWith(values=values) if slots:
                slots[0].add([text for each in values for text in (each, f"{each}1", "another")], currency)
            case Within(micros=micros, direction=direction) if slots:
                slots[0].add(
                    self._around(slots[0].kind, micros if direction == "next" else -micros), currency
                )
            case NowBetween(start=start, end=end):
                midnight = self.base - 12 * HOUR
                minutes = (start, start - 1, end, end - 1)
                self.moments += [midnight + (minute % 1440) * MINUTE for minute in minutes]
            case TodayIs():
                self.moments += [self.base + number * DAY for number in range(7)]
            case _:
                pass

    def _around(self, kind: Kind, distance: int) -> list[Any]:
        moments = [self.base, self.base + distance, self.base - distance]
        steps = (-DAY, 0, DAY) if kind is Kind.DATE else (-SECOND, 0, SECOND)
        found = [moment + step for moment in moments for step in steps]
        if kind is Kind.DATE:
            return list(dict.fromkeys(local(moment, self.zone).date() for moment in found))
        return found

    def _slot_of(self, leaf: Expression) -> Slot | None:
        """The slot that a path stands for; None for what cannot be given."""
        if isinstance(leaf, Literal | EntryField) or leaf.source == TYPE:
            return None
        if leaf.source in self.slots:
            return self.slots[leaf.source]
        check, choices = self._check_of(leaf)
        if check is None:
            return None
        slot = self.slots[leaf.source] = Slot(leaf.kind, writer(leaf.kind), check)
        currency = self.catalogue.currency
        slot.add(choices or GENERIC.get(leaf.kind, ()), currency)
        if leaf.kind in {Kind.DATE, Kind.TIME}:
            slot.add(self._around(leaf.kind, 30 * DAY), currency)
        return slot

    def _check_of(self, leaf: Expression) -> tuple[Callable[[Any], Any] | None, tuple[Any, ...]]:
        currency = self.catalogue.currency

        def literal(written: Any) -> Any:
            return read_literal(str(written), leaf.kind, None, currency)

        match leaf:
            case Trait(name=name) if name != CONSENTS:
                trait = self.catalogue.traits[name]
                return (literal if leaf.kind is Kind.MONEY else trait.check), trait.enum
            case HouseholdValue(name=name):
                shared = self.catalogue.traits.get(name)
                if shared is None:
                    return value_check(ValueType.INT, least=0), ()
                return (literal if leaf.kind is Kind.MONEY else shared.check), shared.enum
            case EventField(name=name):
                types = [event for version in self.versions for event in version.scope.triggers]
                fields = [event.fields[name] for event in types if name in event.fields]
                return (
                    (literal if leaf.kind is Kind.MONEY else fields[0].check, fields[0].enum)
                    if fields
                    else (None, ())
                )
            case AskField(name=name):
                questions = [each for version in self.versions for each in version.scope.questions]
                asked = [each.parameters[name] for each in questions if name in each.parameters]
                return (
                    (literal if leaf.kind is Kind.MONEY else asked[0].check, asked[0].enum)
                    if asked
                    else (None, ())
                )
            case ThingAttribute(thing=thing, name=name):
                value_type = self.catalogue.things[thing].attributes[name]
                return (literal if leaf.kind is Kind.MONEY else value_check(value_type)), ()
            case WindowValue():
                return literal, ()
            case _:
                return None, ()


def paths_of(condition: Condition) -> Iterator[Any]:
    """The paths that one condition looks at, those inside a group aside."""
    if isinstance(condition, All | AnyOf | NoneOf):
        return
    for expression in expressions_of(condition):
        for leaf in leaves_of(expression):
            if not isinstance(leaf, Literal):
                yield leaf
    if isinstance(condition, Crosses) and condition.window.window.function == "sum":
        # What the event itself adds is what takes the sum across.
        window = condition.window.window
        yield EventField(window.field, window.kind, f"event.{window.field}")

"""Customers made up for two versions of a rule set: around every constant that either names."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from services.decision.domain.customers import Customer
from services.decision.domain.generated_choices import ARM, STEP, TYPE, Choices, paths_of
from services.decision.domain.generated_history import events_for
from services.decision.domain.generated_values import Slot, near
from services.decision.domain.language.ast import (
    All,
    AnyOf,
    ArmIs,
    Comparison,
    Crosses,
    FactIs,
    Literal,
    NoneOf,
    NowBetween,
    TodayIs,
    walk,
)
from services.decision.domain.oracle import holds, value
from services.decision.domain.situation import Situation
from services.vocabulary.values import (
    Money,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.decision.domain.customers import Version
    from services.decision.domain.language.ast import Condition


_TRIES = 12


def generated_customers(versions: Sequence[Version], count: int, seed: int) -> Iterator[Customer]:
    """``count`` customers, the same for the same versions and seed.

    Most are made so that some rule of a version fires, or just does not; their values stand at, or right
    beside, the constants that either version compares them with. A window that both versions have alike is
    given as a value, any other by a history.
    """
    maker = _Maker(Choices(versions), random.Random(seed))  # noqa: S311  reproducible, not secret
    for _ in range(count):
        yield maker.customer()


class _Maker:
    """Makes customers one by one."""

    def __init__(self, choices: Choices, chance: random.Random) -> None:
        self._choices = choices
        self._chance = chance
        self._given: dict[str, Any] = {}
        self._given_facts: set[str] = set()
        self._now = choices.base

    def customer(self) -> Customer:
        """The next one."""
        chance = self._chance
        self._given, self._given_facts = {}, set()
        self._now = self._choices.base
        if self._choices.types:
            self._given[TYPE] = chance.choice(self._choices.types)
        if self._choices.arms and chance.random() < 0.7:
            self._given[ARM] = chance.choice(self._choices.arms)
        if chance.random() < 0.3:
            self._now = chance.choice(self._choices.moments)
        if self._choices.aims and chance.random() < 0.8:
            aim = chance.choice(self._choices.aims)
            self._aim(aim, True, 0)
            leaves = [part for part in walk(aim) if not isinstance(part, All | AnyOf | NoneOf)]
            if leaves and chance.random() < 0.4:
                self._aim(chance.choice(leaves), chance.random() < 0.3, 0)
        for path, slot in self._choices.slots.items():
            if path not in self._given and slot.values and chance.random() < 0.3:
                self._given[path] = chance.choice(slot.values)
        self._stand()
        for fact in sorted(self._choices.shared):
            if chance.random() < 0.1:
                self._given_facts.add(fact)
        return self._written()

    def _stand(self) -> None:
        """Puts the customer at a step of a journey: its time has come, or what it awaits has happened."""
        stops = self._choices.stops
        if not stops or self._chance.random() < 0.3:
            return
        step = self._given[STEP] = self._chance.choice(list(stops))
        self._given[TYPE] = self._chance.choice(("", *stops[step]))

    def _aim(self, condition: Condition, want: bool, depth: int) -> None:  # noqa: FBT001
        """Gives the customer what makes the condition come out so, if that can be had."""
        match condition:
            case All(parts=parts) | AnyOf(parts=parts) | NoneOf(parts=parts):
                self._aim_parts(condition, parts, want, depth)
            case FactIs(key=key, negated=negated):
                self._aim_fact(key, want is not negated, depth)
            case ArmIs(arms=arms, negated=negated):
                self._given.pop(ARM, None)
                fitting = [arm for arm in self._choices.arms if (arm in arms) is (want is not negated)]
                if fitting:
                    self._given[ARM] = self._chance.choice(fitting)
            case _:
                self._aim_leaf(condition, want)

    def _aim_parts(self, group: Condition, parts: tuple[Condition, ...], want: bool, depth: int) -> None:  # noqa: FBT001
        # Of a group's parts all have to come out alike, or one is enough.
        every = not want if isinstance(group, AnyOf) else want
        inner = not want if isinstance(group, NoneOf) else want
        chosen = parts if every else ((self._chance.choice(parts),) if parts else ())
        for part in chosen:
            self._aim(part, inner, depth)

    def _aim_fact(self, key: str, want: bool, depth: int) -> None:  # noqa: FBT001
        if key in self._choices.shared:
            (self._given_facts.add if want else self._given_facts.discard)(key)
        elif depth < 6 and self._choices.facts.get(key):
            whens = [self._chance.choice(self._choices.facts[key])] if want else self._choices.facts[key]
            for when in whens:
                self._aim(when, want, depth + 1)

    def _aim_leaf(self, condition: Condition, want: bool) -> None:  # noqa: FBT001
        """Draws values, and a moment, until the condition comes out so."""
        chance = self._chance
        slots = self._choices.slots.keys() - {TYPE}
        paths = [leaf.source for leaf in paths_of(condition) if leaf.source in slots]
        about_type = any(leaf.source == TYPE for leaf in paths_of(condition)) or isinstance(
            condition, Crosses
        )
        timely = isinstance(condition, NowBetween | TodayIs)
        for number in range(_TRIES):
            if self._holds(condition) is want and number:
                return
            if number == 0 and self._holds(condition) is want and all(path in self._given for path in paths):
                return
            if timely:
                self._now = chance.choice(self._choices.moments)
            if about_type and self._choices.types:
                self._given[TYPE] = chance.choice(self._choices.types)
            for path in paths:
                slot = self._choices.slots[path]
                if not slot.values or chance.random() < 0.1:
                    self._given.pop(path, None)
                else:
                    self._given[path] = chance.choice(slot.values)
            if number % 2 and isinstance(condition, Comparison | Crosses):
                self._even_out(condition)

    def _even_out(self, condition: Comparison | Crosses) -> None:
        """Puts one side of a comparison of two paths at the other, or right beside it."""
        left, right = (
            (condition.window, condition.threshold)
            if isinstance(condition, Crosses)
            else (condition.left, condition.right)
        )
        sides = [(left, right), (right, left)]
        self._chance.shuffle(sides)
        for one, other in sides:
            slot = self._choices.slots.get(getattr(one, "source", ""))
            if slot is None or isinstance(other, Literal):
                continue
            found = value(other, self._situation())
            if found is None:
                continue
            fitted = Slot(slot.kind, slot.write, slot.check)
            fitted.add(near(found, slot.kind), self._choices.catalogue.currency)
            if fitted.values:
                self._given[one.source] = self._chance.choice(fitted.values)
                return

    def _holds(self, condition: Condition) -> bool:
        return holds(condition, self._situation(), frozenset(self._given_facts))

    def _situation(self) -> Situation:
        parts: dict[str, dict[str, Any]] = {
            "event": {},
            "profile": {},
            "windows": {},
            "ask": {},
            "household": {},
        }
        things: dict[str, dict[str, Any]] = {}
        for path, operand in self._given.items():
            root, _, name = path.partition(".")
            if root == "context":
                thing, _, attribute = name.partition(".")
                things.setdefault(thing, {})[attribute] = operand
            elif root in parts:
                parts[root][name] = operand
        names = {version.rule_set.name for version in self._choices.versions}
        amounts = {
            name: operand.amount if isinstance(operand, Money) else operand
            for name, operand in parts["windows"].items()
        }
        return Situation(
            event_type=self._given.get(TYPE, ""),
            event=parts["event"],
            event_micros=self._now,
            sequence=1,
            accepted_micros=self._now,
            now_micros=self._now,
            traits=parts["profile"],
            things=things,
            zone=self._choices.zone,
            currency=self._choices.catalogue.currency,
            windows={f"{rule_set}/{name}": each for rule_set in names for name, each in amounts.items()},
            ask=parts["ask"],
            household=parts["household"],
        )

    # --- written down ------------------------------------------------------------------------------------

    def _written(self) -> Customer:
        given: dict[str, Any] = {}
        when: dict[str, Any] = {}
        history: list[dict[str, Any]] = []
        name = self._given.get(TYPE, "")
        if STEP in self._given:
            when["step"] = self._given[STEP]
        if name and len(self._choices.types) > 1:
            when["type" if name in self._choices.catalogue.events else "ask"] = name
        for path, operand in self._given.items():
            root, _, rest = path.partition(".")
            if path in {TYPE, ARM, STEP}:
                continue
            written = self._choices.slots[path].write(operand)
            match root:
                case "profile" | "household":
                    given.setdefault(root, {})[rest] = written
                case "context":
                    thing, _, attribute = rest.partition(".")
                    given.setdefault("context", {}).setdefault(thing, {})[attribute] = written
                case "windows":
                    self._window(rest, operand, written, given, history)
                case "event" | "ask" if self._belongs(root, rest, name):
                    when[rest] = written
                case _:
                    pass
        if history:
            given["history"] = history
        if self._given_facts:
            given["facts"] = sorted(self._given_facts)
        if ARM in self._given:
            given["arm"] = self._given[ARM]
        if self._choices.purposes and self._chance.random() < 0.03:
            given["withheld"] = [self._chance.choice(self._choices.purposes).value]
        return Customer(given, when, None if self._now == self._choices.base else self._now)

    def _belongs(self, root: str, field_name: str, name: str) -> bool:
        if not name and self._choices.starts:
            name = min(self._choices.starts)
        for version in self._choices.versions:
            for event in version.scope.triggers:
                if root == "event" and field_name in event.fields and name in {"", event.name}:
                    return True
            for question in version.scope.questions:
                if root == "ask" and field_name in question.parameters and name in {"", question.name}:
                    return True
        return False

    def _window(
        self, name: str, operand: Any, written: Any, given: dict[str, Any], history: list[dict[str, Any]]
    ) -> None:
        found = [
            window for version in self._choices.versions if (window := version.rule_set.windows.get(name))
        ]
        same = len(found) == len(self._choices.versions) and all(each == found[0] for each in found)
        if same or not found:
            given.setdefault("windows", {})[name] = written
            return
        amount = operand.amount if isinstance(operand, Money) else operand
        window = self._chance.choice(found)
        history += events_for(window, amount, found, self._choices.catalogue, self._chance)

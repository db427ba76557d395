"""The oracle: what a shard must come to, evaluated plainly from its rules as written. No cleverness.

It is the second implementation of the engine's port. It looks at conditions, not at what they were compiled
to, so that a difference shows a mistake in either. What it shares with the compiled way: the tree, the
calendar, the purposes a rule needs, and the strata of facts. Windows and arithmetic it works out itself.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any

from services.decision.domain.calendar import day_number, local, local_day
from services.decision.domain.engine import Fired, Property
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
    Window,
    WindowValue,
    Within,
)
from services.decision.domain.language.types import Kind, to_operand
from services.decision.domain.plain_rules import run_plainly
from services.decision.domain.plain_windows import Read, window_value
from services.decision.domain.program import ActionRule, FactRule, Properties, Shard
from services.decision.domain.situation import Situation
from services.vocabulary.values import DAY

_NO_FACTS: frozenset[str] = frozenset()


class Oracle:
    """Runs a shard by evaluating its rules one by one."""

    def run(self, shard: Shard, properties: Mapping[str, Property], given_facts: Collection[str]) -> Fired:
        """Facts and rules, in order.

        Properties that do not come from `Shard.properties_of` stand for no situation; then the engine's own
        rules are evaluated plainly.
        """
        if not isinstance(properties, Properties):
            return run_plainly(shard, properties, given_facts)
        situation = properties.situation
        active = {rule_set.name for rule_set in shard.rule_sets if rule_set.applies(situation)}
        facts = set(given_facts)
        inferred: list[str] = []
        fired: list[str] = []
        rules: list[FactRule | ActionRule] = [*shard.facts.values(), *shard.rules.values()]
        # The highest priority first, then the order of the file.
        rules.sort(key=lambda rule: -rule.priority)
        last = shard.strata - 1
        for stratum in range(shard.strata):
            waiting = [rule for rule in rules if _stratum(rule, last) == stratum]
            while True:
                rule = next((rule for rule in waiting if _fires(rule, active, facts, situation)), None)
                if rule is None:
                    break
                waiting.remove(rule)
                fired.append(rule.key)
                if isinstance(rule, FactRule) and rule.fact not in facts:
                    facts.add(rule.fact)
                    inferred.append(rule.fact)
        return Fired(tuple(inferred), tuple(fired))


def _stratum(rule: FactRule | ActionRule, last: int) -> int:
    return rule.stratum if isinstance(rule, FactRule) else last


def _fires(
    rule: FactRule | ActionRule, active: AbstractSet[str], facts: AbstractSet[str], situation: Situation
) -> bool:
    return (
        rule.rule_set in active and not rule.needs.withheld(situation) and holds(rule.when, situation, facts)
    )


def holds(
    condition: Condition, situation: Situation, facts: AbstractSet[str], entry: Read | None = None
) -> bool:
    """Whether a condition holds, as it reads. Empty `all` is true, empty `any` is false.

    `entry`: inside `where`, how to read the fields of the entry being looked at.
    """
    match condition:
        case All(parts=parts):
            return all(holds(part, situation, facts, entry) for part in parts)
        case AnyOf(parts=parts):
            return any(holds(part, situation, facts, entry) for part in parts)
        case NoneOf(parts=parts):
            return not any(holds(part, situation, facts, entry) for part in parts)
        case FactIs(key=key, negated=negated):
            return (key not in facts) if negated else (key in facts)
        case Exists(left=left, negated=negated):
            missing = value(left, situation, entry) is None
            return missing if negated else not missing
        case Comparison(operator=operator, left=left, right=right):
            return _compare(operator, value(left, situation, entry), value(right, situation, entry))
        case OneOf(left=left, values=values, negated=negated):
            found = value(left, situation, entry) in values
            return not found if negated else found
        case Contains(left=left, values=values, paths=paths):
            items = value(left, situation, entry) or ()
            return any(item in items for item in (*values, *_texts(paths, situation, entry)))
        case StartsWith(left=left, values=values, paths=paths):
            text = value(left, situation, entry)
            starts = (*values, *_texts(paths, situation, entry))
            return text is not None and any(text.startswith(start) for start in starts)
        case _:
            return _holds_now(condition, situation, entry)


def _texts(paths: tuple[Expression, ...], situation: Situation, entry: Read | None) -> list[str]:
    return [text for path in paths if (text := value(path, situation, entry)) is not None]


def _holds_now(condition: Condition, situation: Situation, entry: Read | None) -> bool:
    match condition:
        case Within(left=left, direction=direction, micros=micros):
            found = value(left, situation, entry)
            if found is None:
                return False
            if left.kind is Kind.DATE:
                distance = (day_number(found) - local_day(situation.now_micros, situation.zone)) * DAY
            else:
                distance = found - situation.now_micros
            return 0 <= distance <= micros if direction == "next" else -micros <= distance <= 0
        case NowBetween(start=start, end=end):
            now = local(situation.now_micros, situation.zone)
            minute = now.hour * 60 + now.minute
            return start <= minute < end if start < end else not end <= minute < start
        case TodayIs(days=days, negated=negated):
            found = local(situation.now_micros, situation.zone).weekday() in days
            return not found if negated else found
        case ArmIs(experiment=experiment, arms=arms, negated=negated):
            found = situation.arms.get(experiment) in arms
            return not found if negated else found
        case Crosses():
            return _crosses(condition, situation)
        case _:  # pragma: no cover - all others are above
            raise TypeError(f"no such condition: {condition!r}")


def _compare(operator: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
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


def _crosses(condition: Crosses, situation: Situation) -> bool:
    window, limit = condition.window, value(condition.threshold, situation)
    after = value(window, situation)
    if situation.event_type != window.window.type or after is None or limit is None:
        return False
    if (
        window.key in situation.windows
    ):  # a test says what the window comes to: the event's share is taken off
        own = 1 if window.window.function == "count" else 0
        if window.window.function == "sum":
            own = value(EventField(window.window.field, window.kind, ""), situation) or 0
        return bool(after - own < limit <= after)
    return bool(_window(window.window, situation, this=False) < limit <= after)


def value(expression: Expression, situation: Situation, entry: Read | None = None) -> Any:
    """The operand an expression stands for; None when missing."""
    match expression:
        case Literal(value=written):
            return written
        case EventField(name="type"):
            return situation.event_type
        case EventField(name=name, kind=kind):
            return to_operand(situation.event.get(name), kind, situation.currency)
        case AskField(name=name, kind=kind):
            return to_operand(situation.ask.get(name), kind, situation.currency)
        case Trait(name=name, kind=kind):
            return to_operand(situation.traits.get(name), kind, situation.currency)
        case HouseholdValue(name=name, kind=kind):
            return to_operand(situation.household.get(name), kind, situation.currency)
        case ThingAttribute(thing=thing, name=name, kind=kind):
            return to_operand(situation.things.get(thing, {}).get(name), kind, situation.currency)
        case EntryField(name=name, kind=kind):
            assert entry is not None
            return entry(name, kind)
        case WindowValue(key=key, window=window):
            if key in situation.windows:
                return situation.windows[key]
            return _window(window, situation, this=True)
        case Arithmetic(operator=operator, left=left, right=right):
            a, b = value(left, situation, entry), value(right, situation, entry)
            return None if a is None or b is None else _calculate(expression, operator, a, b)


def _window(window: Window, situation: Situation, *, this: bool) -> Any:
    inside = window.where
    if inside is None:
        return window_value(window, situation, this=this, where=None)
    return window_value(
        window, situation, this=this, where=lambda entry: holds(inside, situation, _NO_FACTS, entry)
    )


def _calculate(expression: Arithmetic, operator: str, a: Any, b: Any) -> Any:
    """`a operator b`: money exactly, times and durations to the microsecond, decimals to 9 places."""
    left, right, kind = expression.left.kind, expression.right.kind, expression.kind
    if left is Kind.DATE:
        return (day_number(a) - day_number(b)) * DAY
    if Kind.MONEY in {left, right}:
        a, b = Decimal(str(a)), Decimal(str(b))
    if operator == "/" and b == 0:
        return None
    found = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[operator]()
    if kind in {Kind.TIME, Kind.DURATION}:
        return round(found)
    return round(float(found), 9) if kind is Kind.NUMBER else found

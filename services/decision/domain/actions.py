"""From the action a rule asks for to the action for one customer: places filled, times fixed, slot named."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from services.decision.domain.calendar import cycle_index, cycle_label, cycle_of, local_day
from services.decision.domain.expressions import FACTS, Holds, condition_function, value_function
from services.decision.domain.language.ast import All, Expression, Text
from services.decision.domain.language.types import show, to_value, value_type_of
from services.decision.domain.once import CYCLE_KEY
from services.decision.domain.program import ActionSpec, Once
from services.decision.domain.situation import Situation
from services.vocabulary.catalogue import Trait
from services.vocabulary.values import ValueMistake, ValueType, to_json


@dataclass(frozen=True, slots=True)
class Filled:
    """An action for one customer. Times in micros since the epoch; None: none."""

    parameters: Mapping[str, tuple[ValueType, Any]]
    template: str
    say: str
    due_micros: int | None
    expires_micros: int | None
    planned_micros: int | None


@dataclass(frozen=True, slots=True)
class OnceSlot:
    """A slot to reserve: taken again only when the last is older than `period_micros`; None: never again."""

    key: str
    period_micros: int | None


def fill(spec: ActionSpec, situation: Situation, arm: str = "") -> Filled:
    """The action's parameters and times for this situation, in this arm.

    Parameters without a value are left out. A task is due that long after its planned time, if it has one,
    else after the event.
    """
    variant = spec.arms.get(arm)
    texts = {**spec.parameters, **(variant.parameters if variant else {})}
    parameters = {name: value for name, text in texts.items() if (value := _parameter(text, situation))}
    start = situation.event_micros
    planned = None if spec.after_micros is None else start + spec.after_micros
    return Filled(
        parameters=parameters,
        template=(variant.template if variant else "") or spec.template,
        say=fill_text(spec.say, situation) if spec.say else "",
        due_micros=None if spec.due_micros is None else (planned or start) + spec.due_micros,
        expires_micros=None if spec.expires_micros is None else start + spec.expires_micros,
        planned_micros=planned,
    )


def value_to_set(spec: ActionSpec, trait: Trait, situation: Situation) -> tuple[object, str]:
    """What `set` writes, in its JSON form; None, and why, if a computed value is missing or not allowed."""
    if spec.to_text is None:
        return to_json(spec.to_value, trait.type), ""
    found = _parameter(spec.to_text, situation)
    if found is None:
        return None, f"there is nothing to set {trait.name} to: {spec.to_text.source} has no value"
    raw = to_json(found[1], found[0])
    try:
        return to_json(trait.check(raw), trait.type), ""
    except ValueMistake as mistake:
        return None, f"{trait.name} cannot be set: {raw} {mistake.message}"


def fill_text(text: Text, situation: Situation) -> str:
    """The text with its places filled; what is missing leaves nothing."""
    return "".join(
        part if isinstance(part, str) else _shown(part, value_function(part)(situation))
        for part in text.parts
    )


def _parameter(text: Text, situation: Situation) -> tuple[ValueType, Any] | None:
    """One place alone keeps its type; a text with places in it is a text."""
    first = text.parts[0]
    if len(text.parts) > 1 or isinstance(first, str):
        return ValueType.TEXT, fill_text(text, situation)
    value = value_function(first)(situation)
    if value is None:
        return None
    return value_type_of(first.kind), to_value(value, first.kind, situation.currency)


def _shown(expression: Expression, value: Any) -> str:
    return "" if value is None else show(value, expression.kind)


def current_cycle(situation: Situation) -> str:
    """The billing cycle of the event (YYYY-MM): its own `cycle` field before its time."""
    own = cycle_index(str(situation.event.get("cycle", "")))
    if own is None:
        own = cycle_of(local_day(situation.now_micros, situation.zone), situation.cycle_day)
    return cycle_label(own)


def once_slot(once: Once, situation: Situation) -> OnceSlot:
    """Which slot of its rule an action takes; the key holds the cycle and the value of `by`, if asked for."""
    parts: list[str] = []
    if once.cycle:
        parts.append(f"{CYCLE_KEY}{current_cycle(situation)}")
    if once.by is not None:
        parts.append(f"{once.by.source}={_shown(once.by, value_function(once.by)(situation))}")
    return OnceSlot(" ".join(parts), once.period_micros)


def unless_happened(spec: ActionSpec, situation: Situation, since_micros: int, since_sequence: int) -> str:
    """The first of the action's `unless` types seen since the decision on that event; empty: none."""
    for name in spec.unless:
        activity = situation.activity.get(name)
        if activity is None:
            continue
        for time, sequence in zip(reversed(activity.times), reversed(activity.sequences), strict=True):
            if time < since_micros:
                break
            later = time > since_micros or sequence > since_sequence
            if later and sequence != since_sequence and time <= situation.now_micros:
                return name
    return ""


def still_wanted(spec: ActionSpec, situation: Situation, shared_facts: Collection[str]) -> bool:
    """Whether the action's `keep` holds when it is due; not when what it looks at is withheld."""
    if spec.keep is None:
        return True
    if spec.keep_needs.withheld(situation):
        return False
    situation.cache[FACTS] = frozenset(shared_facts)
    return _kept(spec.keep)(situation)


@lru_cache(maxsize=1024)
def _kept(condition: All) -> Holds:
    return condition_function(condition)

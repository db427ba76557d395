"""Rules whose conditions can never hold together, and which lines of them exclude each other."""

from collections.abc import Callable, Iterator, Sequence

from services.decision.domain.journeys import STEP
from services.decision.domain.language.ast import (
    All,
    AnyOf,
    ArmIs,
    AskField,
    Comparison,
    Condition,
    EventField,
    Expression,
    FactIs,
    NoneOf,
    OneOf,
    TodayIs,
    expressions_of,
    leaves_of,
)
from services.decision.domain.language.rule_set_reader import Draft
from services.decision.domain.language.scope import Scope
from services.decision.domain.needs import facts_in
from services.decision.domain.program import ActionRule, FactRule
from services.decision.domain.regions import Caller, Space, TooMuch
from services.decision.domain.triggers import ASK, JOURNEY_DUE
from services.vocabulary.catalogue import Catalogue, Field
from services.vocabulary.values import ValueType, value_check

_MEND = "change one of these lines, or remove the rule"


def check_fires(draft: Draft, catalogue: Catalogue, facts: Sequence[FactRule]) -> bool:
    """Reports the rules that can never fire; whether there are any. `facts`: all that they may rest on."""
    callers = callers_of(draft.scope)

    def never(condition: Condition) -> bool:
        return _never(condition, catalogue, callers)

    failed = False
    for rule in draft.rule_set.all_rules:
        full = with_facts(rule.when, facts)
        if not never(full) and not never(rule.when):
            continue
        failed = True
        if isinstance(rule, ActionRule):
            name = f"the rule `{rule.rule}`"
        else:
            name = f"the fact `{_short(rule.fact)}`"
        why = _why(rule.when, facts, never)
        draft.report.error(draft.places.get(rule.key), f"{name} can never fire: {why}", "never-fires", _MEND)
    return failed


def _never(condition: Condition, catalogue: Catalogue, callers: Sequence[Caller]) -> bool:
    """Whether it can never hold; False too where that is too much to say."""
    space = Space([condition], catalogue, callers)
    try:
        boxes = space.boxes(condition)
    except TooMuch:
        return False
    return all(space.both(box, whole) is None for box in boxes for whole in space.whole())


# --- which lines ----------------------------------------------------------------------------------------


def _why(when: All, facts: Sequence[FactRule], never: Callable[[Condition], bool]) -> str:
    """The fewest lines that exclude each other, those of facts included, as a sentence."""
    plainly = tuple(_lines(when, facts))
    if never(All(plainly)):
        return _sentence(_fewest(plainly, lambda lines: never(All(lines))))
    lines = _fewest(when.parts, lambda lines: never(with_facts(All(lines), facts)))
    told = "; ".join(line.source for line in lines)
    return f"with what their facts rest on, these lines exclude each other: {told}"


def _lines(when: All, facts: Sequence[FactRule]) -> Iterator[Condition]:
    """The lines of a rule, then those of the facts it asks for, where one rule alone infers the fact."""
    waiting: list[Condition] = [when]
    seen: set[str] = set()
    while waiting:
        here = waiting.pop(0)
        if isinstance(here, All) and not here.source:
            waiting = [*here.parts, *waiting]
            continue
        yield here
        if isinstance(here, FactIs) and not here.negated and here.key not in seen:
            seen.add(here.key)
            inferred = [fact.when for fact in facts if fact.fact == here.key]
            waiting += inferred if len(inferred) == 1 else []


def _fewest(
    lines: Sequence[Condition], excluded: Callable[[tuple[Condition, ...]], bool]
) -> tuple[Condition, ...]:
    """The lines without those that may as well be left out."""
    kept = tuple(lines)
    for line in lines:
        fewer = tuple(each for each in kept if each is not line)
        if len(kept) > 1 and excluded(fewer):
            kept = fewer
    return kept


def _sentence(lines: Sequence[Condition]) -> str:
    match lines:
        case [AnyOf(parts=())]:
            return "the list under `any` is empty"
        case [line]:
            return f"this never holds: {line.source}"
        case [FactIs(key=key), FactIs(key=other)] if key == other:
            return f"it asks for the fact `{_short(key)}` and for its absence"
        case [ArmIs(), ArmIs()]:
            return "a customer is never in two arms at once"
        case [TodayIs(), TodayIs()]:
            return "no day is two weekdays at once"
        case [one, other]:
            return _about_type(one, other) or _about_type(other, one) or _listed(lines)
        case _:
            return _listed(lines)


def _listed(lines: Sequence[Condition]) -> str:
    return "these lines exclude each other: " + "; ".join(line.source for line in lines)


def _about_type(about: Condition, other: Condition) -> str:
    """Of a field that the event type asked for does not have."""
    if not isinstance(about, Comparison | OneOf) or not isinstance(about.left, EventField):
        return ""
    fields = [leaf for each in expressions_of(other) for leaf in leaves_of(each) if _is_field(leaf)]
    if about.left.name != "type" or not fields:
        return ""
    asked = about.source.partition(" is ")[2]
    return f"{asked}, which it asks for, has no field `{fields[0].source.partition('.')[2]}`"


def _is_field(expression: Expression) -> bool:
    return isinstance(expression, AskField) or (
        isinstance(expression, EventField) and expression.name != "type"
    )


def _short(key: str) -> str:
    return key.rpartition("/")[2]


# --- what conditions rest on -----------------------------------------------------------------------------


def callers_of(scope: Scope) -> tuple[Caller, ...]:
    """What can call for a rule set; nothing for one that is shared: everything does."""
    events = [Caller(event.name, event.fields) for event in scope.triggers]
    if scope.stops is not None and scope.triggers:
        # a step of a journey looks at the start event, and at which step is due
        step = Field(STEP, ValueType.TEXT, value_check(ValueType.TEXT), required=True)
        events.append(Caller(JOURNEY_DUE, {**scope.triggers[0].fields, STEP: step}))
    return (*events, *(Caller(f"{ASK}{each.name}", {}, each.parameters) for each in scope.questions))


def with_facts(condition: Condition, facts: Sequence[FactRule]) -> All:
    """The condition with what its facts rest on: each is there if, and only if, a rule that infers it fires.

    That follows where nothing they look at is withheld; without it the rule does not fire anyway.
    """
    by_key: dict[str, list[Condition]] = {}
    for fact in facts:
        by_key.setdefault(fact.fact, []).append(fact.when)
    found: list[Condition] = [condition]
    sure = {(part.key, part.negated) for part in _sure(condition)}
    waiting = [condition]
    seen: set[str] = set()
    while waiting:
        for key in sorted(facts_in(waiting.pop(0)) & by_key.keys() - seen):
            seen.add(key)
            inferred = tuple(by_key[key])
            there, not_there = (
                All((FactIs(key, False, ""), AnyOf(inferred))),
                All((FactIs(key, True, ""), NoneOf(inferred))),
            )
            if (key, False) in sure:
                found.append(there)
                sure |= {(part.key, part.negated) for part in _sure(there)}
            elif (key, True) in sure:
                found.append(not_there)
            else:
                found.append(AnyOf((there, not_there)))
            waiting += inferred
    return All(tuple(found))


def _sure(condition: Condition) -> Iterator[FactIs]:
    """The facts without which, or with which, a condition cannot hold."""
    match condition:
        case FactIs():
            yield condition
        case All(parts=parts) | AnyOf(parts=(_,) as parts):
            for part in parts:
                yield from _sure(part)
        case _:
            return

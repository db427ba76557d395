"""Which purposes a rule needs: all that its paths and windows read, through its facts, negated ones too.

A mandatory message may look at the very event that asks for it, whatever the customer objected to: it rests
on a legal ground, and tells the customer of this event. All else it reads needs the customer's agreement like
any other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from services.decision.domain.language.ast import (
    All,
    AnyOf,
    Condition,
    EventField,
    Expression,
    FactIs,
    HouseholdValue,
    NoneOf,
    Text,
    ThingAttribute,
    Trait,
    WindowValue,
    expressions_of,
    leaves_of,
    walk,
)
from services.decision.domain.program import ActionRule, ActionSpec, FactRule, Needs
from services.vocabulary.catalogue import Catalogue, EventType
from services.vocabulary.words import Category, Purpose

_NONE = Needs()


def facts_in(condition: Condition) -> frozenset[str]:
    """Keys of the facts that a condition asks for, negated or not."""
    return frozenset(part.key for part in walk(condition) if isinstance(part, FactIs))


def fact_needs(
    facts: Sequence[FactRule], catalogue: Catalogue, triggers: Mapping[str, Sequence[EventType]]
) -> dict[str, Needs]:
    """What each fact needs, by key, through the facts it rests on. `triggers`: by rule set."""
    found: dict[str, Needs] = {}
    for fact in facts:
        own = _condition_needs(fact.when, catalogue, triggers[fact.rule_set])
        found[fact.fact] = found.get(fact.fact, _NONE) | own
    changed = True
    while changed:
        changed = False
        for fact in facts:
            wider = found[fact.fact]
            for key in facts_in(fact.when):
                wider |= found.get(key, _NONE)
            if wider != found[fact.fact]:
                found[fact.fact] = wider
                changed = True
    return found


def with_needs(
    rule: ActionRule, facts: Mapping[str, Needs], catalogue: Catalogue, triggers: Sequence[EventType]
) -> ActionRule:
    """The rule with all that it needs, and its actions with what their `keep` needs."""
    mandatory = bool(rule.actions) and all(action.category is Category.MANDATORY for action in rule.actions)
    events = () if mandatory else triggers
    needs = _condition_needs(rule.when, catalogue, events)
    for key in facts_in(rule.when):
        needs |= facts.get(key, _NONE)
    for action in rule.actions:
        for text in _texts(action):
            needs |= _expressions_needs(_of_text(text), catalogue, events)
    if rule.once is not None and rule.once.by is not None:
        needs |= _expressions_needs((rule.once.by,), catalogue, events)
    actions = tuple(
        _with_amount_needs(_with_keep_needs(action, facts, catalogue), catalogue, events)
        for action in rule.actions
    )
    for action in actions:
        needs |= action.keep_needs
    return replace(rule, needs=needs, actions=actions)


def leaf_needs(conditions: Iterable[Condition], catalogue: Catalogue) -> dict[Condition, Needs]:
    """What each single condition looks at, where that is anything; the event's own fields aside."""
    found: dict[Condition, Needs] = {}
    for condition in conditions:
        for part in walk(condition):
            if isinstance(part, All | AnyOf | NoneOf | FactIs):
                continue
            needs = _condition_needs(part, catalogue, ())
            if needs != _NONE:
                found[part] = needs
    return found


def _with_keep_needs(action: ActionSpec, facts: Mapping[str, Needs], catalogue: Catalogue) -> ActionSpec:
    if action.keep is None:
        return action
    needs = _condition_needs(action.keep, catalogue, ())
    for key in facts_in(action.keep):
        needs |= facts.get(key, _NONE)
    return replace(action, keep_needs=needs)


def _with_amount_needs(action: ActionSpec, catalogue: Catalogue, events: Sequence[EventType]) -> ActionSpec:
    """A formula needs what it reads for itself: without it the action goes on with a default."""
    amounts = {
        name: replace(amount, needs=_expressions_needs((amount.expression,), catalogue, events))
        for name in ("value", "cost", "propensity")
        if (amount := getattr(action, name)) is not None
    }
    return replace(action, **amounts)


def _texts(action: ActionSpec) -> Iterable[Text]:
    yield from action.parameters.values()
    for variant in action.arms.values():
        yield from variant.parameters.values()
    if action.say is not None:
        yield action.say
    if action.to_text is not None:
        yield action.to_text


def _of_text(text: Text) -> Iterable[Expression]:
    return (part for part in text.parts if not isinstance(part, str))


def _condition_needs(condition: Condition, catalogue: Catalogue, triggers: Sequence[EventType]) -> Needs:
    return _expressions_needs(expressions_of(condition), catalogue, triggers)


def _expressions_needs(
    expressions: Iterable[Expression], catalogue: Catalogue, triggers: Sequence[EventType]
) -> Needs:
    needs = _NONE
    for expression in expressions:
        for leaf in leaves_of(expression):
            needs |= _leaf_needs(leaf, catalogue, triggers)
    return needs


def _leaf_needs(leaf: Expression, catalogue: Catalogue, triggers: Sequence[EventType]) -> Needs:
    match leaf:
        case EventField(name=name):
            return _needs(
                purpose
                for event in triggers
                if name in event.fields
                for purpose in (event.purpose, event.fields[name].purpose)
            )
        case Trait(name=name) | HouseholdValue(name=name):
            trait = catalogue.traits.get(name)  # what is built in is no trait of the catalogue
            return _NONE if trait is None else _needs([trait.purpose])
        case ThingAttribute(thing=thing):
            last = catalogue.traits.get(f"last_{thing}")
            purposes = {catalogue.things[thing].purpose, last.purpose if last else Purpose.SERVICE}
            return Needs(things=frozenset((thing, purpose) for purpose in purposes if _is_asked(purpose)))
        case WindowValue(window=window):
            event = catalogue.events[window.type]
            fields = [event.fields[window.field].purpose] if window.field in event.fields else []
            inner = _condition_needs(window.where, catalogue, triggers) if window.where else _NONE
            return _needs([event.purpose, *fields]) | inner
        case _:
            return _NONE


def _needs(purposes: Iterable[Purpose]) -> Needs:
    return Needs(frozenset(purpose for purpose in purposes if _is_asked(purpose)))


def _is_asked(purpose: Purpose) -> bool:
    # `service` is about being written to; what the contract itself needs may be looked at.
    return purpose is not Purpose.SERVICE

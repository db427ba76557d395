"""What cannot be meant although every line can be read: rules that never fire, arms unused, tests missing."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from services.decision.domain.language.ast import (
    All,
    AnyOf,
    ArmIs,
    Comparison,
    Condition,
    Contains,
    EventField,
    Exists,
    Expression,
    FactIs,
    Literal,
    NoneOf,
    OneOf,
    StartsWith,
    TodayIs,
    Within,
    expressions_of,
    leaves_of,
    walk,
)
from services.decision.domain.language.nodes import Block, Node
from services.decision.domain.language.rule_set_reader import Draft
from services.decision.domain.program import ActionRule, FactRule
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.values import micros_to_time, zone
from services.vocabulary.words import ActionKind

_MOST_ALTERNATIVES = 64
_MEND = "change one of these lines, or remove the rule"


def check_draft(draft: Draft, catalogue: Catalogue, shared_facts: Sequence[str]) -> None:
    """Reports on one rule set; facts of others are known by name."""
    for rule in draft.rule_set.all_rules:
        _check_contradictions(rule, draft, catalogue)
    _check_shadowed(draft)
    _check_arms(draft)
    _check_offers(draft, catalogue)
    _check_budget(draft)
    _check_tests(draft)
    if not draft.rule_set.shared:
        for fact in draft.rule_set.facts:
            name = fact.fact.rpartition("/")[2]
            if name in shared_facts:
                draft.report.error(
                    draft.places[fact.key],
                    f"the fact `{name}` is also inferred by a shared rule set",
                    "fact",
                    "give it another name",
                )


# --- rules that can never fire ---------------------------------------------------------------------------


def _check_contradictions(rule: FactRule | ActionRule, draft: Draft, catalogue: Catalogue) -> None:
    ways = list(_ways(_with_facts(rule.when, draft)))
    if ways == [None]:
        return
    clashes = [_clash([part for part in way or [] if part is not None], catalogue) for way in ways]
    if ways and not all(clashes):
        return
    message = next((clash for clash in clashes if clash), "the list under `any` is empty")
    what = (
        f"the rule `{rule.rule}`"
        if isinstance(rule, ActionRule)
        else f"the fact `{rule.fact.rpartition('/')[2]}`"
    )
    draft.report.error(draft.places[rule.key], f"{what} can never fire: {message}", "never-fires", _MEND)


def _with_facts(condition: Condition, draft: Draft) -> Condition:
    """The conditions with those of the facts they rest on, where only one rule infers the fact."""
    conditions: list[Condition] = [condition]
    seen: set[str] = set()
    waiting = [condition]
    while waiting:
        here = waiting.pop()
        for part in here.parts if isinstance(here, All) else (here,):
            if isinstance(part, All):
                waiting.append(part)
            elif isinstance(part, FactIs) and not part.negated and part.key not in seen:
                seen.add(part.key)
                rules = [fact for fact in draft.rule_set.facts if fact.fact == part.key]
                if len(rules) == 1:
                    conditions.append(rules[0].when)
                    waiting.append(rules[0].when)
    return All(tuple(conditions))


def _ways(condition: Condition) -> Iterator[list[Condition | None] | None]:
    """The conjunctions of which one must hold; a single None when there are too many to look at."""
    found = _expand(condition)
    if found is None:
        yield None
    else:
        yield from found


def _expand(condition: Condition) -> list[list[Condition | None]] | None:
    match condition:
        case All(parts=parts):
            inner = [_expand(part) for part in parts]
            total = 1
            for way in inner:
                total *= _MOST_ALTERNATIVES + 1 if way is None else len(way)
            if total > _MOST_ALTERNATIVES:
                return None
            return [
                [part for way in choice for part in way] for choice in product(*[way or [] for way in inner])
            ]
        case AnyOf(parts=parts):
            found: list[list[Condition | None]] = []
            for part in parts:
                way = _expand(part)
                if way is None:
                    return None
                found += way
            return found if len(found) <= _MOST_ALTERNATIVES else None
        case NoneOf():
            return [[None]]
        case _:
            return [[condition]]


class _Known:
    """What a conjunction says of one expression."""

    def __init__(self) -> None:
        self.there = ""
        self.missing = ""
        self.allowed: frozenset[Any] | None = None
        self.refused: set[Any] = set()
        self.lowest: tuple[Any, bool] | None = None
        self.highest: tuple[Any, bool] | None = None
        self.sources: list[str] = []

    def clash(self) -> bool:
        """Whether nothing can be all that."""
        if self.there and self.missing:
            return True
        if self.lowest and self.highest:
            (low, low_in), (high, high_in) = self.lowest, self.highest
            if low > high or (low == high and not (low_in and high_in)):
                return True
        return self.allowed is not None and not any(self._fits(value) for value in self.allowed)

    def _fits(self, value: Any) -> bool:
        if value in self.refused:
            return False
        if self.lowest and not (value >= self.lowest[0] if self.lowest[1] else value > self.lowest[0]):
            return False
        return not self.highest or (value <= self.highest[0] if self.highest[1] else value < self.highest[0])


def _clash(parts: Sequence[Condition], catalogue: Catalogue) -> str:
    """Two or more lines that cannot hold together, as a sentence; empty when none are found."""
    known: dict[Expression, _Known] = {}
    facts: dict[str, bool] = {}
    arms: dict[str, frozenset[str]] = {}
    days: frozenset[int] | None = None
    for part in parts:
        match part:
            case FactIs(key=key, negated=negated):
                if facts.setdefault(key, negated) is not negated:
                    return f"it asks for the fact `{key.rpartition('/')[2]}` and for its absence"
            case ArmIs(experiment=experiment, arms=wanted, negated=False):
                arms[experiment] = arms.get(experiment, wanted) & wanted
                if not arms[experiment]:
                    return "a customer is never in two arms at once"
            case TodayIs(days=wanted_days, negated=False):
                days = wanted_days if days is None else days & wanted_days
                if not days:
                    return "no day is two weekdays at once"
            case _:
                clash = _note(part, known)
                if clash:
                    return clash
    return _clash_of_types(parts, known, catalogue)


def _note(part: Condition, known: dict[Expression, _Known]) -> str:
    left = getattr(part, "left", None)
    if left is None:
        return ""
    about = known.setdefault(left, _Known())
    match part:
        case Exists(negated=True):
            about.missing = part.source
        case Comparison(operator="is not", right=Literal(value=value)):
            about.refused.add(value)
        case OneOf(values=values, negated=True):
            about.refused.update(values)
        case Comparison(operator="is not"):
            return ""
        case Exists() | Contains() | StartsWith() | Within() | Comparison() | OneOf():
            about.there = part.source
            _narrow(part, about)
        case _:
            return ""
    about.sources.append(part.source)  # every condition with a left side has one
    return "these lines exclude each other: " + "; ".join(about.sources) if about.clash() else ""


def _narrow(part: Condition, about: _Known) -> None:
    match part:
        case Comparison(operator="is", right=Literal(value=value)):
            about.allowed = frozenset({value}) & (about.allowed or {value})
        case OneOf(values=values):
            about.allowed = frozenset(values) & (about.allowed if about.allowed is not None else set(values))
        case Comparison(operator=operator, right=Literal(value=value)) if operator in {">", ">="}:
            bound = (value, operator == ">=")
            if about.lowest is None or (value, not bound[1]) > (about.lowest[0], not about.lowest[1]):
                about.lowest = bound
        case Comparison(operator=operator, right=Literal(value=value)) if operator in {"<", "<="}:
            bound = (value, operator == "<=")
            if about.highest is None or (value, bound[1]) < about.highest:
                about.highest = bound
        case _:
            return


def _clash_of_types(parts: Sequence[Condition], known: dict[Expression, _Known], catalogue: Catalogue) -> str:
    """A field that none of the event types asked for has."""
    types = next(
        (
            about.allowed
            for expression, about in known.items()
            if isinstance(expression, EventField) and expression.name == "type" and about.allowed
        ),
        None,
    )
    if types is None:
        return ""
    for part in parts:
        if isinstance(part, Exists) and part.negated:
            continue
        if isinstance(part, Comparison | OneOf) and (
            getattr(part, "negated", False) or getattr(part, "operator", "") == "is not"
        ):
            continue
        for expression in expressions_of(part):
            for leaf in leaves_of(expression):
                if not isinstance(leaf, EventField) or leaf.name == "type":
                    continue
                if not any(
                    name in catalogue.events and leaf.name in catalogue.events[name].fields for name in types
                ):
                    return f"{' or '.join(sorted(types))}, which it asks for, has no field `{leaf.name}`"
    return ""


# --- the rest --------------------------------------------------------------------------------------------


def _check_shadowed(draft: Draft) -> None:
    if not draft.rule_set.choose_first:
        return
    ordered = sorted(draft.rule_set.rules, key=lambda rule: (-rule.priority, rule.order))
    for position, rule in enumerate(ordered):
        lines = {part.source for part in rule.when.parts}
        for earlier in ordered[:position]:
            if {part.source for part in earlier.when.parts} <= lines:
                draft.report.error(
                    draft.places[rule.key],
                    f"`{rule.rule}` is shadowed: whenever it could fire, `{earlier.rule}` fires first",
                    "shadowed",
                    f"give `{rule.rule}` a higher priority, or `{earlier.rule}` one more condition",
                )
                break


def _check_arms(draft: Draft) -> None:
    experiment = draft.rule_set.experiment
    if experiment is None:
        return
    used = {arm for rule in draft.rule_set.rules for action in rule.actions for arm in action.arms}
    for rule in draft.rule_set.all_rules:
        for part in walk(rule.when):
            if isinstance(part, ArmIs):
                used |= part.arms if not part.negated else set(experiment.arms)
    node = _child(draft.top, "experiment")
    for arm in experiment.arms:
        if arm not in used:
            draft.report.error(
                node,
                f"no rule uses the arm `{arm}`",
                "unused-arm",
                "name it under `arms` of an action",
                text=arm,
            )


def _check_offers(draft: Draft, catalogue: Catalogue) -> None:
    rule_set = draft.rule_set
    place = zone(rule_set.zone)
    for rule in rule_set.rules:
        for action in rule.actions:
            offer = catalogue.offers.get(action.name) if action.kind is ActionKind.OFFER else None
            if offer is None:
                continue
            first = (
                micros_to_time(rule_set.from_micros).astimezone(place).date()
                if rule_set.from_micros
                else None
            )
            last = (
                micros_to_time(rule_set.to_micros - 1).astimezone(place).date()
                if rule_set.to_micros
                else None
            )
            node = draft.places[rule.key]
            if (first and offer.valid_to and offer.valid_to < first) or (
                last and offer.valid_from and offer.valid_from > last
            ):
                draft.report.error(
                    node,
                    f"the offer `{offer.name}` is not valid while the rule set is active",
                    "offer-past-validity",
                    "change `active`, or the offer's validity",
                    text=offer.name,
                )
            elif offer.valid_to and (last is None or last > offer.valid_to):
                draft.report.warn(
                    node,
                    f"the offer `{offer.name}` ends on {offer.valid_to}, before the rule set",
                    "offer-past-validity",
                    "end the rule set then, or prolong the offer",
                    text=offer.name,
                )


def _check_budget(draft: Draft) -> None:
    if draft.rule_set.limits.budget is None:
        return
    if not any(action.cost for rule in draft.rule_set.rules for action in rule.actions):
        draft.report.warn(
            _child(draft.top, "limits"),
            "no action of the rule set costs anything, so that its budget is never used",
            "unused-budget",
            "add cost: 1.20 to its actions, or leave the budget out",
        )


def _check_tests(draft: Draft) -> None:
    if draft.rule_set.shared:
        return
    fired = {name for case in draft.rule_set.tests for name in case.then_fires or ()}
    for rule in draft.rule_set.rules:
        if rule.rule and rule.rule not in fired:
            draft.report.warn(
                draft.places[rule.key],
                f"no test shows that `{rule.rule}` fires",
                "untested-rule",
                "add a test to `tests`",
                text=rule.rule,
            )


def _child(node: Node | None, name: str) -> Node | None:
    return node.get(name) if isinstance(node, Block) else node

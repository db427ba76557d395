"""Rule sets as a graph: what calls for them, what they look at, what follows from what, what they do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.decision.domain.journeys import STEP
from services.decision.domain.language.ast import (
    All,
    AnyOf,
    Comparison,
    Condition,
    EventField,
    FactIs,
    Literal,
    NoneOf,
    OneOf,
    WindowValue,
    expressions_of,
    leaves_of,
)
from services.decision.domain.program import ActionRule, ActionSpec, FactRule, RuleSet
from services.decision.domain.triggers import ASK, JOURNEY_DUE, Absence, OpenPair, Schedule, ThingEvent
from services.vocabulary.values import format_duration
from services.vocabulary.words import ActionKind

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NTH = {1: "first ", 2: "second ", 3: "third ", 4: "fourth ", -1: "last "}


class Sort(StrEnum):
    """What a node stands for."""

    TRIGGER = "trigger"
    WINDOW = "window"
    FACT = "fact"
    RULE = "rule"
    ACTION = "action"


@dataclass(frozen=True, slots=True)
class Node:
    """One thing. `note`: a few words more; `tip`: all there is to say; `category`: of an action with one."""

    key: str
    sort: Sort
    title: str
    note: str = ""
    tip: str = ""
    category: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """`end` rests on `start`; negated: on its absence."""

    start: str
    end: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the order of the files, and edges, each once."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph_of(rule_sets: Sequence[RuleSet]) -> Graph:
    """The graph of these rule sets; of shared ones among them only the facts that another one uses."""
    used = frozenset(
        fact
        for rule_set in rule_sets
        if not rule_set.shared
        for rule in rule_set.all_rules
        for fact, _ in _facts_of(rule.when)
    )
    alone = all(rule_set.shared for rule_set in rule_sets)
    nodes: dict[str, Node] = {}
    edges: dict[Edge, None] = {}
    for rule_set in rule_sets:
        many = sum(not each.shared for each in rule_sets) > 1
        only = None if not rule_set.shared or alone else _needed(rule_set, used)
        for part in _parts(rule_set, only, many=many):
            if isinstance(part, Node):
                nodes.setdefault(part.key, part)
            else:
                edges.setdefault(part)
    return Graph(
        tuple(nodes.values()), tuple(edge for edge in edges if edge.start in nodes and edge.end in nodes)
    )


def _needed(rule_set: RuleSet, used: frozenset[str]) -> frozenset[str]:
    """The facts of a shared set that are used, and those they rest on."""
    found = set(used)
    while True:
        more = {
            name for fact in rule_set.facts if fact.fact in found for name, _ in _facts_of(fact.when)
        } - found
        if not more:
            return frozenset(found)
        found |= more


def _parts(rule_set: RuleSet, only: frozenset[str] | None, *, many: bool) -> Iterator[Node | Edge]:
    triggers = {key: f"trigger/{key}" for key in rule_set.triggers}
    for key, place in triggers.items():
        yield Node(place, Sort.TRIGGER, what_calls(key, rule_set), tip=f"calls for {rule_set.name}")
    for fact in rule_set.facts:
        if only is None or fact.fact in only:
            place = f"fact/{fact.fact}"
            others = [other for other in rule_set.facts if other.fact == fact.fact]
            note = "shared" if rule_set.shared else ""
            yield Node(place, Sort.FACT, fact.fact.rpartition("/")[2], note, _tip_of_fact(others))
            yield from _rests_on(fact, place, rule_set, triggers)
    for rule in rule_set.rules:
        place = f"rule/{rule.key}"
        notes = [f"priority {rule.priority}", *_once(rule), *([rule_set.name] if many else [])]
        tip = "\n".join(_sources(rule.when)) or "always"
        yield Node(place, Sort.RULE, rule.rule or rule.key, " · ".join(notes), tip)
        yield from _rests_on(rule, place, rule_set, triggers)
        for action in rule.actions:
            done = f"action/{rule.key}/{action.position}"
            yield _action(done, action)
            yield Edge(place, done)


def _rests_on(
    rule: FactRule | ActionRule, place: str, rule_set: RuleSet, triggers: dict[str, str]
) -> Iterator[Node | Edge]:
    found = False
    for fact, negated in _facts_of(rule.when):
        found = True
        yield Edge(f"fact/{fact}", place, negated)
    reads_event = False
    for expression in expressions_of(rule.when):
        for leaf in leaves_of(expression):
            if isinstance(leaf, WindowValue):
                found = True
                yield _window(leaf, rule_set)
                yield Edge(f"window/{leaf.key}", place)
                if leaf.window.type in triggers:
                    yield Edge(triggers[leaf.window.type], f"window/{leaf.key}")
            reads_event = reads_event or isinstance(leaf, EventField) or leaf.source.startswith(ASK)
    if reads_event or not found:
        types = _types(rule.when)
        for key, trigger in triggers.items():
            if types is None or key.partition("/")[0] in types:
                yield Edge(trigger, place)


def _types(condition: Condition) -> frozenset[str] | None:
    """The event types of which the event must be one; None when any will do."""
    parts = condition.parts if isinstance(condition, All) else (condition,)
    for part in parts:
        match part:
            case Comparison(operator="is", left=EventField(name="type"), right=Literal(value=value)):
                return frozenset({value})
            case OneOf(left=EventField(name="type"), values=values, negated=False):
                return frozenset(values)
            case Comparison(left=EventField(name=name)) | OneOf(left=EventField(name=name)) if name == STEP:
                return frozenset({JOURNEY_DUE})
            case AnyOf(parts=ways):
                found = [_types(way) for way in ways]
                if all(each is not None for each in found):
                    return frozenset(name for each in found for name in each or ())
            case _:
                pass
    return None


def _facts_of(condition: Condition, *, negated: bool = False) -> Iterator[tuple[str, bool]]:
    match condition:
        case FactIs(key=key):
            yield key, condition.negated is not negated
        case All(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from _facts_of(part, negated=negated)
        case NoneOf(parts=parts):
            for part in parts:
                yield from _facts_of(part, negated=not negated)
        case _:
            pass


def _sources(condition: Condition) -> Iterator[str]:
    parts = condition.parts if isinstance(condition, All) else (condition,)
    for part in parts:
        if getattr(part, "source", ""):
            yield part.source


def _tip_of_fact(rules: Sequence[FactRule]) -> str:
    ways = ["\n".join(_sources(rule.when)) or "always" for rule in rules]
    return "\nor\n".join(dict.fromkeys(ways))


def _window(leaf: WindowValue, rule_set: RuleSet) -> Node:
    window = leaf.window
    match window.over:
        case "rolling":
            span = format_duration(window.last)
        case "ever":
            span = ""
        case over:
            span = f"{window.last} {over if window.last > 1 else over.rstrip('s')}"
    of = f"{window.type}.{window.field}" if window.field else window.type
    more = [f"before {format_duration(window.before)}"] if window.before else []
    more += [] if window.this else ["this event excluded"]
    more += [f"where {source}" for source in _sources(window.where)] if window.where else []
    note = ", ".join(part for part in (f"{window.function} {of}", span) if part)
    tip = "\n".join([note, *more, f"in {rule_set.name}"])
    return Node(f"window/{leaf.key}", Sort.WINDOW, leaf.key.rpartition("/")[2], note, tip)


def _once(rule: ActionRule) -> Iterator[str]:
    if rule.once is None:
        return
    whose = " in a household" if rule.once.household else ""
    if rule.once.cycle:
        yield f"once a cycle{whose}"
    elif rule.once.period_micros is None:
        yield f"once ever{whose}"
    else:
        yield f"once in {format_duration(rule.once.period_micros)}{whose}"


def _action(key: str, action: ActionSpec) -> Node:
    channels = [choice.channel.value if choice.channel else "preferred" for choice in action.channels]
    category = action.category.value if action.category else ""
    say = action.say.source if action.say else ""
    name = action.name or say or ", ".join(each.value for each in action.avoid)
    notes = [category, *([", ".join(channels)] if channels else [])]
    if action.after_micros is not None:
        notes.append(f"after {format_duration(action.after_micros)}")
    tips = [f"{action.kind.value} {name}", *notes]
    if action.expires_micros is not None:
        tips.append(f"expires after {format_duration(action.expires_micros)}")
    tips += [f"unless {name} happened" for name in action.unless]
    tips += [f"keep: {source}" for source in _sources(action.keep)] if action.keep else []
    kind = "journey moves on" if action.kind is ActionKind.STEP else action.kind.value
    title = kind if action.kind is ActionKind.STEP else f"{kind} {name}"
    return Node(
        key, Sort.ACTION, title, " · ".join(filter(None, notes)), "\n".join(filter(None, tips)), category
    )


def what_calls(key: str, rule_set: RuleSet) -> str:
    """What a trigger's key stands for, in words; an event type stands for itself."""
    if key.startswith(ASK):
        return f"question {key.removeprefix(ASK)}"
    if key.startswith(f"{JOURNEY_DUE}/"):
        return "the journey's next step"
    match rule_set.occasion if "/" in key else None:
        case Absence(type=name, for_micros=length):
            return f"no {name} for {format_duration(length)}"
        case OpenPair(type=name, after=after, for_micros=length):
            return f"{after}, then no {name} for {format_duration(length)}"
        case Schedule() as schedule:
            return _schedule(schedule)
        case ThingEvent(type=name):
            return name
        case _:
            return key


def _schedule(schedule: Schedule) -> str:
    days = " and ".join(_DAYS[day] for day in sorted(schedule.weekdays)) or "day"
    month = " of the month" if schedule.nth is not None else ""
    nth = _NTH[schedule.nth] if schedule.nth is not None else "every "
    return f"{nth}{days}{month} at {schedule.minute // 60:02}:{schedule.minute % 60:02}"

"""A rule set in plain English, complete: what its author wrote, in the order in which one would tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.decision.domain.action_words import action_words, once_words, words, written
from services.decision.domain.journey_sentences import journey_sentences
from services.decision.domain.language.ast import EntryField, FactIs, Literal, expressions_of, leaves_of, walk
from services.decision.domain.language.nodes import Block, Listing, Scalar
from services.decision.domain.phrases import (
    condition_words,
    expression_words,
    group_words,
    joined,
    length_words,
    named,
    path_words,
    text_words,
)
from services.decision.domain.triggers import Schedule, ThingEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.decision.domain.language.ast import Condition
    from services.decision.domain.language.nodes import Node
    from services.decision.domain.program import Program, RuleSet

_PACE = {"s": "second", "min": "minute", "h": "hour"}
_FUNCTIONS = {
    "count": "how many {} there were",
    "distinct": "how many different values of {} there were",
    "sum": "the sum of {}",
    "avg": "the average of {}",
    "min": "the smallest {}",
    "max": "the largest {}",
    "latest": "the last {}",
    "earliest": "the first {}",
    "since": "how long ago the last {} was",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its sentences; the first has none."""

    heading: str
    sentences: tuple[str, ...]


def sentences_of(program: Program, rule_set: RuleSet, root: Block) -> tuple[Section, ...]:
    """The whole rule set, from its compiled form and from what was written (`root`, of the same text)."""
    teller = _Teller(program, rule_set, root)
    sections = (
        Section("", tuple(teller.head())),
        Section("What it looks at", tuple(teller.windows())),
        Section("What it concludes", tuple(teller.facts())),
        Section("What it does", tuple(teller.rules())),
        Section("Experiment", tuple(teller.experiment())),
        Section("Tests", tuple(teller.tests())),
        Section("Words", tuple(teller.glossary())),
    )
    return tuple(section for section in sections if section.sentences)


class _Teller:
    """Tells one rule set."""

    def __init__(self, program: Program, rule_set: RuleSet, root: Block) -> None:
        self._program = program
        self._catalogue = program.catalogue
        self._rule_set = rule_set
        self._root = root
        self._known: dict[tuple[int, str], Condition] = {}
        for condition in _conditions_of(rule_set):
            for part in walk(condition):
                self._known[getattr(part, "line", 0), part.source] = part

    # --- head --------------------------------------------------------------------------------------------

    def head(self) -> Iterator[str]:
        get = self._root.get
        title = written(get("title"))
        yield f"{title or written(get('ruleset'))} (rule set {written(get('ruleset'))})."
        if get("owner") is not None:
            yield f"It is owned by {written(get('owner'))}."
        if get("stage") is not None:
            yield f"It belongs to the stage “{written(get('stage'))}”."
        active = get("active")
        if isinstance(active, Block):
            yield _sentence(f"it is active {_active(active)}")
        yield from self._trigger(get("trigger"))
        if get("late") is not None:
            yield _sentence(
                f"events older than {length_words(written(get('late')))} on arrival trigger nothing"
            )
        if self._rule_set.shared:
            yield "It only infers facts; it runs before all other rule sets, which can ask for them."
        if get("choose") is not None:
            first = written(get("choose")) == "first"
            yield "Only the first rule that fires counts." if first else "Every rule that fires counts."
        limits = get("limits")
        if isinstance(limits, Block):
            yield _sentence("it may do " + joined(_limit(key.text, written(value)) for key, value in limits))

    def _trigger(self, node: Node | None) -> Iterator[str]:
        if node is None:
            return
        if isinstance(node, Block) and node.get("ask") is None:
            yield _sentence(f"it is looked at {self._occasion(node)}")
            return
        items = node.items if isinstance(node, Listing) else (node,)
        phrases = [
            f"somebody asks the question {written(item.get('ask'))}"
            if isinstance(item, Block)
            else f"{written(item)} happens"
            for item in items
        ]
        yield _sentence(f"it is looked at when {joined(phrases, 'or')}")

    def _occasion(self, node: Block) -> str:
        def text(key: str) -> str:
            return written(node.get(key))

        if node.get("after") is not None:
            silence = f"for {length_words(text('for'))} no {text('nothing')} followed"
            same = f" with the same {text('by').replace('_', ' ')}" if node.get("by") is not None else ""
            return f"when {text('after')} happened and {silence}{same}"
        if node.get("nothing") is not None:
            return f"when {text('nothing')} did not happen for {length_words(text('for'))} since the last one"
        if node.get("thing") is not None:
            return f"when {text('thing')} happens, for {self._audience(node)}"
        zone = text("zone") or "customer"
        clock = "each customer's own clock" if zone == "customer" else f"the clock of {zone}"
        return f"every {text('every')} by {clock}, for {self._audience(node)}"

    def _audience(self, node: Block) -> str:
        audience = node.get("audience")
        empty = audience is None or (isinstance(audience, Listing) and not audience.items)
        return "everyone" if empty or audience is None else f"everyone for whom {self._conditions(audience)}"

    # --- windows, facts, rules ---------------------------------------------------------------------------

    def windows(self) -> Iterator[str]:
        for key, value in _entries(self._root.get("windows")):
            if isinstance(value, Block):
                yield f"{named(key.text)} is {self._window(value)}."

    def _window(self, node: Block) -> str:
        function = next(key.text for key, _ in node if key.text in _FUNCTIONS)
        target = written(node.get(function))
        if function not in {"count", "since"}:
            event, _, field = target.rpartition(".")
            target = f"{field.replace('_', ' ')} among the {event} events"
        elif function == "count":
            target = f"{target} events"
        parts = [_FUNCTIONS[function].format(target)]
        last, where, before = (node.get(name) for name in ("last", "where", "before"))
        if last is not None:
            text = length_words(written(last))
            whole = text.endswith(("calendar day", "calendar days", "billing cycle", "billing cycles"))
            parts.append(f"in the last {text}" + (", the current one included" if whole else ""))
        if before is not None:
            parts.append(f"as it stood {length_words(written(before))} ago")
        if where is not None:
            parts.append(f"counting only those of which {self._conditions(where)}")
        if written(node.get("this")) == "excluded":
            parts.append("without the event being decided")
        return ", ".join(parts)

    def facts(self) -> Iterator[str]:
        for item in _items(self._root.get("infer")):
            if not isinstance(item, Block):
                continue
            text = f"{named(written(item.get('fact')))} holds when {self._conditions(item.get('when'))}"
            if item.get("because") is not None:
                text += f"; it is explained as “{text_words(written(item.get('because')))}”"
            if item.get("priority") is not None:
                text += f" (priority {written(item.get('priority'))})"
            yield f"{text}."

    def rules(self) -> Iterator[str]:
        found = [item for item in _items(self._root.get("rules")) if isinstance(item, Block)]
        priorities = {rule.line: rule.priority for rule in self._rule_set.rules}
        found.sort(key=lambda item: -priorities.get(item.line, 0))
        for item in found:
            asked = item.get("when")
            when = f"if {self._conditions(asked)}, then " if _items(asked) else "always "
            done = action_words(item.get("do") or Listing(0, 0, ()), self._catalogue, self._conditions)
            once = item.get("once")
            often = f"; {once_words(once)}" if once is not None else ""
            priority = (
                f" (priority {written(item.get('priority'))})" if item.get("priority") is not None else ""
            )
            yield f"{written(item.get('id'))}{priority}: {when}{done}{often}."
        yield from self._table(self._root.get("table"))
        journey = self._root.get("journey")
        if isinstance(journey, Block):
            yield from journey_sentences(journey, self._catalogue, self._conditions)

    def _table(self, node: Node | None) -> Iterator[str]:
        if not isinstance(node, Block):
            return
        every = written(node.get("choose")) == "all"
        counts = "every row that fits counts" if every else "only the first row that fits counts"
        yield f"Of the table {counts}."
        for key, value in node:
            if key.text == "priority":
                yield f"Its rows have priority {written(value)}, if they do not say another."
            elif key.text == "once":
                yield f"Each row is done {once_words(value)}, if it does not say otherwise."
        heads = words(node.get("columns"))
        rules = {rule.line: rule for rule in self._rule_set.rules if rule.first_of or every}
        for number, row in enumerate(_items(node.get("rows")), 1):
            rule = rules.get(row.line)
            cells = dict(zip(heads, _items(row), strict=False))
            asked = [condition_words(part) for part in rule.when.parts] if rule is not None else []
            when = f"if {joined(asked)}, then " if asked else "in all other cases "
            parts = [action_words(cells["do"], self._catalogue, self._conditions)] if "do" in cells else []
            if "once" in cells and written(cells["once"]) != "any":
                parts.append(once_words(cells["once"]))
            priority = f" (priority {written(cells['priority'])})" if "priority" in cells else ""
            yield f"{rule.rule if rule is not None else f'row {number}'}{priority}: {when}{'; '.join(parts)}."

    # --- experiment and tests ----------------------------------------------------------------------------

    def experiment(self) -> Iterator[str]:
        node = self._root.get("experiment")
        if not isinstance(node, Block):
            return
        yield f"Customers are drawn by lot for the experiment {written(node.get('id'))}."
        if node.get("holdout") is not None:
            yield (f"{written(node.get('holdout'))} of them get nothing but mandatory and service actions.")
        for arm, share in _entries(node.get("arms")):
            yield f"{written(share)} are in the arm {arm.text}."
        for key, sentence in (
            ("metric", "It succeeds as far as {} happens within {}."),
            ("guardrail", "It does harm as far as {} happens within {}."),
        ):
            measure = node.get(key)
            if isinstance(measure, Block):
                yield sentence.format(
                    written(measure.get("event")), length_words(written(measure.get("within")))
                )

    def tests(self) -> Iterator[str]:
        for item in _items(self._root.get("tests")):
            if isinstance(item, Block):
                given = [_given(key.text, value) for key, value in _entries(item.get("given"))]
                event = _happening(item.get("when"))
                then = [_expected(key.text, value) for key, value in _entries(item.get("then"))]
                parts = [f"given {joined(given)}"] if given else []
                if event:
                    parts.append(event)
                yield f"{written(item.get('name'))}: {', '.join([*parts, joined(then)])}."

    def glossary(self) -> Iterator[str]:
        """What each word of a condition is called in the rule language."""
        shared = {
            fact.fact: rule_set.name
            for rule_set in self._program.rule_sets
            if rule_set.shared and rule_set.name != self._rule_set.name
            for fact in rule_set.facts
        }
        paths: dict[str, str] = {}
        facts: dict[str, str] = {}
        for condition in _conditions_of(self._rule_set):
            written_ones = [part for part in walk(condition) if getattr(part, "line", 0)]
            for expression in (each for part in written_ones for each in expressions_of(part)):
                for leaf in leaves_of(expression):
                    if not isinstance(leaf, Literal | EntryField):
                        paths.setdefault(leaf.source, expression_words(leaf))
            for part in walk(condition):
                if isinstance(part, FactIs) and part.key in shared:
                    facts[part.key] = shared[part.key]
        for key, rule_set in facts.items():
            yield f"{named(key)} is concluded by the shared rule set {rule_set} (fact {key})."
        for path, text in paths.items():
            if path == "event.type":
                yield "Which event it is, is written event.type."
                continue
            yield f"{text[0].upper()}{text[1:]} is written {path}."

    # --- conditions --------------------------------------------------------------------------------------

    def _conditions(self, node: Node | None) -> str:
        found = [self._condition(item) for item in _items(node)]
        return joined(found) if found else "nothing at all is asked"

    def _condition(self, node: Node) -> str:
        if isinstance(node, Block) and node.entries:
            key, inside = node.entries[0]
            return group_words(key.text, [self._condition(item) for item in _items(inside)])
        text = node.text.strip() if isinstance(node, Scalar) else written(node)
        known = self._known.get((node.line, text))
        return condition_words(known) if known is not None else text


def _conditions_of(rule_set: RuleSet) -> Iterator[Condition]:
    if isinstance(rule_set.occasion, Schedule | ThingEvent):
        yield rule_set.occasion.audience
    for window in rule_set.windows.values():
        if window.where is not None:
            yield window.where
    for rule in rule_set.all_rules:
        yield rule.when
    for rule in rule_set.rules:
        for action in rule.actions:
            if action.keep is not None:
                yield action.keep


def _active(node: Block) -> str:
    first, last, zone = (node.get(name) for name in ("from", "to", "tz"))
    text = (
        f"from {written(first)} on"
        if last is None
        else f"from {written(first)} to {written(last)}, both days included"
    )
    if first is None:
        text = f"until {written(last)}, that day included"
    return text if zone is None else f"{text} ({written(zone)})"


def _limit(key: str, text: str) -> str:
    match key:
        case "pace":
            number, _, unit = text.partition("/")
            return f"at most {number.strip()} actions every {_PACE.get(unit.strip(), unit.strip())}"
        case "per day":
            return f"at most {text} actions a day"
        case "budget":
            return f"what costs at most {text} in all"
        case _:
            return f"{key} {text}"


def _given(key: str, value: Node) -> str:
    match key:
        case "profile" | "household":
            return joined(
                f"{path_words(f'{key}.{each.text}')} {written(inner)}" for each, inner in _entries(value)
            )
        case "context":
            return joined(
                f"{path_words(f'context.{thing.text}.{each.text}')} {written(inner)}"
                for thing, attributes in _entries(value)
                for each, inner in _entries(attributes)
            )
        case "windows":
            return joined(
                f"{named(each.text)} {length_words(written(inner))}" for each, inner in _entries(value)
            )
        case "facts":
            return joined(f"the fact {named(word)}" for word in words(value))
        case "consents":
            return joined(f"{each.text} {written(inner)}" for each, inner in _entries(value))
        case "withheld":
            return f"no agreement to have data used for {joined(words(value))}"
        case "history":
            return joined(_event(item) for item in _items(value))
        case "arm":
            return f"the arm {written(value)}"
        case _:
            return f"{key} {written(value)}"


def _happening(node: Node | None) -> str:
    found = {key.text: value for key, value in _entries(node)}
    name, question, step = (written(found.pop(key, None)) for key in ("type", "ask", "step"))
    fields = joined(f"{key.replace('_', ' ')} {written(value)}" for key, value in found.items())
    if question:
        what = f"when the question {question} is asked"
    elif name:
        what = f"when {name} happens"
    elif step:
        what = f"when the time of {step} has come"
    else:
        return f"when the event has {fields}" if fields else ""
    if step and name:
        what += f" while the customer stands at {step}"
    return f"{what}, with {fields}" if fields else what


def _event(node: Node) -> str:
    if not isinstance(node, Block):
        return written(node)
    fields = [_field(key, value) for key, value in node if key.text not in {"type", "ago"}]
    text = f"{written(node.get('type'))} {length_words(written(node.get('ago')))} ago"
    return f"{text} with {joined(fields)}" if fields else text


def _field(key: Scalar, value: Node) -> str:
    return f"{key.text.replace('_', ' ')} {written(value)}"


def _expected(key: str, value: Node) -> str:
    match key:
        case "fires":
            found = words(value)
            return f"{joined(found)} fire{'s' if len(found) == 1 else ''}" if found else "nothing fires"
        case "facts":
            found = words(value)
            return (
                f"{joined(map(named, found))} hold{'s' if len(found) == 1 else ''}"
                if found
                else "no fact holds"
            )
        case "wins":
            found = words(value)
            return f"{joined(found)} win{'s' if len(found) == 1 else ''}" if found else "nothing wins"
        case "refused":
            return joined(f"{each.text} is refused for {written(inner)}" for each, inner in _entries(value))
        case _:
            return f"{key} {written(value)}"


def _entries(node: Node | None) -> tuple[tuple[Scalar, Node], ...]:
    return node.entries if isinstance(node, Block) else ()


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, Listing) else ()


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."

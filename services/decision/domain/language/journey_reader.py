"""Reads a journey, and turns its steps into ordinary rules.

Steps follow each other until the next wait or await; such a chain runs at one event: the start event, a
`journey.due` (a wait is over, or nothing was heard), or the event awaited. A rule of a chain asks which of
these it is; whether the customer stands there is asked when it is decided (see `journeys.follow`). The end of
each chain is a rule of its own, which says nothing and moves the customer on.
"""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace

from services.decision.domain.journeys import STEP, Journey, StepOf
from services.decision.domain.language import grammar
from services.decision.domain.language.actions_reader import read_actions
from services.decision.domain.language.ast import (
    All,
    AnyOf,
    Comparison,
    Condition,
    Crosses,
    EventField,
    Literal,
    OneOf,
    walk,
)
from services.decision.domain.language.conditions import read_conditions
from services.decision.domain.language.lexer import LineError
from services.decision.domain.language.nodes import Block, Listing, Node, Scalar
from services.decision.domain.language.reading import read_block, read_duration, read_word
from services.decision.domain.language.report import Report
from services.decision.domain.language.rule_parts import (
    DEFAULT_PRIORITY,
    RULE_NAME,
    read_happened,
    read_once,
)
from services.decision.domain.language.scope import Scope
from services.decision.domain.language.types import Kind
from services.decision.domain.problems import did_you_mean
from services.decision.domain.program import ActionRule, ActionSpec, FactRule, Needs
from services.decision.domain.triggers import CALLED_BACK, JOURNEY_DUE, due_key
from services.vocabulary.catalogue import Catalogue, EventType
from services.vocabulary.values import format_duration
from services.vocabulary.words import ActionKind

END = "end"
_TYPE = EventField("type", Kind.TEXT, "event.type")
_STEP = EventField(STEP, Kind.TEXT, "the step that is due")
_ALONE = ("rules", "table", "choose")


@dataclass(frozen=True, slots=True)
class ReadJourney:
    """A journey with its rules. `stops`: the waits and awaits, with the types awaited."""

    rules: tuple[ActionRule, ...] = ()
    journey: Journey | None = None
    stops: Mapping[str, tuple[str, ...]] | None = None

    def remembering(self, facts: Sequence[FactRule], catalogue: Catalogue) -> Journey | None:
        """The journey, with those fields of the start event that steps or facts look at when one is due."""
        if self.journey is None:
            return None
        steps = [rule for rule in self.rules if rule.step is not None and not rule.step.awaiting]
        read = [(rule.when, rule.actions, rule.once) for rule in steps]
        names = {field.name for field in fields_in((read, [fact.when for fact in facts]))}
        names |= {field.name for field in fields_in([fact.because for fact in facts])}
        known = catalogue.events[self.journey.start].fields
        return replace(
            self.journey, fields={name: field.type for name, field in known.items() if name in names}
        )


@dataclass(frozen=True, slots=True)
class _Chain:
    """What brings a customer to the steps that follow, up to the next stop.

    `start`: the start event may, of `types`. `due`: stops from which it goes on when they are due; `passed`:
    steps on the way, at which an earlier version of the journey may have had a stop. `awaiting`: the await
    whose answer brings them, of `types`. `elapsed`: the longest time since the start, in micros.
    """

    start: bool = False
    due: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    awaiting: str = ""
    types: tuple[EventType, ...] = ()
    elapsed: int = 0


def journey_events(
    root: Block, rule_set: str, catalogue: Catalogue
) -> tuple[tuple[EventType, ...], tuple[str, ...]]:
    """The start event and all that are awaited, and the keys that call for the rule set; reports nothing."""
    node = root.get("journey")
    if not isinstance(node, Block):
        return (), ()
    names = [_text(node.get("start")), *_awaited(node.get("steps"))]
    found = [catalogue.events[name] for name in dict.fromkeys(names) if name in catalogue.events]
    events = tuple(event for event in found if not event.thing)
    return events, (*(event.name for event in events), due_key(JOURNEY_DUE, rule_set))


def read_journey(
    root: Block,
    scope: Scope,
    report: Report,
    places: MutableMapping[str, Node],
    version: int,
) -> ReadJourney:
    """What stands under `journey`; where each of its rules stands goes to `places`."""
    block = read_block(root.get("journey"), report, "journey")
    if block is None:
        return ReadJourney()
    for word in _ALONE:
        other = root.get(word)
        if other is not None:
            report.error(
                other,
                f"`{word}` cannot stand beside `journey`",
                "journey",
                "put it into a rule set of its own",
                text=word,
            )
    return _JourneyReader(block, scope, report, places, version).read()


class _JourneyReader:
    """Reads one journey."""

    def __init__(
        self, block: Block, scope: Scope, report: Report, places: MutableMapping[str, Node], version: int
    ) -> None:
        self._block = block
        self._scope = scope
        self._report = report
        self._places = places
        self._version = version
        self._rules: list[ActionRule] = []
        self._names: set[str] = {END}
        self._stops: dict[str, tuple[str, ...]] = {}
        self._events: dict[str, EventType] = {}
        self._start_scope = scope
        self._does = False

    def read(self) -> ReadJourney:
        block, report = self._block, self._report
        report.check_keys(block, grammar.JOURNEY.names, grammar.JOURNEY.title)
        start = self._start(block.get("start"))
        if start is None:
            return ReadJourney()
        self._start_scope = replace(self._scope, triggers=(start,))
        key = self._key(block.get("key"), start)
        steps = self._steps(block.get("steps"), "steps", block)
        end = self._walk(steps, "", _Chain(start=True, types=(start,)), last=True)
        self._move(END, "", None, end, block)
        exits = read_happened(
            block.get("exit"), self._scope.catalogue, report, "exit", "names events that end it", "journey"
        )
        self._check_exits(block.get("exit"), exits, end.elapsed)
        if steps and not self._does:
            report.error(block.get("steps"), "no step of the journey does anything", "journey", "add a `do`")
        journey = Journey(
            start=start.name,
            key=key,
            exits=exits,
            answered_by_key=frozenset(name for name, event in self._events.items() if key in event.fields),
        )
        return ReadJourney(tuple(self._rules), journey, self._stops)

    # --- head --------------------------------------------------------------------------------------------

    def _start(self, node: Node | None) -> EventType | None:
        if node is None:
            self._report.error(
                self._block, "the journey does not say what begins it", "journey", "add start: EVENT_TYPE"
            )
            return None
        return self._event(node, "start")

    def _event(self, node: Node, what: str) -> EventType | None:
        name = read_word(node, self._report, what)
        event = self._scope.catalogue.events.get(name)
        if name and (event is None or event.thing):
            near = did_you_mean(name, self._scope.catalogue.events) if event is None else ""
            self._report.error(
                node,
                f"the catalogue has no event type `{name}` of customers",
                "unknown-event",
                near or "the reference lists the event types",
            )
        if name in CALLED_BACK:
            self._report.error(
                node,
                f"{name} comes back for what was planned; nobody else is called by it",
                "trigger",
                "name the event that it goes back to",
            )
            return None
        return None if event is None or event.thing else event

    def _key(self, node: Node | None, start: EventType) -> str:
        path = read_word(node, self._report, "key")
        if not path:
            return ""
        try:
            named = self._start_scope.name(path).expression if "." in path else None
        except LineError as error:
            self._report.error(node, error.message, error.check, error.suggestion)
            return ""
        if not isinstance(named, EventField) or named.name == "type" or named.kind is Kind.LIST:
            self._report.error(
                node,
                "the key is a field of the start event",
                "journey",
                f"write key: event.{next(iter(start.fields), 'FIELD')}, or leave it out",
            )
            return ""
        return named.name

    def _check_exits(self, node: Node | None, exits: Sequence[str], longest: int) -> None:
        for name in exits:
            kept = self._scope.catalogue.events[name].keep.each_micros
            if longest > kept:
                self._report.error(
                    node,
                    f"the journey may take {format_duration(longest)}, but {name} is kept for "
                    f"{format_duration(kept)} only, so that an earlier one would be forgotten",
                    "window-too-long",
                    "wait less, or have the catalogue keep it longer",
                    text=name,
                )

    # --- steps -------------------------------------------------------------------------------------------

    def _steps(self, node: Node | None, what: str, where: Node) -> tuple[Node, ...]:
        if isinstance(node, Listing) and node.items:
            return node.items
        if node is None and what != "steps":
            return ()
        self._report.error(
            node or where,
            f"`{what}` must be a list of steps",
            "journey",
            "begin each with a dash: - wait: 3d",
        )
        return ()

    def _walk(self, steps: Sequence[Node], path: str, chain: _Chain, *, last: bool) -> _Chain:
        """Reads steps that follow each other; the chain after the last one. `last`: none comes after them."""
        following = chain
        for number, node in enumerate(steps, 1):
            block = read_block(node, self._report, "a step")
            if block is None:
                continue
            self._report.check_keys(block, grammar.STEP.names, grammar.STEP.title)
            name = self._name(block, f"{path}step-{number}" if not path else f"{path}-{number}")
            self._does |= block.get("do") is not None
            kinds = [key for key, _ in block if key.text in grammar.STEP.among]
            if len(kinds) != 1:
                self._report.error(
                    kinds[1] if kinds else block,
                    "a step has exactly one of " + ", ".join(grammar.STEP.among),
                    "journey",
                    "begin another step with a dash",
                )
                continue
            self._check_parts(block, kinds[0].text)
            match kinds[0].text:
                case "do":
                    following = self._do(block, name, following)
                case "wait":
                    following = self._wait(block, name, following)
                case _:
                    final = last and number == len(steps)
                    following = self._await(block, name, following, last=final)
        return following

    def _name(self, block: Block, path: str) -> str:
        node = block.get("id")
        name = read_word(node, self._report, "id") or path
        if node is not None and not RULE_NAME.fullmatch(name):
            self._report.error(
                node, f"`{name}` is no id for a step", "name", "use small letters, digits and -"
            )
            return path
        if name in self._names:
            self._report.error(
                node or block,
                f"two steps are named `{name}`" if name != END else "`end` is the end of every journey",
                "name",
                "give it an id of its own",
                text=name,
            )
            return path
        self._names.add(name)
        return name

    def _check_parts(self, block: Block, kind: str) -> None:
        """The keys that belong to another kind of step."""
        belongs = {"if": "do", "within": "await", "then": "await", "nothing": "await"}
        for key, _ in block:
            other = belongs.get(key.text)
            if other is not None and other != kind:
                self._report.error(
                    key,
                    f"`{key.text}` belongs to a step with `{other}`",
                    "journey",
                    "move it there, or leave it out",
                )

    def _do(self, block: Block, name: str, chain: _Chain) -> _Chain:
        scope = self._scope_of(chain)
        actions = read_actions(block.get("do"), scope, self._report, block)
        inner = [action.once for action in actions if action.once is not None]
        if inner and len(actions) > 1:
            self._report.error(
                inner[0], "`once` belongs to a step with one action", "once", "make a step of each action"
            )
        asked = read_conditions(block.get("if"), scope, self._report, "if")
        rule = self._add(
            name,
            All((_condition(chain), *asked.parts)),
            tuple(action.spec for action in actions),
            StepOf(chain.awaiting),
            block,
        )
        if rule is not None:
            once = read_once(next(iter(inner), None), scope, self._report)
            rule = self._rules[-1] = replace(rule, once=once)
            self._check_event(rule, asked, chain, block)
        # a customer whom an earlier version left waiting at this step goes on with it
        return chain if chain.awaiting else replace(chain, passed=(*chain.passed, name))

    def _wait(self, block: Block, name: str, chain: _Chain) -> _Chain:
        micros = read_duration(block.get("wait"), self._report, "wait")
        if micros is not None and micros <= 0:
            self._report.error(block.get("wait"), "a wait takes some time", "journey", "write wait: 3d")
        self._stop(name, (), micros or 0, chain, block)
        return _Chain(due=(name,), elapsed=chain.elapsed + (micros or 0))

    def _await(self, block: Block, name: str, chain: _Chain, *, last: bool) -> _Chain:
        types = self._awaited_types(block.get("await"))
        within = read_duration(block.get("within"), self._report, "within")
        if block.get("within") is None:
            self._report.error(block, "the await has no end", "journey", "add within: 5d")
        elif within is not None and within <= 0:
            self._report.error(block.get("within"), "an await takes some time", "journey", "write within: 5d")
        self._stop(name, tuple(event.name for event in types), within or 0, chain, block)
        elapsed = chain.elapsed + (within or 0)
        answered = _Chain(awaiting=name, types=types, elapsed=elapsed)
        then = self._walk(self._steps(block.get("then"), "then", block), f"{name}.then", answered, last=last)
        silent = _Chain(due=(name,), elapsed=elapsed)
        nothing = self._walk(
            self._steps(block.get("nothing"), "nothing", block), f"{name}.nothing", silent, last=last
        )
        due, passed = nothing.due, (*nothing.passed, *then.passed)
        if not then.awaiting:
            due = (*due, *then.due)
        elif last:
            self._move(f"{name}.then", "", None, then, block)
        else:
            # its event is the one awaited; what follows looks at the start event again
            self._move(f"{name}.then", f"{name}.then", 0, then, block)
            due = (*due, f"{name}.then")
        elapsed = max(then.elapsed, nothing.elapsed)
        return _Chain(due=due, passed=passed, elapsed=elapsed)

    def _awaited_types(self, node: Node | None) -> tuple[EventType, ...]:
        items = node.items if isinstance(node, Listing) else (node,)
        found = [self._event(item, "await") for item in items if item is not None]
        types = tuple({event.name: event for event in found if event is not None}.values())
        if not items:
            self._report.error(node, "the await names no event type", "journey", "write await: TYPE")
        self._events |= {event.name: event for event in types}
        return types

    # --- rules -------------------------------------------------------------------------------------------

    def _stop(self, name: str, types: tuple[str, ...], micros: int, chain: _Chain, place: Node) -> None:
        self._stops[name] = types
        self._move(name, name, micros, chain, place)

    def _move(self, name: str, to: str, micros: int | None, chain: _Chain, place: Node) -> None:
        action = ActionSpec(0, ActionKind.STEP, to, None, for_micros=micros)
        self._add(name, All((_condition(chain),)), (action,), StepOf(chain.awaiting, moves=True), place)

    def _add(
        self, name: str, when: All, actions: tuple[ActionSpec, ...], step: StepOf, place: Node
    ) -> ActionRule | None:
        key = f"{self._scope.rule_set}/{name}"
        if key in self._places:
            return None
        self._places[key] = place
        rule = ActionRule(
            key=key,
            rule_set=self._scope.rule_set,
            version=self._version,
            rule=name,
            when=when,
            actions=actions,
            once=None,
            priority=DEFAULT_PRIORITY,
            order=len(self._rules),
            needs=Needs(),
            line=place.line,
            step=step,
        )
        self._rules.append(rule)
        return rule

    def _scope_of(self, chain: _Chain) -> Scope:
        return replace(self._scope, triggers=chain.types) if chain.awaiting else self._start_scope

    def _check_event(self, rule: ActionRule, asked: All, chain: _Chain, place: Block) -> None:
        """What has no meaning in a step that comes later than the event it looks at."""
        if chain.awaiting:
            return
        if any(field.name == "type" for field in fields_in((asked, rule.actions, rule.once))):
            self._report.error(
                place,
                "event.type says nothing here: event.… is the start event in every step but those of `then`",
                "journey",
                f"leave it out; it is always {self._start_scope.triggers[0].name}",
            )
        if not chain.start and any(isinstance(part, Crosses) for part in walk(asked)):
            self._report.error(
                place,
                "`crosses` asks what the event itself brought about; nothing happens when a wait is over",
                "never-fires",
                "compare the window with <, <=, > or >=",
            )


def fields_in(part: object) -> Iterator[EventField]:
    """The fields of the event that anything compiled looks at."""
    if isinstance(part, EventField):
        yield part
    elif isinstance(part, tuple | list | frozenset):
        for item in part:
            yield from fields_in(item)
    elif isinstance(part, Mapping):
        yield from fields_in(tuple(part.values()))
    elif is_dataclass(part):
        for field in fields(part):
            yield from fields_in(getattr(part, field.name))


def _condition(chain: _Chain) -> Condition:
    """That this chain's event is being decided."""
    ways: list[Condition] = []
    if chain.start or chain.awaiting:
        names = tuple(event.name for event in chain.types)
        word = "came" if chain.awaiting else "happened"
        ways += [_one_of(_TYPE, names, f"{' or '.join(names)} {word}")] if names else []
    steps = (*chain.due, *chain.passed)
    if steps:
        ways.append(_one_of(_STEP, steps, f"{' or '.join(chain.due or steps)} is over"))
    if len(ways) < 2:
        return ways[0] if ways else All(())  # what is awaited is wrong, and reported
    return AnyOf(tuple(ways), ways[0].source)


def _one_of(field: EventField, values: Sequence[str], source: str) -> Condition:
    if len(values) == 1:
        return Comparison("is", field, Literal(values[0], Kind.TEXT, values[0]), source)
    return OneOf(field, tuple(values), False, source)


def _awaited(steps: Node | None) -> Iterator[str]:
    """The event types that steps await, nested ones too."""
    for step in steps.items if isinstance(steps, Listing) else ():
        if not isinstance(step, Block):
            continue
        awaited = step.get("await")
        for item in awaited.items if isinstance(awaited, Listing) else (awaited,):
            yield _text(item)
        yield from _awaited(step.get("then"))
        yield from _awaited(step.get("nothing"))


def _text(node: Node | None) -> str:
    return node.text.strip() if isinstance(node, Scalar) else ""

"""A decision as a tree: each rule with its conditions and the values seen, its facts, its actions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.decision.domain.decide import find_action
from services.decision.domain.explain import concerned_sets, fate, filled, shown
from services.decision.domain.expressions import FACTS, value_function
from services.decision.domain.language.ast import All, AnyOf, FactIs, NoneOf, WindowValue
from services.decision.domain.looking import Looked, Seen
from services.decision.domain.run import Outcome
from services.vocabulary.values import format_time
from services.vocabulary.words import ActionOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from services.decision.domain.arbitration import Candidate, DecidedAction
    from services.decision.domain.decide import Planned
    from services.decision.domain.language.ast import Condition
    from services.decision.domain.program import ActionRule, FactRule, Program, RuleSet
    from services.decision.domain.situation import Situation

_DEEPEST = 20
"""Facts that rest on facts are shown so far; the language allows no more levels than there are fact rules."""


@dataclass(frozen=True)
class SeenFactor:
    """One number of a score, with where it came from."""

    name: str
    value: float
    source: str


@dataclass(frozen=True)
class Node:
    """One thing looked at, with what it rests on.

    ``kind``: "decision", "rule_set", "window", "fact", "rule", "condition", "group", "plan", "action", "gate"
    or "channel".
    """

    kind: str
    rule_set: str
    name: str
    text: str
    held: bool
    line: int = 0
    seen: tuple[Seen, ...] = ()
    factors: tuple[SeenFactor, ...] = ()
    children: tuple[Node, ...] = ()


def tree_of(program: Program, outcome: Outcome, situation: Situation) -> tuple[Node, ...]:
    """One node for each rule set that the event calls, with its windows, facts and rules."""
    return tuple(
        _Tree(program, rule_set, outcome, situation).node() for rule_set in concerned_sets(program, situation)
    )


def rule_node(program: Program, rule: ActionRule, outcome: Outcome, situation: Situation) -> Node:
    """One rule with its conditions, whether or not its rule set was called."""
    return _Tree(program, program.by_name[rule.rule_set], outcome, situation).rule(rule)


def with_actions(nodes: Sequence[Node], actions: Sequence[tuple[str, Node]]) -> tuple[Node, ...]:
    """The tree with each action, given by its rule, under that rule; those of other rules at the end."""
    waiting: dict[tuple[str, str], list[Node]] = {}
    for rule, action in actions:
        waiting.setdefault((action.rule_set, rule), []).append(action)

    def put(node: Node) -> Node:
        children = [put(child) for child in node.children]
        if node.kind == "rule":
            children += waiting.pop((node.rule_set, node.name), [])
        return replace(node, children=tuple(children))

    placed = tuple(map(put, nodes))
    return (*placed, *(node for left in waiting.values() for node in left))


def action_node(
    action: DecidedAction, names: Mapping[str, str], needed: str = "", channel: Sequence[Node] = ()
) -> Node:
    """One action with what became of it, the gate that refused it, and what the channel service knows."""
    candidate, refused = action.candidate, action.outcome is ActionOutcome.REFUSED
    gates = []
    if refused and action.reason is not None:
        text = action.detail or fate(action, names)
        text += f"; needed: {needed}" if needed else ""
        gates.append(Node("gate", candidate.rule_set, action.reason.value, text, held=False))
    return Node(
        "action",
        candidate.rule_set,
        f"{candidate.kind} {candidate.name}".strip(),
        fate(action, names),
        held=not refused,
        factors=factors_of(action),
        children=(*gates, *channel),
    )


def factors_of(action: DecidedAction) -> tuple[SeenFactor, ...]:
    """What its score is made of; of what is not scored nothing."""
    factors = action.factors
    if factors is None:
        return ()
    made_of = {
        "propensity": factors.propensity,
        "value": factors.value,
        "cost": factors.cost,
        "urgency": factors.urgency,
        "pressure": factors.pressure,
    }
    return (
        *(
            SeenFactor(name, each.value, ", ".join(filter(None, (each.source.value, each.detail))))
            for name, each in made_of.items()
        ),
        SeenFactor("score", factors.score, ""),
    )


def plan_node(program: Program, planned: Planned, situation: Situation, candidate: Candidate) -> Node:
    """A planned action that was decided again: what ended the wait, and what it had to rest on."""
    asked = planned.candidate
    found = find_action(program, asked.rule_set, asked.rule, asked.position)
    since = format_time(planned.since_micros)
    text = f"planned when something happened at {since}"
    text += f"; given up if {' or '.join(asked.unless)} happened" if asked.unless else ""
    children: tuple[Node, ...] = ()
    if found is not None and found[1].keep is not None:
        facts = situation.cache.get(FACTS, ())
        outcome = Outcome(tuple(facts), (), (), ())
        tree = _Tree(program, program.by_name[asked.rule_set], outcome, situation)
        children = tuple(tree.conditions(found[1].keep))
    text += f"; {candidate.detail}" if candidate.detail else ""
    held = candidate.refusal is None
    return Node("plan", asked.rule_set, asked.rule, text, held, children=children)


class _Tree:
    """The part of one rule set."""

    def __init__(self, program: Program, rule_set: RuleSet, outcome: Outcome, situation: Situation) -> None:
        self._rule_set = rule_set
        self._outcome = outcome
        self._situation = situation
        self._looked = Looked(program, rule_set, situation, outcome)
        self._fired = {rule.key for rule in outcome.rules} | {rule.key for rule in outcome.fact_rules}
        self._above: list[str] = []

    def node(self) -> Node:
        """The whole rule set."""
        rule_set = self._rule_set
        rules = [rule for rule in rule_set.rules if not rule.moves]
        shown_facts = {part for rule in rules for part in _facts_in(rule.when)}
        rest = [fact for fact in rule_set.facts if rule_set.shared or fact.fact not in shown_facts]
        version = f"version {rule_set.version}" if rule_set.version else "not stored"
        return Node(
            "rule_set",
            rule_set.name,
            rule_set.name,
            f"{rule_set.title or rule_set.name} ({version})",
            held=any(rule.key in self._fired for rule in rule_set.all_rules),
            children=(*self._windows(), *map(self._fact, rest), *map(self.rule, rules)),
        )

    def rule(self, rule: ActionRule) -> Node:
        """One of its rules."""
        fired = rule.key in self._fired
        withheld = any(each.key == rule.key for each in self._outcome.withheld)
        if fired:
            text = "it fired"
        elif withheld or rule.needs.withheld(self._situation):
            needed = rule.needs.purposes | {purpose for _, purpose in rule.needs.things}
            lacking = ", ".join(sorted(needed & self._situation.withheld))
            text = f"it needs data the customer did not agree to have used ({lacking})"
        else:
            text = f"it did not fire: {self._looked.why_not(rule)}"
        children = tuple(self.conditions(rule.when))
        return Node("rule", rule.rule_set, rule.rule, text, fired, rule.line, children=children)

    def _windows(self) -> Iterator[Node]:
        for name, window in self._rule_set.windows.items():
            key = f"{self._rule_set.name}/{name}"
            value = value_function(WindowValue(key, window, window.kind, name))(self._situation)
            text = shown(value, window.kind)
            seen = (Seen(f"windows.{name}", text, value is None),)
            yield Node("window", self._rule_set.name, name, f"{name} is {text}", value is not None, seen=seen)

    def _fact(self, rule: FactRule) -> Node:
        held = rule.key in self._fired
        name = rule.fact.rpartition("/")[2]
        if held:
            text = filled(rule.because, self._situation) if rule.because is not None else "it was inferred"
        else:
            text = f"it was not inferred: {self._looked.why_not(rule)}"
        self._above.append(rule.fact)
        children = tuple(self.conditions(rule.when))
        self._above.pop()
        return Node("fact", rule.rule_set, name, text, held, rule.line, children=children)

    def conditions(self, condition: Condition) -> Iterator[Node]:
        """One node for each condition as written; those under `all` stand side by side."""
        if isinstance(condition, All):
            for part in condition.parts:
                yield from self.conditions(part)
            return
        name, held = self._rule_set.name, self._looked.held(condition)
        if isinstance(condition, AnyOf | NoneOf):
            word = "any" if isinstance(condition, AnyOf) else "none"
            inner = tuple(node for part in condition.parts for node in self.conditions(part))
            yield Node("group", name, word, _HELD[held], held, children=inner)
            return
        if not condition.source:
            return  # the compiler's own
        children: tuple[Node, ...] = ()
        if isinstance(condition, FactIs) and condition.key not in self._above and len(self._above) < _DEEPEST:
            children = tuple(map(self._fact, self._looked.inferring.get(condition.key, ())))
        seen = self._looked.seen(condition)
        text = f"{_HELD[held]} ({seen})" if seen else _HELD[held]
        values = self._looked.values(condition)
        yield Node("condition", name, condition.source, text, held, condition.line, values, children=children)


_HELD = {True: "held", False: "did not hold"}


def _facts_in(condition: Condition) -> Iterator[str]:
    match condition:
        case All(parts=parts) | AnyOf(parts=parts) | NoneOf(parts=parts):
            for part in parts:
                yield from _facts_in(part)
        case FactIs(key=key):
            yield key
        case _:
            pass

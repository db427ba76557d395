"""What a program comes to, straight from its rule sets as compiled: no shards, no strata, no engine.

Facts are inferred by going round until nothing is new, layer by layer of negation; what data a rule needs is
collected by following every path it reads. Conditions are asked of the oracle, one by one.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

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
from services.decision.domain.oracle import holds
from services.decision.domain.program import ActionRule, FactRule, Program, RuleSet
from services.decision.domain.run import Outcome
from services.decision.domain.situation import Situation
from services.vocabulary.words import Category

Rule = ActionRule | FactRule


@dataclass(frozen=True)
class Expected:
    """An outcome by keys; facts and fact rules in order within each rule set (of the shared ones: in all)."""

    rules: tuple[str, ...]
    withheld: tuple[str, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    fact_rules: tuple[tuple[str, tuple[str, ...]], ...]


def told(program: Program, outcome: Outcome) -> Expected:
    """An outcome of the product in these words."""
    return expected(program, outcome.facts, outcome.fact_rules, outcome.rules, outcome.withheld)


def expected(
    program: Program,
    facts: Sequence[str],
    fact_rules: Sequence[FactRule],
    rules: Sequence[ActionRule],
    withheld: Sequence[ActionRule],
) -> Expected:
    """The same from its parts."""
    groups = groups_of(program)
    return Expected(
        tuple(rule.key for rule in rules),
        tuple(rule.key for rule in withheld),
        tuple((name, tuple(f for f in facts if f in {r.fact for r in own})) for name, own in groups),
        tuple((name, tuple(r.key for r in fact_rules if r in own)) for name, own in groups),
    )


def groups_of(program: Program) -> list[tuple[str, tuple[FactRule, ...]]]:
    """The fact rules that see each other: those of all shared sets, those of each other set."""
    shared = tuple(fact for one in program.rule_sets if one.shared for fact in one.facts)
    return [("shared", shared)] + [(one.name, one.facts) for one in program.rule_sets if not one.shared]


def reference(program: Program, situation: Situation) -> Expected:
    """What is to be expected."""
    facts: list[str] = []
    fact_rules: list[FactRule] = []
    fired: list[ActionRule] = []
    kept_back: list[ActionRule] = []
    shared = groups_of(program)[0][1]
    _infer(shared, situation, program, facts, fact_rules)
    for rule_set in program.rule_sets:
        if situation.trigger not in rule_set.triggers or not _applies(rule_set, situation):
            continue
        _infer(rule_set.facts, situation, program, facts, fact_rules)
        possible = _Possible(program, situation, facts, [*rule_set.facts, *shared])
        own: list[ActionRule] = []
        blocked: list[ActionRule] = []
        taken: set[str] = set()
        for rule in sorted(rule_set.rules, key=lambda rule: (-rule.priority, rule.order)):
            # of a set, or a table, of which only the first that fires counts, whatever comes later is nothing
            only = "the set" if rule_set.choose_first else rule.first_of
            if only in taken:
                continue
            if not withheld(rule, program, situation):
                if holds(rule.when, situation, frozenset(facts)):
                    own.append(rule)
                    taken |= {only} if only else set()
            elif possible.may_hold(rule.when):
                blocked.append(rule)
        fired += own
        kept_back += blocked
    sets = {one.name: position for position, one in enumerate(program.rule_sets)}
    fired.sort(key=lambda rule: (-rule.priority, sets[rule.rule_set], rule.order))
    kept_back.sort(key=lambda rule: (sets[rule.rule_set], rule.order))
    return expected(program, facts, fact_rules, fired, kept_back)


def _applies(rule_set: RuleSet, situation: Situation) -> bool:
    time = situation.event_micros
    begun = rule_set.from_micros is None or time >= rule_set.from_micros
    ended = rule_set.to_micros is not None and time >= rule_set.to_micros
    return begun and not ended and situation.accepted_micros - time <= rule_set.late_micros


def _infer(
    rules: Sequence[FactRule],
    situation: Situation,
    program: Program,
    facts: list[str],
    fired: list[FactRule],
) -> None:
    """Adds what can be inferred: the highest priority that can first, a fact negated only once settled."""
    layers = _layers(rules)
    for layer in range(max(layers.values(), default=0) + 1):
        waiting = [rule for rule in rules if layers[rule.fact] == layer]
        waiting.sort(key=lambda rule: -rule.priority)
        while True:
            known = frozenset(facts)
            able = (
                r for r in waiting if not withheld(r, program, situation) and holds(r.when, situation, known)
            )
            rule = next(able, None)
            if rule is None:
                break
            waiting.remove(rule)
            fired.append(rule)
            if rule.fact not in facts:
                facts.append(rule.fact)


def _layers(rules: Sequence[FactRule]) -> dict[str, int]:
    """How many negations deep each fact rests on others, at most."""
    layers = {rule.fact: 0 for rule in rules}
    for _ in range(len(layers) + 1):
        for rule in rules:
            for key, negated in _asked(rule.when, negated=False):
                if key in layers:
                    layers[rule.fact] = max(layers[rule.fact], layers[key] + negated)
    return layers


def _asked(condition: Condition, *, negated: bool) -> Iterator[tuple[str, bool]]:
    match condition:
        case FactIs(key=key, negated=own):
            yield key, own != negated
        case All(parts=parts) | AnyOf(parts=parts) | NoneOf(parts=parts):
            for part in parts:
                yield from _asked(part, negated=negated != isinstance(condition, NoneOf))
        case _:
            pass


# --- withheld data ---------------------------------------------------------------------------------------


def withheld(rule: Rule, program: Program, situation: Situation) -> bool:
    """Whether the customer withheld anything that the rule reads, through its facts too.

    A fact reads what all its rules read, whichever of them infers it.
    """
    if not situation.withheld:
        return False
    facts = [fact for one in program.rule_sets for fact in one.facts]
    waiting: list[Rule] = [rule]
    seen: set[str] = set()
    if isinstance(rule, FactRule):
        waiting = [fact for fact in facts if fact.fact == rule.fact]
        seen.add(rule.fact)
    reading: list[tuple[Rule, Expression]] = [(one, read) for one in waiting for read in _read_by(one)]
    while waiting:
        conditions: list[Condition] = [(here := waiting.pop()).when]
        if isinstance(here, ActionRule):
            conditions += [action.keep for action in here.actions if action.keep is not None]
        for condition in conditions:
            for part in walk(condition):
                if isinstance(part, FactIs) and part.key not in seen:
                    seen.add(part.key)
                    resting = [fact for fact in facts if fact.fact == part.key]
                    waiting += resting
                    reading += [(fact, read) for fact in resting for read in _read_by(fact)]
    return any(_is_withheld(reader, read, program, situation) for reader, read in reading)


def _read_by(rule: Rule) -> Iterator[Expression]:
    yield from expressions_of(rule.when)
    if isinstance(rule, ActionRule):
        for action in rule.actions:
            if action.keep is not None:
                yield from expressions_of(action.keep)
            texts: list[Text] = [*action.parameters.values()]
            texts += [text for arm in action.arms.values() for text in arm.parameters.values()]
            for text in texts:
                yield from (part for part in text.parts if not isinstance(part, str))


def _is_withheld(reader: Rule | None, read: Expression, program: Program, situation: Situation) -> bool:
    """Whether an expression reads something withheld; for no reader in particular, the event aside."""
    return any(_leaf_withheld(reader, leaf, program, situation) for leaf in leaves_of(read))


def _leaf_withheld(reader: Rule | None, leaf: Expression, program: Program, situation: Situation) -> bool:
    catalogue, gone = program.catalogue, situation.withheld
    match leaf:
        case Trait(name=name):
            return catalogue.traits[name].purpose in gone
        case HouseholdValue(name=name):
            return name in catalogue.traits and catalogue.traits[name].purpose in gone
        case ThingAttribute(thing=thing):
            purposes = {catalogue.things[thing].purpose, catalogue.traits[f"last_{thing}"].purpose}
            return situation.event.get(thing) is None and not gone.isdisjoint(purposes)
        case EventField(name=name):
            if reader is None or (
                isinstance(reader, ActionRule)
                and all(action.category is Category.MANDATORY for action in reader.actions)
            ):
                return False
            rule_set = program.rule_set(reader.rule_set)
            assert rule_set is not None
            types = [catalogue.events[key] for key in rule_set.triggers if key in catalogue.events]
            purposes = {event.purpose for event in types if name in event.fields}
            return not gone.isdisjoint(purposes)
        case WindowValue(window=window):
            inner = expressions_of(window.where) if window.where is not None else ()
            return catalogue.events[window.type].purpose in gone or any(
                _is_withheld(reader, read, program, situation) for read in inner
            )
        case _:
            return False


class _Possible:
    """What could hold, for all one may know, were it not for what is withheld."""

    def __init__(
        self, program: Program, situation: Situation, facts: Collection[str], rules: Sequence[FactRule]
    ) -> None:
        self._program = program
        self._situation = situation
        self._facts = frozenset(facts)
        # A fact could hold when one of its rules could; go round until nothing is new, negated ones settled.
        self._could = set(facts)
        layers = _layers(rules)
        for layer in range(max(layers.values(), default=0) + 1):
            own = [rule for rule in rules if layers[rule.fact] == layer]
            while new := [r.fact for r in own if r.fact not in self._could and self.may_hold(r.when)]:
                self._could.update(new)

    def may_hold(self, condition: Condition, *, negated: bool = False) -> bool:
        """Whether the condition (or its opposite) could hold."""
        match condition:
            case NoneOf(parts=parts):
                return self.may_hold(AnyOf(parts), negated=not negated)
            case All(parts=parts) | AnyOf(parts=parts):
                each = [self.may_hold(part, negated=negated) for part in parts]
                return all(each) if isinstance(condition, All) != negated else any(each)
            case FactIs(key=key, negated=own):
                return key not in self._facts if own != negated else key in self._could
            case _:
                reads = expressions_of(condition)
                if any(_is_withheld(None, read, self._program, self._situation) for read in reads):
                    return True
                return holds(condition, self._situation, frozenset()) != negated

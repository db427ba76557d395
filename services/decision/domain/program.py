"""Compiled rule sets: what the engine runs, and what each rule that fires asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from services.decision.domain.amounts import Amount
from services.decision.domain.journeys import Journey, StepOf
from services.decision.domain.language.ast import All, Condition, Expression, Text, Window
from services.decision.domain.limits import NO_LIMITS, Limits
from services.decision.domain.problems import Problem, Severity
from services.decision.domain.situation import Situation
from services.decision.domain.triggers import Absence, Occasion, OpenPair, Schedule, ThingEvent
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.words import ActionKind, Category, Channel, ConsentState, Purpose, RefusalReason


@dataclass(frozen=True, slots=True)
class RuleSetText:
    """One version of a rule set as written. `version` 0: not stored yet."""

    file: str
    text: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class Needs:
    """What a rule may look at only with the customer's agreement.

    `purposes`: in any case. `things`: per kind of thing, the purpose needed to know which one the customer is
    at, unless the event itself names it.
    """

    purposes: frozenset[Purpose] = frozenset()
    things: frozenset[tuple[str, Purpose]] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        """What both need."""
        return Needs(self.purposes | other.purposes, self.things | other.things)

    def withheld(self, situation: Situation) -> bool:
        """Whether the customer withheld something of it."""
        withheld = situation.withheld
        if not withheld:
            return False
        return not withheld.isdisjoint(self.purposes) or any(
            purpose in withheld and situation.event.get(thing) is None for thing, purpose in self.things
        )


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """A channel an action may use; None: the preferred one. Waits `after_micros` for those before it."""

    channel: Channel | None
    after_micros: int = 0


@dataclass(frozen=True, slots=True)
class ArmVariant:
    """How an action differs in one arm: another template (empty: the action's), more parameters."""

    template: str = ""
    parameters: Mapping[str, Text] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action of a rule as written; filled in for a customer by `actions.fill`.

    `name`: of the offer, message, survey, task, trait (`set`) or event type (`emit`); empty for `say` and
    `avoid`. `category` is None only for `set`, `emit`, `say` and `avoid`. Lengths of time are micros;
    `expires_micros` counts from the event, `due_micros` from when the action is done, `after_micros` plans it
    for that long after the event. `unless`: event types that must not happen while it waits; `keep`: must
    hold when due, and needs `keep_needs`. `to_value` (or `to_text`, from which it is computed) and
    `for_micros` belong to `set`, `say` to `say`, `avoid` to `avoid`; the data of `emit` are its parameters.
    `cost` and `value` are in the operator's currency, `propensity` is from 0 to 1; None: the rule is silent.
    """

    position: int
    kind: ActionKind
    name: str
    category: Category | None
    topic: str = ""
    parameters: Mapping[str, Text] = field(default_factory=dict)
    template: str = ""
    channels: tuple[ChannelChoice, ...] = ()
    value: Amount | None = None
    cost: Amount | None = None
    expires_micros: int | None = None
    due_micros: int | None = None
    after_micros: int | None = None
    unless: tuple[str, ...] = ()
    keep: All | None = None
    keep_needs: Needs = Needs()
    arms: Mapping[str, ArmVariant] = field(default_factory=dict)
    to_payer: bool = False
    to_value: Any = None
    to_text: Text | None = None
    for_micros: int | None = None
    say: Text | None = None
    avoid: tuple[Category, ...] = ()
    propensity: Amount | None = None


@dataclass(frozen=True, slots=True)
class Once:
    """At most one in a rolling `period_micros`; None: ever, within the key.

    `cycle`: the billing cycle is in the key. `by`: a further part of the key. `household`: for all members of
    the customer's household together. See `actions.once_slot`.
    """

    period_micros: int | None
    cycle: bool = False
    by: Expression | None = None
    household: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One embedded test. Times in micros; `history` events are (type, how long ago, fields).

    `event_type` and `event` as the rules see them, `ask`: the parameters of a question. `then_…` is None when
    the test does not say; `fires` and `facts` are in order, `refused` by rule. `step`: where the
    customer stands in the journey.
    """

    name: str
    line: int
    traits: Mapping[str, Any]
    things: Mapping[str, Mapping[str, Any]]
    windows: Mapping[str, Any]
    facts: tuple[str, ...]
    withheld: frozenset[Purpose]
    consents: Mapping[Purpose, ConsentState]
    history: tuple[tuple[str, int, Mapping[str, Any]], ...]
    arm: str
    event_type: str
    event: Mapping[str, Any]
    then_fires: tuple[str, ...] | None
    then_facts: tuple[str, ...] | None
    then_wins: tuple[str, ...] | None
    then_refused: Mapping[str, RefusalReason] | None
    ask: Mapping[str, Any] = field(default_factory=dict)
    step: str = ""
    household: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FactRule:
    """Infers one fact. `fact` is its key: `rule_set/fact`, or the bare name when the set is shared.

    `line`: where it stands in the file.
    """

    key: str
    rule_set: str
    fact: str
    when: All
    because: Text | None
    priority: int
    order: int
    stratum: int
    needs: Needs
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ActionRule:
    """Asks for actions when it fires.

    `key` is `rule_set/rule`; `needs`: what data it looks at, through facts too. `priority` 0 to 999, the
    highest fires first; ties in the order of the file (`order`). `line`: where it stands in the file.
    `first_of`: of the rules of the set with the same word here only the first that fires counts, as of the
    rows of a table; empty: it always counts. `step`: it belongs to a journey.
    """

    key: str
    rule_set: str
    version: int
    rule: str
    when: All
    actions: tuple[ActionSpec, ...]
    once: Once | None
    priority: int
    order: int
    needs: Needs
    line: int = field(default=0, compare=False)
    first_of: str = ""
    step: StepOf | None = None

    @property
    def moves(self) -> bool:
        """Whether it only moves a customer on in a journey: nobody wrote it, and it says nothing."""
        return self.step is not None and self.step.moves

    @property
    def purposes(self) -> frozenset[Purpose]:
        """Purposes without which it cannot fire; those of things that the event names are not among them."""
        return self.needs.purposes


@dataclass(frozen=True, slots=True)
class Measure:
    """An event type that counts for or against an experiment, within a time of the assignment."""

    event: str
    within_micros: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """Arms by share, in hundredths of a percent; the rest has no arm. Holdout: the share left alone."""

    id: str
    holdout: int
    arms: Mapping[str, int]
    metric: Measure | None
    guardrail: Measure | None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One compiled rule set. `from_micros` to `to_micros` (end-exclusive, by event time) it is active.

    `late_micros`: an event older than this when accepted triggers nothing. `choose_first`: only the first
    rule that fires counts. `tests` are run by `trial.run_tests`. `zone`: of `active`, and of customers in
    tests. `leaf_needs`: what single conditions look at, the event's own fields aside. `triggers`: by which
    key events find it, see `triggers`; `occasion`: what calls for it when no event of the customer does.
    """

    name: str
    version: int
    title: str
    owner: str
    stage: str
    shared: bool
    triggers: tuple[str, ...]
    late_micros: int
    from_micros: int | None
    to_micros: int | None
    choose_first: bool
    facts: tuple[FactRule, ...]
    rules: tuple[ActionRule, ...]
    experiment: Experiment | None
    windows: Mapping[str, Window]
    tests: tuple[Case, ...]
    zone: str
    leaf_needs: Mapping[Condition, Needs]
    source: str
    file: str
    occasion: Occasion | None = None
    limits: Limits = NO_LIMITS
    journey: Journey | None = None

    @property
    def all_rules(self) -> "tuple[FactRule | ActionRule, ...]":
        """Fact rules, then action rules, in the order of the file."""
        return (*self.facts, *self.rules)

    def applies(self, situation: Situation) -> bool:
        """Whether the set is active at the event's time and the event is not late."""
        time = situation.event_micros
        if self.shared:
            return True
        return (
            (self.from_micros is None or time >= self.from_micros)
            and (self.to_micros is None or time < self.to_micros)
            and situation.accepted_micros - time <= self.late_micros
        )


class Properties(dict[str, bool | int | float | str]):
    """The properties of one situation for one shard; the oracle looks at the situation itself."""

    __slots__ = ("situation",)
    situation: Situation

    def __missing__(self, name: str) -> Any:
        """A property that is not there, or is none of the shard's: None."""
        return None


class LazyProperties(Properties):
    """The same, each computed when it is first looked up: an event that triggers little reads little."""

    __slots__ = ("_computed_by", "_shard")

    def __init__(self, shard: "Shard", situation: Situation) -> None:
        self.situation = situation
        self._shard = shard
        self._computed_by = shard.properties

    def __missing__(self, name: str) -> Any:
        """Computes it; None when it has no value."""
        value: Any = self._computed_by[name](self.situation)
        self[name] = value
        return value

    def whole(self) -> Properties:
        """All of them that have a value, computed now."""
        return self._shard.properties_of(self.situation)


@dataclass(frozen=True, slots=True)
class Shard:
    """At most 60 engine rules that run together.

    `engine_rules` is the JSON object for the engine's `create_ruleset`; its names map by `rule_of` to the
    keys of `facts` and `rules`. `strata`: gates to assert, from 0. `properties`: what to compute, by property
    name. `uses`: shared facts its rules look at; `infers`: keys of its own. `key` is unique within a program.
    """

    key: str
    rule_sets: tuple[RuleSet, ...]
    strata: int
    engine_rules: Mapping[str, Any]
    rule_of: Mapping[str, str]
    facts: Mapping[str, FactRule]
    rules: Mapping[str, ActionRule]
    properties: Mapping[str, Callable[[Situation], bool | float | str | None]]
    uses: frozenset[str]
    infers: frozenset[str]
    _touched: dict[frozenset[Purpose], tuple[ActionRule, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def touched_by(self, withheld: frozenset[Purpose]) -> tuple[ActionRule, ...]:
        """Action rules that these purposes concern, withheld: whatever the event, none else is blocked."""
        found = self._touched.get(withheld)
        if found is None:
            found = self._touched[withheld] = tuple(
                rule
                for rule in self.rules.values()
                if not withheld.isdisjoint((*rule.needs.purposes, *(need for _, need in rule.needs.things)))
            )
        return found

    def applies(self, situation: Situation) -> bool:
        """Whether any of its rule sets can fire; if not, it need not be run."""
        return any(rule_set.applies(situation) for rule_set in self.rule_sets)

    def properties_of(self, situation: Situation) -> "Properties":
        """The flat snapshot the engine is given: no nulls, no numbers that print with an exponent."""
        found = Properties(
            [
                (name, value)
                for name, compute in self.properties.items()
                if (value := compute(situation)) is not None
            ]
        )
        found.situation = situation
        return found

    def lazily(self, situation: Situation) -> LazyProperties:
        """The same properties, each computed when it is looked up."""
        return LazyProperties(self, situation)


@dataclass(frozen=True)
class Program:
    """All live rule sets, ready to run.

    `triggers`: event types on which something can fire, and the questions (`ask.…`). `listened`: the event
    types among them, what experiments measure, what ends a wait, `action.due` when anything is planned, what
    opens a pair, and what happens to things: the types that the profile hands on with a snapshot. `shards`:
    by the keys of `triggers.py`.
    """

    rule_sets: tuple[RuleSet, ...]
    triggers: frozenset[str]
    listened: frozenset[str]
    shards: Mapping[str, tuple[Shard, ...]]
    shared: tuple[Shard, ...]
    catalogue: Catalogue

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The position of each rule set, by name."""
        return {rule_set.name: position for position, rule_set in enumerate(self.rule_sets)}

    @cached_property
    def choosing_first(self) -> frozenset[str]:
        """Names of the rule sets of which only the first rule that fires counts."""
        return frozenset(rule_set.name for rule_set in self.rule_sets if rule_set.choose_first)

    @cached_property
    def occasions(self) -> "tuple[RuleSet, ...]":
        """The rule sets that something other than an event of the customer calls for."""
        return tuple(rule_set for rule_set in self.rule_sets if rule_set.occasion is not None)

    @cached_property
    def absences(self) -> "Mapping[str, tuple[RuleSet, ...]]":
        """By event type, the rule sets that look for its absence."""
        return _by_type(self.occasions, lambda each: each.type if isinstance(each, Absence) else "")

    @cached_property
    def opens_pairs(self) -> "Mapping[str, tuple[RuleSet, ...]]":
        """By event type, the rule sets for which it opens a pair."""
        return _by_type(self.occasions, lambda each: each.after if isinstance(each, OpenPair) else "")

    @cached_property
    def thing_events(self) -> "Mapping[str, tuple[RuleSet, ...]]":
        """By event type, the rule sets for which it happens to a thing."""
        return _by_type(self.occasions, lambda each: each.type if isinstance(each, ThingEvent) else "")

    @cached_property
    def schedules(self) -> "tuple[RuleSet, ...]":
        """The rule sets that run at a time of day."""
        return tuple(each for each in self.occasions if isinstance(each.occasion, Schedule))

    @cached_property
    def by_name(self) -> Mapping[str, RuleSet]:
        """The rule sets by name."""
        return {rule_set.name: rule_set for rule_set in self.rule_sets}

    def rule_set(self, name: str) -> RuleSet | None:
        """The rule set of that name."""
        return self.by_name.get(name)

    def shards_for(self, key: str) -> tuple[Shard, ...]:
        """Shards for a trigger's key, the shared ones first; none when nothing can fire."""
        own = self.shards.get(key, ())
        return (*self.shared, *own) if own else ()


def _by_type(
    rule_sets: Sequence[RuleSet], type_of: Callable[[Occasion], str]
) -> Mapping[str, tuple[RuleSet, ...]]:
    found: dict[str, tuple[RuleSet, ...]] = {}
    for rule_set in rule_sets:
        event_type = type_of(rule_set.occasion) if rule_set.occasion is not None else ""
        if event_type:
            found[event_type] = (*found.get(event_type, ()), rule_set)
    return found


@dataclass(frozen=True, slots=True)
class Compilation:
    """A program, or why there is none; warnings stand beside a program too."""

    program: Program | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep it from running."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

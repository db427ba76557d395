"""Compiled rule sets: what the engine runs, and what each rule that fires asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.decision.domain.language.ast import All, Expression, Text
from services.decision.domain.problems import Problem, Severity
from services.decision.domain.situation import Situation
from services.vocabulary.words import ActionKind, Category, Channel, Purpose


@dataclass(frozen=True, slots=True)
class RuleSetText:
    """One version of a rule set as written. `version` 0: not stored yet."""

    file: str
    text: str
    version: int = 0


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

    `name`: of the offer, message, survey, task, trait (`set`) or event type (`emit`); empty for `say` and `avoid`.
    `category` is None only for `set`, `emit`, `say` and `avoid`. Lengths of time are micros; `expires_micros` counts
    from the event, `due_micros` from when the action is done, `after_micros` plans it for that long after the event.
    `unless`: event types that must not happen while it waits; `keep`: must hold when due. `to_value` and `for_micros`
    belong to `set`, `say` to `say`, `avoid` to `avoid`; the data of `emit` are its parameters. `cost` and `value` are in the operator's currency.
    """

    position: int
    kind: ActionKind
    name: str
    category: Category | None
    topic: str = ""
    parameters: Mapping[str, Text] = field(default_factory=dict)
    template: str = ""
    channels: tuple[ChannelChoice, ...] = ()
    value: float = 0.0
    cost: float = 0.0
    expires_micros: int | None = None
    due_micros: int | None = None
    after_micros: int | None = None
    unless: tuple[str, ...] = ()
    keep: All | None = None
    arms: Mapping[str, ArmVariant] = field(default_factory=dict)
    to_payer: bool = False
    to_value: Any = None
    for_micros: int | None = None
    say: Text | None = None
    avoid: tuple[Category, ...] = ()


@dataclass(frozen=True, slots=True)
class Once:
    """At most one in a rolling `period_micros`; None: ever, within the key. `cycle`: the billing cycle is in the key.

    `by`: a further part of the key. `scope` is "customer" in this version. See `actions.once_slot`.
    """

    period_micros: int | None
    cycle: bool = False
    by: Expression | None = None
    scope: str = "customer"


@dataclass(frozen=True, slots=True)
class FactRule:
    """Infers one fact. `fact` is its key: `rule_set/fact`, or the bare name when the set is shared."""

    key: str
    rule_set: str
    fact: str
    when: All
    because: Text | None
    priority: int
    order: int
    stratum: int
    purposes: frozenset[Purpose]


@dataclass(frozen=True, slots=True)
class ActionRule:
    """Asks for actions when it fires. `key` is `rule_set/rule`; `purposes`: what data it needs, through facts too.

    `priority` 0 to 999, the highest fires first; ties in the order of the file (`order`).
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
    purposes: frozenset[Purpose]


@dataclass(frozen=True, slots=True)
class Measure:
    """An event type that counts for or against an experiment, within a time of the assignment."""

    event: str
    within_micros: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """Arms by share, in hundredths of a percent; the rest gets the rules without an arm. Holdout: left alone."""

    id: str
    holdout: int
    arms: Mapping[str, int]
    metric: Measure | None
    guardrail: Measure | None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One compiled rule set. `from_micros` to `to_micros` (end-exclusive, by event time) it is active.

    `late_micros`: an event older than this when accepted triggers nothing. `choose_first`: only the first rule that
    fires counts. `tests` are run by `trial.run_tests`.
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
    windows: Mapping[str, Any]
    tests: tuple[Any, ...]
    source: str
    file: str

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


@dataclass(frozen=True, slots=True)
class Shard:
    """At most 60 engine rules that run together.

    `engine_rules` is the JSON object for the engine's `create_ruleset`; its names map by `rule_of` to the keys of
    `facts` and `rules`. `strata`: gates to assert, from 0. `properties`: what to compute, by property name.
    `uses`: shared facts its rules look at. `key` is unique within a program.
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

    def applies(self, situation: Situation) -> bool:
        """Whether any of its rule sets can fire; if not, it need not be run."""
        return any(rule_set.applies(situation) for rule_set in self.rule_sets)

    def properties_of(self, situation: Situation) -> dict[str, bool | int | float | str]:
        """The flat snapshot the engine is given: no nulls, no numbers that print with an exponent."""
        values = {name: compute(situation) for name, compute in self.properties.items()}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Program:
    """All live rule sets, ready to run.

    `triggers`: event types on which something can fire. `listened`: those plus what experiments measure, what ends
    a wait, and `action.due` when anything is planned: the types whose events need a snapshot.
    """

    rule_sets: tuple[RuleSet, ...]
    triggers: frozenset[str]
    listened: frozenset[str]
    shards: Mapping[str, tuple[Shard, ...]]
    shared: tuple[Shard, ...]
    catalogue_version: str

    def shards_for(self, event_type: str) -> tuple[Shard, ...]:
        """Shards for an event type, the shared ones first; none when nothing can fire (but see `shared`)."""
        own = self.shards.get(event_type, ())
        return (*self.shared, *own) if own else ()


@dataclass(frozen=True, slots=True)
class Compilation:
    """A program, or why there is none; warnings stand beside a program too."""

    program: Program | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep it from running."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

"""One run of a program on one situation: shared sets first, then the shards of the event type."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.decision.domain.engine import RulesEngine
from services.decision.domain.errors import RunawayRulesError
from services.decision.domain.program import ActionRule, FactRule, Program, Shard
from services.decision.domain.situation import Situation
from services.decision.domain.withheld import withheld_rules

MOST_FIRED = 1_000
"""Rules, those that infer facts among them, that may fire in one decision."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rules came to, before arbitration.

    `facts`: keys of all facts inferred, shared ones first, in order. `rules`: action rules that fired, the
    highest priority first, ties in the order of rule sets and files; `choose: first` applied. `fact_rules`:
    fact rules that fired, in order. `withheld`: action rules that would have fired for all we may know, but
    need data the customer withheld.
    """

    facts: tuple[str, ...]
    rules: tuple[ActionRule, ...]
    fact_rules: tuple[FactRule, ...]
    withheld: tuple[ActionRule, ...]


def run_program(
    program: Program, engine: RulesEngine, situation: Situation, given_facts: Collection[str] = ()
) -> Outcome:
    """Run everything that the situation's event can trigger. Pure, given the engine.

    Raises RunawayRulesError when more than MOST_FIRED rules fire.
    """
    run = _Run(program, engine, situation, given_facts)
    for shard in (*program.shared, *program.shards.get(situation.trigger, ())):
        run.add(shard)
    return run.outcome()


def run_if_asked(program: Program, engine: RulesEngine, situation: Situation) -> Outcome | None:
    """The same outcome; None where no rule asks for anything, which most events come to.

    The shared sets run only once a rule looks at what they infer, or asked for something.
    """
    run = _Run(program, engine, situation)
    shared: _Run | None = None
    for shard in program.shards.get(situation.trigger, ()):
        if shared is None and shard.uses:
            shared = run.after_shared()
        run.add(shard)
    if not run.rules and not run.withheld:
        return None
    if shared is None:
        shared = run.after_shared()
    run.inferred[:0] = shared.inferred
    run.fact_rules[:0] = shared.fact_rules
    return run.outcome()


class _Run:
    """What the shards of one situation came to so far."""

    def __init__(
        self, program: Program, engine: RulesEngine, situation: Situation, given_facts: Collection[str] = ()
    ) -> None:
        self._program = program
        self._engine = engine
        self._situation = situation
        self._known = list(given_facts)
        self.inferred: list[str] = []
        self.rules: list[ActionRule] = []
        self.fact_rules: list[FactRule] = []
        self._fact_rules: set[str] = set()
        self.withheld: list[ActionRule] = []

    def add(self, shard: Shard) -> None:
        """Runs one more shard, which is given what is known."""
        situation, known = self._situation, self._known
        if not shard.applies(situation):
            return
        given = [key for key in known if key in shard.uses or key in shard.infers]
        fired = self._engine.run(shard, shard.lazily(situation), given)
        if fired.facts:
            new = [key for key in fired.facts if key not in known]
            known += new
            self.inferred += new
        for key in fired.rules:
            if key in shard.rules:
                self.rules.append(shard.rules[key])
            elif key not in self._fact_rules:
                self._fact_rules.add(key)
                self.fact_rules.append(shard.facts[key])
        if len(self.rules) + len(self.fact_rules) > MOST_FIRED:
            raise RunawayRulesError(too_many_fired(self.rules[-1].key if self.rules else fired.rules[-1]))
        if situation.withheld:
            self.withheld += withheld_rules(shard, self._program.shared, situation, known)

    def after_shared(self) -> "_Run":
        """A run of the shared shards, what it infers being known from now on; no other fact concerns them."""
        shared = _Run(self._program, self._engine, self._situation)
        for shard in self._program.shared:
            shared.add(shard)
        self._known[:0] = shared.inferred
        return shared

    def outcome(self) -> Outcome:
        """All of it, in order."""
        order, first = self._program.order, self._program.choosing_first
        rules = self.rules
        if len(rules) > 1:
            rules.sort(key=lambda rule: (-rule.priority, order[rule.rule_set], rule.order))
        return Outcome(
            tuple(self.inferred),
            tuple(_chosen(rules, first) if len(rules) > 1 else rules),
            tuple(self.fact_rules),
            tuple(rule for rule in self.withheld if not _outdone(rule, rules, first)),
        )


def too_many_fired(last: str) -> str:
    """Says that more rules fired than may, and what to do about it; `last`: the key of the last one."""
    return (
        f"more than {MOST_FIRED:,} rules fire in one decision (the last was {last}): "
        "give them conditions of which fewer hold at once, or move some to rule sets with other triggers"
    )


def _chosen(rules: Sequence[ActionRule], first: Collection[str]) -> list[ActionRule]:
    kept: list[ActionRule] = []
    taken: set[tuple[str, str]] = set()
    for rule in rules:
        group = _group(rule, first)
        if group is None or group not in taken:
            kept.append(rule)
        if group is not None:
            taken.add(group)
    return kept


def _group(rule: ActionRule, first: Collection[str]) -> tuple[str, str] | None:
    """The rules of which only the first that fires counts; None: this one counts whatever else fires."""
    if rule.rule_set in first:
        return rule.rule_set, ""
    return (rule.rule_set, rule.first_of) if rule.first_of else None


def _outdone(rule: ActionRule, fired: Sequence[ActionRule], first: Collection[str]) -> bool:
    """Whether another rule fired before it, of a set or a table that keeps only the first."""
    rank, group = (-rule.priority, rule.order), _group(rule, first)
    return group is not None and any(
        _group(other, first) == group and (-other.priority, other.order) < rank for other in fired
    )

"""One run of a program on one situation: shared sets first, then the shards of the event type."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from services.decision.domain.engine import RulesEngine
from services.decision.domain.program import ActionRule, FactRule, Program
from services.decision.domain.situation import Situation
from services.decision.domain.withheld import withheld_rules


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
    """Run everything that the situation's event can trigger. Pure, given the engine."""
    known = list(given_facts)
    inferred: list[str] = []
    rules: list[ActionRule] = []
    fact_rules: list[FactRule] = []
    withheld: list[ActionRule] = []
    for shard in (*program.shared, *program.shards.get(situation.event_type, ())):
        if not shard.applies(situation):
            continue
        given = [key for key in known if key in shard.uses or key in shard.infers]
        fired = engine.run(shard, shard.properties_of(situation), given)
        new = [key for key in fired.facts if key not in known]
        known += new
        inferred += new
        for key in fired.rules:
            if key in shard.rules:
                rules.append(shard.rules[key])
            elif shard.facts[key] not in fact_rules:
                fact_rules.append(shard.facts[key])
        if situation.withheld:
            withheld += withheld_rules(shard, program.shared, situation, known)
    order, first = program.order, program.choosing_first
    if len(rules) > 1:
        rules.sort(key=lambda rule: (-rule.priority, order[rule.rule_set], rule.order))
    return Outcome(
        tuple(inferred),
        tuple(_chosen(rules, first) if first else rules),
        tuple(fact_rules),
        tuple(rule for rule in withheld if not _outdone(rule, rules, first)),
    )


def _chosen(rules: Sequence[ActionRule], first: Collection[str]) -> list[ActionRule]:
    kept: list[ActionRule] = []
    for rule in rules:
        if rule.rule_set not in first or all(other.rule_set != rule.rule_set for other in kept):
            kept.append(rule)
    return kept


def _outdone(rule: ActionRule, fired: Sequence[ActionRule], first: Collection[str]) -> bool:
    """Whether another rule of a set that keeps only the first fired before it."""
    rank = (-rule.priority, rule.order)
    return rule.rule_set in first and any(
        other.rule_set == rule.rule_set and (-other.priority, other.order) < rank for other in fired
    )

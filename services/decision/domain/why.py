"""Why a rule fired in a test, or did not: the first condition that did not hold, with the value seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.domain.looking import Looked, is_written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.decision.domain.language.ast import All
    from services.decision.domain.program import Case, Program, RuleSet
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation


def why_it_failed(
    case: Case, program: Program, rule_set: RuleSet, situation: Situation, outcome: Outcome
) -> tuple[str, ...]:
    """One sentence for each rule and fact that the test did not expect as it was; none if all were."""
    looked = Looked(program, rule_set, situation, outcome, case.facts)
    return tuple(_sentences(case, rule_set, outcome, looked))


def _sentences(case: Case, rule_set: RuleSet, outcome: Outcome, looked: Looked) -> Iterator[str]:
    own = [rule for rule in outcome.rules if rule.rule_set == rule_set.name]
    fired = [rule.rule for rule in own if not rule.moves]
    if case.then_fires is not None:
        for rule in rule_set.rules:
            if rule.rule in case.then_fires and rule.rule not in fired:
                yield f"{rule.rule} did not fire: {looked.why_not(rule)}"
            elif rule.rule in fired and rule.rule not in case.then_fires:
                yield f"{rule.rule} fired: {_why(rule.when, looked)}"
        if sorted(fired) == sorted(case.then_fires) and tuple(fired) != case.then_fires:
            yield f"the same rules fired in another order: {_priorities(rule_set, fired)}"
    if case.then_facts is not None:
        for key, rules in looked.inferring.items():
            name = key.rpartition("/")[2]
            if key in case.then_facts and key not in looked.facts:
                yield f"the fact {name} was not inferred: {looked.why_no_fact(key)}"
            elif key in outcome.facts and key not in case.then_facts:
                held = [rule for rule in rules if rule in outcome.fact_rules]
                if rules[0].rule_set == rule_set.name and held:
                    yield f"the fact {name} was inferred: {_why(held[0].when, looked)}"


def _why(when: All, looked: Looked) -> str:
    said = "; ".join(looked.said(part) for part in when.parts if is_written(part))
    return said or "it has no conditions"


def _priorities(rule_set: RuleSet, fired: list[str]) -> str:
    priorities = {rule.rule: rule.priority for rule in rule_set.rules}
    return ", ".join(f"{name} has priority {priorities[name]}" for name in fired)

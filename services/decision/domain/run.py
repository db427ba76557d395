"""One run of a program on one situation: shared sets first, then the shards of the event type, results in order."""

from collections.abc import Collection
from dataclasses import dataclass

from services.decision.domain.engine import RulesEngine
from services.decision.domain.program import ActionRule, FactRule, Program
from services.decision.domain.situation import Situation


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rules came to, before arbitration.

    `facts`: keys of all facts inferred, shared ones first, in order. `rules`: action rules that fired, the highest
    priority first within a rule set, `choose: first` applied. `fact_rules`: fact rules that fired, in order.
    `withheld`: action rules that would have fired for all we may know, but need data the customer withheld.
    """

    facts: tuple[str, ...]
    rules: tuple[ActionRule, ...]
    fact_rules: tuple[FactRule, ...]
    withheld: tuple[ActionRule, ...]


def run_program(
    program: Program, engine: RulesEngine, situation: Situation, given_facts: Collection[str] = ()
) -> Outcome:
    """Run everything that the situation's event can trigger. Pure, given the engine."""
    raise NotImplementedError

"""Runs the tests embedded in a rule set, on any engine."""

from dataclasses import dataclass

from services.decision.domain.engine import RulesEngine
from services.decision.domain.program import Program, RuleSet


@dataclass(frozen=True, slots=True)
class TestResult:
    """How one embedded test went; `message` is empty when it passed."""

    name: str
    passed: bool
    message: str


def run_tests(program: Program, rule_set: RuleSet, engine: RulesEngine) -> tuple[TestResult, ...]:
    """Run every test of the set, in file order. Judges `fires` and `facts`; the caller judges `wins` and `refused`."""
    raise NotImplementedError

"""The rule sets of this repository compile without a problem, and every test inside them passes."""

from pathlib import Path

import pytest

from services.decision.domain.oracle import Oracle
from services.decision.domain.program import Program
from services.decision.domain.run import Outcome
from services.decision.domain.situation import Situation
from services.decision.domain.trial import Arbitrated, run_tests
from services.vocabulary.words import Category, RefusalReason
from tests.unit.decision.generators import RULES, compiled

FILES = sorted(RULES.glob("*.yaml"))


def live() -> Program:
    compilation = compiled(*(path.read_text(encoding="utf-8") for path in FILES))
    assert [problem.sentence() for problem in compilation.problems] == []
    assert compilation.program is not None
    return compilation.program


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_embedded_test_passes(path: Path) -> None:
    program = live()
    rule_set = program.rule_set(path.stem)
    assert rule_set is not None
    results = run_tests(program, rule_set, Oracle())
    assert results
    assert [result.message for result in results if not result.passed] == []


def test_reference_rule_set_is_read_as_written() -> None:
    bill_shock = live().rule_set("bill-shock")
    assert bill_shock is not None
    upgrade, top_up, notice = bill_shock.rules
    assert upgrade.actions[0].category is Category.SALES
    assert set(upgrade.actions[0].arms) == {"control-copy", "savings-copy"}
    assert top_up.actions[0].value is not None
    assert top_up.actions[0].value.number == 3.5
    assert notice.once is not None
    assert notice.once.cycle
    assert bill_shock.experiment is not None
    assert (bill_shock.experiment.holdout, bill_shock.experiment.arms["savings-copy"]) == (1000, 4500)
    assert {"plan.activated", "complaint.opened", "action.due"} <= live().listened


HISTORY = "{history: [{type: usage.data_used, ago: %s, mb: 60}]}"
TEXT = """ruleset: t
trigger: usage.data_used
windows: {used: {sum: usage.data_used.mb, last: 1 cycle}}
infer: [{fact: heavy, when: [windows.used > 100]}]
rules: [{id: r, when: [fact heavy], do: {task: call-back, category: service}}]
tests:
"""


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("{given: {windows: {used: 101}}, then: {fires: [r], facts: [heavy]}}", ""),
        ("{given: {windows: {used: 100}}, then: {fires: [r]}}", "expected to fire: r; fired: nothing"),
        ("{given: {facts: [heavy]}, then: {fires: []}}", "expected to fire: nothing; fired: r"),
        (
            "{given: {windows: {used: 100}}, then: {facts: [heavy]}}",
            "expected facts: heavy; inferred: nothing",
        ),
        ("{given: {withheld: [usage]}, then: {refused: {r: DATA_WITHHELD}}}", ""),
        (
            "{given: {consents: {profiling_usage: objected}}, then: {refused: {r: DATA_WITHHELD}}}",
            "",
        ),
        (
            "{then: {refused: {r: DATA_WITHHELD}}}",
            "expected r to be refused for DATA_WITHHELD; it was not refused",
        ),
        (
            "{given: {windows: {used: 101}}, then: {wins: [r]}}",
            "`wins` needs arbitration, which is not part of this run",
        ),
        (f"{{given: {HISTORY % '1h'}, when: {{mb: 60}}, then: {{fires: [r]}}}}", ""),
        (f"{{given: {HISTORY % '20d'}, when: {{mb: 60}}, then: {{fires: []}}}}", ""),
    ],
)
def test_embedded_test_says_what_came_instead(case: str, message: str) -> None:
    program = compiled(f"{TEXT}  - {{name: n, {case[1:]}\n").program
    assert program is not None
    (result,) = run_tests(program, program.rule_sets[0], Oracle())
    assert (result.passed, result.message) == (not message, message)


def test_arbitration_is_judged_where_it_is_given() -> None:
    case = "  - {name: n, given: {facts: [heavy]}, then: {wins: [r], refused: {r: CAPPED}}}\n"
    program = compiled(TEXT + case).program
    assert program is not None

    def arbitrate(_case: object, _situation: Situation, outcome: Outcome) -> Arbitrated:
        names = tuple((rule.rule_set, rule.rule) for rule in outcome.rules)
        return Arbitrated(names, dict.fromkeys(names, RefusalReason.CAPPED))

    (result,) = run_tests(program, program.rule_sets[0], Oracle(), arbitrate)
    assert result.passed

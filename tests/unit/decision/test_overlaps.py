"""Rule sets that want to sell to one customer are named, with a customer for whom both really fire."""

import pytest

from services.decision.domain.examples import find_example
from services.decision.domain.oracle import Oracle
from services.decision.domain.problems import Problem, Severity
from services.decision.domain.run import run_program
from tests.unit.decision.generators import catalogue, compiled
from tests.unit.decision.test_language import program_of

OFFER = "{offer: data-top-up, with: {gb: 2}, category: sales, expires: 24h}"
GOODWILL = "{offer: goodwill-1gb, category: retention, expires: 7d}"
HEAD = """trigger: usage.data_used
windows:
  used: {sum: usage.data_used.mb, last: 1 cycle}
  sessions: {count: usage.data_used, last: 24h}
  week: {count: usage.data_used, last: 7d}
  drops: {count: network.call_dropped, last: 24h}
"""


def rule_set(name: str, when: str, do: str = OFFER, more: str = "", head: str = HEAD) -> str:
    return f"ruleset: {name}\n{head}{more}rules:\n  - {{id: {name}-rule, when: {when}, do: {do}}}\n"


def overlaps(*texts: str) -> list[Problem]:
    compilation = compiled(*texts)
    assert compilation.program is not None, [problem.sentence() for problem in compilation.errors]
    return [problem for problem in compilation.problems if problem.check == "overlap"]


MATCHING = [
    ("[event.mb > 100]", "[profile.plan_data_mb < 5000]"),
    ("[event.country is ES or PT]", "[event.country is not FR]"),
    ("[windows.used > 1000, profile.plan starts with m]", "[windows.used < 2000, profile.plan exists]"),
    ("[event.mb > profile.plan_data_mb]", "[event.mb < 50]"),
    ("[windows.used crosses 800]", "[event.mb > 1]"),
    ("[today is sat, now between 09:00 and 12:00]", "[today is sat or sun]"),
    ("[profile.contract_end within next 60d]", "[profile.contract_end within next 30d]"),
    ("[profile.balance < 5.00]", "[profile.balance < profile.usual_bill]"),
    ("[profile.products contains tv]", "[profile.products contains phone or internet]"),
    ("[context.cell.incident exists]", "[profile.churn_risk > 0.9]"),
    ("[{any: [event.mb > 500, windows.drops > 3]}]", "[event.mb < 100]"),
    ("[fact heavy]", "[fact heavy]"),
]


@pytest.mark.parametrize(("one", "other"), MATCHING)
def test_overlap_is_a_warning_and_its_example_makes_both_fire(one: str, other: str) -> None:
    facts = "infer: [{fact: heavy, when: [event.mb > 200]}]\n"
    texts = rule_set("a", one, more=facts), rule_set("b", other, GOODWILL, more=facts)
    (problem,) = overlaps(*texts)
    assert (problem.severity, problem.file, problem.line) == (Severity.WARNING, "2.yaml", 10)
    assert problem.message.startswith("`b-rule` and `a-rule` of a compete for one customer")
    program = program_of(*texts)
    first, second = program.rule_sets
    event = catalogue().events["usage.data_used"]
    example = find_example(program, event, (first, first.rules[0]), (second, second.rules[0]))
    assert example is not None
    fired = {rule.key for rule in run_program(program, Oracle(), example.situation).rules}
    assert fired == {"a/a-rule", "b/b-rule"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[event.mb > 100]", "[event.mb <= 100]"),
        ("[fact heavy]", "[event.mb < 10]"),
        ("[windows.sessions > 5]", "[windows.week < 3]"),
        ("[profile.plan exists]", "[profile.plan missing]"),
    ],
)
def test_rule_sets_that_exclude_each_other_do_not_overlap(one: str, other: str) -> None:
    facts = "infer: [{fact: heavy, when: [event.mb > 200]}]\n"
    assert overlaps(rule_set("a", one, more=facts), rule_set("b", other, more=facts)) == []


def test_example_is_told() -> None:
    (problem,) = overlaps(
        rule_set("a", "[event.country is ES, profile.plan_data_mb < 5000]"),
        rule_set("b", "[profile.plan_data_mb >= 4000]"),
    )
    assert problem.message == (
        "`b-rule` and `a-rule` of a compete for one customer: country ES, plan_data_mb 4000"
    )


def test_only_what_could_win_overlaps() -> None:
    task = "{task: call-back, category: service}"
    later = GOODWILL.replace("expires: 7d", "expires: 7d, after: 48h")
    other_trigger = HEAD.replace("trigger: usage.data_used", "trigger: complaint.opened")
    assert overlaps(rule_set("a", "[]", task), rule_set("b", "[]")) == []
    assert overlaps(rule_set("a", "[]"), rule_set("b", "[]", later)) == []
    assert overlaps(rule_set("a", "[]"), rule_set("b", "[]", head=other_trigger)) == []
    assert len(overlaps(rule_set("a", "[]"), rule_set("b", "[]"))) == 1


def test_sets_active_at_different_times_do_not_overlap() -> None:
    one = rule_set("a", "[]", more="active: {from: 2026-01-01, to: 2026-01-31}\n")
    other = rule_set("b", "[]", more="active: {from: 2026-02-01}\n")
    assert overlaps(one, other) == []
    assert len(overlaps(one, other.replace("2026-02-01", "2026-01-31"))) == 1


def test_two_sets_are_named_once_and_each_pair_of_sets_for_itself() -> None:
    two = rule_set("a", "[]") + f"  - {{id: more, when: [], do: {GOODWILL}}}\n"
    found = overlaps(two, rule_set("b", "[]"), rule_set("c", "[]"))
    assert sorted((problem.file, problem.message[:24]) for problem in found) == [
        ("2.yaml", "`b-rule` and `a-rule` of"),
        ("3.yaml", "`c-rule` and `a-rule` of"),
        ("3.yaml", "`c-rule` and `b-rule` of"),
    ]

"""What the tests of a rule set reach, and why one of them failed."""

import pytest

from services.decision.domain.coverage import coverage_of
from services.decision.domain.oracle import Oracle
from services.decision.domain.run import run_program
from services.decision.domain.trial import situation_of, where_it_stands
from services.decision.domain.why import why_it_failed
from tests.unit.decision.generators import compiled
from tests.unit.decision.test_sentences import JOURNEY

TEXT = """ruleset: t
trigger: [usage.data_used, complaint.opened]
choose: {choose}
windows: {{used: {{sum: usage.data_used.mb, last: 1 cycle}}}}
infer:
  - fact: heavy
    when: [windows.used > 100]
  - fact: rich
    when:
      - any:
          - profile.balance >= 20
          - all: [profile.prepaid is true, fact heavy]
rules:
  - id: first
    priority: 60
    when:
      - fact rich
      - none: [profile.plan is m-5gb, today is sun]
    do: {{task: call-back, category: service}}
  - id: second
    when:
      - not fact heavy
      - now between 09:00 and 18:00
    do: {{task: call-back, category: service}}
tests:{none}
"""


def program_of(*cases, choose="all"):
    text = TEXT.format(choose=choose, none="" if cases else " []") + "".join(
        f"  - {{name: case {number}, {case}}}\n" for number, case in enumerate(cases)
    )
    compilation = compiled(text)
    assert compilation.program is not None, [problem.sentence() for problem in compilation.errors]
    return compilation.program


def covered(*cases):
    program = program_of(*cases)
    return coverage_of(program, program.rule_sets[0], Oracle())


def test_nothing_is_seen_without_a_test():
    coverage = covered()
    assert coverage.percent == 0
    assert [rule.name for rule in coverage.rules] == ["heavy", "rich", "first", "second"]
    assert not any(rule.fired for rule in coverage.rules)
    assert len(coverage.conditions) == 9
    assert len(list(coverage.gaps())) == 4 + 2 * 9


USED = (
    "given: {profile: {prepaid: true}, windows: {used: 101}}, "
    "when: {type: usage.data_used}, then: {fires: [first]}"
)
CALM = (
    "given: {profile: {balance: 20, plan: m-5gb}, windows: {used: 100}}, "
    "when: {type: complaint.opened}, then: {fires: [second]}"
)


def test_each_condition_is_seen_through_facts_and_groups_with_its_line():
    coverage = covered(USED)
    seen = {(each.line, each.source): (each.true, each.false) for each in coverage.conditions}
    assert seen == {
        (7, "windows.used > 100"): (True, False),
        (11, "profile.balance >= 20"): (False, True),
        (12, "profile.prepaid is true"): (True, False),
        (12, "fact heavy"): (True, False),
        (17, "fact rich"): (True, False),
        (18, "profile.plan is m-5gb"): (False, True),
        (18, "today is sun"): (False, True),
        (22, "not fact heavy"): (False, True),
        (23, "now between 09:00 and 18:00"): (True, False),
    }
    assert [(rule.name, rule.line, rule.fired) for rule in coverage.rules] == [
        ("heavy", 6, True),
        ("rich", 8, True),
        ("first", 14, True),
        ("second", 20, False),
    ]


def test_a_second_test_fills_gaps_and_what_is_left_is_said_in_the_order_of_lines():
    coverage = covered(USED, CALM)
    assert [rule.fired for rule in coverage.rules] == [True, True, True, True]
    assert list(coverage.gaps()) == [
        (17, "never false: fact rich  (rule first)"),
        (18, "never true: today is sun  (rule first)"),
        (23, "never false: now between 09:00 and 18:00  (rule second)"),
    ]
    assert coverage.percent == pytest.approx(100 * (4 + 18 - 3) / (4 + 18))


def why(case, choose="all"):
    program = program_of(case, choose=choose)
    rule_set = program.rule_sets[0]
    (only,) = rule_set.tests
    situation = situation_of(only, rule_set, program.catalogue)
    outcome = run_program(program, Oracle(), situation, only.facts)
    return why_it_failed(only, program, rule_set, situation, outcome)


NOT_INFERRED = "did not hold (the fact was not inferred)"
HEAVY = "line 7, `windows.used > 100` did not hold (windows.used was 100)"
CLOCK = "line 23, `now between 09:00 and 18:00` held (it was 12:00)"


def case_of(given, then):
    return f"given: {given}, when: {{type: usage.data_used}}, then: {then}"


NOT_RICH = (
    f"line 17, `fact rich` {NOT_INFERRED}, because none of its alternatives held: line 11, "
    "`profile.balance >= 20` did not hold (profile.balance was not known); "
    f"line 12, `fact heavy` {NOT_INFERRED}, because {HEAVY}"
)
ON_PLAN = "under `none`, this held: line 18, `profile.plan is m-5gb` held (profile.plan was m-5gb)"


@pytest.mark.parametrize(
    ("given", "then", "sentence"),
    [
        (
            "{profile: {prepaid: true}, windows: {used: 100}}",
            "{fires: [second, first]}",
            f"first did not fire: {NOT_RICH}",
        ),
        (
            "{profile: {plan: m-5gb, balance: 20}, windows: {used: 101}}",
            "{fires: [first]}",
            f"first did not fire: {ON_PLAN}",
        ),
        (
            "{windows: {used: 5}}",
            "{fires: []}",
            f"second fired: line 22, `not fact heavy` held (the fact was not inferred); {CLOCK}",
        ),
        (
            "{facts: [heavy]}",
            "{fires: [second]}",
            "second did not fire: line 22, `not fact heavy` did not hold (the test gives the fact)",
        ),
        (
            "{withheld: [usage], profile: {balance: 20}}",
            "{fires: [first]}",
            "first did not fire: it looks at data that the customer withheld",
        ),
        (
            "{profile: {balance: 20}, windows: {used: 5}}",
            "{fires: [second, first]}",
            "the same rules fired in another order: first has priority 60, second has priority 50",
        ),
        ("{windows: {used: 100}}", "{facts: [heavy]}", f"the fact heavy was not inferred: {HEAVY}"),
        (
            "{windows: {used: 101}}",
            "{facts: []}",
            "the fact heavy was inferred: line 7, `windows.used > 100` held (windows.used was 101)",
        ),
    ],
)
def test_a_failing_test_says_what_kept_the_rule_and_the_value_seen(given, then, sentence):
    assert why(case_of(given, then)) == (sentence,)


def test_a_test_that_passes_needs_no_reason():
    assert why(USED) == ()


def test_only_the_first_counts():
    case = case_of("{profile: {balance: 20}, windows: {used: 5}}", "{fires: [first, second]}")
    assert why(case, choose="first") == (
        "second did not fire: another rule fired before it, and only the first counts (choose: first)",
    )


def test_facts_that_rest_on_each_other_end():
    text = """ruleset: t
trigger: usage.data_used
infer:
  - {fact: a, when: [fact b, profile.prepaid is true]}
  - {fact: b, when: [fact a]}
rules:
  - {id: r, when: [fact a], do: {task: call-back, category: service}}
tests:
  - {name: x, then: {fires: [r]}}
"""
    program = compiled(text).program
    assert program is not None
    (rule_set,) = program.rule_sets
    (case,) = rule_set.tests
    situation = situation_of(case, rule_set, program.catalogue)
    outcome = run_program(program, Oracle(), situation, case.facts)
    (sentence,) = why_it_failed(case, program, rule_set, situation, outcome)
    assert "it rests on itself" in sentence


def test_steps_of_a_journey_are_reached_where_the_customer_stands():
    program = compiled(JOURNEY).program
    assert program is not None
    coverage = coverage_of(program, program.rule_sets[0], Oracle())
    assert [(each.what, each.name, each.fired) for each in coverage.rules] == [
        ("step", "step-1", True),
        ("step", "step-3", True),
        ("step", "step-4.then-1", False),
        ("step", "called", False),
    ]
    assert [(each.owner, each.source, each.true) for each in coverage.conditions] == [
        ("step step-3", "windows.screens is 0", True),
        ("step step-3", "profile.plan exists", True),
    ]


SCREENS = "`windows.screens is 0` did not hold (windows.screens was 2)"


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        (
            "{step: step-2}",
            "step-3 did not fire: line 10, `windows.screens is 0` did not hold (windows.screens was 2)",
        ),
        ("{order: o1}", "step-3 did not fire: the customer does not come to this step then"),
    ],
)
def test_a_step_that_was_not_said(when, sentence):
    case = (
        f"given: {{windows: {{screens: 2}}, profile: {{plan: m}}}}, when: {when}, then: {{fires: [step-3]}}"
    )
    text = JOURNEY[: JOURNEY.index("tests:")] + f"tests: [{{name: a, {case}}}]\n"
    program = compiled(text).program
    assert program is not None
    (rule_set,) = program.rule_sets
    situation = situation_of(rule_set.tests[0], rule_set, program.catalogue)
    ran = run_program(program, Oracle(), situation)
    outcome = where_it_stands(rule_set.tests[0], rule_set, ran)
    assert sentence in why_it_failed(rule_set.tests[0], program, rule_set, situation, outcome)

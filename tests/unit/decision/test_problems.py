"""Everything wrong in a rule set is said at once, each with its place, and with what would be right."""

import pytest

from services.decision.domain.problems import Problem, Severity
from tests.unit.decision.generators import compiled

HEAD = """ruleset: t
trigger: [usage.data_used, complaint.opened]
windows:
  used: {sum: usage.data_used.mb, last: 1 cycle}
  drops: {count: network.call_dropped, last: 24h}
"""
DO = "{task: call-back, category: service}"


def with_line(line: str, do: str = DO) -> str:
    return f"{HEAD}rules:\n  - id: r\n    when:\n      - {line}\n    do: {do}\n"


def errors_of(*texts: str) -> list[Problem]:
    return [problem for problem in compiled(*texts).problems if problem.severity is Severity.ERROR]


def only_error(*texts: str) -> Problem:
    problems = errors_of(*texts)
    assert len(problems) == 1, [problem.sentence() for problem in problems]
    return problems[0]


@pytest.mark.parametrize(
    ("line", "check", "suggestion"),
    [
        ("profile.beter_plan exists", "unknown-trait", "did you mean better_plan?"),
        ("event.mbs > 3", "unknown-field", "did you mean mb?"),
        ("event.mb > abc", "unlike-types", "write it as 120 or 0.5"),
        ("profile.plan > 3", "unlike-types", "use `is` or `is not`"),
        ("profile.balance > event.mb", "unlike-types", "compare values of one type"),
        ("profile.balance > 5 USD", "unlike-types", "write it in EUR"),
        ("profile.prepaid is yes", "unlike-types", "write true or false"),
        ("profile.products is tv", "unlike-types", "products contains tv"),
        ("profile.products contains event.mb", "unlike-types", "the path of one"),
        ("profile.products contains event.mbs", "unknown-field", "did you mean mb?"),
        ("profile.plan starts with profile.balance", "unlike-types", "the path of one"),
        ("profile.plan is m-20gb or event.mb", "unlike-types", "compare values of one type"),
        ("event.mb is abc or profile.plan_data_mb", "unlike-types", "write it as 120 or 0.5"),
        ("event.mb is profile.plan_data_mb or", "condition", "write one after `or`"),
        ("profile.plan + 1 > 3", "unlike-types", "calculate with"),
        ("windows.usd >= 3", "unknown-window", "did you mean used?"),
        ("fact nope", "unknown-fact", "add it under `infer`"),
        ("not profile.prepaid", "condition", "none: […]"),
        ("profile.birth_date exists", "sensitive-trait", "profile.adult"),
        ("profile.name exists", "direct-trait", "show it in a template"),
        ("event.mb = 3", "condition", "write `is`"),
        ("profile.plan is m 20", "condition", "in quotes"),
        ("profile.plan is m, n", "condition", "join choices by `or`"),
        ("profile.plan is missing", "condition", "profile.plan missing"),
        ("event.type is topup.received", "unknown-value", "add it to `trigger`"),
        ("household.size > 2", "unknown-trait", "lines, members, shared_data_left_mb"),
        ("ask.topic is x", "unknown-field", "add a question to `trigger`"),
        ("event.mb crosses 3", "unlike-types", "windows.mb crosses 800"),
        ("windows.drops crosses 3", "never-fires", "add network.call_dropped to `trigger`"),
        ("profile.contract_end within 60d", "condition", "within next 60d"),
        ("today is someday", "condition", "sunday"),
        ("now between 25:00 and 3:00", "condition", "09:30"),
        ("arm is x", "unknown-arm", "add `experiment`"),
        ("profile.products contain tv", "condition", "did you mean contains?"),
        ("context.cell.incidnt exists", "unknown-thing", "did you mean incident?"),
        ("event.mb > 0.00001", "unlike-types", "0.001"),
        ("event.topic happened", "condition", "count it"),
        ("{eny: [fact x]}", "condition", "did you mean any?"),
        ("{any: []}", "never-fires", "change one of these lines"),
        ("'profile.plan is \"x'", "condition", "same quote"),
    ],
)
def test_line_is_refused_with_what_would_be_right(line: str, check: str, suggestion: str) -> None:
    problem = only_error(with_line(line))
    assert problem.check == check
    assert suggestion in problem.suggestion


def test_place_is_that_of_the_word_at_fault() -> None:
    problem = only_error(with_line("event.mb > abc"))
    assert (problem.line, problem.column, problem.file) == (9, 20, "1.yaml")


def test_all_problems_are_reported_at_once() -> None:
    text = f"""ruleset: Bad Name
trigger: usage.data_usde
stage: billing
colour: red
windows:
  a: {{count: usage.data_used}}
  b: {{sum: usage.data_used.mbs, last: 24h}}
rules:
  - id: r
    priority: 5000
    when: [profile.nope exists, windows.c > 3]
    do: {{offer: no-such-offer, category: sals, expires: soon}}
    do: {DO}
"""
    checks = [problem.check for problem in errors_of(text)]
    for check in (
        "name",
        "unknown-event",
        "unknown-key",
        "window",
        "unknown-field",
        "unknown-trait",
        "unknown-window",
        "unknown-offer",
        "duplicate-key",
    ):
        assert check in checks
    assert checks.count("value") == 4  # stage, priority, category, expires


@pytest.mark.parametrize(
    ("do", "check"),
    [
        ("{message: outage-notice, with: {eta: soon}}", "missing-category"),
        ("{message: outage-notce, with: {eta: soon}, category: service}", "missing-template"),
        ("{message: outage-notice, category: service}", "missing-parameter"),
        ("{message: outage-notice, with: {eta: soon}, category: mandatory}", "no-ground"),
        ("{offer: data-top-up, with: {gb: 2}, category: sales}", "sales-without-expiry"),
        ("{offer: data-topup, with: {gb: 2}, category: sales, expires: 1h}", "unknown-offer"),
        ("{task: call-back, category: service, channels: [tsk]}", "unknown-channel"),
        ("{task: call-back, category: service, topic: weathr}", "unknown-topic"),
        ("{task: call-back, category: service, arms: {one: {}}}", "unknown-arm"),
        ("{task: call-back, category: service, unless: [complaint.opened happened]}", "action"),
        ("{task: call-back, category: service, after: 2h, expires: 1h}", "never-fires"),
        (
            "{task: call-back, category: service, after: 2h, unless: [complaint.opned happened]}",
            "unknown-event",
        ),
        ("{task: call-back, category: service, after: 2h, keep: [event.mb > 3]}", "keep"),
        ("{task: call-back, category: service, with: {note: '{event.mbs}'}}", "unknown-field"),
        ("{task: call-back, category: service, with: {note: {event.mb}}}", "unquoted-braces"),
        ("{task: call-back, category: service, once: sometimes}", "once"),
        ("{task: call-back, category: service, once: {per: 1d, scope: flat}}", "value"),
        ("{taks: call-back, category: service}", "action"),
        ("{set: {trait: upst, to: true}}", "unknown-trait"),
        ("{set: {trait: upset, to: maybe}}", "unlike-types"),
        ("{set: {trait: upset, to: '{event.mb}'}}", "unlike-types"),
        ("{set: {trait: tenure_months, to: '{event.mb}'}}", "unlike-types"),
        ("{set: {trait: tenure_months, to: '{windows.drops} drops'}}", "unlike-types"),
        ("{set: {trait: brand, to: '{event.mbs}'}}", "unknown-field"),
        ("{set: {trait: brand, to: '{profile.birth_date}'}}", "sensitive-trait"),
        ("{emit: plan.activated}", "missing-field"),
        ("{emit: action.sent}", "unknown-event"),
        ("{avoid: [saless]}", "value"),
        ("{say: 'hello {event.mbs}'}", "unknown-field"),
    ],
)
def test_action_is_refused(do: str, check: str) -> None:
    checks = {problem.check for problem in errors_of(with_line("event.mb > 3", do))}
    assert check in checks
    assert checks <= {check, "value"}


@pytest.mark.parametrize(
    ("window", "check"),
    [
        ("{count: usage.data_usd, last: 24h}", "unknown-event"),
        ("{sum: usage.data_used, last: 24h}", "window"),
        ("{count: usage.data_used.mb, last: 24h}", "window"),
        ("{sum: usage.data_used.country, last: 24h}", "unlike-types"),
        ("{count: usage.data_used, last: 90d}", "window-too-long"),
        ("{distinct: usage.data_used.country, last: 3 cycles}", "window-too-long"),
        ("{count: usage.data_used, last: 20 cycles}", "window-too-long"),
        ("{count: usage.data_used, sum: usage.data_used.mb, last: 1d}", "window"),
        ("{count: usage.data_used}", "window"),
        ("{count: usage.data_used, last: 24}", "window"),
        ("{count: usage.data_used, last: 24h, this: left out}", "window"),
        ("{count: usage.data_used, last: 24h, where: [event.country is FR]}", "condition"),
        ("{count: usage.data_used, last: 24h, where: [contry is FR]}", "unknown-field"),
        ("{count: network.outage_started, last: 24h}", "window"),
        ("{count: usage.data_used, last: 24h, wher: []}", "unknown-key"),
    ],
)
def test_window_is_refused(window: str, check: str) -> None:
    text = f"ruleset: t\ntrigger: usage.data_used\nwindows:\n  w: {window}\nrules:\n  - {{id: r, do: {DO}}}\n"
    assert [problem.check for problem in errors_of(text)] == [check]


def test_calendar_days_are_suggested_for_a_window_over_what_is_kept_by_day() -> None:
    text = (
        "ruleset: t\ntrigger: usage.data_used\nwindows: {w: {count: usage.data_used, last: 90d}}\nrules: []\n"
    )
    problem = next(problem for problem in errors_of(text) if problem.check == "window-too-long")
    assert "last: 90 days" in problem.suggestion


@pytest.mark.parametrize(
    "lines",
    [
        "[event.mb > 3, event.mb < 3]",
        "[event.mb > 3, event.mb is 2]",
        "[event.mb is 2 or 3, event.mb is not 2 or 3]",
        "[event.topic missing, event.topic is calls]",
        "[fact a, not fact a]",
        "[fact a, event.mb < 1]",
        "[event.type is complaint.opened, event.mb > 1]",
        "[profile.prepaid is true, profile.prepaid is false]",
        "[profile.prepaid is true, {any: [profile.prepaid is false, {all: [event.mb > 3, event.mb < 2]}]}]",
        "[today is sat, today is sun]",
        "[{none: [event.mb > 3]}, event.mb > 3]",
        "[now between 9:00 and 10:00, now between 11:00 and 12:00]".replace("9:", "09:"),
        "[windows.drops < 0]",
        "[windows.drops missing]",
        "[profile.churn_risk > 1]",
        "[profile.plan starts with m, profile.plan starts with l]",
        "[profile.contract_end within next 5d, none: [profile.contract_end within next 9d]]",
        "[profile.balance > profile.usual_bill, profile.balance <= profile.usual_bill]",
        "[{any: [event.topic is calls, event.topic is coverage]}, event.mb > 3]",
        "[not fact a, event.mb > 6]",
        "[fact b, event.mb > 8]",
        "[not fact b, event.mb > 5, event.mb < 6]",
    ],
)
def test_rule_that_can_never_fire_is_refused(lines: str) -> None:
    text = (
        f"{HEAD}infer: [{{fact: a, when: [event.mb > 5]}}, {{fact: b, when: [fact a, event.mb < 7]}},\n"
        f"  {{fact: b, when: [event.mb < 2]}}]\nrules:\n  - {{id: r, when: {lines}, do: {DO}}}\n"
    )
    assert only_error(text).check == "never-fires"


@pytest.mark.parametrize(
    "lines",
    [
        "[event.mb >= 3, event.mb <= 3]",
        "[{any: [event.mb > 5, event.mb < 3]}, event.mb < 4]",
        "[{none: [event.mb > 3]}, event.mb > 2]",
        "[event.type is complaint.opened, event.mb missing]",
        "[today is sat or sun, today is sun]",
        "[profile.churn_risk >= 1]",
        "[windows.drops < 1]",
        "[profile.plan starts with m, profile.plan starts with m-2]",
        "[profile.balance >= profile.usual_bill, profile.balance <= profile.usual_bill]",
        "[profile.contract_end within next 5d, profile.contract_end within last 5d]",
        "[profile.plan missing, profile.plan is not m-20gb]",
        "[event.mb is not 3, event.mb >= 3, event.mb <= 3.5]",
    ],
)
def test_rule_that_may_fire_is_not_refused(lines: str) -> None:
    assert errors_of(f"{HEAD}rules:\n  - {{id: r, when: {lines}, do: {DO}}}\n") == []


def test_negation_cycle_is_printed() -> None:
    text = f"""{HEAD}infer:
  - {{fact: a, when: [fact b]}}
  - {{fact: b, when: [event.mb > 3, none: [fact c]]}}
  - {{fact: c, when: [fact a]}}
rules:
  - {{id: r, when: [fact a], do: {DO}}}
"""
    problem = only_error(text)
    assert problem.check == "negation-cycle"
    assert "b needs not c, c needs a, a needs b" in problem.message
    assert problem.line == 8


def test_negation_cycle_through_shared_sets_is_found() -> None:
    one = "ruleset: one\nshared: true\ninfer: [{fact: a, when: [not fact b]}]\n"
    two = "ruleset: two\nshared: true\ninfer: [{fact: b, when: [fact a]}]\n"
    assert {(problem.check, problem.file) for problem in errors_of(one, two)} == {
        ("negation-cycle", "1.yaml"),
        ("negation-cycle", "2.yaml"),
    }


def test_positive_cycle_is_no_problem() -> None:
    text = f"""{HEAD}infer:
  - {{fact: a, when: [fact b]}}
  - {{fact: b, when: [any: [fact a, event.mb > 3]]}}
rules:
  - {{id: r, when: [fact a], do: {DO}}}
"""
    assert errors_of(text) == []


def test_shadowed_rule_is_refused_where_only_the_first_counts() -> None:
    rules = f"""rules:
  - {{id: first, priority: 9, when: [event.mb > 3], do: {DO}}}
  - {{id: second, priority: 8, when: [event.mb > 3, profile.prepaid is true], do: {DO}}}
"""
    assert only_error(f"{HEAD}choose: first\n{rules}").check == "shadowed"
    assert errors_of(f"{HEAD}{rules}") == []


def test_arm_that_no_rule_uses_is_refused() -> None:
    experiment = "experiment: {id: x, holdout: 10%, arms: {one: 45%, two: 45%}}\n"
    do = "{task: call-back, category: service, arms: {one: {}}}"
    assert only_error(with_line("event.mb > 3", do) + experiment).check == "unused-arm"
    assert errors_of(with_line("arm is two", do) + experiment) == []


def test_shares_over_the_whole_are_refused() -> None:
    experiment = "experiment: {id: x, holdout: 20%, arms: {one: 90%}}\n"
    do = "{task: call-back, category: service, arms: {one: {}}}"
    assert only_error(with_line("event.mb > 3", do) + experiment).check == "experiment"


def test_rule_without_test_is_a_warning_only() -> None:
    compilation = compiled(with_line("event.mb > 3"))
    assert compilation.program is not None
    assert [(problem.check, problem.severity) for problem in compilation.problems] == [
        ("untested-rule", Severity.WARNING)
    ]


@pytest.mark.parametrize(
    ("case", "check"),
    [
        ("{name: n, when: {type: usage.data_used, mbs: 3}, then: {fires: []}}", "unknown-field"),
        ("{name: n, when: {type: usage.data_used, mb: much}, then: {fires: []}}", "unlike-types"),
        ("{name: n, when: {}, then: {fires: []}}", "test"),
        ("{name: n, when: {type: usage.data_used}, then: {fires: [q]}}", "unknown-rule"),
        ("{name: n, when: {type: usage.data_used}}", "test"),
        ("{name: n, given: {profil: {}}, when: {type: usage.data_used}, then: {fires: []}}", "unknown-key"),
        ("{name: n, given: {facts: [x]}, when: {type: usage.data_used}, then: {fires: []}}", "unknown-fact"),
        ("{name: n, given: {withheld: [use]}, when: {type: usage.data_used}, then: {fires: []}}", "test"),
        ("{name: n, given: {windows: {usd: 1}}, when: {type: usage.data_used}, then: {}}", "unknown-window"),
        (
            "{name: n, given: {history: [{type: x.y, ago: 1d}]}, when: {type: usage.data_used}, then: {}}",
            "unknown-event",
        ),
    ],
)
def test_embedded_test_is_checked(case: str, check: str) -> None:
    problems = errors_of(with_line("event.mb > 3") + f"tests:\n  - {case}\n")
    assert check in {problem.check for problem in problems}


def test_two_rule_sets_of_one_name_are_refused() -> None:
    text = with_line("event.mb > 3")
    assert only_error(text, text).check == "name"


def test_shared_set_only_infers() -> None:
    text = f"ruleset: s\nshared: true\ntrigger: usage.data_used\nrules:\n  - {{id: r, do: {DO}}}\n"
    assert [problem.check for problem in errors_of(text)] == ["trigger", "action"]


def test_fact_of_a_shared_set_cannot_be_inferred_again() -> None:
    shared = "ruleset: s\nshared: true\ninfer: [{fact: a, when: [event.type is usage.data_used]}]\n"
    local = f"{HEAD}infer: [{{fact: a, when: []}}]\nrules:\n  - {{id: r, when: [fact a], do: {DO}}}\n"
    assert only_error(shared, local).check == "fact"


def test_too_many_alternatives_between_facts_are_refused() -> None:
    facts = ", ".join(f"fact f{number}" for number in range(13))
    infer = "".join(f"  - {{fact: f{number}, when: [event.mb > {number}]}}\n" for number in range(13))
    text = f"{HEAD}infer:\n{infer}rules:\n  - {{id: r, when: [any: [{facts}]], do: {DO}}}\n"
    assert only_error(text).check == "too-many-alternatives"


def test_something_that_is_no_rule_set_at_all() -> None:
    assert [problem.check for problem in errors_of("- a\n- b\n")] == ["value"]
    assert {problem.check for problem in errors_of("a: 1\n")} == {"unknown-key", "name", "trigger", "action"}

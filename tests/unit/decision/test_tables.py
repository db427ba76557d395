"""A table's rows fire as they read, the first that fits by default; what cannot be meant is refused."""

from typing import Any

import pytest

from services.decision.domain.problems import Problem, Severity
from services.vocabulary.words import Purpose
from tests.unit.decision.generators import compiled
from tests.unit.decision.test_language import make_situation, program_of, run

HEAD = """ruleset: t
trigger: [usage.data_used, complaint.opened]
windows:
  used: {sum: usage.data_used.mb, last: 1 cycle}
"""
DO = "{task: call-back, category: service}"


def table(columns: str, *rows: str, keys: str = "", beside: str = "") -> str:
    written = "".join(f"    - {row}\n" for row in rows)
    return f"{HEAD}{beside}table:\n{keys}  columns: {columns}\n  rows:\n{written}"


def fired(text: str, **situation: Any) -> list[str]:
    return [rule.rule for rule in run(program_of(text), make_situation(**situation)).rules]


def errors_of(text: str) -> list[Problem]:
    return [problem for problem in compiled(text).problems if problem.severity is Severity.ERROR]


# make_situation: mb 120.5 in ES, plan m-20gb of 200 MB, balance 5.00, products tv and internet
@pytest.mark.parametrize(
    ("path", "cell", "expected"),
    [
        ("event.country", "any", True),
        ("event.country", "'any'", True),
        ("event.country", "'ES or PT'", True),
        ("profile.plan", "'\"any\"'", False),
        ("event.country", "ES or PT", True),
        ("event.country", "FR", False),
        ("event.country", "not ES", False),
        ("event.country", "is not FR or PT", True),
        ("event.country", "exists", True),
        ("event.cycle", "missing", True),
        ("event.cycle", "is not 2026-05", True),
        ("event.mb", "under 120.5", False),
        ("event.mb", "under 120.6", True),
        ("event.mb", "over 120.5", False),
        ("event.mb", "over 120", True),
        ("event.mb", "120.5 to 130", True),
        ("event.mb", "100 to 120.5", True),
        ("event.mb", "121 to 130", False),
        ("event.mb", "'>= 120.5'", True),
        ("event.mb", "under profile.plan_data_mb", True),
        ("event.mb", "over profile.plan_data_mb * 0.9", False),
        ("profile.plan_data_mb", "200", True),
        ("profile.plan_data_mb", "100 or 200", True),
        ("profile.prepaid", "true", True),
        ("profile.prepaid", "false", False),
        ("profile.balance", "under 5.01 EUR", True),
        ("profile.balance", "4.00 to 5.00", True),
        ("profile.plan", "starts with m", True),
        ("profile.plan", "'\"l 50\" or m-20gb'", True),
        ("profile.products", "contains tv or phone", True),
        ("profile.products", "contains phone", False),
        ("profile.contract_end", "2026-06-10 to 2026-06-30", True),
        ("profile.contract_end", "within next 5d", False),
        ("windows.used", "crosses 160", True),
        ("windows.used", "over 160", False),
        ("event.type", "usage.data_used", True),
        ("profile.tenure_months", "under 5", False),
        ("profile.tenure_months", "missing", True),
        ("context.cell.incident", "INC7", True),
    ],
)
def test_cell_means_what_it_says(path: str, cell: str, expected: bool) -> None:  # noqa: FBT001
    assert fired(table(f"[{path}, do]", f"[{cell}, {DO}]")) == (["row-1"] if expected else [])


ROWS = (
    f"[ES or PT, under 200, {DO}]",
    f"[ES or PT, any, {DO}]",
    f"[any, any, {DO}]",
)
COLUMNS = "[event.country, profile.plan_data_mb, do]"


@pytest.mark.parametrize(
    ("country", "plan_mb", "expected"),
    [("ES", 199, "row-1"), ("PT", 200, "row-2"), ("FR", 100, "row-3"), ("ES", None, "row-2")],
)
def test_only_the_first_row_that_fits_fires(country: str, plan_mb: int | None, expected: str) -> None:
    traits = {} if plan_mb is None else {"plan_data_mb": plan_mb}
    event = {"mb": 1.0, "country": country}
    assert fired(table(COLUMNS, *ROWS), event=event, traits=traits) == [expected]


def test_all_rows_that_fit_fire_where_all_are_chosen() -> None:
    traits = {"plan_data_mb": 100}
    assert fired(table(COLUMNS, *ROWS, keys="  choose: all\n"), traits=traits) == ["row-1", "row-2", "row-3"]


def test_rules_beside_a_table_fire_whatever_row_does() -> None:
    high = f"rules:\n  - {{id: high, priority: 90, when: [event.mb > 1], do: {DO}}}\n"
    low = f"  - {{id: low, priority: 10, when: [], do: {DO}}}\n"
    assert fired(table(COLUMNS, *ROWS, beside=high + low)) == ["high", "row-2", "low"]
    only_one = table(COLUMNS, *ROWS, beside=high).replace("windows:", "choose: first\nwindows:")
    assert fired(only_one) == ["high"]


def test_columns_name_rows_and_order_them() -> None:
    text = table(
        "[id, priority, event.country, do]", f"[second, 10, any, {DO}]", f"[best, 20, ES, {DO}]"
    ).replace("table:", "table:\n  choose: all")
    assert fired(text) == ["best", "second"]
    assert fired(text.replace("  choose: all\n", "")) == ["best"]


def test_keys_of_the_table_hold_for_rows_without_their_own() -> None:
    text = table(
        "[once, priority, event.mb, do]",
        f"[any, any, under 1, {DO}]",
        f"[ever, 7, any, {DO}]",
        keys="  priority: 80\n  once: cycle\n",
    )
    one, two = program_of(text).rule_sets[0].rules
    assert one.once is not None
    assert two.once is not None
    assert (one.priority, one.once.cycle, two.priority, two.once.cycle) == (80, True, 7, False)


def test_withheld_row_is_not_missed_where_an_earlier_one_fired() -> None:
    rows = (f"[FR, under 0.5, {DO}]", f"[ES, any, {DO}]", f"[any, under 0.5, {DO}]", f"[any, any, {DO}]")
    program = program_of(table("[event.country, profile.churn_risk, do]", *rows))
    # The event itself is usage too: only what asks for nothing of it can fire.
    situation = make_situation(
        event_type="complaint.opened",
        event={"complaint": "c", "topic": "calls"},
        withheld=frozenset({Purpose.PROFILING_USAGE}),
    )
    outcome = run(program, situation)
    assert [rule.rule for rule in outcome.rules] == ["row-4"]
    assert [rule.rule for rule in outcome.withheld] == ["row-3"]
    swapped = program_of(table("[event.topic, profile.churn_risk, do]", f"[calls, any, {DO}]", rows[2]))
    outcome = run(swapped, situation)
    assert [rule.rule for rule in outcome.rules] == ["row-1"]
    assert outcome.withheld == ()


def test_conditions_are_shown_as_lines_of_the_language() -> None:
    text = table("[event.country, event.mb, do]", f"[ES or PT, 5 to 7, {DO}]", f"[any, over 7, {DO}]")
    rules = program_of(text).rule_sets[0].rules
    assert [[part.source for part in rule.when.parts] for rule in rules] == [
        ["event.country is ES or PT", "event.mb >= 5", "event.mb <= 7"],
        ["event.mb > 7"],
    ]


@pytest.mark.parametrize(
    ("columns", "row", "check", "message", "column"),
    [
        ("[event.mbs, do]", f"[1, {DO}]", "unknown-field", "has a field `mbs`", 13),
        ("[event.mb, do]", f"[abc, {DO}]", "unlike-types", "`abc` is not a number", 8),
        ("[event.mb, do]", f"[under abc, {DO}]", "unlike-types", "`abc` is not a number", 14),
        ("[event.mb, do]", f"[5 to abc, {DO}]", "unlike-types", "`abc` is not a number", 13),
        ("[event.country, do]", f"[ES or Spain, {DO}]", "unknown-value", "`Spain`", 14),
        ("[event.country, do]", f"[under ES, {DO}]", "unlike-types", "is never more or less", 14),
        ("[event.mb, do]", f"[under, {DO}]", "table", "a value is missing", 8),
        ("[event.mb, do]", f"[7 to 5, {DO}]", "never-fires", "ends before it begins", 8),
        ("[event.mb, do]", f'["", {DO}]', "table", "the cell is empty", 8),
        ("[event.mb, do]", f"[null, {DO}]", "table", "the cell is empty", 8),
        ("[event.mb, do]", f"[[1], {DO}]", "table", "a cell is one condition", 8),
        ("[event.mb, do]", f"[{DO}]", "table", "the row has 1 cell, the table has 2 columns", 7),
        ("[event.mb, do]", f"{{event.mb: 1, do: {DO}}}", "table", "a row is a list of cells", 7),
        ("[event.mb, event.mb, do]", f"[1, 2, {DO}]", "table", "stands twice", 23),
        ("[event.mb, idd, do]", f"[1, 2, {DO}]", "table", "a column is a path", 23),
        ("[event.mb]", "[1]", "table", "says nothing to do", 12),
        ("[event.mb, do]", "[1, any]", "action", "does nothing", 7),
        ("[id, do]", f"[A b, {DO}]", "name", "`A b` cannot be the name", 8),
        ("[priority, do]", f"[1000, {DO}]", "value", "from 0 to 999", 8),
        ("[once, do]", f"[sometimes, {DO}]", "once", "is no length of time", 8),
        ("[do]", "[{taks: call-back, category: service}]", "action", "does not say what to do", 8),
    ],
)
def test_mistake_in_a_table_is_said_where_it_stands(
    columns: str, row: str, check: str, message: str, column: int
) -> None:
    problems = errors_of(table(columns, row))
    assert [problem.check for problem in problems][:1] == [check], [p.sentence() for p in problems]
    assert message in problems[0].message
    assert problems[0].suggestion
    assert problems[0].column == column


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("table: {columns: [do]}\n", "the table has no rows"),
        (f"table: {{rows: [[{DO}]]}}\n", "does not say what its columns are"),
        (f"table: {{chose: first, columns: [do], rows: [[{DO}]]}}\n", "has no key `chose`"),
        (f"table: {{choose: one, columns: [do], rows: [[{DO}]]}}\n", "`choose` cannot be `one`"),
        ("table: none\n", "needs keys with values"),
    ],
)
def test_table_that_is_none_is_refused(text: str, message: str) -> None:
    (problem,) = errors_of(HEAD + text)
    assert message in problem.message


def test_two_rows_of_one_id_are_refused_and_a_row_like_a_rule() -> None:
    text = table("[id, do]", f"[a, {DO}]", f"[a, {DO}]")
    assert [problem.message for problem in errors_of(text)] == ["two rules are named `a`"]
    beside = f"rules:\n  - {{id: row-1, when: [], do: {DO}}}\n"
    text = table("[event.mb, do]", f"[1, {DO}]", beside=beside)
    assert [problem.message for problem in errors_of(text)] == ["two rules are named `row-1`"]


def test_table_of_more_rows_than_can_be_looked_through_is_refused() -> None:
    text = table("[event.mb, do]", *[f"[{number}, {DO}]" for number in range(501)])
    assert [problem.check for problem in errors_of(text)] == ["table"]

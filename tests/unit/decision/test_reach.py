"""What the rules of a set leave to each other: rows never reached, gaps, overlaps, rules always outdone."""

import re
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.decision.domain.oracle import holds
from services.decision.domain.problems import Problem, Severity
from services.decision.domain.program import ActionRule
from tests.unit.decision.generators import compiled
from tests.unit.decision.test_language import make_situation
from tests.unit.decision.test_tables import DO, HEAD, table

COLUMNS = "[event.country, profile.plan_data_mb, do]"


def problems_of(text: str, *checks: str) -> list[Problem]:
    return [problem for problem in compiled(text).problems if problem.check in checks]


def only(text: str, check: str) -> Problem:
    found = problems_of(text, "table-gap", "table-overlap", "shadowed", "never-fires")
    assert [problem.check for problem in found] == [check], [problem.sentence() for problem in found]
    return found[0]


def test_gap_is_a_warning_with_an_example() -> None:
    text = table(
        COLUMNS,
        f"[ES or PT, any, {DO}]",
        f"[not ES or PT, under 5000, {DO}]",
        f"[not ES or PT, over 5000, {DO}]",
        f"[any, missing, {DO}]",
    )
    problem = only(text, "table-gap")
    assert problem.severity is Severity.WARNING
    assert problem.message == "no row for country FR with plan_data_mb 5000"
    assert (problem.line, problem.suggestion) == (6, "add a row for the rest: `any` in every column")


def test_gap_of_missing_values_is_told_only_when_there_is_no_other() -> None:
    rows = [f"[ES, under 5000, {DO}]", f"[any, 5000 to 9000, {DO}]", f"[any, over 9000, {DO}]"]
    assert only(table(COLUMNS, *rows), "table-gap").message == "no row for country FR with plan_data_mb 4999"
    rows[0] = f"[any, under 5000, {DO}]"
    assert only(table(COLUMNS, *rows), "table-gap").message == "no row for plan_data_mb missing"


def test_table_without_a_gap_says_nothing() -> None:
    assert problems_of(table(COLUMNS, f"[ES, 5, {DO}]", f"[any, any, {DO}]"), "table-gap") == []
    bounded = table("[profile.churn_risk, do]", f"[under 0.5, {DO}]", f"[0.5 to 1, {DO}]", f"[missing, {DO}]")
    assert problems_of(bounded, "table-gap") == []
    enum = "[profile.preferred_channel, do]"
    rows = [f"[sms or email or push, {DO}]", f"[app or web or call, {DO}]", f"[missing, {DO}]"]
    assert problems_of(table(enum, *rows), "table-gap") == []
    types = table("[event.type, do]", f"[usage.data_used, {DO}]", f"[complaint.opened, {DO}]")
    assert problems_of(types, "table-gap") == []
    required = table(
        "[event.type, event.mb, do]", f"[usage.data_used, exists, {DO}]", f"[any, missing, {DO}]"
    )
    assert problems_of(required, "table-gap") == []


def test_gap_is_not_guessed_where_columns_depend_on_each_other() -> None:
    text = table("[event.mb, do]", f"[under profile.plan_data_mb, {DO}]")
    assert problems_of(text, "table-gap") == []


def test_row_that_cannot_be_reached_is_an_error() -> None:
    rows = [
        f"[ES or PT, any, {DO}]",
        f"[any, under 5000, {DO}]",
        f"[PT, over 6000, {DO}]",
        f"[any, any, {DO}]",
    ]
    problem = only(table(COLUMNS, *rows), "shadowed")
    assert problem.severity is Severity.ERROR
    assert problem.message == "`row-3` can never be reached: whenever it could fire, `row-1` fires first"
    assert problem.line == 10


def test_row_that_several_rows_together_leave_nothing_names_them() -> None:
    rows = [f"[any, under 5000, {DO}]", f"[ES, any, {DO}]", f"[any, >= 5000, {DO}]", f"[FR, exists, {DO}]"]
    text = table(COLUMNS, *rows, f"[any, any, {DO}]").replace(">= 5000", "'>= 5000'")
    assert only(text, "shadowed").message == (
        "`row-4` can never be reached: whenever it could fire, one of `row-1` and `row-3` fires first"
    )


def test_priority_decides_which_row_is_first() -> None:
    rows = [f"[1, ES, {DO}]", f"[2, any, {DO}]"]
    assert (
        "`row-1` can never be reached"
        in only(table("[priority, event.country, do]", *rows), "shadowed").message
    )


def test_row_whose_data_may_be_withheld_leaves_the_rest_to_others() -> None:
    # Without agreement to profiling, row 1 does not fire; then the second one does.
    rows = [f"[exists, {DO}]", f"[missing, {DO}]", f"[any, {DO}]"]
    text = table("[profile.churn_risk, do]", *rows).replace(
        "[usage.data_used, complaint.opened]", "topup.received"
    )
    assert problems_of(text, "shadowed") == []
    same = text.replace("profile.churn_risk", "profile.tenure_months")
    assert "`row-3` can never be reached" in only(same, "shadowed").message


def test_overlap_is_a_warning_where_all_rows_count() -> None:
    rows = [
        f"[ES or PT, under 5000, {DO}]",
        f"[FR, any, {DO}]",
        f"[PT, 4000 to 6000, {DO}]",
        f"[any, missing, {DO}]",
    ]
    found = problems_of(table(COLUMNS, *rows, keys="  choose: all\n"), "table-overlap")
    assert [(problem.message, problem.line) for problem in found] == [
        ("`row-1` and `row-3` both fire for country PT with plan_data_mb 4000", 11),
        ("`row-2` and `row-4` both fire for country FR with plan_data_mb missing", 12),
    ]
    assert problems_of(table(COLUMNS, *rows), "table-overlap") == []


@pytest.mark.parametrize(
    ("stronger", "weaker", "shadowed"),
    [
        ("[event.mb > 3]", "[event.mb > 5]", True),
        ("[event.mb > 5]", "[event.mb > 3]", False),
        ("[]", "[event.mb > 3]", True),
        ("[]", "[]", True),
        ("[event.country is ES or PT]", "[event.country is ES, profile.prepaid is true]", True),
        ("[event.country is not FR]", "[event.country is ES]", True),
        ("[{any: [profile.tenure_months > 3, profile.prepaid is true]}]", "[profile.prepaid is true]", True),
        ("[{none: [event.mb > 3]}]", "[event.mb <= 2]", True),
        ("[event.mb > 100]", "[fact a]", True),
        ("[fact a]", "[event.mb > 300]", False),
        ("[profile.balance > profile.usual_bill]", "[profile.balance > profile.usual_bill]", True),
        ("[profile.balance >= profile.usual_bill]", "[profile.balance > profile.usual_bill]", True),
        ("[profile.balance > profile.usual_bill]", "[profile.balance >= profile.usual_bill]", False),
        ("[profile.contract_end within next 60d]", "[profile.contract_end within next 30d]", True),
        ("[now between 08:00 and 20:00]", "[now between 09:00 and 10:00]", True),
        ("[today is sat or sun]", "[today is sat]", True),
        ("[profile.plan starts with m]", "[profile.plan is m-20gb]", True),
        ("[profile.plan starts with m]", "[profile.plan is l]", False),
        ("[profile.products contains tv or phone]", "[profile.products contains tv]", True),
        ("[profile.churn_risk > 0.1]", "[profile.churn_risk > 0.2]", True),
        ("[{any: [profile.churn_risk > 0.1, event.mb > 0]}]", "[event.mb > 1]", True),
        ("[{any: [profile.last_cell exists, event.mb > 0]}]", "[event.mb > 1]", False),
    ],
)
def test_rule_is_shadowed_only_if_another_always_comes_first(
    stronger: str,
    weaker: str,
    shadowed: bool,  # noqa: FBT001
) -> None:
    rules = f"""choose: first
infer: [{{fact: a, when: [event.mb > 200]}}]
rules:
  - {{id: strong, priority: 9, when: {stronger}, do: {DO}}}
  - {{id: weak, priority: 8, when: {weaker}, do: {DO}}}
"""
    found = problems_of(HEAD + rules, "shadowed")
    assert [problem.message for problem in found] == [
        "`weak` is shadowed: whenever it could fire, `strong` fires first"
    ][: int(shadowed)]


def test_table_too_large_to_be_looked_through_says_nothing_and_ends() -> None:
    columns = [
        "event.mb",
        "profile.plan_data_mb",
        "profile.tenure_months",
        "profile.churn_risk",
        "profile.balance",
    ]
    rows = [
        "["
        + ", ".join(f"{(number * step) % 97} to {(number * step) % 97 + 9}" for step in (3, 5, 7, 11, 13))
        + f", {DO}]"
        for number in range(1, 120)
    ]
    text = table(f"[{', '.join(columns)}, do]", *rows).replace("profile.churn_risk", "profile.plan_price")
    assert {problem.check for problem in compiled(text).problems} <= {
        "untested-rule",
        "table-gap",
        "shadowed",
    }


# --- what is said is so, and all of it is said -----------------------------------------------------------

_COUNTRIES = (None, "FR", "ES", "PT", "DE")
_AMOUNTS = (None, 0, 99, 100, 101, 150, 199, 200, 201, 1000)
_FLAGS = (None, True, False)
_CELLS = (
    st.sampled_from(("any", "any", "ES", "ES or PT", "not FR", "missing", "exists")),
    st.sampled_from(
        ("any", "any", "under 100", "over 100", "100 to 200", "over 200", "200", "missing", "not 100")
    ),
    st.sampled_from(("any", "any", "true", "not true", "missing")),
)
_GRID = list(product(_COUNTRIES, _AMOUNTS, _FLAGS))


def _fits(rule: ActionRule, point: tuple[Any, ...]) -> bool:
    country, amount, flag = point
    event = {"mb": 1.0, **({} if country is None else {"country": country})}
    traits = {"plan_data_mb": amount, "prepaid": flag}
    traits = {name: value for name, value in traits.items() if value is not None}
    return holds(rule.when, make_situation(event=event, traits=traits), frozenset())


def _point_of(message: str) -> tuple[Any, ...]:
    told = dict(re.findall(r"(country|plan_data_mb|prepaid) (\w+)", message))
    country = told.get("country", "missing")
    amount, flag = told.get("plan_data_mb", "missing"), told.get("prepaid", "missing")
    return (
        None if country == "missing" else country,
        None if amount == "missing" else int(amount),
        None if flag == "missing" else flag == "true",
    )


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(*_CELLS), min_size=1, max_size=6), first=st.booleans())
def test_analysis_of_a_table_is_what_looking_at_every_case_comes_to(
    rows: list[tuple[str, str, str]],
    first: bool,  # noqa: FBT001
) -> None:
    text = table(
        "[event.country, profile.plan_data_mb, profile.prepaid, do]",
        *[f"[{', '.join(cells)}, {DO}]" for cells in rows],
        keys="" if first else "  choose: all\n",
    ).replace("trigger: [usage.data_used, complaint.opened]", "trigger: usage.data_used")
    shadowed = {problem.message.split("`")[1] for problem in problems_of(text, "shadowed")}
    everything = compiled(text.replace("columns", "choose: all\n  columns", 1) if first else text).program
    assert everything is not None
    rules = everything.rule_sets[0].rules
    fitting = {point: [rule.rule for rule in rules if _fits(rule, point)] for point in _GRID}
    # who withholds what the country tells reaches rows that do not ask for it
    silent = {f"row-{place}" for place, cells in enumerate(rows, 1) if cells[0] == "any"}
    seen = [*fitting.values(), *([name for name in names if name in silent] for names in fitting.values())]
    reached = {names[0] for names in seen if names}
    assert shadowed == ({rule.rule for rule in rules} - reached if first else set())
    gaps = problems_of(text, "table-gap")
    assert bool(gaps) == (not all(fitting.values()))
    for problem in gaps:
        assert not any(_fits(rule, _point_of(problem.message)) for rule in rules), problem.message
    overlaps = problems_of(text, "table-overlap")
    twice = any(len(names) > 1 for names in fitting.values())
    assert bool(overlaps) == (twice and not first)
    for problem in overlaps:
        one, other = re.findall(r"`(row-\d)`", problem.message)
        by_name = {rule.rule: rule for rule in rules}
        assert _fits(by_name[one], _point_of(problem.message)), problem.message
        assert _fits(by_name[other], _point_of(problem.message)), problem.message

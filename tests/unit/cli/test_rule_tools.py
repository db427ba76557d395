"""The author's tools on rule files: what they print and how they end."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.cli.main import main
from services.cli.stack.layout import CHECKOUT

RULES = CHECKOUT / "rules"
GOLDEN = Path(__file__).parent / "golden"


def run(*arguments):
    return CliRunner().invoke(main, ("rules", *map(str, arguments)))


@pytest.fixture
def folder(tmp_path):
    for file in RULES.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    return tmp_path


def test_what_the_tests_reach_stands_in_a_table_and_line_by_line(folder):
    done = run("test", folder / "bill-shock.yaml", "--coverage")
    assert done.exit_code == 0, done.output
    (row,) = [line for line in done.output.splitlines() if line.startswith("bill-shock ")]
    assert row.split() == ["bill-shock", "4", "of", "4", "5", "of", "7", "89", "%"]
    gap = "never false: profile.better_plan exists  (rule upgrade-plan)"
    number = _line_of(folder / "bill-shock.yaml", "- profile.better_plan exists")
    assert f"  line {number}: {gap}\n" in done.output


def _line_of(file, text):
    return next(number for number, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def test_too_little_reached_ends_in_1(folder):
    assert run("test", folder / "bill-shock.yaml", "--fail-under", "88").exit_code == 0
    done = run("test", folder / "bill-shock.yaml", "--fail-under", "90")
    assert done.exit_code == 1
    assert "its tests reach 88.9 %, less than 90 %" in done.output


def test_what_the_tests_reach_as_json(folder):
    done = run("test", folder / "quota-notices.yaml", "--coverage", "--json")
    assert done.exit_code == 0, done.output
    *tests, coverage = [json.loads(line) for line in done.output.splitlines()]
    assert all(test["passed"] for test in tests)
    assert coverage["percent"] == 100
    assert [rule["name"] for rule in coverage["rules"]] == ["half", "four-fifths", "all-of-it"]
    assert {(each["seen_true"], each["seen_false"]) for each in coverage["conditions"]} == {(True, True)}


def test_a_failing_test_says_why(folder):
    file = folder / "bill-shock.yaml"
    file.write_text(
        file.read_text().replace("windows: {months_exhausted: 4}}", "windows: {months_exhausted: 2}}", 1)
    )
    done = run("test", file)
    assert done.exit_code == 1
    assert "expected to fire: upgrade-plan; fired: one-off-top-up" in done.output
    assert "`windows.months_exhausted >= 3` did not hold (windows.months_exhausted was 2)" in done.output


def test_who_wins_is_judged_too(folder):
    file = folder / "bill-shock.yaml"
    text = file.read_text().replace(
        "fires: [upgrade-plan]", "fires: [upgrade-plan], wins: [one-off-top-up]", 1
    )
    file.write_text(text)
    done = run("test", file)
    assert done.exit_code == 1
    assert "expected to win: one-off-top-up; won: upgrade-plan" in done.output


def test_a_file_is_laid_out_once_and_then_left(folder):
    file = folder / "dropped-calls.yaml"
    before = file.read_text()
    file.write_text(
        before.replace("  - id: goodwill\n    priority: 60\n", "  - priority: 60\n    id: goodwill\n")
    )
    checked = run("fmt", "--check", file)
    assert checked.exit_code == 1
    assert "+  - id: goodwill\n" in checked.output
    assert "  - priority: 60\n    id: goodwill\n" in file.read_text()
    done = run("fmt", file)
    assert (done.exit_code, "laid out anew" in done.output) == (0, True)
    assert "  - id: goodwill\n    priority: 60\n" in file.read_text()
    again = run("fmt", "--check", file)
    assert (again.exit_code, again.output) == (0, "1 looked at, 0 would change\n")
    assert run("test", file).exit_code == 0


def test_a_file_that_cannot_be_read_is_not_laid_out(folder):
    file = folder / "bad.yaml"
    file.write_text("title: one\ntitle: two\n")
    done = run("fmt", file)
    assert done.exit_code == 2
    assert f"{file}:2:1: the key `title` is given twice" in done.output
    assert file.read_text() == "title: one\ntitle: two\n"


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_a_shipped_rule_set_in_plain_english(golden):
    done = run("explain", RULES / f"{golden.stem}.yaml")
    assert done.exit_code == 0, done.output
    # Where the rule set has changed: rapport rules explain FILE > golden/NAME.txt, and read it.
    assert done.output == golden.read_text()


def test_the_sentences_as_json(folder):
    done = run("explain", folder / "quota-notices.yaml", "--as", "json")
    told = json.loads(done.output)
    assert told["rule_set"] == "quota-notices"
    assert [section["heading"] for section in told["sections"]] == [
        *("", "What it looks at", "What it does", "Tests", "Words"),
    ]


def test_what_does_not_compile_is_not_explained(folder):
    (folder / "bill-shock.yaml").write_text("ruleset: bill-shock\n")
    done = run("explain", folder / "bill-shock.yaml")
    assert done.exit_code == 1
    assert "the rule set has no trigger" in done.output


@pytest.fixture
def changed(folder):
    """A version of bill-shock that asks for four months instead of three, beside the shared sets."""
    file = folder / "bill-shock.yaml"
    file.write_text(file.read_text().replace("months_exhausted >= 3]", "months_exhausted >= 4]"))
    return file


OLD = RULES / "bill-shock.yaml"


def test_whose_outcome_a_change_changes(changed):
    done = run("diff", OLD, changed, "--generated", "200")
    assert done.exit_code == 1, done.output
    assert "  - the fact “habitual”: asks that “months exhausted” is at least 4\n" in done.output
    assert "Of 200 customers:\n" in done.output
    assert "   given: {windows: {months_exhausted: 3}}\n   when: {days_left_in_cycle: " in done.output
    assert "   old: nothing\n   new: offer data-top-up (gb=2) [one-off-top-up]\n" in done.output


def test_no_change_but_in_how_it_is_written(folder):
    file = folder / "bill-shock.yaml"
    file.write_text("# a note\n" + file.read_text())
    done = run("diff", OLD, file, "--generated", "50")
    assert done.exit_code == 0, done.output
    assert "Nothing differs in what the two say" in done.output
    assert "     50  same\n" in done.output


def test_customers_of_a_file_are_met(changed, tmp_path):
    customers = tmp_path / "customers.jsonl"
    given = {"profile": {"better_plan": "m-20gb"}, "windows": {"months_exhausted": 3}}
    lines = [
        {"given": given, "when": {"days_left_in_cycle": 1}},
        {"given": {**given, "windows": {"months_exhausted": 4}}},
        {"given": given, "at": "2019-01-01T00:00:00Z"},
    ]
    customers.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    done = run("diff", OLD, changed, "--snapshots", customers, "--json")
    assert done.exit_code == 1, done.output
    told = json.loads(done.output)
    assert told["counts"] == {"same": 2, "fires more": 0, "fires less": 1, "other action": 0}
    (example,) = told["examples"]
    assert example["given"] == given
    assert [each["rule"] for each in example["old"]] == ["upgrade-plan"]
    assert example["new"] == []
    customers.write_text(json.dumps(lines[1]))
    assert run("diff", OLD, changed, "--snapshots", customers).exit_code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[", "this is no JSON object"),
        ("[1]", "a customer is a JSON object"),
        ('{"given": [1]}', "has a `given` that is no object"),
        ('{"given": {"windows": [1]}}', "`windows` needs keys with values"),
        ('{"given": {}, "then": {}}', "a customer has no key `then`"),
        ('{"given": {"profile": {"plann": 1}}}', "the catalogue has no trait `plann`"),
        ('{"at": "noon"}', "is not a time of RFC 3339"),
    ],
)
def test_a_customer_that_cannot_be_read_ends_in_2(changed, tmp_path, line, message):
    customers = tmp_path / "customers.jsonl"
    customers.write_text(f"{{}}\n{line}\n")
    done = run("diff", OLD, changed, "--snapshots", customers)
    assert done.exit_code == 2
    assert f"{customers}:2: " in done.output
    assert message in done.output


def test_a_version_that_does_not_compile_ends_in_2(changed):
    changed.write_text(
        changed.read_text().replace("windows.months_exhausted >=", "windows.months_exhaustd >=")
    )
    done = run("diff", OLD, changed)
    assert done.exit_code == 2
    assert "there is no window `months_exhaustd`" in done.output

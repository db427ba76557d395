"""`rapport rules lint` shows each problem where it stands, in 80 columns, and says how it ended."""

import json
from pathlib import Path

import pytest
from click import unstyle
from click.testing import CliRunner, Result

from services.cli.commands.rules import rules
from services.cli.commands.rules.telling import WIDTH, tell
from services.decision.domain.problems import Problem, Severity

GOOD = """ruleset: good
trigger: usage.data_used
rules:
  - {id: r, when: [event.mb > 3], do: {task: call-back, category: service}}
tests:
  - {name: t, when: {mb: 4}, then: {fires: [r]}}
"""


def lint(*arguments: object) -> Result:
    return CliRunner().invoke(rules, ["lint", *map(str, arguments)])


def problem(
    line: str, column: int, text: str = "", message: str = "wrong", suggestion: str = ""
) -> list[str]:
    said = Problem(Severity.ERROR, 1, column, text, message, suggestion, "check", "a.yaml")
    return [unstyle(told) for told in tell(said, line)]


def test_a_problem_is_shown_with_its_line_a_mark_and_what_to_write(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(GOOD.replace("event.mb", "profile.bettr_plan"))
    done = lint(file)
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        f"{file}:4:20: error [unknown-trait]",
        "    4 │   - {id: r, when: [profile.bettr_plan > 3], do: {task: call-back, categ…",
        "      │                    ^^^^^^^^^^^^^^^^^^^^^^",
        "  the catalogue has no trait `bettr_plan`",
        "  → did you mean better_plan?",
        "",
        "1 file checked: 1 error, 0 warnings",
    ]


def test_all_problems_of_all_files_and_folders_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.yaml").write_text(GOOD.replace("mb >", "md >").replace("service", "servic"))
    (tmp_path / "folder" / "b.yaml").write_text(GOOD.replace("ruleset: good", "ruleset: better"))
    (tmp_path / "c.yaml").write_text("[")
    done = lint(tmp_path / "folder", tmp_path / "c.yaml", tmp_path / "c.yaml")
    assert done.exit_code == 1
    assert [line.rpartition("[")[2] for line in done.output.splitlines() if ": error " in line] == [
        "unknown-field]",
        "value]",
        "yaml]",
    ]
    assert done.output.endswith("3 files checked: 3 errors, 0 warnings\n")


def test_warnings_alone_end_in_0(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(GOOD.replace("fires: [r]", "fires: []"))
    done = lint(file)
    assert done.exit_code == 0
    assert "warning [untested-rule]" in done.output
    assert done.output.endswith("1 file checked: 0 errors, 1 warning\n")


def test_with_json_each_problem_is_an_object(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(GOOD.replace("event.mb", "profile.bettr_plan"))
    done = lint(file, "--json")
    assert done.exit_code == 1
    assert [json.loads(line) for line in done.output.splitlines()] == [
        {
            "file": str(file),
            "severity": "error",
            "line": 4,
            "column": 20,
            "text": "profile.bettr_plan > 3",
            "message": "the catalogue has no trait `bettr_plan`",
            "suggestion": "did you mean better_plan?",
            "check": "unknown-trait",
        }
    ]


def test_what_is_not_there_is_a_mistake_of_the_call(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert lint(tmp_path / "none.yaml").exit_code == 2
    done = lint(tmp_path / "empty")
    assert done.exit_code == 2
    assert "no rule set" in done.output


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"ruleset: \xff")
    done = lint(file)
    assert done.exit_code == 1
    assert f"{file} is not text in UTF-8 (see byte 9)" in str(done.exception)


@pytest.mark.parametrize("column", [1, 41, 81, 101, 161, 196])
def test_nothing_is_wider_than_80_columns_and_the_mark_stands_under_its_word(column: int) -> None:
    words = "".join(f"w{number:03} " for number in range(40))
    lines = problem(words, column, message="m " * 60, suggestion="s " * 60)
    assert max(map(len, lines)) <= WIDTH
    shown, mark = lines[1:3]
    start = mark.index("^")
    marked = shown[start : start + mark.count("^")]
    assert marked == words[column - 1 : column + 3]


def test_long_words_and_short_lines_are_marked_as_far_as_they_go() -> None:
    assert max(map(len, problem("x" * 500, 1, text="x" * 500))) <= WIDTH
    assert problem(" ", 1)[2].endswith("^")
    assert problem("a: [b", 9)[2].endswith("^")

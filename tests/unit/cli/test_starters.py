"""Each template that `rapport rules new` offers is a good rule set to begin with."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from services.cli.commands.rules import rules
from services.cli.commands.rules.new import STARTERS
from services.decision.domain.oracle import Oracle
from services.decision.domain.trial import run_tests
from tests.unit.decision.generators import compiled

FILES = sorted(STARTERS.glob("*.yaml"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(rules, list(map(str, arguments)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_compiles_without_a_warning_and_its_tests_pass(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    compilation = compiled(text)
    assert [problem.sentence() for problem in compilation.problems] == []
    assert compilation.program is not None
    (rule_set,) = compilation.program.rule_sets
    assert rule_set.name == file.stem
    assert len(rule_set.tests) >= 2
    results = run_tests(compilation.program, rule_set, Oracle())
    assert [result.message for result in results if not result.passed] == []


def test_every_kind_of_rule_set_has_one() -> None:
    assert {file.stem for file in FILES} >= {
        "message",
        "threshold",
        "absence",
        "campaign",
        "care-desk",
        "table",
        "journey",
        "experiment",
    }


def test_the_list_says_what_each_is_for() -> None:
    done = run("new", "--list")
    assert done.exit_code == 0
    for file in FILES:
        assert any(
            line.startswith(file.stem) and len(line.split()) > 4 for line in done.output.splitlines()
        ), file.stem


def test_the_new_file_is_named_after_itself_and_lints(tmp_path: Path) -> None:
    done = run("new", "--template", "table", "-o", tmp_path / "data-abroad.yaml")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "data-abroad.yaml").read_text()
    assert "\nruleset: data-abroad\n" in text
    assert "ruleset: table" not in text
    assert run("lint", tmp_path / "data-abroad.yaml").exit_code == 0


def test_without_a_file_it_is_printed() -> None:
    assert run("new", "--template", "message").output == (STARTERS / "message.yaml").read_text()


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    assert run("new").exit_code == 2
    done = run("new", "--template", "mesage")
    assert (done.exit_code, str(done.exception)) == (1, "There is no template mesage: did you mean message?")
    there = tmp_path / "there.yaml"
    there.write_text("mine")
    done = run("new", "--template", "message", "-o", there)
    assert done.exit_code == 1
    assert "is there already" in str(done.exception)
    assert there.read_text() == "mine"
    done = run("new", "--template", "message", "-o", tmp_path / "My Rules.yaml")
    assert "cannot be named My Rules" in str(done.exception)
    done = run("new", "--template", "message", "-o", tmp_path / "no" / "folder.yaml")
    assert "cannot be written" in str(done.exception)

"""`rapport rules`: check, test, activate and list rule sets."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import click
from rapport.decision.v1 import rule_set_pb2

from services.cli.commands.support import (
    enum_word,
    folder_option,
    iso,
    json_option,
    print_json,
    print_table,
    runs,
)
from services.cli.connections import Connections, connected
from services.cli.stack.errors import StackError
from services.cli.stack.layout import CHECKOUT
from services.decision.adapters.engine import DurableEngine
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.compiler import compile_program
from services.decision.domain.problems import Problem, Severity
from services.decision.domain.program import Compilation, RuleSetText
from services.decision.domain.trial import TestResult, run_tests
from services.vocabulary.catalogue import CatalogueError, load_catalogue

files_argument = click.argument(
    "files",
    metavar="FILE…",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
catalogue_option = click.option(
    "--catalogue",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=CHECKOUT / "rules",
    help="The folder with catalogue, policies and templates.  [default: rules in the checkout]",
)


@click.group()
def rules() -> None:
    """Check, test and activate rule sets."""


@rules.command()
@files_argument
@catalogue_option
@json_option
def lint(files: tuple[Path, ...], catalogue: Path, *, as_json: bool) -> None:
    """Check rule sets; nothing needs to run.

    Shared rule sets beside each FILE are read too, for their facts. Exit codes: 0 no errors; 1 errors.
    """
    problems = _of_files(_compile(files, catalogue).problems, files)
    _tell_problems(problems, as_json=as_json)
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    if not as_json:
        warnings = len(problems) - errors
        click.echo(f"{len(files)} checked, {errors} errors, {warnings} warnings")
    sys.exit(1 if errors else 0)


@rules.command("test")
@files_argument
@catalogue_option
@json_option
def run_embedded_tests(files: tuple[Path, ...], catalogue: Path, *, as_json: bool) -> None:
    """Run the tests inside rule sets on the engine that runs them live; nothing else needs to run.

    Exit codes: 0 all passed; 1 some failed, or a rule set does not compile.
    """
    compilation = _compile(files, catalogue)
    if compilation.program is None:
        _tell_problems(compilation.errors, as_json=as_json)
        sys.exit(1)
    engine = DurableEngine()
    failed = passed = 0
    names = {str(file) for file in files}
    try:
        for rule_set in compilation.program.rule_sets:
            if rule_set.file not in names:
                continue
            for result in run_tests(compilation.program, rule_set, engine):
                failed += not result.passed
                passed += result.passed
                _tell_test(rule_set.name, result, as_json=as_json)
    finally:
        engine.close()
    if not as_json:
        click.echo(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


@rules.command()
@files_argument
@folder_option
@runs
async def activate(files: tuple[Path, ...], folder: Path) -> None:
    """Store rule sets as new versions and make them live, each after its trial."""
    async with connected(folder) as connections:
        await activate_files(connections, files, say=click.echo)


@rules.command("list")
@click.option("--all-versions", is_flag=True, help="Every version, not only the live one and the newest.")
@json_option
@folder_option
@runs
async def list_rule_sets(folder: Path, *, all_versions: bool, as_json: bool) -> None:
    """List the rule sets that are stored."""
    found: list[rule_set_pb2.RuleSet] = []
    async with connected(folder) as connections:
        request = rule_set_pb2.ListRuleSetsRequest(page_size=1000, all_versions=all_versions)
        while True:
            answer = await connections.rule_sets.ListRuleSets(request)
            found.extend(answer.rule_sets)
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
    told = [
        {
            "name": rule_set.name,
            "version": rule_set.version,
            "state": enum_word(rule_set_pb2.RuleSetState.Name(rule_set.state), "RULE_SET_STATE_"),
            "title": rule_set.title,
            "owner": rule_set.owner,
            "stage": rule_set.stage,
            "triggers": list(rule_set.triggers),
            "rules": rule_set.rules,
            "create_time": iso(rule_set.create_time),
            "activate_time": iso(rule_set.activate_time),
        }
        for rule_set in found
    ]
    if as_json:
        for entry in told:
            print_json(entry)
        return
    print_table(
        ("rule set", "version", "state", "title", "rules", "triggers"),
        [
            (e["name"], e["version"], e["state"], e["title"], e["rules"], ", ".join(rule_set.triggers))
            for e, rule_set in zip(told, found, strict=True)
        ],
        empty="no rule sets; activate some with: rapport rules activate FILE…",
    )


async def activate_files(
    connections: Connections, files: Sequence[Path], *, say: Callable[[str], object]
) -> None:
    """Stores and activates each file, shared ones first; raises StackError at the first refused."""
    for file in sorted(files, key=lambda file: (not _is_shared(file), file.name)):
        put = await connections.rule_sets.PutRuleSet(
            rule_set_pb2.PutRuleSetRequest(
                request_id=str(uuid4()), source=file.read_text(encoding="utf-8"), file=file.name
            )
        )
        _refuse_errors(put.problems, file)
        answer = await connections.rule_sets.ActivateRuleSet(
            rule_set_pb2.ActivateRuleSetRequest(
                request_id=str(uuid4()), name=put.rule_set.name, version=put.rule_set.version
            )
        )
        _refuse_errors(answer.problems, file)
        failed = [test for test in answer.tests if not test.passed]
        if failed:
            lines = "".join(f"\n  {test.name}: {test.message}" for test in failed)
            raise StackError(f"{file.name}: {len(failed)} of its tests failed:{lines}")
        name, version = answer.rule_set.name, answer.rule_set.version
        say(f"  {name} version {version} is live, {len(answer.tests)} tests passed")


def _is_shared(file: Path) -> bool:
    return any(line.startswith("shared: true") for line in file.read_text(encoding="utf-8").splitlines())


def _refuse_errors(problems: Sequence[rule_set_pb2.Problem], file: Path) -> None:
    errors = [problem for problem in problems if problem.severity == rule_set_pb2.SEVERITY_ERROR]
    if errors:
        lines = "".join(
            f"\n  line {p.line}:{p.column}: {p.message}{' – ' + p.suggestion if p.suggestion else ''}"
            for p in errors
        )
        raise StackError(f"{file.name} was refused:{lines}")


def _compile(files: Sequence[Path], catalogue: Path) -> Compilation:
    """Compiles the files together with the other rule sets beside them, whose facts they may use."""
    named = {file.resolve() for file in files}
    beside = sorted(
        {other.resolve() for file in files for other in file.parent.glob("*.yaml")} - named,
    )
    texts = [RuleSetText(str(file), file.read_text(encoding="utf-8")) for file in files]
    texts += [RuleSetText(str(file), file.read_text(encoding="utf-8")) for file in beside if _is_shared(file)]
    try:
        return compile_program(texts, load_catalogue(catalogue), read_yaml)
    except CatalogueError as error:
        raise StackError(str(error)) from None


def _of_files(problems: Sequence[Problem], files: Sequence[Path]) -> list[Problem]:
    names = {str(file) for file in files}
    return [problem for problem in problems if problem.file in names]


def _tell_problems(problems: Sequence[Problem], *, as_json: bool) -> None:
    for problem in problems:
        if as_json:
            print_json(
                {
                    "file": problem.file,
                    "severity": problem.severity.value,
                    "line": problem.line,
                    "column": problem.column,
                    "text": problem.text,
                    "message": problem.message,
                    "suggestion": problem.suggestion,
                    "check": problem.check,
                }
            )
        else:
            click.echo(problem.sentence())


def _tell_test(rule_set: str, result: TestResult, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {"rule_set": rule_set, "name": result.name, "passed": result.passed, "message": result.message}
        )
    else:
        click.echo(f"{'✓' if result.passed else '✗'} {rule_set}: {result.name}")
        if not result.passed:
            click.echo(f"    {result.message}")

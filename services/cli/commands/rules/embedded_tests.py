"""`rapport rules test`: run the tests inside rule sets."""

import sys
from pathlib import Path

import click

from services.cli.commands.rules.sources import (
    catalogue_option,
    compile_files,
    files_argument,
    tell_problems,
)
from services.cli.commands.support import json_option, print_json
from services.decision.adapters.engine import DurableEngine
from services.decision.domain.trial import TestResult, run_tests


@click.command("test")
@files_argument
@catalogue_option
@json_option
def run_embedded_tests(files: tuple[Path, ...], catalogue: Path, *, as_json: bool) -> None:
    """Run the tests inside rule sets on the engine that runs them live; nothing else needs to run.

    Exit codes: 0 all passed; 1 some failed, or a rule set does not compile.
    """
    compilation = compile_files(files, catalogue)
    if compilation.program is None:
        tell_problems(compilation.errors, as_json=as_json)
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


def _tell_test(rule_set: str, result: TestResult, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {"rule_set": rule_set, "name": result.name, "passed": result.passed, "message": result.message}
        )
    else:
        click.echo(f"{'✓' if result.passed else '✗'} {rule_set}: {result.name}")
        if not result.passed:
            click.echo(f"    {result.message}")

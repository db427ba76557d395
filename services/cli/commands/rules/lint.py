"""`rapport rules lint`: check rule sets."""

import sys
from pathlib import Path

import click

from services.cli.commands.rules.sources import (
    catalogue_option,
    compile_files,
    files_argument,
    of_files,
    tell_problems,
)
from services.cli.commands.support import json_option
from services.decision.domain.problems import Severity


@click.command()
@files_argument
@catalogue_option
@json_option
def lint(files: tuple[Path, ...], catalogue: Path, *, as_json: bool) -> None:
    """Check rule sets; nothing needs to run.

    Shared rule sets beside each FILE are read too, for their facts. Exit codes: 0 no errors; 1 errors.
    """
    problems = of_files(compile_files(files, catalogue).problems, files)
    tell_problems(problems, as_json=as_json)
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    if not as_json:
        warnings = len(problems) - errors
        click.echo(f"{len(files)} checked, {errors} errors, {warnings} warnings")
    sys.exit(1 if errors else 0)

"""`rapport rules lint`: check rule sets."""

import sys
from pathlib import Path

import click

from services.cli.commands.rules.sources import (
    catalogue_option,
    compile_files,
    files_in,
    files_or_folders_argument,
    of_files,
    tell_problems,
)
from services.cli.commands.rules.telling import summary
from services.cli.commands.support import json_option
from services.decision.domain.problems import Severity


@click.command()
@files_or_folders_argument
@catalogue_option
@json_option
def lint(paths: tuple[Path, ...], catalogue: Path, *, as_json: bool) -> None:
    """Check rule sets; nothing needs to run.

    Everything that is wrong in all files is said at once. Of a folder all .yaml files in it are checked, not
    those of its folders. Shared rule sets beside each file are read too, for their facts.

    With --json one object a line: file, severity (error, warning), line and column (from 1; 0 for the whole
    file), text (what is pointed at), message, suggestion, check.

    Exit codes: 0 no errors, perhaps warnings; 1 errors; 2 a file or folder is not there, or nothing is in it.
    """
    files = files_in(paths)
    problems = of_files(compile_files(files, catalogue).problems, files)
    tell_problems(problems, as_json=as_json)
    if not as_json:
        click.echo(summary(len(files), problems))
    sys.exit(1 if any(problem.severity is Severity.ERROR for problem in problems) else 0)

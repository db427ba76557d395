"""`rapport rules fmt`: lay out rule sets in one way, whoever wrote them."""

import difflib
import sys
from pathlib import Path

import click

from services.cli.commands.rules.sources import files_argument
from services.decision.adapters.commented_yaml import CannotLayOut, laid_out


@click.command("fmt")
@files_argument
@click.option("--check", is_flag=True, help="Change nothing; show what would change.")
def lay_out_files(files: tuple[Path, ...], *, check: bool) -> None:
    """Lay out rule sets in one way: keys in the language's order, one condition a line, comments kept.

    What a rule set means never changes. A file that cannot be read is left as it is.

    Exit codes: 0 done, or nothing to do; 1 with --check: something would change; 2 a file cannot be read.
    """
    changed = unreadable = 0
    for file in files:
        before = file.read_text(encoding="utf-8")
        try:
            after = laid_out(before)
        except CannotLayOut as error:
            unreadable += 1
            _tell_unreadable(file, error)
            continue
        if before == after:
            continue
        changed += 1
        if check:
            _tell_changes(file, before, after)
        else:
            file.write_text(after, encoding="utf-8")
            click.echo(f"{file}: laid out anew")
    verb = "would change" if check else "changed"
    click.echo(f"{len(files)} looked at, {changed} {verb}")
    sys.exit(2 if unreadable else 1 if check and changed else 0)


def _tell_unreadable(file: Path, error: CannotLayOut) -> None:
    if not error.mistakes:
        click.echo(f"{file}: {error}", err=True)
    for mistake in error.mistakes:
        suggestion = f" – {mistake.suggestion}" if mistake.suggestion else ""
        click.echo(f"{file}:{mistake.line}:{mistake.column}: {mistake.message}{suggestion}", err=True)


def _tell_changes(file: Path, before: str, after: str) -> None:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(file), f"{file} (laid out)", lineterm=""
    )
    for line in lines:
        click.echo(line)

"""What the commands on rule files share: reading and compiling them, and telling what is wrong."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import click

from services.cli.commands.rules.telling import tell
from services.cli.commands.support import print_json
from services.cli.stack.errors import StackError
from services.cli.stack.layout import CHECKOUT
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.compiler import compile_program
from services.decision.domain.problems import Problem
from services.decision.domain.program import Compilation, RuleSetText
from services.vocabulary.catalogue import CatalogueError, load_catalogue

files_argument = click.argument(
    "files",
    metavar="FILE…",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
files_or_folders_argument = click.argument(
    "paths",
    metavar="FILE|FOLDER…",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True),
)
catalogue_option = click.option(
    "--catalogue",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=CHECKOUT / "rules",
    help="The folder with catalogue, policies and templates.  [default: rules in the checkout]",
)


def files_in(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The files named, each once, and the .yaml files of the folders named; raises when a folder has none."""
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not found:
            raise click.UsageError(f"no rule set (a file NAME.yaml) is in {path}")
        files += found
    return tuple({file.resolve(): file for file in files}.values())


def compile_files(files: Sequence[Path], catalogue: Path) -> Compilation:
    """Compiles the files together with the other rule sets beside them, whose facts they may use."""
    named = {file.resolve() for file in files}
    beside = sorted(
        {other.resolve() for file in files for other in file.parent.glob("*.yaml")} - named,
    )
    texts = [RuleSetText(str(file), text_of(file)) for file in files]
    texts += [RuleSetText(str(file), text_of(file)) for file in beside if is_shared(file)]
    try:
        return compile_program(texts, load_catalogue(catalogue), read_yaml)
    except CatalogueError as error:
        raise StackError(str(error)) from None


def of_files(problems: Sequence[Problem], files: Sequence[Path]) -> list[Problem]:
    """Those of the named files, not of others read beside them."""
    names = {str(file) for file in files}
    return [problem for problem in problems if problem.file in names]


def tell_problems(problems: Sequence[Problem], *, as_json: bool) -> None:
    """Prints each problem: for people with the line it stands in, or as an object."""
    read = cache(text_of)
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
            for line in tell(problem, read(Path(problem.file))):
                click.echo(line)
            click.echo()


def text_of(file: Path) -> str:
    """What the file says; raises StackError when it is not text."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise StackError(
            f"{file} is not text in UTF-8 (see byte {error.start}). Save it in that encoding."
        ) from None


def is_shared(file: Path) -> bool:
    """Whether a rule file only infers facts, for all others."""
    return any(line.startswith("shared: true") for line in text_of(file).splitlines())

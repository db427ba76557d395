"""`rapport rules graph`: draw rule sets."""

import sys
from pathlib import Path

import click

from services.cli.commands.rules.drawing import draw
from services.cli.commands.rules.sources import (
    catalogue_option,
    compile_files,
    files_in,
    files_or_folders_argument,
    tell_problems,
)
from services.decision.domain.graph import graph_of


@click.command()
@files_or_folders_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="The file to write.  [default: standard output]",
)
@catalogue_option
def graph(paths: tuple[Path, ...], output: Path | None, catalogue: Path) -> None:
    """Draw what calls for rule sets, what they look at, what follows, and what they do, as an SVG.

    A pointer held over a part shows all of it. What rests on the absence of a fact is dashed. Facts of shared
    rule sets beside the files are drawn where a rule uses them.

    Exit codes: 0 done; 1 a rule set does not compile.
    """
    files = files_in(paths)
    compilation = compile_files(files, catalogue)
    if compilation.program is None:
        tell_problems(compilation.errors, as_json=False)
        sys.exit(1)
    rule_sets = compilation.program.rule_sets
    names = {str(file) for file in files}
    titles = [each.title or each.name for each in rule_sets if each.file in names]
    picture = draw(graph_of(rule_sets), " · ".join(titles))
    if output is None:
        click.echo(picture, nl=False)
    else:
        output.write_text(picture, encoding="utf-8")
        click.echo(f"wrote {output}")

"""`rapport rules new`: begin a rule set from a template that works."""

import re
import sys
from pathlib import Path

import click

from services.cli.commands.support import print_table
from services.cli.stack.errors import StackError
from services.cli.stack.layout import CHECKOUT
from services.decision.domain.language import grammar
from services.decision.domain.problems import suggest

STARTERS = CHECKOUT / "rules" / "starters"
_HEAD = re.compile(r"^ruleset: .*$", re.MULTILINE)


@click.command()
@click.option("--template", "name", metavar="NAME", help="Which one; see --list.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; the rule set is named after it.  [default: standard output]",
)
@click.option("--list", "listing", is_flag=True, help="List the templates.")
def new(name: str | None, output: Path | None, *, listing: bool) -> None:
    """Begin a rule set from a template: each compiles, and its tests pass.

    Exit codes: 0 done; 1 there is no such template, or the file is there already; 2 no template is named.
    """
    known = {file.stem: file for file in sorted(STARTERS.glob("*.yaml"))}
    if listing:
        print_table(("template", "for"), [(each, _about(file)) for each, file in known.items()], empty="")
        return
    if name is None:
        raise click.UsageError("name a template: --template NAME (--list shows them)")
    if name not in known:
        raise StackError(f"There is no template {name}: {suggest(name, known)}")
    text = known[name].read_text(encoding="utf-8")
    if output is None:
        click.echo(text, nl=False)
        sys.exit(0)
    if re.fullmatch(grammar.NAME, output.stem) is None:
        raise StackError(
            f"A rule set cannot be named {output.stem}: use small letters, digits and -, at most 64."
        )
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(_HEAD.sub(f"ruleset: {output.stem}", text, count=1))
    except FileExistsError:
        raise StackError(f"{output} is there already. Choose another name, or remove it first.") from None
    except OSError as error:
        raise StackError(f"{output} cannot be written: {error.strerror}.") from None
    click.echo(f"wrote {output}; check it with: rapport rules lint {output}")


def _about(file: Path) -> str:
    """What the template is for: its first line."""
    with file.open(encoding="utf-8") as lines:
        return lines.readline().removeprefix("#").strip()

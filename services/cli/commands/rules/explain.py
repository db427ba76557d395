"""`rapport rules explain`: say in plain English what a rule set does."""

import sys
import textwrap
from pathlib import Path

import click

from services.cli.commands.rules.sources import catalogue_option, compile_files, tell_problems
from services.cli.commands.support import print_json
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.language.nodes import Block
from services.decision.domain.sentences import Section, sentences_of

_WIDTH = 100


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--as",
    "form",
    type=click.Choice(["sentences", "json"]),
    default="sentences",
    show_default=True,
    help="A text to read aloud, or the same sentences as one JSON object.",
)
@catalogue_option
def explain(file: Path, form: str, catalogue: Path) -> None:
    """Say in plain English what a rule set does: all of it, and nothing else.

    Exit codes: 0 done; 1 the rule set does not compile.
    """
    compilation = compile_files((file,), catalogue)
    program = compilation.program
    if program is None:
        tell_problems(compilation.errors, as_json=False)
        sys.exit(1)
    rule_set = next(known for known in program.rule_sets if known.file == str(file))
    root = read_yaml(rule_set.source).root
    assert isinstance(root, Block)
    sections = sentences_of(program, rule_set, root)
    if form == "json":
        told = [{"heading": section.heading, "sentences": list(section.sentences)} for section in sections]
        print_json({"rule_set": rule_set.name, "title": rule_set.title, "sections": told})
        return
    click.echo("\n\n".join(map(_shown, sections)))


def _shown(section: Section) -> str:
    if not section.heading:
        return "\n".join(textwrap.fill(sentence, _WIDTH) for sentence in section.sentences)
    lines = [
        textwrap.fill(
            sentence,
            _WIDTH,
            initial_indent="  - ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for sentence in section.sentences
    ]
    return "\n".join([section.heading, *lines])

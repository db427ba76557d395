"""`rapport rules schema`: the language for editors, with the names of a catalogue."""

import json
from pathlib import Path

import click

from services.cli.commands.rules.sources import catalogue_option
from services.cli.stack.errors import StackError
from services.decision.domain.language.json_schema import rule_set_schema
from services.vocabulary.catalogue import CatalogueError, load_catalogue


@click.command()
@catalogue_option
def schema(catalogue: Path) -> None:
    """Print the JSON Schema of rule sets, by which editors complete and check them."""
    try:
        known = load_catalogue(catalogue)
    except CatalogueError as error:
        raise StackError(str(error)) from None
    click.echo(json.dumps(rule_set_schema(known), indent=1, ensure_ascii=False))

"""`rapport rules`: check, test, read, release and list rule sets."""

import click

from services.cli.commands.rules.diff import diff
from services.cli.commands.rules.embedded_tests import run_embedded_tests
from services.cli.commands.rules.explain import explain
from services.cli.commands.rules.graph import graph
from services.cli.commands.rules.layout import lay_out_files
from services.cli.commands.rules.life import COMMANDS
from services.cli.commands.rules.lint import lint
from services.cli.commands.rules.live import activate, activate_files, list_rule_sets
from services.cli.commands.rules.new import new
from services.cli.commands.rules.schema import schema

__all__ = ["activate_files", "rules"]


@click.group()
def rules() -> None:
    """Check, test and activate rule sets."""


for command in (
    lint,
    run_embedded_tests,
    lay_out_files,
    explain,
    diff,
    graph,
    new,
    activate,
    list_rule_sets,
    *COMMANDS,
    schema,
):
    rules.add_command(command)

"""`rapport backup` and `rapport restore`: the databases of the local stack."""

from pathlib import Path

import click

from services.cli.commands.support import folder_option
from services.cli.stack.backup import back_up, dump_of
from services.cli.stack.backup import restore as restore_databases
from services.cli.stack.options import SERVICES

service_option = click.option(
    "--service",
    "services",
    multiple=True,
    type=click.Choice(SERVICES),
    help="Only the database of this service; repeatable.  [default: all three]",
)


@click.command()
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder to write to; a backup that is there is replaced.",
)
@service_option
@folder_option
def backup(into: Path, services: tuple[str, ...], folder: Path) -> None:
    """Write the databases into files while everything runs, each as of one moment.

    The streams of NATS are not in it: what was on its way is handed on again in recovery.
    """
    for service in services or SERVICES:
        back_up(folder.absolute(), into.absolute(), [service])
        written = dump_of(into, service)
        click.echo(f"{written}  {written.stat().st_size:,} bytes")


@click.command()
@click.option(
    "--from",
    "backup_folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="The folder that `rapport backup` wrote to.",
)
@service_option
@click.option("--yes", is_flag=True, help="Do not ask: what the databases hold now is lost.")
@folder_option
def restore(backup_folder: Path, services: tuple[str, ...], folder: Path, *, yes: bool) -> None:
    """Replace databases by those of a backup; Rapport must be stopped.

    Then start it: its workers wait until `rapport recover begin` says what was lost.
    """
    chosen = services or SERVICES
    if not yes:
        click.confirm(f"Replace the databases {', '.join(chosen)} in {folder}?", abort=True)
    restore_databases(folder.absolute(), backup_folder.absolute(), chosen)
    click.echo(f"restored: {', '.join(chosen)}. Next: rapport up, then rapport recover begin")

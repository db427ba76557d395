"""`rapport down`: stops the local stack."""

import signal
from pathlib import Path

import click

from services.cli.stack.errors import StackError
from services.cli.stack.layout import DEFAULT_FOLDER
from services.cli.stack.leftovers import end_leftovers
from services.cli.stack.processes import gone_within, stop_process
from services.cli.stack.state import read_stack

_PATIENCE = 180.0  # longer than all stages may take together


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    help="The folder given to `rapport up`.  [default: var in the checkout]",
)
def down(folder: Path) -> None:
    """Stop what `rapport up` started; nothing is lost, the next `rapport up` goes on from there."""
    if stop_stack(folder.absolute()):
        click.echo("Rapport is stopped.")
    else:
        click.echo(f"Nothing runs in {folder}.")


def stop_stack(folder: Path) -> bool:
    """Stops the stack of this folder and all that a crash left of it; whether there was anything to stop."""
    stack = read_stack(folder)
    if stack is None:
        return False
    try:
        if stack.supervised:
            stack.supervisor.send(signal.SIGTERM)
            if not gone_within(stack.supervisor, _PATIENCE):
                stop_process(stack.supervisor, patience=1.0)
        end_leftovers(folder)
    except PermissionError as error:
        raise StackError(f"The stack in {folder} belongs to another user; stop it as that one.") from error
    return True

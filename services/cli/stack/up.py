"""`rapport up`: starts the local stack and leaves it running."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from services.cli.stack.errors import FolderInUseError, PortTakenError, StackError
from services.cli.stack.layout import CHECKOUT, DEFAULT_FOLDER, Layout
from services.cli.stack.options import PORT_NAMES, PROGRAM_NAMES, StackOptions
from services.cli.stack.processes import log_end
from services.cli.stack.programs import python_command, python_environment
from services.cli.stack.progress import advance_clock
from services.cli.stack.state import Stack, find_stack

_REASONS: dict[str, type[StackError]] = {
    error.__name__: error for error in (StackError, FolderInUseError, PortTakenError)
}


class TimeOption(click.ParamType[datetime]):
    """A moment in ISO 8601; without an offset it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, or a usage error that says what is right."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time; write for example 2026-10-01T00:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _settings(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    told = {}
    for value in values:
        name, equals, setting = value.partition("=")
        if not equals or not name.replace("_", "").isalnum():
            raise click.BadParameter(f"{value!r}; write NAME=VALUE, for example log_level=debug")
        told[name] = setting
    return told


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    help="Where data, logs and passwords are kept.  [default: var in the checkout]",
)
@click.option(
    "--clock",
    type=click.Choice(["wall", "events"]),
    help="Business time: the wall's, or what the feeder of events announces. "
    "[default: the one that the folder was first used with; wall]",
)
@click.option("--start", type=TimeOption(), help="Business time to begin with (only with --clock events).")
@click.option(
    "--rules",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=CHECKOUT / "rules",
    help="Catalogue, policies and templates.  [default: rules in the checkout]",
)
@click.option(
    "--without",
    multiple=True,
    type=click.Choice(PROGRAM_NAMES),
    help="A program to leave out; can be repeated. Its port is kept for it.",
)
@click.option(
    "--port-base",
    type=click.IntRange(1024, 65_535 - len(PORT_NAMES)),
    help=f"First of {len(PORT_NAMES)} ports in a row for {', '.join(PORT_NAMES)}.  "
    "[default: those of the last time, else free ones]",
)
@click.option(
    "--database-user", help="As root: the account to run PostgreSQL under.  [default: postgres, nobody]"
)
@click.option(
    "--setting",
    "settings",
    multiple=True,
    callback=_settings,
    metavar="NAME=VALUE",
    help="A setting for all services (RAPPORT_NAME), for example log_level=debug; can be repeated.",
)
def up(
    folder: Path,
    clock: str | None,
    start: datetime | None,
    rules: Path,
    without: tuple[str, ...],
    port_base: int | None,
    database_user: str | None,
    settings: dict[str, str],
) -> None:
    """Start PostgreSQL, NATS, the three services and the demo's providers, and leave them running."""
    if start is not None and clock == "wall":
        raise click.UsageError("--start needs --clock events: the wall's time cannot be chosen")
    stack = start_stack(
        StackOptions(
            folder=folder.absolute(),
            rules=rules.absolute(),
            clock=clock or ("events" if start else None),
            without=without,
            port_base=port_base,
            database_user=database_user,
            settings=settings,
        )
    )
    if start is not None:
        now = advance_clock(stack, start)
        click.echo(f"business time is {now:%Y-%m-%d %H:%M:%S} UTC")
    for name in PORT_NAMES:
        click.echo(f"  {name:<10} {stack.address(name)}")
    click.echo("Rapport runs. See it with `rapport status`, stop it with `rapport down`.")


def start_stack(options: StackOptions) -> Stack:
    """Starts a stack and returns it when all its parts are ready, telling on the terminal how it goes.

    Raises a StackError when it does not start; nothing of it runs then.
    """
    layout = Layout(options.folder)
    layout.prepare()
    click.echo(f"starting Rapport in {layout.folder}")
    with layout.log("supervisor").open("ab") as log:
        supervisor = subprocess.Popen(
            [*python_command("services.cli.stack.supervisor"), options.to_json()],
            cwd="/",
            env=python_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert supervisor.stdout is not None
    with supervisor.stdout as reports:
        try:
            ready = _follow(reports)
        except KeyboardInterrupt:
            click.echo("stopping what was started", err=True)
            supervisor.send_signal(signal.SIGTERM)
            supervisor.wait()
            raise
        except StackError:
            supervisor.wait()
            raise
    if not ready:
        supervisor.wait()
        raise StackError(f"The supervisor stopped. {log_end(layout.log('supervisor'))}")
    supervisor.returncode = 0  # it lives on without us, and that is meant
    return find_stack(options.folder)


def _follow(reports: Any) -> bool:
    for line in reports:
        report = json.loads(line)
        if "failed" in report:
            raise _REASONS.get(report["reason"], StackError)(report["failed"])
        if report.get("ready"):
            return True
        if "note" in report:
            click.echo(f"  note: {report['note']}")
        else:
            click.echo(f"  {report['program']:<16} ready after {report['seconds']:>4} s")
        sys.stdout.flush()
    return False

"""`rapport status`: what runs, and how much is on its way."""

import json
from pathlib import Path
from typing import Any

import click

from services.cli.stack.disks import full_disks
from services.cli.stack.layout import DEFAULT_FOLDER
from services.cli.stack.progress import Progress, read_progress
from services.cli.stack.state import Stack, read_stack

_COLUMNS = ("stream_pending", "outbox_pending", "due_pending", "planned", "awaiting_receipt", "dead_letters")
_HEADINGS = ("pending", "outbox", "due", "planned", "no receipt", "dead letters")


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    help="The folder given to `rapport up`.  [default: var in the checkout]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@click.pass_context
def status(ctx: click.Context, folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Show processes, ports, business time and pending work; exit code 0 only if all run and answer."""
    stack = read_stack(folder.absolute())
    if stack is None:
        click.echo(
            json.dumps({"folder": str(folder), "state": "stopped"})
            if as_json
            else f"Nothing runs in {folder}."
        )
        ctx.exit(1)
    progress = [told for told in read_progress(stack) if _is_wanted(stack, told.service)]
    if as_json:
        click.echo(json.dumps(_as_json(stack, progress), indent=1))
    else:
        _print(stack, progress)
    ctx.exit(0 if _all_runs(stack, progress) else 1)


def _all_runs(stack: Stack, progress: list[Progress]) -> bool:
    return (
        stack.supervised
        and stack.state == "running"
        and all(program.state == "running" and program.alive for program in stack.programs)
        and all(told.failure is None for told in progress)
    )


def _is_wanted(stack: Stack, service: str) -> bool:
    return any(program.name == f"{service}-server" for program in stack.programs)


def _state(stack: Stack) -> str:
    return stack.state if stack.supervised else "left over from a crash"


def _as_json(stack: Stack, progress: list[Progress]) -> dict[str, Any]:
    return {
        "folder": str(stack.folder),
        "state": stack.state if stack.supervised else "crashed",
        "supervisor": {"pid": stack.supervisor.pid, "alive": stack.supervised},
        "clock": stack.clock,
        "rules": str(stack.rules),
        "database": {
            "folder": str(stack.database_home),
            "account": stack.database_user,
            "socket": str(stack.database_socket),
        },
        "full_disks": full_disks(stack),
        "ports": stack.ports,
        "programs": [
            {
                "name": program.name,
                "pid": program.birth.pid if program.birth else None,
                "state": program.state if program.alive else _gone(program.state),
                "restarts": program.restarts,
                "address": f"127.0.0.1:{program.port}" if program.port else None,
            }
            for program in stack.programs
        ],
        "services": [_service_json(told) for told in progress],
    }


def _service_json(told: Progress) -> dict[str, Any]:
    if told.failure is not None:
        return {"service": told.service, "failure": told.failure}
    return {
        "service": told.service,
        "business_time": told.business_time.isoformat().replace("+00:00", "Z")
        if told.business_time
        else None,
        **{name: getattr(told, name) for name in _COLUMNS},
        "totals": told.totals,
    }


def _gone(state: str) -> str:
    return state if state in {"stopped", "restarting"} else "gone"


def _print(stack: Stack, progress: list[Progress]) -> None:
    click.echo(f"Rapport in {stack.folder}: {_state(stack)} (supervisor {stack.supervisor.pid})")
    click.echo(f"database files in {stack.database_home}, account {stack.database_user}")
    click.echo(f"clock: {stack.clock}; rules: {stack.rules}; logs: {stack.folder / 'log'}\n")
    for sentence in full_disks(stack):
        click.echo(f"{sentence}\n")
    _table(
        ("program", "pid", "state", "restarts", "address"),
        [
            (
                program.name,
                str(program.birth.pid) if program.birth else "-",
                program.state if program.alive else _gone(program.state),
                str(program.restarts),
                f"127.0.0.1:{program.port}" if program.port else "-",
            )
            for program in stack.programs
        ],
    )
    click.echo()
    _table(
        ("service", "business time (UTC)", *_HEADINGS),
        [
            (
                told.service,
                f"{told.business_time:%Y-%m-%d %H:%M:%S}" if told.business_time else "not known yet",
                *(str(getattr(told, name)) for name in _COLUMNS),
            )
            if told.failure is None
            else (told.service, told.failure, *("-" for _ in _COLUMNS))
            for told in progress
        ],
    )


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[index]) for row in (headings, *rows)) for index in range(len(headings))]
    for row in (headings, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

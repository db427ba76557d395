"""`rapport status`: what runs, whether it is well, and how much is on its way."""

import json
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from services.cli.stack.disks import full_disks
from services.cli.stack.layout import DEFAULT_FOLDER
from services.cli.stack.progress import Progress, read_progress
from services.cli.stack.seen import Seen, look_at_roles
from services.cli.stack.state import Stack, read_stack

_COLUMNS = ("stream_pending", "outbox_pending", "due_pending", "planned", "awaiting_receipt", "dead_letters")
_HEADINGS = ("pending", "outbox", "due", "planned", "no receipt", "dead letters")

_RATES = ("events", "decisions", "messages")
_TOP_REFUSALS = 5
_WATCH_SECONDS = 2.0


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    help="The folder given to `rapport up`.  [default: var in the checkout]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@click.option("--watch", is_flag=True, help="Show it again every two seconds; with --json a line each.")
@click.pass_context
def status(ctx: click.Context, folder: Path, as_json: bool, watch: bool) -> None:  # noqa: FBT001 - click passes flags so
    """Show processes, readiness, rates, refusals and pending work; exit code 0 only if all is well."""
    while True:
        well = _show(folder, as_json=as_json, watch=watch)
        if not watch:
            ctx.exit(0 if well else 1)
        threading.Event().wait(_WATCH_SECONDS)


def _show(folder: Path, *, as_json: bool, watch: bool) -> bool:
    """Show everything once; whether all is well."""
    stack = read_stack(folder.absolute())
    if stack is None:
        click.echo(
            json.dumps({"folder": str(folder), "state": "stopped"})
            if as_json
            else f"Nothing runs in {folder}."
        )
        return False
    progress = [told for told in read_progress(stack) if _is_wanted(stack, told.service)]
    roles = look_at_roles(stack)
    if as_json:
        click.echo(json.dumps(_as_json(stack, progress, roles), indent=None if watch else 1))
    else:
        if watch:
            click.clear()
        _print(stack, progress)
        _print_roles(roles)
    return _all_runs(stack, progress, roles)


def _all_runs(stack: Stack, progress: list[Progress], roles: list[Seen]) -> bool:
    return (
        stack.supervised
        and stack.state == "running"
        and all(program.state == "running" and program.alive for program in stack.programs)
        and all(told.failure is None for told in progress)
        and all(seen.well for seen in roles)
    )


def _is_wanted(stack: Stack, service: str) -> bool:
    return any(program.name == f"{service}-server" for program in stack.programs)


def _state(stack: Stack) -> str:
    return stack.state if stack.supervised else "left over from a crash"


def _as_json(stack: Stack, progress: list[Progress], roles: list[Seen]) -> dict[str, Any]:
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
        "roles": [role_json(seen) for seen in roles],
        "per_second": _rates(roles),
        "refusals": dict(_refusals(roles).most_common()),
    }


def role_json(seen: Seen) -> dict[str, Any]:
    """A role as JSON shows it."""
    return {"role": seen.role, "failure": seen.failure} if seen.failure else asdict(seen)


def _rates(roles: list[Seen]) -> dict[str, float]:
    """What is done per second in the whole stack, over the last minute."""
    return {name: round(sum(seen.per_second.get(name, 0.0) for seen in roles), 2) for name in _RATES}


def _refusals(roles: list[Seen]) -> Counter[str]:
    """By reason, since the roles started."""
    found: Counter[str] = Counter()
    for seen in roles:
        found.update(seen.refusals)
    return found


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


def _print_roles(roles: list[Seen]) -> None:
    click.echo()
    _table(
        (
            "role",
            "ready",
            "missing",
            "lag",
            "oldest",
            "outbox",
            "oldest",
            "failures",
            "memory",
            "certificate",
        ),
        [_role_row(seen) for seen in roles],
    )
    rates = ", ".join(f"{rate:,.1f} {name}" for name, rate in _rates(roles).items())
    click.echo(f"\nper second over the last minute: {rates}")
    engines = [seen for seen in roles if seen.engine_restarts is not None]
    if engines:
        restarts = sum(seen.engine_restarts or 0 for seen in engines)
        aside = sum(seen.engine_set_aside or 0 for seen in engines)
        click.echo(f"rules engine: {restarts} restarts, {aside} events set aside")
    asking = [seen for seen in roles if seen.runs_open is not None]
    if asking:
        click.echo(audiences(asking))
    refusals = _refusals(roles).most_common(_TOP_REFUSALS)
    said = ", ".join(f"{reason.lower()} {count}" for reason, count in refusals) or "none"
    click.echo(f"refusals since the roles started: {said}")


def audiences(roles: list[Seen]) -> str:
    """How far the audiences are that are being asked; each worker sees all of them."""
    count = max(seen.runs_open or 0 for seen in roles)
    behind = max(seen.runs_behind_seconds or 0.0 for seen in roles)
    called = sum(sum(seen.called.values()) for seen in roles)
    under_way = f"{count} under way, {_seconds(behind)} behind" if count else "none under way"
    return f"audiences: {under_way}, {called} customers called since the roles started"


def _role_row(seen: Seen) -> tuple[str, ...]:
    if seen.failure:
        return (seen.role, seen.failure, *("-" for _ in range(8)))
    shortest = min(seen.certificates.values(), default=None)
    return (
        seen.role,
        "-" if seen.ready is None else "yes" if seen.ready else "no",
        ", ".join(seen.missing) or "-",
        _number(seen.lag),
        _seconds(seen.oldest_seconds),
        _number(seen.outbox),
        _seconds(seen.outbox_seconds),
        str(seen.task_failures),
        "-" if seen.resident_bytes is None else f"{seen.resident_bytes / 1e6:.0f} MB",
        "-" if shortest is None else f"{shortest / 86_400:.0f} days",
    )


def _number(count: int | None) -> str:
    return "-" if count is None else str(count)


def _seconds(age: float | None) -> str:
    return "-" if age is None else f"{age:.0f} s"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[index]) for row in (headings, *rows)) for index in range(len(headings))]
    for row in (headings, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

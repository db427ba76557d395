"""`rapport audit`: who changed what of rules, consent and configuration."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click
import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.operations.v1 import operations_pb2

from services.cli.commands.support import (
    folder_option,
    iso,
    json_option,
    limit_option,
    print_json,
    runs,
)
from services.cli.connections import SERVICES, connected
from services.cli.paging import entries_of

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"]
_MOST_LINES = 8


@click.command()
@click.option("--service", type=click.Choice(SERVICES), help="Only of this service.")
@click.option(
    "--target", default="", help="Only this and what stands below it: rule_set/bill-shock, customer/7."
)
@click.option("--actor", default="", help="Only what this caller did.")
@click.option("--action", default="", help="Only this: rules.activate, consent.record, configuration.load …")
@click.option("--from", "start", type=click.DateTime(_TIMES), help="Not before this time (UTC).")
@click.option("--to", "end", type=click.DateTime(_TIMES), help="Before this time (UTC).")
@limit_option
@json_option
@folder_option
@runs
async def audit(
    service: str | None,
    target: str,
    actor: str,
    action: str,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    """List changes, newest first, of all services."""
    request = operations_pb2.ListAuditEntriesRequest(target=target, actor=actor, action=action)
    for name, moment in (("from_time", start), ("to_time", end)):
        if moment is not None:
            stamp = Timestamp()
            stamp.FromDatetime(moment)
            getattr(request, name).CopyFrom(stamp)
    found: list[operations_pb2.AuditEntry] = []
    async with connected(folder) as connections:
        for one in (service,) if service else SERVICES:
            pages = entries_of(connections.operations[one].ListAuditEntries, request, "entries", limit=limit)
            found += [entry async for entry in pages]
    found.sort(key=lambda entry: entry.time.ToNanoseconds(), reverse=True)
    shown = [_entry_json(entry) for entry in found[:limit]]
    if as_json:
        for entry in shown:
            print_json(entry)
        return
    for entry in shown:
        click.echo(" ".join(entry[name] for name in ("time", "service", "actor", "action", "target")))
        for line in _differences(entry["before"], entry["after"]):
            click.echo(f"    {line}")
    if not shown:
        click.echo("nothing was changed")


def _entry_json(entry: operations_pb2.AuditEntry) -> dict[str, Any]:
    return {
        "audit_entry_id": entry.audit_entry_id,
        "service": entry.service,
        "time": iso(entry.time),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "before": orjson.loads(entry.before) if entry.before else None,
        "after": orjson.loads(entry.after) if entry.after else None,
        "request_id": entry.request_id,
    }


def _differences(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    """What changed, a line each, the first few; what stayed is left out."""
    old, new = _flat(before), _flat(after)
    lines = []
    for name in [*old, *(name for name in new if name not in old)]:
        was, now = old.get(name), new.get(name)
        if was is None:
            lines.append(f"{name}: {now}")
        elif was != now:
            lines.append(f"{name}: {was} → {now if now is not None else 'gone'}")
    more = len(lines) - _MOST_LINES
    return lines if more <= 0 else [*lines[:_MOST_LINES], f"and {more} more; see --json"]


def _flat(state: dict[str, Any] | None, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in (state or {}).items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, str) else orjson.dumps(value).decode()
    return found

"""`rapport prune`: take away what is kept no longer, or look at what would go."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from rapport.operations.v1 import operations_pb2

from services.cli.commands.support import folder_option, iso, json_option, print_json, print_table, runs
from services.cli.connections import SERVICES, connected

_DAY_SECONDS = 86_400


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--service", type=click.Choice(SERVICES), help="Only of this service.")
@json_option
@folder_option
@runs
async def prune(service: str | None, folder: Path, *, dry_run: bool, as_json: bool) -> None:
    """Take away what is older than rules/policies/retention.yaml keeps it; workers do so every six hours."""
    found: list[dict[str, Any]] = []
    async with connected(folder) as connections:
        for name in (service,) if service else SERVICES:
            operations = connections.operations[name]
            if dry_run:
                preview = await operations.PreviewPrune(operations_pb2.PreviewPruneRequest())
                found += [_class_json(name, one) for one in preview.classes]
            else:
                found += [_class_json(name, one) for one in await _prune(operations)]
    if as_json:
        for one in found:
            print_json(one)
        return
    print_table(
        ("service", "class", "kept", "before", "would go" if dry_run else "gone"),
        [
            (
                one["service"],
                one["class"],
                f"{one['kept_seconds'] // _DAY_SECONDS} days",
                one["before_time"],
                ", ".join(f"{table} {rows}" for table, rows in one["rows"].items() if rows) or "nothing",
            )
            for one in found
        ],
        empty="everything is kept for good: rules/policies/retention.yaml names no class",
    )


async def _prune(operations: Any) -> Sequence[operations_pb2.PrunedClass]:
    """All that is due, in as many calls as it takes; rows by class summed up."""
    found: dict[str, operations_pb2.PrunedClass] = {}
    while True:
        answer = await operations.Prune(operations_pb2.PruneRequest(request_id=str(uuid4())))
        for one in answer.classes:
            known = found.setdefault(one.name, one)
            if known is not one:
                for table, rows in one.rows.items():
                    known.rows[table] += rows
        if not answer.more:
            return list(found.values())


def _class_json(service: str, one: operations_pb2.PrunedClass) -> dict[str, Any]:
    return {
        "service": service,
        "class": one.name,
        "kept_seconds": one.kept_seconds,
        "before_time": iso(one.before_time),
        "rows": dict(sorted(one.rows.items())),
    }

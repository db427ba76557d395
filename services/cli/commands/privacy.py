"""`rapport privacy`: what people may ask of us about what we keep of them."""

from pathlib import Path
from typing import Any

import click
from rapport.operations.v1 import readers_pb2
from rapport.profile.v1 import profile_pb2

from services.cli.commands.persons import erase, export, receipt
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


@click.group()
def privacy() -> None:
    """See to people's rights over what is kept of them."""


for command in (export, erase, receipt):
    privacy.add_command(command)


@privacy.command("readers")
@click.argument("subject", metavar="ID")
@limit_option
@json_option
@folder_option
@runs
async def readers(subject: str, limit: int, folder: Path, *, as_json: bool) -> None:
    """List who looked at a customer, newest first, of all services; our own services are left out."""
    found: list[tuple[int, dict[str, Any]]] = []
    async with connected(folder) as connections:
        request = profile_pb2.BatchResolveIdentitiesRequest(subjects=[subject])
        (owner,) = (await connections.profile.BatchResolveIdentities(request)).results
        customers = [owner.customer, *owner.merged_customers] if owner.customer else []
        for name in SERVICES if customers else ():
            found += await _of(connections.readers[name], name, customers, limit)
    found.sort(key=lambda one: one[0], reverse=True)
    shown = [entry for _, entry in found[:limit]]
    if as_json:
        for entry in shown:
            print_json(entry)
        return
    for entry in shown:
        told = f" for {entry['reason']}" if entry["reason"] else ""
        method = entry["method"].rpartition("/")[2]
        click.echo(f"{entry['time']} {entry['caller']} {method} customer {entry['customer']}{told}")
    if not found:
        click.echo("nobody looked" if customers else "nobody is known under this subject")


async def _of(stub: Any, service: str, customers: list[int], limit: int) -> list[tuple[int, dict[str, Any]]]:
    """What one service has on record, at most so much, each with its time in nanoseconds."""
    request = readers_pb2.ListReadersRequest(customers=customers)
    return [
        (
            entry.time.ToNanoseconds(),
            {
                "time": iso(entry.time),
                "caller": entry.caller,
                "method": entry.method,
                "service": service,
                "customer": entry.customer,
                "reason": entry.reason,
            },
        )
        async for entry in entries_of(stub.ListReaders, request, "entries", limit=limit)
    ]

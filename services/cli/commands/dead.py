"""`rapport dead`: items that were set aside because they failed alone."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from rapport.operations.v1 import operations_pb2

from services.cli.commands.support import (
    folder_option,
    iso,
    json_option,
    limit_option,
    print_json,
    print_table,
    runs,
)
from services.cli.connections import SERVICES, connected

service_option = click.option("--service", type=click.Choice(SERVICES), help="Only of this service.")


@click.group()
def dead() -> None:
    """Look at what was set aside, and send it again."""


@dead.command("list")
@service_option
@click.option("--resent", is_flag=True, help="Also those that were sent again.")
@limit_option
@json_option
@folder_option
@runs
async def list_dead(service: str | None, limit: int, folder: Path, *, resent: bool, as_json: bool) -> None:
    """List dead letters, newest first, of each service."""
    found: list[dict[str, Any]] = []
    async with connected(folder) as connections:
        for name in (service,) if service else SERVICES:
            request = operations_pb2.ListDeadLettersRequest(page_size=min(limit, 1000), include_resent=resent)
            answer = await connections.operations[name].ListDeadLetters(request)
            found.extend(_letter_json(letter) for letter in answer.dead_letters)
    if as_json:
        for letter in found:
            print_json(letter)
        return
    print_table(
        ("service", "id", "kind", "item", "type", "customer", "time", "reason"),
        [tuple(letter[name] for name in _SHOWN) for letter in found],
        empty="nothing was set aside",
    )


@dead.command("resend")
@click.argument("dead_letter_id", metavar="ID")
@click.option("--service", type=click.Choice(SERVICES), required=True, help="The service that set it aside.")
@json_option
@folder_option
@runs
async def resend(dead_letter_id: str, service: str, folder: Path, *, as_json: bool) -> None:
    """Send one again, with a fresh snapshot."""
    request = operations_pb2.ResendDeadLetterRequest(request_id=str(uuid4()), dead_letter_id=dead_letter_id)
    async with connected(folder) as connections:
        answer = await connections.operations[service].ResendDeadLetter(request)
    if as_json:
        print_json(_letter_json(answer.dead_letter))
    else:
        click.echo(f"{service} dead letter {dead_letter_id} is on its way again")


_SHOWN = ("service", "dead_letter_id", "kind", "item_id", "item_type", "customer", "create_time", "reason")


def _letter_json(letter: operations_pb2.DeadLetter) -> dict[str, Any]:
    return {
        "dead_letter_id": letter.dead_letter_id,
        "service": letter.service,
        "kind": letter.kind,
        "item_id": letter.item_id,
        "item_type": letter.item_type,
        "customer": letter.customer,
        "reason": letter.reason,
        "create_time": iso(letter.create_time),
        "resend_time": iso(letter.resend_time),
    }

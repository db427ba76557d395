"""`rapport privacy export`, `erase`, `receipt`: what is known about a person as files, and its erasure."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import grpc
import orjson
from rapport.privacy.v1 import erasure_pb2

from services.cli.commands.support import (
    enum_word,
    folder_option,
    iso,
    json_option,
    limit_option,
    print_json,
    runs,
)
from services.cli.connections import Connections, connected
from services.cli.paging import entries_of
from services.cli.privacy.gather import gather
from services.cli.privacy.page import render_page
from services.cli.stack.errors import StackError
from services.vocabulary import wire
from services.vocabulary.words import ConsentBy

_GROUNDS = {
    name.removeprefix("ERASURE_GROUND_").lower().replace("_", "-"): number
    for name, number in erasure_pb2.ErasureGround.items()
    if number
}
_LOOK_SECONDS = 0.2
_PAGE = 100


@click.command("export")
@click.argument("subject", metavar="ID")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where to; made if missing.",
)
@folder_option
@runs
async def export(subject: str, out: Path, folder: Path) -> None:
    """Write everything that the three services know about ID into person.json and person.html.

    ID is any identity, such as msisdn:+33612345678, or customer:7. The page needs no network and is made to
    be read by the person.
    """
    async with connected(folder) as connections:
        person = await gather(
            connections, subject, lambda service, count: click.echo(f"{service}: {count} entries")
        )
    _write(out, {"person.json": person.json(), "person.html": render_page(person).encode()})


def _write(out: Path, files: dict[str, bytes]) -> None:
    """For nobody's eyes but those of who asked for it."""
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, content in files.items():
        path = out / name
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_bytes(content)
        click.echo(f"wrote {path}")


@click.command("erase")
@click.argument("subject", metavar="ID", required=False)
@click.option("--ground", type=click.Choice(sorted(_GROUNDS)), help="Why (GDPR art. 17 (1)).")
@click.option(
    "--by",
    type=click.Choice([word.value for word in ConsentBy]),
    default=ConsentBy.PERSON.value,
    show_default=True,
    help="Who asked for it.",
)
@click.option("--reference", default="", help="Where the request is on file; nothing of the person.")
@click.option(
    "--again", is_flag=True, help="Send it to the services once more: one was restored from a backup."
)
@click.option(
    "--receipts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Instead of ID: erase all of a file of receipts (`receipt --all --json`) again, after a restore.",
)
@click.option("--request-id", help="The same id asks for the same erasure.  [default: a new one]")
@click.option(
    "--wait", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds until all are done."
)
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@json_option
@folder_option
@runs
async def erase(
    subject: str | None,
    ground: str | None,
    by: str,
    reference: str,
    request_id: str | None,
    receipts: Path | None,
    wait: float,
    folder: Path,
    *,
    again: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase ID in all services, under all ids merged with it, and show the receipt.

    It cannot be undone. Exit code 1 if a service was not done in time: look with `rapport privacy receipt`.
    """
    if (subject is None) == (receipts is None):
        raise click.UsageError("Name a person, or a file of --receipts.")
    if subject is not None and ground is None:
        raise click.UsageError("Say why: --ground " + "|".join(sorted(_GROUNDS)))
    if not yes:
        whom = subject if receipts is None else f"all persons of {receipts}"
        click.confirm(f"Erase {whom} in all services, for good?", abort=True, err=True)
    requests = (
        list(_from_receipts(receipts))
        if receipts is not None
        else [
            erasure_pb2.RequestErasureRequest(
                request_id=request_id or str(uuid4()),
                subject=subject or "",
                ground=_GROUNDS[str(ground)],
                by=wire.CONSENT_BY.to_wire(ConsentBy(by)),
                reference=reference,
                again=again,
            )
        ]
    )
    left = 0
    async with connected(folder) as connections:
        for request in requests:
            try:
                asked = await connections.erasures.RequestErasure(request)
            except grpc.aio.AioRpcError as error:
                if receipts is None or error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                click.echo(f"{request.subject} is not known here", err=True)
                continue
            erasure = await _complete(connections, asked.erasure, wait)
            left += not erasure.HasField("complete_time")
            _show(erasure, as_json=as_json)
    if left:
        raise StackError(f"{left} not complete yet. Look with: rapport privacy receipt --open")


@click.command("receipt")
@click.argument("erasure_id", metavar="ERASURE", required=False)
@click.option("--all", "every", is_flag=True, help="All, newest first.")
@click.option("--open", "open_only", is_flag=True, help="Those that are not complete.")
@limit_option
@json_option
@folder_option
@runs
async def receipt(
    erasure_id: str | None, limit: int, folder: Path, *, every: bool, open_only: bool, as_json: bool
) -> None:
    """Show what each service did of an erasure; without ERASURE list the newest.

    Keep `receipt --all --json` outside: after a restore it says whom to erase again. It names nobody.
    """
    async with connected(folder) as connections:
        if erasure_id:
            found = await connections.erasures.GetErasure(
                erasure_pb2.GetErasureRequest(erasure_id=erasure_id)
            )
            _show(found.erasure, as_json=as_json)
            return
        request = erasure_pb2.ListErasuresRequest(open_only=open_only)
        most = None if every else limit
        pages = entries_of(connections.erasures.ListErasures, request, "erasures", limit=most, page=_PAGE)
        listed: list[erasure_pb2.Erasure] = [erasure async for erasure in pages]
    for erasure in listed:
        if as_json:
            print_json(_told(erasure))
        else:
            state = iso(erasure.complete_time) or "not complete"
            click.echo(f"{erasure.erasure_id}  asked {iso(erasure.request_time)}  {state}")
    if not listed and not as_json:
        click.echo("no erasures")


async def _complete(
    connections: Connections, erasure: erasure_pb2.Erasure, wait: float
) -> erasure_pb2.Erasure:
    """The receipt once all services are done, or as it stands when the time is over."""
    end = asyncio.get_running_loop().time() + wait
    while not erasure.HasField("complete_time") and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(_LOOK_SECONDS)
        request = erasure_pb2.GetErasureRequest(erasure_id=erasure.erasure_id)
        erasure = (await connections.erasures.GetErasure(request)).erasure
    return erasure


def _from_receipts(path: Path) -> Iterator[erasure_pb2.RequestErasureRequest]:
    """What was asked for before, by the ids that a restored database knows again; each file once."""
    for line in path.read_bytes().splitlines():
        told = orjson.loads(line)
        for customer in told["customers"]:
            yield erasure_pb2.RequestErasureRequest(
                request_id=f"again:{told['erasure_id']}:{customer}:{uuid4()}",
                subject=f"customer:{customer}",
                ground=_GROUNDS[told["ground"]],
                by=wire.CONSENT_BY.to_wire(ConsentBy(told["by"])),
                reference=told["reference"],
                again=True,
            )


def _show(erasure: erasure_pb2.Erasure, *, as_json: bool) -> None:
    if as_json:
        print_json(_told(erasure))
        return
    told = _told(erasure)
    click.echo(f"erasure {told['erasure_id']} of customer {', '.join(map(str, told['customers']))}")
    click.echo(f"asked {told['request_time']} by {told['by']}: {told['ground']} {told['reference']}".rstrip())
    from rich.console import Console  # not for those who want JSON
    from rich.table import Table

    table = Table("service", "finished", "rows erased", header_style="bold", box=None, pad_edge=False)
    for service in told["services"]:
        rows = ", ".join(f"{name} {count}" for name, count in service["erased"].items()) or "none"
        table.add_row(service["service"], service["finish_time"] or "not yet", rows)
    Console(soft_wrap=True).print(table)
    click.echo(f"complete {told['complete_time']}" if told["complete_time"] else "not complete yet")


def _told(erasure: erasure_pb2.Erasure) -> dict[str, Any]:
    ground = enum_word(erasure_pb2.ErasureGround.Name(erasure.ground), "ERASURE_GROUND_")
    by = wire.CONSENT_BY.from_wire(erasure.by)
    return {
        "erasure_id": erasure.erasure_id,
        "customers": list(erasure.customers),
        "request_time": iso(erasure.request_time),
        "ground": ground.replace("_", "-"),
        "by": by.value if by is not None else "",
        "reference": erasure.reference,
        "services": [
            {
                "service": service.service,
                "finish_time": iso(service.finish_time),
                "erased": {row.table: row.rows for row in service.erased},
                "open_customers": list(service.open_customers),
            }
            for service in erasure.services
        ],
        "complete_time": iso(erasure.complete_time),
    }

"""`rapport retract`: take back an event that was taken by mistake."""

from pathlib import Path
from uuid import uuid4

import click
from rapport.profile.v1 import correction_pb2

from services.cli.commands.support import folder_option, json_option, print_json, runs
from services.cli.connections import connected


@click.command()
@click.argument("subject", metavar="ID")
@click.argument("source")
@click.argument("event_id", metavar="EVENT")
@json_option
@folder_option
@runs
async def retract(subject: str, source: str, event_id: str, folder: Path, *, as_json: bool) -> None:
    """Take back EVENT, which SOURCE said of the customer ID by mistake: it counts in no window any more.

    What was decided because of it stays decided, and traits that it set stand until an event corrects them.
    """
    request = correction_pb2.RetractEventRequest(
        request_id=str(uuid4()), subject=subject, source=source, id=event_id
    )
    async with connected(folder) as connections:
        answer = await connections.corrections.RetractEvent(request)
    if as_json:
        print_json(
            {
                "customer": answer.customer,
                "type": answer.type,
                "already": answer.already,
                "standing_traits": list(answer.standing_traits),
            }
        )
        return
    word = "had been taken back before" if answer.already else "is taken back"
    click.echo(f"{answer.type} of customer {answer.customer} {word}")
    if answer.standing_traits:
        click.echo("its word still stands about " + ", ".join(answer.standing_traits))

"""`rapport decisions why-not`: why an action did not happen for a customer."""

from pathlib import Path

import click
from rapport.decision.v1 import explanation_pb2

from services.cli.commands.decision_trees import node_json, tree_lines
from services.cli.commands.options import Moment
from services.cli.commands.support import folder_option, iso, json_option, print_json, runs
from services.cli.connections import connected
from services.vocabulary import wire
from services.vocabulary.values import SECOND, ValueMistake, parse_duration


@click.command("why-not")
@click.argument("subject")
@click.argument("action")
@click.option("--at", "time", type=Moment(), help="Around this time.  [default: now]")
@click.option(
    "--within", default="1d", show_default=True, metavar="LENGTH", help="So long before and after count."
)
@json_option
@folder_option
@runs
async def why_not(
    subject: str, action: str, time: int | None, within: str, folder: Path, *, as_json: bool
) -> None:
    """Say why ACTION did not happen for SUBJECT, and what would have had to be different.

    SUBJECT is any identity, or customer:7. ACTION is an offer, a message, a survey or a task by name; or a
    rule set, or rule_set/rule.
    """
    request = explanation_pb2.WhyNotRequest(subject=subject, action=action)
    try:
        request.within_seconds = parse_duration(within) // SECOND
    except ValueMistake as mistake:
        raise click.BadParameter(
            f"{within!r} {mistake.message}; {mistake.suggestion}", param_hint="--within"
        ) from None
    if time is not None:
        request.time.CopyFrom(wire.timestamp(time))
    async with connected(folder) as connections:
        answer = await connections.explanations.WhyNot(request)
    cause = explanation_pb2.WhyNotCause.Name(answer.cause).removeprefix("WHY_NOT_CAUSE_").lower()
    if as_json:
        print_json(
            {
                "cause": cause,
                "sentence": answer.sentence,
                "needed": answer.needed,
                "customer": answer.customer,
                "rule_set": answer.rule_set,
                "version": answer.version,
                "rule": answer.rule,
                "reason": wire.REFUSAL_REASONS.from_wire(answer.reason),
                "decision_id": answer.decision_id,
                "action_id": answer.action_id,
                "event_id": answer.event_id,
                "event_type": answer.event_type,
                "event_time": iso(answer.event_time) if answer.HasField("event_time") else None,
                "as_of": explanation_pb2.SeenAsOf.Name(answer.as_of).removeprefix("SEEN_AS_OF_").lower(),
                "message_id": answer.message_id,
                "note": answer.note,
                "nodes": [node_json(node) for node in answer.nodes],
            }
        )
        return
    click.echo(_sentence(answer.sentence))
    if answer.needed:
        click.echo(f"Needed: {answer.needed}.")
    if answer.event_type:
        click.echo(f"Looked at: {answer.event_type} at {iso(answer.event_time)}.")
    for node in answer.nodes:
        for line in tree_lines(node, 1):
            click.echo(line)
    if answer.note:
        click.echo(f"Note: {answer.note}.")
    if answer.decision_id:
        click.echo(f"More: rapport decisions explain {answer.decision_id}")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."

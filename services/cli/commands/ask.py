"""`rapport ask`: a question about one customer, answered at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import orjson
from rapport.decision.v1 import decision_pb2
from rapport.types.v1 import vocabulary_pb2

from services.cli.commands.decisions import action_json, decision_json
from services.cli.commands.support import folder_option, iso, json_option, print_json, print_table, runs
from services.cli.connections import connected
from services.vocabulary import wire
from services.vocabulary.values import to_json
from services.vocabulary.words import ActionKind, ActionOutcome, Channel

_TOLD_BELOW = frozenset({ActionKind.SAY, ActionKind.AVOID})
"""They are no actions to an agent, but sentences under the table."""


def parameters_of(written: Sequence[str]) -> dict[str, vocabulary_pb2.Value]:
    """Values by name of `name=value`; raises BadParameter."""
    found: dict[str, vocabulary_pb2.Value] = {}
    for pair in written:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"`{pair}` has no value; write it as topic=calls", param_hint="--set")
        if name in found:
            raise click.BadParameter(f"`{name}` is given twice", param_hint="--set")
        found[name] = wire.value_to_wire(_value(text))
    return found


def _value(text: str) -> str | int | float | bool:
    """Numbers, true and false as such; everything else, and what stands in quotes, is a text."""
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


@click.command("ask")
@click.argument("subject", metavar="SUBJECT")
@click.argument("question", metavar="QUESTION")
@click.option("--set", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter: topic=calls.")
@click.option(
    "--present",
    is_flag=True,
    help="The answer is shown to the customer: reserve it at the gates and record it.",
)
@click.option(
    "--channel",
    type=click.Choice([word.value for word in Channel]),
    help="With --present: where it is shown; left out: the care desk.",
)
@json_option
@folder_option
@runs
async def ask(
    subject: str,
    question: str,
    parameters: tuple[str, ...],
    channel: str | None,
    folder: Path,
    *,
    present: bool,
    as_json: bool,
) -> None:
    """Ask what is best for one customer now. SUBJECT is any identity, such as msisdn:+33612345678.

    QUESTION is one of the catalogue's questions, such as care-call. Without --present nothing is bound.
    """
    request = decision_pb2.DecideRequest(
        request_id=str(uuid4()),
        subject=subject,
        ask=question,
        ask_parameters=parameters_of(parameters),
        mode=decision_pb2.DECIDE_MODE_PRESENT if present else decision_pb2.DECIDE_MODE_PEEK,
        channel=wire.CHANNELS.to_wire(Channel(channel) if channel else None),
    )
    async with connected(folder) as connections:
        answer = await connections.decision.Decide(request)
    actions = [
        {**action_json(action), "because": list(action.because), "parameters": _shown(action)}
        for action in answer.decision.actions
    ]
    if as_json:
        decided = {**decision_json(answer.decision, []), "actions": actions, "reserved": answer.reserved}
        del decided["identities"]
        decided["say"] = [{"text": one.text, "because": list(one.because)} for one in answer.say]
        decided["avoid"] = [
            {"category": wire.CATEGORIES.from_wire(one.category), "because": list(one.because)}
            for one in answer.avoid
        ]
        decided["waiting"] = [
            action_json(action) | {"planned_time": iso(action.planned_time)} for action in answer.waiting
        ]
        print_json(decided)
        return
    print_table(
        ("action", "what", "what becomes of it", "because"),
        [
            (
                f"{one['kind']} {one['name']}".strip(),
                ", ".join(f"{name}: {value}" for name, value in one["parameters"].items()),
                _becomes(one, present=present),
                "; ".join(one["because"]),
            )
            for one in actions
            if one["kind"] not in _TOLD_BELOW
        ],
        empty="no action",
    )
    if present and not answer.reserved:
        click.echo("The gates could not be asked: present nothing but what is mandatory or service.")
    for saying in answer.say:
        click.echo(f"Say: {saying.text}")
    for avoidance in answer.avoid:
        why = "; ".join(avoidance.because)
        click.echo(
            f"Do not bring up: {wire.CATEGORIES.from_wire(avoidance.category)}" + (f" ({why})" if why else "")
        )
    for action in answer.waiting:
        click.echo(f"Waits until {iso(action.planned_time)}: {action.name} of {action.rule_set}")
    for one in actions if present else ():
        if one["outcome"] == ActionOutcome.DISPATCHED and one["kind"] == ActionKind.OFFER:
            click.echo(
                f"What came of {one['name']}: rapport outcomes record {one['action_id']} "
                "presented|accepted|declined|not-now"
            )


def _becomes(action: Mapping[str, Any], *, present: bool) -> str:
    """For the agent, what an action's outcome means here."""
    match ActionOutcome(action["outcome"]):
        case ActionOutcome.REFUSED:
            detail = action.get("detail")
            return f"not now: {action['reason']}" + (f" ({detail})" if detail else "")
        case ActionOutcome.DISPATCHED if action["kind"] == ActionKind.TASK:
            return "goes to its queue" if present else "would go to its queue"
        case ActionOutcome.DISPATCHED:
            return "yours to present" if present else "may be presented"
        case outcome if present:
            return outcome.value
        case outcome:
            return f"would be {outcome.value}"


def _shown(action: decision_pb2.DecidedAction) -> dict[str, Any]:
    found = {}
    for name, value in action.parameters.items():
        given = wire.value_from_wire(value)
        if given is not None:
            found[name] = to_json(given, wire.type_of_wire(value))
    return found

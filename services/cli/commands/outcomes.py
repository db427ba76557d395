"""`rapport outcomes`: what customers answered, what is taken back, and who is told of it all."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import orjson
from rapport.decision.v1 import outcomes_pb2
from rapport.types.v1 import event_pb2

from services.cli.commands.decisions import action_json
from services.cli.commands.support import (
    enum_word,
    folder_option,
    iso,
    json_option,
    print_json,
    print_table,
    runs,
)
from services.cli.connections import connected
from services.cli.paging import entries_of
from services.cli.stack.errors import StackError

_ANSWERS = {
    "presented": outcomes_pb2.OFFER_OUTCOME_PRESENTED,
    "accepted": outcomes_pb2.OFFER_OUTCOME_ACCEPTED,
    "declined": outcomes_pb2.OFFER_OUTCOME_DECLINED,
    "not-now": outcomes_pb2.OFFER_OUTCOME_NOT_NOW,
}


@click.group()
def outcomes() -> None:
    """Say what customers answered, take plans back, follow what comes about."""


@outcomes.command("record")
@click.argument("action_id", metavar="ACTION")
@click.argument("answer", type=click.Choice(list(_ANSWERS)))
@click.option("--reason", default="", help="Why, in a few words.")
@click.option("--agent", default="", help="Who talked to the customer.")
@json_option
@folder_option
@runs
async def record(
    action_id: str, answer: str, reason: str, agent: str, folder: Path, *, as_json: bool
) -> None:
    """Record what a customer answered to an offer, by the id of its ACTION."""
    request = outcomes_pb2.RecordOutcomeRequest(
        request_id=str(uuid4()), action_id=action_id, outcome=_ANSWERS[answer], reason=reason, agent=agent
    )
    async with connected(folder) as connections:
        told = await connections.outcomes.RecordOutcome(request)
    refusal = enum_word(outcomes_pb2.OutcomeRefusal.Name(told.refusal), "OUTCOME_REFUSAL_")
    if as_json:
        print_json(
            {
                "recorded": told.recorded,
                "refusal": refusal,
                "detail": told.detail,
                "earlier": _answer_json(told.earlier) if told.HasField("earlier") else None,
                "fulfilment": _fulfilment_json(told.fulfilment) if told.HasField("fulfilment") else None,
                "given_back": told.given_back,
            }
        )
    if not told.recorded:
        raise StackError(f"Not recorded: {told.detail or refusal}.")
    if not as_json:
        click.echo("recorded")
        if told.HasField("fulfilment"):
            click.echo(f"to be delivered: {told.fulfilment.offer} {told.fulfilment.event.type}".rstrip())
        if told.detail:
            click.echo(told.detail)
        if told.given_back:
            click.echo("it was never presented, and used up nothing")


@outcomes.command("cancel")
@click.argument("what", metavar="ACTION|SUBJECT")
@click.option("--rule-set", default="", help="Of a SUBJECT: only what this rule set planned.")
@click.option("--reason", required=True, help="Why, without personal data.")
@click.option("--agent", default="", help="Who wants it.")
@json_option
@folder_option
@runs
async def cancel(what: str, rule_set: str, reason: str, agent: str, folder: Path, *, as_json: bool) -> None:
    """Take back what is planned: one action by its id, or all that waits for a customer."""
    request = outcomes_pb2.CancelPlannedRequest(
        request_id=str(uuid4()), rule_set=rule_set, reason=reason, agent=agent
    )
    if ":" in what:
        request.subject = what
    else:
        request.action_id = what
    async with connected(folder) as connections:
        told = await connections.outcomes.CancelPlanned(request)
    for action in told.cancelled:
        if as_json:
            print_json(action_json(action) | {"planned_time": iso(action.planned_time)})
        else:
            click.echo(
                f"taken back: {action.name} of {action.rule_set}, planned for {iso(action.planned_time)}"
            )
    if not told.cancelled:
        raise StackError(f"Nothing was taken back: {told.detail}.")


@outcomes.command("follow")
@click.argument("consumer")
@click.option("--from-now", is_flag=True, help="A new consumer begins with what comes from now on.")
@click.option("--cursor", type=click.IntRange(1), help="Go on after this position.")
@click.option("--limit", type=click.IntRange(1), help="Stop after so many.  [default: goes on]")
@click.option("--no-acknowledge", is_flag=True, help="Only look: the next time it begins here again.")
@folder_option
@runs
async def follow(
    consumer: str,
    cursor: int | None,
    limit: int | None,
    folder: Path,
    *,
    from_now: bool,
    no_acknowledge: bool,
) -> None:
    """Print what comes about as CONSUMER, one JSON object a line, and acknowledge what was printed."""
    said: asyncio.Queue[outcomes_pb2.StreamOutcomesRequest | None] = asyncio.Queue()
    said.put_nowait(
        outcomes_pb2.StreamOutcomesRequest(consumer=consumer, cursor=cursor or 0, from_now=from_now)
    )

    async def requests() -> AsyncIterator[outcomes_pb2.StreamOutcomesRequest]:
        while (request := await said.get()) is not None:
            yield request

    printed = 0
    async with connected(folder) as connections:
        async for answer in connections.outcomes.StreamOutcomes(requests()):
            if answer.HasField("opened") and answer.opened.kept_after > answer.opened.cursor > 0:
                click.echo("some of what came about since is no longer kept", err=True)
            left = answer.outcomes if limit is None else answer.outcomes[: limit - printed]
            for outcome in left:
                print_json(outcome_json(outcome))
            printed += len(left)
            if left and not no_acknowledge:
                said.put_nowait(outcomes_pb2.StreamOutcomesRequest(acknowledged=left[-1].position))
            if limit is not None and printed >= limit:
                said.put_nowait(None)


@outcomes.command("consumers")
@json_option
@folder_option
@runs
async def consumers(folder: Path, *, as_json: bool) -> None:
    """Show who takes outcomes, and how far behind they are."""
    async with connected(folder) as connections:
        call = connections.outcomes.ListOutcomeConsumers
        entries = entries_of(call, outcomes_pb2.ListOutcomeConsumersRequest(), "consumers")
        found = [one async for one in entries]
    rows = [
        {
            "consumer": one.consumer,
            "behind": one.behind,
            "oldest_time": iso(one.oldest_time),
            "acknowledged": one.acknowledged,
            "acknowledge_time": iso(one.acknowledge_time),
            "stream_time": iso(one.stream_time),
            "kept_after": one.kept_after,
            "caller": one.caller,
        }
        for one in found
    ]
    if as_json:
        for row in rows:
            print_json(row)
        return
    print_table(
        ("consumer", "behind", "oldest", "acknowledged up to", "at", "kept after"),
        [
            (
                row["consumer"],
                row["behind"],
                row["oldest_time"],
                row["acknowledged"],
                row["acknowledge_time"],
                row["kept_after"],
            )
            for row in rows
        ],
        empty="nobody takes outcomes",
    )


@outcomes.command("forget")
@click.argument("consumer")
@folder_option
@runs
async def forget(consumer: str, folder: Path) -> None:
    """Forget a CONSUMER that comes no more, with its place."""
    request = outcomes_pb2.RemoveOutcomeConsumerRequest(request_id=str(uuid4()), consumer=consumer)
    async with connected(folder) as connections:
        await connections.outcomes.RemoveOutcomeConsumer(request)
    click.echo(f"{consumer} is forgotten")


def outcome_json(outcome: outcomes_pb2.Outcome) -> dict[str, Any]:
    """One thing that came about; what it does not tell of is left out."""
    told: dict[str, Any] = {
        "position": outcome.position,
        "kind": enum_word(outcomes_pb2.OutcomeKind.Name(outcome.kind), "OUTCOME_KIND_"),
        "customer": outcome.customer,
        "decision_id": outcome.decision_id,
        "event_type": outcome.event_type,
        "time": iso(outcome.time),
    }
    if outcome.HasField("action"):
        told["action"] = action_json(outcome.action)
    if outcome.HasField("emitted"):
        told["emitted"] = _event_json(outcome.emitted)
    if outcome.HasField("answer"):
        told["answer"] = _answer_json(outcome.answer)
    if outcome.HasField("fulfilment"):
        told["fulfilment"] = _fulfilment_json(outcome.fulfilment)
    if outcome.HasField("cancelled"):
        told["cancelled"] = {"reason": outcome.cancelled.reason, "agent": outcome.cancelled.agent}
    return told


def _answer_json(answer: outcomes_pb2.RecordedOutcome) -> dict[str, Any]:
    return {
        "outcome": enum_word(outcomes_pb2.OfferOutcome.Name(answer.outcome), "OFFER_OUTCOME_"),
        "time": iso(answer.time),
        "reason": answer.reason,
        "agent": answer.agent,
    }


def _fulfilment_json(wanted: outcomes_pb2.FulfilmentRequest) -> dict[str, Any]:
    return {
        "fulfilment_id": wanted.fulfilment_id,
        "offer": wanted.offer,
        "event": _event_json(wanted.event) if wanted.HasField("event") else None,
    }


def _event_json(event: event_pb2.Event) -> dict[str, Any]:
    return {"id": event.id, "source": event.source, "type": event.type, "data": orjson.loads(event.data)}

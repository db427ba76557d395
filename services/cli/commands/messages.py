"""`rapport messages` and `rapport inbox`: what was said, and what the app shows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
from rapport.channel.v1 import channel_pb2
from rapport.profile.v1 import profile_pb2

from services.cli.commands.support import (
    enum_word,
    folder_option,
    iso,
    json_option,
    limit_option,
    print_json,
    print_table,
    runs,
)
from services.cli.connections import Connections, connected
from services.cli.paging import entries_of
from services.vocabulary import wire
from services.vocabulary.words import Channel, RefusalReason

STATES = [enum_word(name, "MESSAGE_STATE_") for name in channel_pb2.MessageState.keys()][1:]  # noqa: SIM118 - an enum wrapper, no dict


@click.group()
def messages() -> None:
    """Look at messages; a task is a message on the channel `task`."""


@messages.command("list")
@click.option(
    "--subject", default="", metavar="ID", help="Only this customer's: any identity, or customer:7."
)
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only in this state; repeatable."
)
@click.option("--channel", type=click.Choice([word.value for word in Channel]), help="Only on this channel.")
@click.option(
    "--reason", type=click.Choice([word.value for word in RefusalReason]), help="Only with this reason."
)
@limit_option
@click.option("--all", "everything", is_flag=True, help="All of them, whatever --limit says.")
@json_option
@folder_option
@runs
async def list_messages(
    subject: str,
    states: tuple[str, ...],
    channel: str | None,
    reason: str | None,
    limit: int,
    folder: Path,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """List messages, newest first."""
    rows: list[tuple[object, ...]] = []
    async with connected(folder) as connections:
        request = channel_pb2.ListMessagesRequest(
            customer=await _customer(connections, subject) if subject else 0,
            states=[channel_pb2.MessageState.Value(f"MESSAGE_STATE_{state.upper()}") for state in states],
            channel=wire.CHANNELS.to_wire(Channel(channel) if channel else None),
            reason=wire.REFUSAL_REASONS.to_wire(RefusalReason(reason) if reason else None),
        )
        async for message in pages(connections, request, None if everything else limit):
            told = message_json(message)
            if as_json:
                print_json(told)
            else:
                rows.append(
                    tuple(
                        told[name]
                        for name in (
                            "message_id",
                            "customer",
                            "channel",
                            "name",
                            "state",
                            "reason",
                            "planned_time",
                        )
                    )
                )
    if not as_json:
        print_table(
            ("message", "customer", "channel", "name", "state", "reason", "planned"),
            rows,
            empty="no messages",
        )


@messages.command("show")
@click.argument("message_id", metavar="ID")
@json_option
@folder_option
@runs
async def show(message_id: str, folder: Path, *, as_json: bool) -> None:
    """Show one message with its history."""
    async with connected(folder) as connections:
        answer = await connections.channel.GetMessage(channel_pb2.GetMessageRequest(message_id=message_id))
    told = {
        **message_json(answer.message),
        "detail": answer.message.detail,
        "rule_set": answer.message.rule_set,
        "rule": answer.message.rule,
        "attempts": answer.message.attempts,
        "template": answer.message.template,
        "segments": answer.message.segments,
    }
    history = [
        {
            "time": iso(event.time),
            "state": _state(event.state),
            "reason": wire.REFUSAL_REASONS.from_wire(event.reason),
            "detail": event.detail,
        }
        for event in answer.history
    ]
    replies = [
        {
            "time": iso(reply.time),
            "intent": reply.intent,
            "text": reply.text,
            "answer_message_id": reply.answer_message_id,
        }
        for reply in answer.replies
    ]
    if as_json:
        print_json({**told, "history": history, "replies": replies})
        return
    for name, value in told.items():
        if value not in (None, ""):
            click.echo(f"{name:<13} {value}")
    click.echo()
    print_table(
        ("time", "state", "reason", "detail"),
        [tuple(entry.values()) for entry in history],
        empty="no history",
    )
    if replies:
        click.echo("\nThe customer wrote:")
        print_table(
            ("time", "intent", "text", "our answer"), [tuple(one.values()) for one in replies], empty=""
        )


@click.group()
def inbox() -> None:
    """Look at the inbox inside the app."""


@inbox.command("watch")
@click.option("--subject", "subjects", multiple=True, metavar="ID", help="Only this customer's; repeatable.")
@click.option("--after", "cursor", type=click.IntRange(0), default=0, help="Cursor of the last message seen.")
@click.option("--count", type=click.IntRange(1), help="End after this many.  [default: watch on]")
@json_option
@folder_option
@runs
async def watch(
    subjects: tuple[str, ...], cursor: int, count: int | None, folder: Path, *, as_json: bool
) -> None:
    """Show in-app messages as they come; those up to --after count as delivered."""
    seen = 0
    async with connected(folder) as connections:
        customers = [await _customer(connections, subject) for subject in subjects]
        call = connections.channel.WatchInbox(
            channel_pb2.WatchInboxRequest(customers=customers, after_cursor=cursor)
        )
        async for entry in call:
            if as_json:
                print_json({"cursor": entry.cursor, **message_json(entry.message)})
            else:
                click.echo(f"{entry.cursor:>6}  customer {entry.message.customer}: {entry.message.text}")
            seen += 1
            if count is not None and seen >= count:
                call.cancel()
                return


async def pages(
    connections: Connections, request: channel_pb2.ListMessagesRequest, limit: int | None
) -> AsyncIterator[channel_pb2.Message]:
    """Messages, page after page, until there are no more or `limit` are given."""
    async for message in entries_of(connections.channel.ListMessages, request, "messages", limit=limit):
        yield message


async def _customer(connections: Connections, subject: str) -> int:
    request = profile_pb2.ResolveIdentityRequest(subject=subject)
    return int((await connections.profile.ResolveIdentity(request)).customer)


def _state(number: channel_pb2.MessageState.ValueType) -> str:
    return enum_word(channel_pb2.MessageState.Name(number), "MESSAGE_STATE_")


def message_json(message: channel_pb2.Message) -> dict[str, Any]:
    """A message as listings give it; the names are a contract."""
    return {
        "message_id": message.message_id,
        "action_id": message.action_id,
        "decision_id": message.decision_id,
        "customer": message.customer,
        "channel": wire.CHANNELS.from_wire(message.channel),
        "category": wire.CATEGORIES.from_wire(message.category),
        "name": message.name,
        "state": _state(message.state),
        "reason": wire.REFUSAL_REASONS.from_wire(message.reason),
        "planned_time": iso(message.planned_time),
        "sent_time": iso(message.sent_time),
        "text": message.text,
    }

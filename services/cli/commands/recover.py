"""`rapport recover`: after databases were restored from backups of different moments."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.channel.v1 import channel_pb2, quarantine_pb2
from rapport.operations.v1 import operations_pb2, recovery_pb2

from services.cli.commands.messages import message_json, pages
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
from services.cli.connections import SERVICES, Connections, connected
from services.cli.stack.errors import StackError
from services.cli.stack.up import TimeOption
from services.vocabulary import wire
from services.vocabulary.words import Category

_PREFIX = "INSTALLATION_STATE_"
_AT_ONCE = 500
_SHOWN = (
    "service",
    "state",
    "epoch",
    "known_time",
    "gap",
    "replayed",
    "handed_again",
    "quarantined",
    "waiting",
    "sent_again",
)

ids_argument = click.argument("message_ids", metavar="[ID]...", nargs=-1)
category_option = click.option(
    "--category",
    type=click.Choice([word.value for word in Category]),
    help="Only of this category.",
)
name_option = click.option(
    "--name", default="", metavar="NAME", help="Only of this offer, message or survey."
)
all_option = click.option("--all", "everything", is_flag=True, help="All that are in quarantine.")


@click.group()
def recover() -> None:
    """Bring restored databases together; see what may have been said in the gap, and decide about it."""


@recover.command()
@click.option(
    "--from",
    "start",
    type=TimeOption(),
    help="When the gap begins.  [default: what the oldest of the restored databases knows last]",
)
@click.option("--to", "end", type=TimeOption(), help="When all had stopped.  [default: now]")
@click.option(
    "--replay-from",
    "replay",
    type=TimeOption(),
    help="What was handed on since then is handed on again; earlier than the gap by the longest that "
    "messages waited in the log.  [default: an hour before the gap]",
)
@json_option
@folder_option
@runs
async def begin(
    start: dt.datetime | None,
    end: dt.datetime | None,
    replay: dt.datetime | None,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    """Say what the gap is: workers go to work, what was on its way is handed on again.

    Mandatory and service messages of the gap are sent, though they may have been sent before; retention,
    sales and survey messages are held back until you release or discard them.
    """
    async with connected(folder) as connections:
        known = [await _look(connections, service) for service in SERVICES]
        start = start or oldest_known(known, clock=connections.stack.clock)
        end = end or await _now(connections)
        for told in known:
            if told.state == recovery_pb2.INSTALLATION_STATE_RECOVERING:
                continue
            request = recovery_pb2.BeginRecoveryRequest(
                request_id=str(uuid4()), gap_start_time=_stamp(start), gap_end_time=_stamp(end)
            )
            if replay is not None:
                request.replay_start_time.CopyFrom(_stamp(replay))
            await connections.recovery[told.service].BeginRecovery(request)
        _print([await _look(connections, service) for service in SERVICES], as_json=as_json)


@recover.command()
@json_option
@folder_option
@runs
async def status(folder: Path, *, as_json: bool) -> None:
    """Show how each database stands, what was handed on again, and what is held back."""
    async with connected(folder) as connections:
        _print([await _look(connections, service) for service in SERVICES], as_json=as_json)


@recover.command("list")
@limit_option
@click.option("--all", "everything", is_flag=True, help="All of them, whatever --limit says.")
@json_option
@folder_option
@runs
async def list_quarantined(limit: int, folder: Path, *, everything: bool, as_json: bool) -> None:
    """List the messages that are held back, newest first."""
    request = channel_pb2.ListMessagesRequest(states=[channel_pb2.MESSAGE_STATE_QUARANTINED])
    rows: list[tuple[object, ...]] = []
    async with connected(folder) as connections:
        async for message in pages(connections, request, None if everything else limit):
            told = message_json(message)
            if as_json:
                print_json(told)
            else:
                rows.append(
                    tuple(told[name] for name in ("message_id", "customer", "channel", "category", "name"))
                )
    if not as_json:
        print_table(
            ("message", "customer", "channel", "category", "name"), rows, empty="nothing is held back"
        )


@recover.command()
@ids_argument
@category_option
@name_option
@all_option
@folder_option
@runs
async def release(
    message_ids: tuple[str, ...], category: str | None, name: str, folder: Path, *, everything: bool
) -> None:
    """Let messages go: consent, validity and quiet hours are looked at once more, then they are sent."""

    async def settle(connections: Connections, narrowed: quarantine_pb2.QuarantineFilter) -> tuple[int, int]:
        request = quarantine_pb2.ReleaseMessagesRequest(request_id=str(uuid4()), filter=narrowed)
        answer = await connections.quarantine.ReleaseMessages(request)
        return answer.released, answer.remaining

    narrowed = _filters(message_ids, category, name, everything=everything)
    click.echo(f"{await _settle_all(folder, narrowed, settle)} messages released")


@recover.command()
@ids_argument
@category_option
@name_option
@all_option
@folder_option
@runs
async def discard(
    message_ids: tuple[str, ...], category: str | None, name: str, folder: Path, *, everything: bool
) -> None:
    """End messages for good: they stay as HANDOVER_UNKNOWN, and what they used up stays used up."""

    async def settle(connections: Connections, narrowed: quarantine_pb2.QuarantineFilter) -> tuple[int, int]:
        request = quarantine_pb2.DiscardMessagesRequest(request_id=str(uuid4()), filter=narrowed)
        answer = await connections.quarantine.DiscardMessages(request)
        return answer.discarded, answer.remaining

    narrowed = _filters(message_ids, category, name, everything=everything)
    click.echo(f"{await _settle_all(folder, narrowed, settle)} messages discarded")


@recover.command()
@json_option
@folder_option
@runs
async def end(folder: Path, *, as_json: bool) -> None:
    """End recovery; refused while anything is held back, or still handed on again."""
    async with connected(folder) as connections:
        for service in reversed(SERVICES):
            told = await _look(connections, service)
            if told.state == recovery_pb2.INSTALLATION_STATE_RECOVERING:
                request = recovery_pb2.EndRecoveryRequest(request_id=str(uuid4()))
                await connections.recovery[service].EndRecovery(request)
        _print([await _look(connections, service) for service in SERVICES], as_json=as_json)


async def _look(connections: Connections, service: str) -> recovery_pb2.Recovery:
    answer = await connections.recovery[service].GetRecovery(recovery_pb2.GetRecoveryRequest())
    return answer.recovery


async def _now(connections: Connections) -> dt.datetime:
    answer = await connections.operations["profile"].GetProgress(operations_pb2.GetProgressRequest())
    return answer.business_time.ToDatetime(dt.UTC)


def oldest_known(known: list[recovery_pb2.Recovery], *, clock: str) -> dt.datetime:
    """What the oldest of the restored databases knows last, a time of the wall's clock; else StackError."""
    times = [
        told.known_time.ToDatetime(dt.UTC)
        for told in known
        if told.state == recovery_pb2.INSTALLATION_STATE_RESTORED and told.HasField("known_time")
    ]
    if clock != "wall" or not times:
        raise StackError("When the gap begins cannot be told from the databases. Say it with --from.")
    return min(times)


def _filters(
    message_ids: tuple[str, ...], category: str | None, name: str, *, everything: bool
) -> list[quarantine_pb2.QuarantineFilter]:
    if not (message_ids or category or name or everything):
        raise click.UsageError("say which: ids, --category, --name, or --all")
    asked = wire.CATEGORIES.to_wire(Category(category) if category else None)
    parts = [message_ids[at : at + _AT_ONCE] for at in range(0, len(message_ids), _AT_ONCE)] or [()]
    return [quarantine_pb2.QuarantineFilter(message_ids=part, category=asked, name=name) for part in parts]


async def _settle_all(
    folder: Path, narrowed: list[quarantine_pb2.QuarantineFilter], settle: Callable[..., Any]
) -> int:
    done = 0
    async with connected(folder) as connections:
        for one in narrowed:
            remaining = 1
            while remaining:
                settled, remaining = await settle(connections, one)
                done += settled
    return done


def _print(found: list[recovery_pb2.Recovery], *, as_json: bool) -> None:
    told = [_recovery_json(one) for one in found]
    if as_json:
        for one in told:
            print_json(one)
    else:
        print_table(_SHOWN, [tuple(one[name] for name in _SHOWN) for one in told], empty="")


def _recovery_json(told: recovery_pb2.Recovery) -> dict[str, Any]:
    start, end = iso(told.gap_start_time), iso(told.gap_end_time)
    return {
        "service": told.service,
        "state": enum_word(recovery_pb2.InstallationState.Name(told.state), _PREFIX),
        "epoch": told.epoch,
        "restore_time": iso(told.restore_time),
        "known_time": iso(told.known_time),
        "gap": f"{start} to {end}" if start else None,
        "begin_time": iso(told.begin_time),
        "end_time": iso(told.end_time),
        "replayed": told.replayed,
        "handed_again": dict(sorted(told.handed_again.items())),
        "quarantined": told.quarantined,
        "waiting": told.waiting,
        "sent_again": told.sent_again,
    }


def _stamp(moment: dt.datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made

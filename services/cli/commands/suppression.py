"""`rapport suppression`: the list of those who are not contacted on a channel, and why."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

import click
from rapport.channel.v1 import channel_pb2, suppression_pb2
from rapport.types.v1 import vocabulary_pb2

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
from services.vocabulary.words import Channel

BATCH = 500
_PREFIX = "SUPPRESSION_REASON_"
REASONS = [enum_word(name, _PREFIX) for name in suppression_pb2.SuppressionReason.keys()][1:]  # noqa: SIM118 - an enum wrapper, no dict
CHANNELS = [word.value for word in Channel if word is not Channel.TASK]
COLUMNS = ("subject", "channel", "reason", "evidence")
_STATUSES = {
    suppression_pb2.SUPPRESSION_STATUS_ADDED: "added",
    suppression_pb2.SUPPRESSION_STATUS_STOOD: "stood already",
    suppression_pb2.SUPPRESSION_STATUS_UNKNOWN: "nobody is known under the subject",
}
_TAKEN = ("added", "stood already")
channel_argument = click.argument("channel", type=click.Choice(CHANNELS))
subject_argument = click.argument("subject", metavar="SUBJECT")
evidence_option = click.option("--evidence", default="", help="How it can be proved: a ticket; no address.")


@click.group()
def suppression() -> None:
    """Keep the list of those who are not contacted; a person's own STOP is lifted by that person alone."""


@suppression.command("list")
@click.option("--subject", default="", metavar="ID", help="Only this person's: any identity, or customer:7.")
@click.option("--channel", type=click.Choice(CHANNELS), help="Only on this channel.")
@click.option("--reason", type=click.Choice(REASONS), help="Only for this reason.")
@limit_option
@click.option("--all", "everything", is_flag=True, help="All of them, whatever --limit says.")
@json_option
@folder_option
@runs
async def list_entries(
    subject: str,
    channel: str | None,
    reason: str | None,
    limit: int,
    folder: Path,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """List entries, newest first."""
    request = suppression_pb2.ListSuppressionsRequest(
        subject=subject, channel=_channel(channel), reason=_reason(reason or "")
    )
    rows: list[tuple[object, ...]] = []
    async with connected(folder) as connections:
        call = connections.suppressions.ListSuppressions
        most = None if everything else limit
        async for entry in entries_of(call, request, "suppressions", limit=most):
            told = _entry(entry)
            if as_json:
                print_json(told)
            else:
                rows.append(tuple(told.values()))
    if not as_json:
        print_table(
            ("customer", "channel", "reason", "time", "evidence", "message"),
            rows,
            empty="nobody is on the list",
        )


@suppression.command()
@click.argument("subject", required=False, metavar="SUBJECT")
@click.argument("channel", required=False, type=click.Choice(CHANNELS))
@click.option("--reason", type=click.Choice(REASONS), default="manual", show_default=True, help="Why.")
@evidence_option
@click.option(
    "--file",
    "file",
    type=click.File(encoding="utf-8-sig"),
    help="A CSV with the columns subject, channel and, if you like, reason, evidence.",
)
@folder_option
@runs
async def add(
    subject: str | None, channel: str | None, reason: str, evidence: str, file: TextIO | None, folder: Path
) -> None:
    """Put a channel of a person on the list, or all that a file names.

    Opt-outs from another system are added with the reason unsubscribed: staff cannot lift them here either.
    """
    if file is not None:
        if subject or channel:
            raise click.UsageError("name a subject and a channel, or a file")
        await _add_file(file, reason, folder)
        return
    if not subject or not channel:
        raise click.UsageError("name a subject and a channel, or --file FILE")
    item = suppression_pb2.SuppressionItem(
        subject=subject, channel=_channel(channel), reason=_reason(reason), evidence=evidence
    )
    async with connected(folder) as connections:
        (result,) = await _suppress(connections, [item])
    if _status(result) not in _TAKEN:
        raise click.ClickException(_status(result))
    click.echo(f"customer {result.customer}, {channel}: {_status(result)}")


@suppression.command()
@subject_argument
@channel_argument
@evidence_option
@json_option
@folder_option
@runs
async def lift(subject: str, channel: str, evidence: str, folder: Path, *, as_json: bool) -> None:
    """Take a channel off the list: what staff put there, and bounces. A person's own word stays."""
    request = suppression_pb2.LiftSuppressionRequest(
        request_id=str(uuid4()), subject=subject, channel=_channel(channel), evidence=evidence
    )
    async with connected(folder) as connections:
        answer = await connections.suppressions.LiftSuppression(request)
    lifted, standing = [_told(reason) for reason in answer.lifted], [_told(one) for one in answer.standing]
    if as_json:
        told = {"customer": answer.customer, "lifted": lifted, "standing": standing, "detail": answer.detail}
        print_json(told)
        return
    click.echo(f"lifted: {', '.join(lifted) or 'nothing'}")
    if standing:
        click.echo(f"stands on: {', '.join(standing)}")
    if answer.detail:
        click.echo(answer.detail)


@suppression.command("send-opt-in-link")
@subject_argument
@channel_argument
@click.option(
    "--via", type=click.Choice(["sms", "email"]), help="How it goes out.  [default: SMS, else mail]"
)
@json_option
@folder_option
@runs
async def send_opt_in_link(
    subject: str, channel: str, via: str | None, folder: Path, *, as_json: bool
) -> None:
    """Send the person a link that opens a channel again."""
    request = suppression_pb2.SendOptInLinkRequest(
        request_id=str(uuid4()), subject=subject, channel=_channel(channel), via=_channel(via)
    )
    async with connected(folder) as connections:
        answer = await connections.suppressions.SendOptInLink(request)
    state = enum_word(channel_pb2.MessageState.Name(answer.state), "MESSAGE_STATE_")
    if as_json:
        told = {
            "customer": answer.customer,
            "message_id": answer.message_id,
            "state": state,
            "reason": wire.REFUSAL_REASONS.from_wire(answer.reason),
            "detail": answer.detail,
        }
        print_json(told)
    elif answer.message_id:
        click.echo(f"message {answer.message_id}: {state} {answer.detail}".rstrip())
    else:
        click.echo(f"nothing was sent: {answer.detail}")


async def _add_file(file: TextIO, reason: str, folder: Path) -> None:
    """Adds batch by batch; tells lines that are wrong, and goes on."""
    counted: Counter[str] = Counter()
    async with connected(folder) as connections:
        for batch in _batches(file, reason):
            items = [item for _, item in batch if isinstance(item, suppression_pb2.SuppressionItem)]
            answers = iter(await _suppress(connections, items) if items else ())
            for line, item in batch:
                told = item if isinstance(item, str) else _status(next(answers))
                counted[told if told in _TAKEN else "not taken"] += 1
                if told not in _TAKEN:
                    click.echo(f"{file.name}:{line}: {told}", err=True)
            click.echo(f"{counted.total()} lines read", err=True)
    click.echo(", ".join(f"{counted[told]} {told}" for told in (*_TAKEN, "not taken")))
    if counted["not taken"]:
        raise click.exceptions.Exit(1)


Line = tuple[int, "suppression_pb2.SuppressionItem | str"]
"""Number of a line in the file, and what it says or what is wrong with it."""


def _batches(file: TextIO, reason: str) -> Iterator[list[Line]]:
    """The lines of a CSV, a few hundred at a time."""
    reader = csv.DictReader(file, restkey="")
    unknown = sorted(set(reader.fieldnames or ()) - set(COLUMNS))
    missing = [name for name in COLUMNS[:2] if name not in (reader.fieldnames or ())]
    if unknown or missing:
        raise click.ClickException(
            f"{file.name}:1: the columns are {', '.join(reader.fieldnames or ('none',))}; "
            f"use {', '.join(COLUMNS)}, of which the first two are needed"
        )
    batch: list[Line] = []
    for row in reader:
        batch.append((reader.line_num, _item(row, reason)))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _item(row: Mapping[str, Any], reason: str) -> "suppression_pb2.SuppressionItem | str":
    """What a line says; a text says what is wrong with it."""
    if "" in row:
        return "the line has more fields than the first; put quotes around what holds a comma"
    said = {name: (row.get(name) or "").strip() for name in COLUMNS}
    if not said["subject"]:
        return "the subject is empty; write kind:value, or customer:<id>"
    if said["channel"] not in CHANNELS:
        return f"the channel is {said['channel']!r}; write one of {', '.join(CHANNELS)}"
    if said["reason"] and said["reason"] not in REASONS:
        return f"the reason is {said['reason']!r}; write one of {', '.join(REASONS)}, or leave it empty"
    return suppression_pb2.SuppressionItem(
        subject=said["subject"],
        channel=_channel(said["channel"]),
        reason=_reason(said["reason"] or reason),
        evidence=said["evidence"],
    )


async def _suppress(
    connections: Connections, items: Sequence[suppression_pb2.SuppressionItem]
) -> Sequence[suppression_pb2.SuppressionResult]:
    request = suppression_pb2.SuppressRequest(request_id=str(uuid4()), items=items)
    return (await connections.suppressions.Suppress(request)).results


def _status(result: suppression_pb2.SuppressionResult) -> str:
    return _STATUSES.get(result.status) or result.error


def _channel(word: str | None) -> vocabulary_pb2.Channel.ValueType:
    return wire.CHANNELS.to_wire(Channel(word) if word else None)


def _reason(word: str) -> suppression_pb2.SuppressionReason.ValueType:
    return suppression_pb2.SuppressionReason.Value(f"{_PREFIX}{(word or 'unspecified').upper()}")


def _told(reason: suppression_pb2.SuppressionReason.ValueType) -> str:
    return enum_word(suppression_pb2.SuppressionReason.Name(reason), _PREFIX)


def _entry(entry: suppression_pb2.Suppression) -> dict[str, Any]:
    """An entry as listings give it; the names are a contract."""
    return {
        "customer": entry.customer,
        "channel": wire.CHANNELS.from_wire(entry.channel),
        "reason": _told(entry.reason),
        "time": iso(entry.time),
        "evidence": entry.evidence,
        "message_id": entry.message_id or None,
    }

"""`rapport reconcile`: a provider's own report held against our messages."""

import asyncio
import datetime as dt
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import click
from rapport.channel.v1 import channel_pb2, reconciliation_pb2
from rapport.channel.v1.reconciliation_pb2 import ReportLine

from services.cli.commands.report_file import (
    COLUMNS,
    WORDS,
    BadLine,
    Form,
    Reading,
    read_csv,
    read_json,
    word_meaning,
)
from services.cli.commands.support import enum_word, folder_option, print_json, runs
from services.cli.connections import connected

Request = reconciliation_pb2.CompareReportRequest
BATCH = 500
IN_FLIGHT = 8
"""Batches on their way; what is read ahead of the answers stays this small."""
_EVERY_SECONDS = 2.0
_SAID = {
    "differs": "here {here}, there {there}",
    "unknown_here": "not known here, there {there}",
    "unknown_there": "here {here}, not in the report",
}


def _columns(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    columns = {name: name for name in COLUMNS}
    for value in values:
        name, equals, column = value.partition("=")
        if not equals or name not in COLUMNS or not column:
            raise click.BadParameter(f"{value!r}: say NAME=COLUMN with one of {', '.join(COLUMNS)}")
        columns[name] = column
    return columns


def _words(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    try:
        return WORDS | dict(word_meaning(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _time(_ctx: click.Context, _param: click.Parameter, value: str | None) -> dt.datetime | None:
    if value is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r}: say it like 2026-11-22T06:00:00Z or 2026-11-22") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


@click.command()
@click.argument("report", type=click.Path(path_type=Path, allow_dash=True, exists=True, dir_okay=False))
@click.option("--provider", required=True, metavar="NAME", help="Whose report it is, for example smsc.")
@click.option("--apply", is_flag=True, help="Take over the final states that we miss, as receipts.")
@click.option(
    "--column", "columns", multiple=True, callback=_columns, metavar="NAME=COLUMN",
    help=f"What the report calls {', '.join(COLUMNS)}; repeatable.  [default: just that]",
)  # fmt: skip
@click.option(
    "--word", "words", multiple=True, callback=_words, metavar="THEIRS=OURS",
    help="What a state of theirs means: taken, en_route, delivered, failed or expired; repeatable.",
)  # fmt: skip
@click.option("--delimiter", default=",", show_default=True, help="Between the fields of CSV; \\t is a tab.")
@click.option(
    "--format", "form", type=click.Choice(["csv", "json"]),
    help="[default: json where the name ends in .json, .jsonl or .ndjson]",
)  # fmt: skip
@click.option(
    "--from", "since", callback=_time, metavar="TIME", help="The report covers submits from then on."
)
@click.option("--to", "until", callback=_time, metavar="TIME", help="The report covers submits up to then.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line: what differs, then the counts."
)
@folder_option
def reconcile(
    report: Path,
    provider: str,
    columns: dict[str, str],
    words: dict[str, Any],
    delimiter: str,
    form: str | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    folder: Path,
    *,
    apply: bool,
    as_json: bool,
) -> None:
    """Compare REPORT, a provider's own list of what it took, with our messages; `-` for standard input.

    Each line names a message by the provider's id, by our reference (the message id), or both. Ours that no
    line names are looked for between --from and --to, by default between the first and the last time in the
    report. Exit codes: 0 both sides agree, or do so now that --apply has taken over what was missing; 1 they
    do not, or a line could not be read.
    """
    if (since is None) != (until is None):
        raise click.UsageError("give both --from and --to, or neither: then the times in the report count")
    if len(delimiter := delimiter.replace("\\t", "\t")) != 1:
        raise click.UsageError("--delimiter is one character")
    read = read_json if (form or _form_of(report)) == "json" else read_csv
    reading = Reading()
    with click.open_file(str(report), "rb") as source:
        lines = read(source, Form(columns, words, delimiter), reading)
        tally = Tally(as_json=as_json)
        progress = Progress(reading, source)
        _run(lines, reading, tally, progress, provider, apply, (since, until), folder)
    tally.close(reading, applied=apply)
    sys.exit(0 if tally.settled and not reading.bad else 1)


def _form_of(report: Path) -> str:
    return "json" if report.suffix.lower() in {".json", ".jsonl", ".ndjson"} else "csv"


@dataclass
class Tally:
    """Counts, and says what does not agree as it comes."""

    as_json: bool
    agreed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    applied: int = 0
    looked_for: bool = False

    @property
    def settled(self) -> bool:
        """Nothing is left on which the sides do not agree."""
        return sum(self.counts.values()) == self.applied

    def bad(self, line: BadLine) -> None:
        """A line that could not be read."""
        if self.as_json:
            print_json({"finding": "bad_line", "line": line.line, "reason": line.reason})
        else:
            click.echo(f"line {line.line}: {line.reason}", err=True)

    def take(self, response: reconciliation_pb2.CompareReportResponse) -> None:
        """One answer."""
        self.agreed += response.agreed
        for finding in response.findings:
            told = _finding_json(finding)
            self.counts[told["finding"]] += 1
            self.applied += finding.applied
            if self.as_json:
                print_json(told)
            else:
                where = f"line {finding.line}: " if finding.line else ""
                who = f"message {finding.message_id}" if finding.message_id else f"id {finding.provider_id}"
                said = _SAID[told["finding"]].format(here=told["here"], there=told["there"] or "taken")
                click.echo(f"{where}{who}: {said}{' (taken over)' if finding.applied else ''}")

    def close(self, reading: Reading, *, applied: bool) -> None:
        """The counts."""
        counts = {
            "lines": reading.lines,
            "agreed": self.agreed,
            **{kind: self.counts[kind] for kind in _SAID},
            "applied": self.applied,
            "bad_lines": reading.bad,
        }
        if self.as_json:
            print_json({"finding": "counts", **counts, "looked_for_ours": self.looked_for})
            return
        click.echo(
            f"{reading.lines:,} lines: {self.agreed:,} agreed, {self.counts['differs']:,} in another state"
            f"{f' ({self.applied:,} taken over)' if applied else ''}, {self.counts['unknown_here']:,} not "
            f"known here, {reading.bad:,} not readable"
        )
        if self.looked_for:
            click.echo(f"{self.counts['unknown_there']:,} of ours are not in the report")
        else:
            click.echo(
                "which of ours are not in the report was not looked for: it has no times; "
                "give --from and --to"
            )


class Progress:
    """How far it is, on standard error, every two seconds."""

    def __init__(self, reading: Reading, source: IO[Any]) -> None:
        self._reading = reading
        self._size = os.fstat(source.fileno()).st_size
        self._next = time.monotonic() + _EVERY_SECONDS

    def moved(self, looked_at: int = 0) -> None:
        """Something was answered."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY_SECONDS
        if looked_at:
            click.echo(f"  {looked_at:,} of our hand-overs looked at", err=True)
            return
        part = f" ({100 * self._reading.octets // self._size} %)" if self._size else ""
        click.echo(f"  {self._reading.lines:,} lines{part}", err=True)


@runs
async def _run(
    lines: Iterator[ReportLine | BadLine],
    reading: Reading,
    tally: Tally,
    progress: Progress,
    provider: str,
    apply: bool,  # noqa: FBT001 - of the command
    span: tuple[dt.datetime | None, dt.datetime | None],
    folder: Path,
) -> None:
    room = asyncio.Semaphore(IN_FLIGHT)
    async with connected(folder) as connections:
        steps = _steps(lines, reading, tally, provider, room, span, apply=apply)
        async for response in connections.reconciliation.CompareReport(steps):
            room.release()
            tally.take(response)
            progress.moved(response.looked_at)


async def _steps(
    lines: Iterator[ReportLine | BadLine],
    reading: Reading,
    tally: Tally,
    provider: str,
    room: asyncio.Semaphore,
    span: tuple[dt.datetime | None, dt.datetime | None],
    *,
    apply: bool,
) -> AsyncIterator[Request]:
    yield Request(start=reconciliation_pb2.ReportStart(provider=provider, apply=apply))
    batch: list[ReportLine] = []
    for line in lines:
        if isinstance(line, BadLine):
            tally.bad(line)
            continue
        batch.append(line)
        if len(batch) == BATCH:
            await room.acquire()
            yield Request(batch=reconciliation_pb2.ReportBatch(lines=batch))
            batch = []
    if batch:
        await room.acquire()
        yield Request(batch=reconciliation_pb2.ReportBatch(lines=batch))
    end = reconciliation_pb2.ReportEnd()
    since, until = span[0] or reading.earliest, span[1] or reading.latest
    if since is not None and until is not None:
        end.from_time.FromDatetime(since)
        end.to_time.FromDatetime(until)
        tally.looked_for = True
    yield Request(end=end)


def _finding_json(finding: reconciliation_pb2.Finding) -> dict[str, Any]:
    kind = reconciliation_pb2.FindingKind.Name(finding.kind)
    return {
        "finding": enum_word(kind, "FINDING_KIND_"),
        "line": finding.line or None,
        "message_id": finding.message_id or None,
        "provider_id": finding.provider_id or None,
        "here": enum_word(channel_pb2.MessageState.Name(finding.here), "MESSAGE_STATE_"),
        "there": enum_word(reconciliation_pb2.ReportedState.Name(finding.there), "REPORTED_STATE_"),
        "applied": finding.applied,
    }

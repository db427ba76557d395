"""`rapport ingest`: a file of events into the profile service."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from services.cli.commands.support import folder_option, print_json, runs
from services.cli.connections import connected
from services.cli.feed import FeedReport, feed, read_events
from services.cli.quiet import Look, wait_quiet
from services.cli.stack.state import find_stack

SHOWN = 20
"""Rejections printed one by one; with --rejections all go into a file."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, exists=True, dir_okay=False))
@click.option("--history", is_flag=True, help="Old records: they fill profiles and trigger nothing.")
@click.option(
    "--rejections", type=click.Path(path_type=Path, dir_okay=False), help="Write all rejected lines here."
)
@click.option("--wait", is_flag=True, help="Return only when everything has gone down the whole road.")
@click.option(
    "--name",
    help="Names this input, so that a later attempt goes on behind the last acknowledged event.  "
    "[default: the file's digest; standard input has none]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@folder_option
def ingest(
    file: Path,
    rejections: Path | None,
    name: str | None,
    folder: Path,
    *,
    history: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Take the events of FILE: one CloudEvent in JSON a line, `-` for standard input.

    Under `rapport up --clock events` six hours of events are sent at a time; then business time moves on, and
    everything due is waited for. Exit codes: 0 all lines taken; 1 some were rejected, the report says which.
    """
    if str(file) == "-":
        report = _run(
            sys.stdin.buffer, None, name or f"stdin-{os.urandom(8).hex()}", folder, history=history, wait=wait
        )
    else:
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
            lines = sum(1 for line in source if line.strip())
            source.seek(0)
            report = _run(source, lines, name or f"file-{digest}", folder, history=history, wait=wait)
    _tell(report, rejections, as_json=as_json)
    sys.exit(1 if report.rejections else 0)


@runs
async def _run(
    source: BinaryIO, lines: int | None, stream_id: str, folder: Path, *, history: bool, wait: bool
) -> FeedReport:
    report = FeedReport()
    stack = find_stack(folder)
    step = stack.clock == "events" and not history
    with _shown(lines) as moved:
        async with connected(folder) as connections:
            events = read_events(source, report)
            await feed(
                connections, events, report, stream_id=stream_id, history=history, step=step, moved=moved
            )
            if wait:
                await wait_quiet(connections, receipts=True)
    return report


@contextmanager
def _shown(lines: int | None) -> Iterator[Callable[[FeedReport, Look | None], None]]:
    """Shows on a terminal how far it is; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda _report, _look: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (SpinnerColumn(), TextColumn("events"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("events", total=lines)

        def moved(so_far: FeedReport, look: Look | None) -> None:
            del look
            done = so_far.accepted + so_far.duplicates + so_far.skipped + len(so_far.rejections)
            progress.update(task, completed=done)

        yield moved


def _tell(report: FeedReport, rejections: Path | None, *, as_json: bool) -> None:
    if rejections is not None:
        with rejections.open("w", encoding="utf-8") as file:
            for rejection in report.rejections:
                file.write(f"{rejection.line}\t{rejection.field}\t{rejection.reason}\n")
    if as_json:
        print_json(
            {
                "read": report.read,
                "accepted": report.accepted,
                "duplicate": report.duplicates,
                "skipped": report.skipped,
                "rests": report.rests,
                "rejected": [
                    {"line": r.line, "field": r.field, "reason": r.reason} for r in report.rejections
                ],
            }
        )
        return
    parts = [f"{report.read:,} events read", f"{report.accepted:,} accepted"]
    if report.duplicates:
        parts.append(f"{report.duplicates:,} taken before")
    if report.skipped:
        parts.append(f"{report.skipped:,} answered in an earlier attempt")
    if report.rests:
        parts.append(f"{report.rests:,} pauses because the system was full")
    parts.append(f"{len(report.rejections):,} rejected")
    click.echo(", ".join(parts))
    for rejection in report.rejections[:SHOWN]:
        where = (
            f"{rejection.field}: " if rejection.field and rejection.field not in rejection.reason[:40] else ""
        )
        click.echo(f"  line {rejection.line}: {where}{rejection.reason}", err=True)
    if len(report.rejections) > SHOWN:
        click.echo(f"  and {len(report.rejections) - SHOWN:,} more; --rejections FILE keeps all", err=True)

"""`rapport import`: take files of other systems, as a mapping reads them."""

import atexit
import gc
import hashlib
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from services.cli.commands.support import folder_option, print_json, print_table, runs
from services.cli.connections import Connections, connected
from services.cli.feed import FeedReport, feed
from services.cli.importing.checking import Findings, Report, check, taken_events
from services.cli.importing.mapping import Mapping, MappingFile
from services.cli.importing.mapping_reader import read_mapping
from services.cli.importing.reading import opened
from services.cli.importing.rows import RowReader
from services.cli.quiet import Look, wait_quiet
from services.cli.stack.errors import StackError
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.state import Stack, find_stack
from services.runtime.clock import WallClock
from services.runtime.garbage import collect_seldom
from services.vocabulary.catalogue import Catalogue, CatalogueErrors, load_catalogue

SHOWN = 40


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for."""

    files: tuple[Path, ...]
    mapping: MappingFile
    catalogue: Catalogue
    stack: Stack | None
    now_micros: int
    resume: bool
    all_or_nothing: bool
    wait: bool


@dataclass(slots=True)
class Done:
    """What became of one file."""

    findings: Findings
    sent: FeedReport | None = None

    @property
    def complete(self) -> bool:
        """Whether every row was taken."""
        return not self.findings.refused and (self.sent is None or not self.sent.rejections)

    def to_json(self) -> dict[str, Any]:
        """As `--json` tells it."""
        told = self.findings.to_json()
        if self.sent is not None:
            told |= {
                "accepted": self.sent.accepted,
                "duplicate": self.sent.duplicates,
                "skipped": self.sent.skipped,
                "rests": self.sent.rests,
                "rejected": [
                    {"row": one.line, "field": one.field, "reason": one.reason}
                    for one in self.sent.rejections[:SHOWN]
                ],
            }
        return told


@click.command("import")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE…",
)
@click.option(
    "--mapping",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Which columns tell what of whom; see docs/import.md.",
)
@click.option("--dry-run", is_flag=True, help="Only look through the files and say what is wrong.")
@click.option("--resume", is_flag=True, help="Go on behind the last acknowledged row of an attempt before.")
@click.option("--strict", is_flag=True, help="Send nothing of a file of which a row would be refused.")
@click.option("--time", "at", help="When it became true, for a mapping that names no column: 2026-11-02.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the refused rows here, one a line.",
)
@click.option("--wait", is_flag=True, help="Return only when everything has gone down the whole road.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a file.")
@folder_option
def import_files(
    files: tuple[Path, ...],
    mapping: Path,
    report: Path | None,
    at: str | None,
    folder: Path,
    *,
    dry_run: bool,
    resume: bool,
    strict: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Take CSV, Parquet and JSON files of other systems; the mapping says which columns tell what of whom.

    Each file is looked through first: a missing column, or a mapping that does not fit the catalogue, ends it
    before anything is sent; rows that do not fit are left out and reported by number. The same file taken
    again changes nothing. Exit codes: 0 every row taken; 1 some were refused, or nothing could be done.
    """
    asked = _asked(files, mapping, at, folder, dry_run=dry_run, resume=resume, strict=strict, wait=wait)
    with ExitStack() as stack:
        opened_report = stack.enter_context(report.open("w", encoding="utf-8")) if report else None
        done = _import(asked, opened_report, folder, dry_run=dry_run)
    for one in done:
        if as_json:
            print_json(one.to_json())
        else:
            _tell(one)
    sys.exit(0 if all(one.complete for one in done) else 1)


def _asked(
    files: tuple[Path, ...],
    mapping: Path,
    at: str | None,
    folder: Path,
    *,
    dry_run: bool,
    resume: bool,
    strict: bool,
    wait: bool,
) -> Asked:
    stack: Stack | None = None
    try:
        stack = find_stack(folder)
    except StackError:
        if not dry_run:
            raise
    rules = stack.rules if stack is not None else CHECKOUT / "rules"
    try:
        catalogue = load_catalogue(rules)
    except CatalogueErrors as errors:
        raise StackError(f"The catalogue has mistakes:\n{errors}") from None
    known = read_mapping(mapping, catalogue.default_zone, at or "")
    now = WallClock().now_micros() if stack is not None and stack.clock == "wall" else 0
    return Asked(files, known, catalogue, stack, now, resume, strict, wait)


@runs
async def _import(asked: Asked, report: IO[str] | None, folder: Path, *, dry_run: bool) -> list[Done]:
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    done: list[Done] = []
    collect_seldom()
    atexit.register(gc.unfreeze)  # DuckDB prints what is not collected by the end
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        # everything is looked at before anything is sent
        done += [Done(_checked(asked, file, Report(report), progress)) for file in asked.files]
        if dry_run:
            return done
        async with connected(folder) as connections:
            for file, one in zip(asked.files, done, strict=True):
                if asked.all_or_nothing and one.findings.refused:
                    continue
                one.sent = FeedReport()
                await _send(connections, asked, file, one, progress)
                for rejection in one.sent.rejections:
                    Report(report).refuse(file.name, rejection.line, rejection.field, rejection.reason)
            if asked.wait:
                await wait_quiet(connections, receipts=True)
    return done


def _of(asked: Asked, file: Path) -> Mapping:
    mapping = asked.mapping.of(file)
    if mapping is None:
        names = ", ".join(name for name, _ in asked.mapping.by_name)
        raise StackError(f"The mapping says nothing of a file named {file.name}; it knows {names}.")
    return mapping


def _checked(asked: Asked, file: Path, report: Report, progress: Progress) -> Findings:
    findings = Findings(file.name)
    mapping = _of(asked, file)
    task = progress.add_task(f"look through {file.name}", total=None)
    with opened(file, mapping) as rows:
        reader = RowReader(mapping, rows.columns, asked.catalogue, now_micros=asked.now_micros)
        check(rows, reader, findings, report, lambda done: progress.update(task, completed=done))
    progress.update(task, total=findings.rows, completed=findings.rows)
    return findings


async def _send(connections: Connections, asked: Asked, file: Path, one: Done, progress: Progress) -> None:
    assert one.sent is not None
    mapping = _of(asked, file)
    task = progress.add_task(f"send {file.name}", total=one.findings.events)

    def moved(so_far: FeedReport, look: Look | None) -> None:
        del look
        done = so_far.accepted + so_far.duplicates + so_far.skipped + len(so_far.rejections)
        progress.update(task, completed=done)

    step = connections.stack.clock == "events" and mapping.live
    with opened(file, mapping) as rows:
        reader = RowReader(mapping, rows.columns, asked.catalogue, now_micros=asked.now_micros)
        await feed(
            connections,
            taken_events(rows, reader, one.findings.unreadable),
            one.sent,
            stream_id=_stream_id(asked, file),
            history=not mapping.live,
            step=step,
            moved=moved,
        )


def _stream_id(asked: Asked, file: Path) -> str:
    """The same for the same file, mapping and catalogue: what was refused must be the same to count on."""
    if not asked.resume:
        return f"import-{os.urandom(12).hex()}"
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    said = f"{digest} {asked.mapping.digest} {asked.catalogue.version} {_of(asked, file)}"
    return f"import-{hashlib.sha256(said.encode()).hexdigest()[:32]}"


def _tell(done: Done) -> None:
    findings, sent = done.findings, done.sent
    parts = [f"{findings.name}: {findings.rows:,} rows", f"{findings.events:,} events"]
    if findings.silent:
        parts.append(f"{findings.silent:,} rows with nothing to say")
    if findings.repeated:
        parts.append(
            f"{findings.repeated:,} rows that repeat others (such as {findings.repeated_examples[0]:,})"
        )
    parts.append(f"{findings.refused:,} rows refused")
    click.echo(", ".join(parts))
    if findings.faults:
        faults = sorted(findings.faults.items(), key=lambda item: -item[1].rows)
        print_table(
            ("column", "what is wrong", "rows", "for example row"),
            [
                (column, reason, f"{fault.rows:,}", ", ".join(map(str, fault.examples)))
                for (column, reason), fault in faults[:SHOWN]
            ],
            empty="",
        )
    if sent is None:
        return
    parts = [f"sent: {sent.accepted:,} accepted", f"{sent.duplicates:,} taken before"]
    if sent.skipped:
        parts.append(f"{sent.skipped:,} answered in an earlier attempt")
    if sent.rests:
        parts.append(f"{sent.rests:,} pauses because the system was full")
    if sent.rejections:
        parts.append(f"{len(sent.rejections):,} refused by the service")
    click.echo(", ".join(parts))
    for rejection in sent.rejections[:SHOWN]:
        click.echo(f"  row {rejection.line}: {rejection.field}: {rejection.reason}", err=True)

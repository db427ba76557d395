"""`rapport demo`: the main job on real parts, watched, explained, drawn and reconciled."""

import datetime as dt
import shutil
import sys
import time
from pathlib import Path

import click
import orjson
import uvloop
from rich.console import Console

from services.cli.cloudevents import event_from_line
from services.cli.commands.rules import activate_files
from services.cli.connections import Connections, connected
from services.cli.demo.findings import Findings
from services.cli.demo.gather import (
    count_findings,
    count_received,
    customers_of,
    read_listings,
    watch_inbox,
)
from services.cli.demo.report import render_report
from services.cli.demo.screen import Screen
from services.cli.demo.stories import tell_stories
from services.cli.demo.town import END, MONTHS, START, Town, build_town, life_of
from services.cli.feed import FeedReport, NumberedEvent, advance, feed
from services.cli.quiet import Look, wait_quiet
from services.cli.stack.down import stop_stack
from services.cli.stack.errors import StackError
from services.cli.stack.layout import CHECKOUT, DEFAULT_FOLDER
from services.cli.stack.options import StackOptions
from services.cli.stack.up import start_stack
from services.vocabulary import wire

MARK = "made-by-rapport-demo"
"""Name of the file by which the demo knows a folder as its own, which it may empty."""
AFTERMATH = dt.timedelta(days=4)
"""Business time after the last event in which what was planned or deferred falls due."""


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER / "demo",
    help="Where the demo runs; emptied first.  [default: var/demo in the checkout]",
)
@click.option(
    "--subscribers",
    type=click.IntRange(200, 10_000),
    default=2_000,
    show_default=True,
    help="How many people live in the town.",
)
@click.option(
    "--months",
    type=click.IntRange(3, len(MONTHS)),
    default=len(MONTHS),
    show_default=True,
    help="How many months of its life to run, from October 2026 on.",
)
@click.option("--seed", type=int, default=20261001, show_default=True, help="Another seed is another town.")
@click.option("--keep", is_flag=True, help="Leave the system running afterwards.")
def demo(folder: Path, subscribers: int, months: int, seed: int, *, keep: bool) -> None:
    """Start everything, run a small town's life through it, explain three customers, reconcile both ends.

    Exit codes: 0 everything agrees (`DEMO OK …`); 1 it does not (`DEMO FAILED …`).
    """
    console = Console(soft_wrap=True)
    folder = folder.absolute()
    town = build_town(subscribers=subscribers, seed=seed, months=months)
    try:
        _empty(folder)
        start_stack(StackOptions(folder=folder, rules=CHECKOUT / "rules", clock="events"))
        try:
            findings = uvloop.run(_run(console, folder, town))
        finally:
            if not keep:
                stop_stack(folder)
    except Exception as error:
        console.print(f"DEMO FAILED {type(error).__name__}: {error}", markup=False, soft_wrap=True)
        if isinstance(error, StackError):
            sys.exit(1)
        raise
    report = folder / "report.html"
    report.write_text(render_report(findings, subscribers=subscribers, months=months), encoding="utf-8")
    _tell(console, findings, report)
    good, line = findings.verdict()
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    sys.exit(0 if good else 1)


def _empty(folder: Path) -> None:
    """Makes the folder new; refuses one that the demo did not make."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise StackError(
                f"{folder} holds something that is not a demo. Name another folder with --folder."
            )
        stop_stack(folder)
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("`rapport demo` empties this folder each time.\n", encoding="utf-8")


async def _run(console: Console, folder: Path, town: Town) -> Findings:
    findings = Findings()
    began = time.monotonic()
    async with connected(folder) as connections:
        await advance(connections, _micros(START))
        await activate_files(connections, sorted((CHECKOUT / "rules").glob("*.yaml")), say=console.print)
        look = await _feed_town(console, connections, town, findings)
        console.print("reading both ends")
        app_messages = await _app_messages(connections)
        await wait_quiet(connections, receipts=True)
        listings = await read_listings(connections)
        look = await wait_quiet(connections, receipts=True)
        customers = await customers_of(connections, town)
        count_findings(findings, look, listings, customers, town)
        await count_received(connections, findings, app_messages)
        findings.examples = await tell_stories(connections, listings)
    findings.seconds = time.monotonic() - began
    return findings


async def _feed_town(console: Console, connections: Connections, town: Town, findings: Findings) -> Look:
    """Feeds six months in steps of six hours, then lets what was planned fall due."""
    life = life_of(town)
    console.print(f"{len(town.subscribers):,} subscribers, {len(life):,} events")
    events = [NumberedEvent(n, event_from_line(orjson.dumps(told))) for n, told in enumerate(life, start=1)]
    report = FeedReport(read=len(events))
    with Screen(console, len(events), time.monotonic()) as screen:
        await feed(
            connections,
            events,
            report,
            stream_id=f"town-{town.seed}",
            step=True,
            moved=lambda so_far, look: screen.show(so_far, look, time.monotonic()),
        )
        year, month = MONTHS[town.months - 1]
        end = END if (year, month) == MONTHS[-1] else dt.datetime(year, month, 28, tzinfo=dt.UTC)
        step = dt.timedelta(hours=6)
        moment = wire.micros(events[-1].event.time)
        look = await advance(connections, max(moment, _micros(end)))
        for number in range(1, int(AFTERMATH / step) + 1):
            look = await advance(connections, _micros(end + number * step))
            screen.show(report, look, time.monotonic())
    look = await wait_quiet(connections, receipts=True)
    findings.events_fed = len(events)
    findings.events_accepted = report.accepted
    findings.events_rejected = len(report.rejections)
    for rejection in report.rejections[:5]:
        console.print(
            f"  rejected: line {rejection.line}: {rejection.field}: {rejection.reason}", markup=False
        )
    return look


async def _app_messages(connections: Connections) -> int:
    look = await wait_quiet(connections)
    return await watch_inbox(connections, look.total("channel", "sent.app"))


def _tell(console: Console, findings: Findings, report: Path) -> None:
    for example in findings.examples:
        console.print()
        console.print(f"[bold]{example.title}[/] (customer {example.customer})")
        console.print(f"  {example.sentence}", markup=False)
        console.print(f"  {example.outcome}", markup=False)
    console.print()
    for check in findings.checks():
        sign = "[green]agrees [/]" if check.holds else "[red]differs[/]"
        console.print(f"  {sign} {check.words}: {check.left:,} and {check.right:,}", highlight=False)
    console.print(f"\nreport with pictures: {report}", soft_wrap=True)


def _micros(moment: dt.datetime) -> int:
    return int(moment.timestamp()) * wire.SECOND_MICROS

"""The live table of the demo: events, decisions, messages by channel, refusals by reason."""

import datetime as dt
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.cli.feed import FeedReport
from services.cli.quiet import Look

LINE_EVERY_SECONDS = 15.0
"""Where nobody watches (no terminal), a line this often instead of a live table."""


class Screen:
    """Shows the feed as it goes. Use as `with`."""

    def __init__(self, console: Console, total: int, now: float) -> None:
        """`total` events will be fed; `now` is a monotonic time in seconds."""
        self._console = console
        self._total = total
        self._progress = Progress(
            TextColumn("[bold]{task.fields[day]}[/]"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._task = self._progress.add_task("", total=total, day="")
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._last_line = now

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, report: FeedReport, look: Look | None, now: float) -> None:
        """The state of the feed and, if given, of the services."""
        day = ""
        if look is not None:
            day = dt.datetime.fromtimestamp(look.business_micros / 1e6, dt.UTC).strftime("%a %d %b %Y %H:%M")
        if self._live is not None:
            if look is not None:
                self._progress.update(self._task, completed=report.accepted, day=day)
                self._live.update(Group(self._progress, _table(look)))
        elif look is not None and now - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = now
            sent = sum(_by_prefix(look, "channel", "sent.").values())
            self._console.print(
                f"  {day}  {report.accepted:,} of {self._total:,} events, "
                f"{look.total('decision', 'decisions'):,} decisions, {sent:,} messages sent"
            )


def _table(look: Look) -> Table:
    table = Table(show_header=True, header_style="bold", expand=False)
    for heading in ("events", "decisions", "messages by channel", "refusals by reason"):
        table.add_column(heading, vertical="top")
    refusals: dict[str, int] = {}
    for service in ("decision", "channel"):
        for reason, count in _by_prefix(look, service, "refused.").items():
            refusals[reason] = refusals.get(reason, 0) + count
    table.add_row(
        f"{look.total('profile', 'events.accepted'):,}",
        f"{look.total('decision', 'decisions'):,}",
        _lines(_by_prefix(look, "channel", "sent.")),
        _lines(refusals),
    )
    return table


def _by_prefix(look: Look, service: str, prefix: str) -> dict[str, int]:
    totals = look.progress[service].totals
    return {
        name.removeprefix(prefix): int(value) for name, value in totals.items() if name.startswith(prefix)
    }


def _lines(counts: dict[str, int]) -> str:
    return "\n".join(
        f"{name}  {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1])
    )

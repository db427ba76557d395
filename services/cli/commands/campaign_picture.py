"""A campaign drawn in the terminal: how far it is, how fast it goes, and what came of those whom it asked."""

from google.protobuf.timestamp_pb2 import Timestamp
from rapport.decision.v1 import campaign_pb2, rule_set_pb2
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from services.cli.commands.support import enum_word

_WIDE = 32
_FULL, _PARTS = "█", " ▏▎▍▌▋▊▉"


def picture(found: campaign_pb2.RunProgress) -> RenderableType:
    """All of it, for people."""
    run = found.run
    head = Table.grid(padding=(0, 2))
    zone = f" in {run.zone}" if run.zone else ""
    head.add_row(Text(f"run {run.number}", style="bold"), f"{run.rule_set}, {run.run}{zone}")
    head.add_row(Text(_state(run), style=_style(run)), _pace(found))
    bars = Table.grid(padding=(0, 2))
    bars.add_row("done", Text(f"{run.walked:.0%}", justify="right"), ProgressBar(1.0, run.walked, _WIDE))
    for word, count in _figures(found):
        bars.add_row(word, Text(f"{count:,}", justify="right"), bar(count, max(run.asked, 1)))
    lines: list[RenderableType] = [head, bars]
    for one in found.refused:
        by = "by the channel's gates" if one.by_channel else "by arbitration"
        bars.add_row(f"  {one.reason}", Text(f"{one.count:,}", justify="right"), Text(by, style="dim"))
    if run.waits:
        lines.append(Text(f"waits since {_time(run.waits_time)}: {run.waits_for}", style="yellow"))
    if found.actor:
        why = f": {found.reason}" if found.reason else ""
        lines.append(Text(f"by {found.actor} at {_time(found.changed_time)}{why}", style="dim"))
    return Group(*lines)


def summary(found: campaign_pb2.RunProgress) -> str:
    """The same on one line."""
    run = found.run
    parts = [f"run {run.number} {run.rule_set}", _state(run), f"{run.walked:.0%}"]
    parts += [f"{word} {count:,}" for word, count in _figures(found)]
    parts += [pace] if (pace := _pace(found)) else []
    parts += [f"waits: {run.waits_for}"] if run.waits else []
    return " · ".join(parts)


def bar(count: int, whole: int) -> str:
    """A share as a bar, to an eighth of a column."""
    eighths = round(_WIDE * 8 * min(count, whole) / whole)
    return _FULL * (eighths // 8) + _PARTS[eighths % 8].strip()


def _figures(found: campaign_pb2.RunProgress) -> list[tuple[str, int]]:
    refused = sum(one.count for one in found.refused)
    return [
        ("asked", found.run.asked),
        ("decided", found.decided),
        ("nothing to say", found.nothing),
        ("handed on", found.dispatched),
        ("planned", found.planned),
        ("on their way", found.on_their_way),
        ("sent", found.sent),
        ("failed", found.failed),
        ("refused", refused),
    ]


def _pace(found: campaign_pb2.RunProgress) -> str:
    parts = []
    if found.per_second:
        parts.append(f"{found.per_second:,.1f} a second")
    if found.most_per_second:
        parts.append(f"at most {found.most_per_second:g} a second")
    if found.HasField("end_time"):
        parts.append(f"ends about {_time(found.end_time)}")
    return ", ".join(parts)


def _time(stamp: Timestamp) -> str:
    """To the second: nobody reads more."""
    return f"{stamp.ToDatetime():%Y-%m-%d %H:%M:%S} UTC"


def _state(run: rule_set_pb2.Run) -> str:
    return "waits" if run.waits else enum_word(rule_set_pb2.RunState.Name(run.state), "RUN_STATE_")


def _style(run: rule_set_pb2.Run) -> str:
    if run.waits or run.state == rule_set_pb2.RUN_STATE_PAUSED:
        return "yellow"
    going = run.state in {rule_set_pb2.RUN_STATE_OPEN, rule_set_pb2.RUN_STATE_DONE}
    return "green" if going else "red"

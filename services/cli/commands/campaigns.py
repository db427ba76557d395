"""`rapport campaigns`: runs over audiences in people's hands, and how far they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import click
from rapport.decision.v1 import campaign_pb2, rule_set_pb2
from rich.console import Console
from rich.live import Live

from services.cli.commands.campaign_picture import picture, summary
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
from services.cli.connections import connected
from services.cli.paging import entries_of
from services.cli.stack.errors import StackError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

_STATES = ("open", "paused", "done", "missed", "stopped", "cancelled")
_GOING = frozenset({rule_set_pb2.RUN_STATE_OPEN, rule_set_pb2.RUN_STATE_PAUSED})
_LOOK_SECONDS = 1.0
_STILL_LOOKS = 10
_Request = TypeVar(
    "_Request",
    campaign_pb2.PauseRunRequest,
    campaign_pb2.ResumeRunRequest,
    campaign_pb2.CancelRunRequest,
)
_reason = click.option("--reason", default="", help="Why, for those who look later; no personal data.")
_which = click.argument("which", metavar="RUN|RULE_SET")


@click.group()
def campaigns() -> None:
    """Start, pause, resume, cancel and watch campaigns: runs over the audiences of rule sets."""


@campaigns.command("list")
@click.option("--rule-set", default="", help="Only of this rule set.")
@click.option("--state", type=click.Choice(_STATES), help="Only those that have come so far.")
@limit_option
@json_option
@folder_option
@runs
async def list_campaigns(
    rule_set: str, state: str | None, limit: int, folder: Path, *, as_json: bool
) -> None:
    """List campaigns, newest first: how far each is, and what it waits for."""
    request = rule_set_pb2.ListRunsRequest(
        rule_set=rule_set,
        state=rule_set_pb2.RunState.Value(f"RUN_STATE_{(state or 'unspecified').upper()}"),
    )
    async with connected(folder) as connections:
        pages = entries_of(connections.rule_sets.ListRuns, request, "runs", limit=limit)
        found = [run async for run in pages]
    if as_json:
        for run in found:
            print_json(_run(run))
        return
    rows = [
        (
            run.number,
            run.rule_set,
            called_for(run),
            run.zone,
            _stands(run),
            f"{run.walked:.0%}",
            f"{run.asked:,}",
        )
        for run in found
    ]
    headings = ("run", "rule set", "called for", "zone", "state", "done", "asked")
    print_table(
        headings, rows, empty="no such campaign has run" if rule_set or state else "no campaign has run yet"
    )


@campaigns.command("show")
@click.argument("run", type=click.IntRange(1))
@json_option
@folder_option
@runs
async def show(run: int, folder: Path, *, as_json: bool) -> None:
    """Show how far a RUN is, and what came of those whom it asked."""
    async with connected(folder) as connections:
        answer = await connections.campaigns.GetRun(campaign_pb2.GetRunRequest(run=run))
    _show(answer.run, as_json=as_json)


@campaigns.command("watch")
@click.argument("run", type=click.IntRange(1))
@json_option
@folder_option
@runs
async def watch(run: int, folder: Path, *, as_json: bool) -> None:
    """Watch a RUN until everyone was asked and what came of it is known, or nothing more happens.

    With --json, or into a file, a line whenever something changed.
    """
    request = campaign_pb2.GetRunRequest(run=run)
    console = Console()
    async with connected(folder) as connections:

        async def look() -> campaign_pb2.RunProgress:
            return (await connections.campaigns.GetRun(request)).run

        if as_json or not console.is_terminal:
            told = None
            async for found in followed(look):
                if (happened := what_happened(found)) != told:
                    told = happened
                    if as_json:
                        print_json(_progress(found))
                    else:
                        click.echo(summary(found))
            return
        with Live(console=console, auto_refresh=False) as live:
            async for found in followed(look):
                live.update(picture(found), refresh=True)


async def followed(
    look: Callable[[], Awaitable[campaign_pb2.RunProgress]],
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[campaign_pb2.RunProgress]:
    """A run as it is from look to look, until it has ended and what came of it is known.

    What is not known (a message waits for the morning) is waited for as long as anything happens.
    """
    told, still = None, 0
    while True:
        found = await look()
        yield found
        if found.run.state not in _GOING:
            happened = what_happened(found)
            still = still + 1 if happened == told else 0
            told = happened
            known = found.decided >= found.run.asked and not found.on_their_way
            if known or still >= _STILL_LOOKS:
                return
        await pause(_LOOK_SECONDS)


def what_happened(found: campaign_pb2.RunProgress) -> campaign_pb2.RunProgress:
    """The run without what changes by the passing of time."""
    happened = campaign_pb2.RunProgress()
    happened.CopyFrom(found)
    happened.ClearField("per_second")
    happened.ClearField("end_time")
    return happened


@campaigns.command("start")
@click.argument("rule_set")
@_reason
@json_option
@folder_option
@runs
async def start(rule_set: str, reason: str, folder: Path, *, as_json: bool) -> None:
    """Ask everyone in the audience of a RULE_SET with a schedule now, not at its next time."""
    request = campaign_pb2.StartRunRequest(request_id=str(uuid4()), rule_set=rule_set, reason=reason)
    async with connected(folder) as connections:
        answer = await connections.campaigns.StartRun(request)
    _refused(answer)
    _tell(answer.runs, "started", as_json=as_json)


@campaigns.command("pause")
@_which
@_reason
@json_option
@folder_option
@runs
async def pause(which: str, reason: str, folder: Path, *, as_json: bool) -> None:
    """Ask nobody more for now: of a RUN by its number, or of all runs of a RULE_SET."""
    request = _asked(campaign_pb2.PauseRunRequest, which, reason)
    async with connected(folder) as connections:
        answer = await connections.campaigns.PauseRun(request)
    _refused(answer)
    _tell(answer.runs, "paused", as_json=as_json)


@campaigns.command("resume")
@_which
@_reason
@json_option
@folder_option
@runs
async def resume(which: str, reason: str, folder: Path, *, as_json: bool) -> None:
    """Go on with what was paused: a RUN by its number, or all runs of a RULE_SET."""
    request = _asked(campaign_pb2.ResumeRunRequest, which, reason)
    async with connected(folder) as connections:
        answer = await connections.campaigns.ResumeRun(request)
    _refused(answer)
    _tell(answer.runs, "goes on", as_json=as_json)


@campaigns.command("cancel")
@_which
@_reason
@json_option
@folder_option
@runs
async def cancel(which: str, reason: str, folder: Path, *, as_json: bool) -> None:
    """End a RUN by its number, or all runs of a RULE_SET; what was decided already is said all the same."""
    request = _asked(campaign_pb2.CancelRunRequest, which, reason)
    async with connected(folder) as connections:
        answer = await connections.campaigns.CancelRun(request)
    _refused(answer)
    _tell(answer.runs, "cancelled", as_json=as_json)


def _asked(kind: Callable[..., _Request], which: str, reason: str) -> _Request:
    named: dict[str, Any] = {"run": int(which)} if which.isdecimal() else {"rule_set": which}
    return kind(request_id=str(uuid4()), reason=reason, **named)


def _refused(answer: Any) -> None:
    if answer.HasField("refusal"):
        raise StackError(answer.refusal.detail)


def _tell(found: Any, word: str, *, as_json: bool) -> None:
    for one in found:
        if as_json:
            print_json(_progress(one))
        else:
            click.echo(f"run {one.run.number} of {one.run.rule_set} {word}; {one.run.asked:,} asked so far")


def _show(found: campaign_pb2.RunProgress, *, as_json: bool) -> None:
    if as_json:
        print_json(_progress(found))
    else:
        Console(soft_wrap=True).print(picture(found))


def called_for(run: rule_set_pb2.Run) -> str:
    """The run's name; of one started by hand without the id that tells it from others of that second."""
    moment, by_hand, _ = run.run.partition(" by hand ")
    return f"{moment} by hand" if by_hand else moment


def _stands(run: rule_set_pb2.Run) -> str:
    """How it stands, in a word or three."""
    if not run.waits:
        return _state(run)
    return f"waits for {enum_word(rule_set_pb2.RunWait.Name(run.waits), 'RUN_WAIT_')}"


def _state(run: rule_set_pb2.Run) -> str:
    return enum_word(rule_set_pb2.RunState.Name(run.state), "RUN_STATE_")


def _run(run: rule_set_pb2.Run) -> dict[str, Any]:
    return {
        "run": run.number,
        "rule_set": run.rule_set,
        "version": run.version,
        "kind": run.kind,
        "called_for": run.run,
        "zone": run.zone,
        "state": _state(run),
        "due_time": iso(run.due_time),
        "next_time": iso(run.next_time),
        "walked": round(run.walked, 4),
        "asked": run.asked,
        "waits": enum_word(rule_set_pb2.RunWait.Name(run.waits), "RUN_WAIT_"),
        "waits_for": run.waits_for,
        "waits_time": iso(run.waits_time),
    }


def _progress(found: campaign_pb2.RunProgress) -> dict[str, Any]:
    return {
        **_run(found.run),
        "decided": found.decided,
        "nothing": found.nothing,
        "dispatched": found.dispatched,
        "planned": found.planned,
        "on_their_way": found.on_their_way,
        "sent": found.sent,
        "failed": found.failed,
        "refused": [
            {"reason": one.reason, "by": "channel" if one.by_channel else "decision", "count": one.count}
            for one in found.refused
        ],
        "per_second": round(found.per_second, 2),
        "most_per_second": found.most_per_second or None,
        "end_time": iso(found.end_time),
        "actor": found.actor,
        "reason": found.reason,
        "changed_time": iso(found.changed_time),
    }

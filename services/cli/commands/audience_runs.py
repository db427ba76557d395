"""`rapport runs`: audiences that schedules, absences and things called."""

from pathlib import Path

import click
from rapport.decision.v1 import rule_set_pb2

from services.cli.commands.support import (
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

_STATES = ("open", "done", "missed", "stopped", "paused", "cancelled")


@click.command()
@click.option("--rule-set", default="", help="Only of this rule set.")
@click.option("--state", type=click.Choice(_STATES), help="Only those that have come so far.")
@limit_option
@json_option
@folder_option
@runs
async def list_runs(rule_set: str, state: str | None, limit: int, folder: Path, *, as_json: bool) -> None:
    """List runs over audiences, newest first: when each was due, how far it is, whom it asked."""
    request = rule_set_pb2.ListRunsRequest(
        rule_set=rule_set,
        state=rule_set_pb2.RunState.Value(f"RUN_STATE_{(state or 'unspecified').upper()}"),
    )
    async with connected(folder) as connections:
        pages = entries_of(connections.rule_sets.ListRuns, request, "runs", limit=limit)
        found = [run async for run in pages]
    rows: list[tuple[object, ...]] = []
    for run in found:
        word = rule_set_pb2.RunState.Name(run.state).removeprefix("RUN_STATE_").lower()
        if as_json:
            print_json(
                {
                    "number": run.number,
                    "rule_set": run.rule_set,
                    "version": run.version,
                    "kind": run.kind,
                    "run": run.run,
                    "zone": run.zone,
                    "due_time": iso(run.due_time),
                    "next_time": iso(run.next_time),
                    "state": word,
                    "asked": run.asked,
                }
            )
            continue
        rows.append(
            (run.rule_set, run.version, run.kind, run.run, run.zone, iso(run.due_time), word, run.asked)
        )
    if not as_json:
        headings = ("rule set", "version", "called by", "run", "zone", "due", "state", "asked")
        print_table(headings, rows, empty="no runs")

"""`rapport simulate`: the past decided again with drafts, told in the terminal and on a page."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
from rapport.decision.v1 import simulation_pb2

from services.cli.commands.options import WHOLE, Moment, Share
from services.cli.commands.rules.sources import files_argument, text_of
from services.cli.commands.support import folder_option, iso, json_option, print_json, print_table, runs
from services.cli.connections import connected
from services.cli.simulating.page import render_page
from services.cli.simulating.telling import STAGES, deltas, stage
from services.cli.stack.errors import StackError
from services.cli.stack.trust_files import OPERATOR
from services.vocabulary.wire import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import IO

_MOST_ROWS = 15


@click.command()
@files_argument
@click.option("--since", required=True, type=Moment(), help="Events from then on: 2026-11-01.")
@click.option("--until", type=Moment(), help="Events before that; left out: up to now.")
@click.option("--groups", multiple=True, metavar="TRAIT", help="Compare offers between its values.")
@click.option("--sample", type=Share(), default=WHOLE, metavar="SHARE", help="Only 10% of the customers.")
@click.option("--processes", type=click.IntRange(0, 64), default=0, metavar="N", help="Share the work.")
@click.option("--alone", is_flag=True, help="The drafts alone, without what is live beside them.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for result.json, report.html and actions.ndjson (who would get what).",
)
@click.option(
    "--as", "subject", default=OPERATOR, show_default=True, metavar="WHO", help="Whose token to use."
)
@json_option
@folder_option
@runs
async def simulate(
    files: tuple[Path, ...],
    since: int,
    until: int | None,
    groups: tuple[str, ...],
    sample: int,
    processes: int,
    out: Path | None,
    subject: str,
    folder: Path,
    *,
    alone: bool,
    as_json: bool,
) -> None:
    """Decide the past again with drafts in the place of what is live, and compare. Nobody is contacted.

    Exit codes: 0 done; 1 not done: a draft does not compile, or nothing happened in that time.
    """
    request = simulation_pb2.SimulateRequest(
        drafts=[simulation_pb2.Draft(source=text_of(file), file=str(file)) for file in files],
        since=timestamp(since),
        until=None if until is None else timestamp(until),
        sample=sample % WHOLE,
        groups=groups,
        processes=processes,
        alone=alone,
        include_actions=out is not None,
    )
    found: simulation_pb2.SimulationResult | None = None
    with ExitStack() as open_files:
        listing: IO[bytes] | None = None
        if out is not None:
            listing = open_files.enter_context(_listing(out))
        async with connected(folder, subject) as connections:
            async for answer in connections.simulations.Simulate(request):
                match answer.WhichOneof("message"):
                    case "progress":
                        _tell_progress(answer.progress)
                    case "problems":
                        _tell_problems(answer.problems.problems, as_json=as_json)
                        sys.exit(1)
                    case "actions" if listing is not None:
                        listing.writelines(
                            orjson.dumps(_action(one), option=orjson.OPT_APPEND_NEWLINE)
                            for one in answer.actions.actions
                        )
                    case "result":
                        found = answer.result
    _end_progress()
    assert found is not None
    result = {"simulation_id": found.simulation_id, **orjson.loads(found.json)}
    if out is not None:
        (out / "result.json").write_bytes(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
        (out / "report.html").write_text(render_page(result, found.simulation_id), encoding="utf-8")
    if as_json:
        print_json(result)
    else:
        _tell(result, found.simulation_id, out)
    if not result["events"]:
        sys.exit(1)


def _listing(out: Path) -> IO[bytes]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return (out / "actions.ndjson").open("wb")
    except OSError as error:
        raise StackError(f"--out {out}: {error.strerror}; name a folder that can be written") from None


def _tell_progress(progress: simulation_pb2.SimulationProgress) -> None:
    if not sys.stderr.isatty():
        return
    line = f"{progress.customers_done:,} of {progress.customers:,} customers, {progress.events:,} events"
    if progress.actions:
        line += f"; {progress.actions_done:,} of {progress.actions:,} actions before the gates"
    click.echo(f"\r\033[K{line}", nl=False, err=True)


def _end_progress() -> None:
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)


def _tell_problems(problems: Iterable[simulation_pb2.DraftProblem], *, as_json: bool) -> None:
    for one in problems:
        problem = one.problem
        if as_json:
            print_json(
                {
                    "file": one.file,
                    "line": problem.line,
                    "column": problem.column,
                    "message": problem.message,
                    "suggestion": problem.suggestion,
                    "check": problem.check,
                }
            )
        else:
            hint = f" – {problem.suggestion}" if problem.suggestion else ""
            click.echo(f"{one.file}:{problem.line}:{problem.column}: {problem.message}{hint}", err=True)


def _action(one: simulation_pb2.SimulatedAction) -> dict[str, Any]:
    return {
        "world": "live" if one.live else "draft",
        "customer": one.customer,
        "time": iso(one.time),
        "rule_set": one.rule_set,
        "rule": one.rule,
        "kind": one.kind,
        "name": one.name,
        "category": one.category,
        "outcome": one.outcome,
        "channel": one.channel,
        "reason": one.reason,
        "detail": one.detail,
    }


def _tell(result: Mapping[str, Any], simulation_id: str, out: Path | None) -> None:
    worlds = [("drafts", result["draft"])] + ([("live", result["live"])] if result["live"] else [])
    click.echo(
        f"{', '.join(result['drafts'])}: {result['since']} to {result['until']}, "
        f"{result['events']:,} events of {result['customers']:,} customers"
    )
    for notice in result["notices"]:
        click.echo(f"! {notice}")
    click.echo()
    rows = [(words, *(f"{stage(world, key):,}" for _, world in worlds)) for key, words in STAGES]
    print_table(("", *(name for name, _ in worlds)), rows, empty="")
    _tell_refusals(worlds)
    _tell_rules(result)
    if result["displaced"]:
        for key, words in (("lost", "no longer sent"), ("gained", "newly sent")):
            _tell_displaced(words, result["displaced"][key])
    for group in result["groups"]:
        click.echo(f"\noffered, by {group['trait']}")
        print_table(
            ("group", "customers", "offered", "share (95 %)", "to the rest (95 %)"),
            [_group(row) for row in group["groups"]],
            empty="nobody",
        )
    for name, world in worlds:
        told = world["customers"]
        click.echo(
            f"\n{name}: {told['reached']:,} customers reached, "
            f"{told['left_with_nothing']:,} left with nothing; "
            f"value {world['value']:,.2f}, cost {world['cost']:,.2f}"
        )
    click.echo(f"\nsimulation {simulation_id}" + (f", report: {out / 'report.html'}" if out else ""))


def _tell_refusals(worlds: Sequence[tuple[str, Any]]) -> None:
    for key, words in (
        ("refused", "refused by the rules' filters"),
        ("gates", "refused by limits and gates"),
    ):
        reasons = sorted({reason for _, world in worlds for reason in world["funnel"][key]})
        if reasons:
            click.echo(f"\n{words}")
            print_table(
                ("reason", *(name for name, _ in worlds)),
                [
                    (reason, *(f"{world['funnel'][key].get(reason, 0):,}" for _, world in worlds))
                    for reason in reasons
                ],
                empty="",
            )


def _tell_rules(result: Mapping[str, Any]) -> None:
    click.echo("\nwould be sent, by action")
    print_table(("rule", "action", "drafts", "live"), deltas(result)[:_MOST_ROWS], empty="nothing")


def _tell_displaced(words: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    click.echo(f"\n{words}")
    print_table(
        ("rule", "action", "why not in the other", "actions"),
        [
            (f"{row['rule_set']}/{row['rule']}", row["name"], row["why"], f"{row['actions']:,}")
            for row in rows[:_MOST_ROWS]
        ],
        empty="",
    )


def _group(row: Mapping[str, Any]) -> tuple[object, ...]:
    share, ratio = row["share"], row["ratio"]
    return (
        row["group"],
        f"{row['customers']:,}",
        f"{row['offered']:,}",
        "–" if share is None else f"{share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%})",
        "–" if ratio is None else f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})",
    )

"""`rapport decisions verify`: recorded decisions run again, all of them."""

import sys
import time
from pathlib import Path

import click
from rapport.decision.v1 import explanation_pb2

from services.cli.commands.options import Moment
from services.cli.commands.support import folder_option, json_option, print_json, runs
from services.cli.connections import connected
from services.vocabulary import wire

_SHOWN = 20


@click.command("verify")
@click.option("--since", type=Moment(), help="Only those decided at this time or later.")
@click.option("--until", type=Moment(), help="Only those decided before.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="So many at once.")
@json_option
@folder_option
@runs
async def verify(
    since: int | None, until: int | None, processes: int, folder: Path, *, as_json: bool
) -> None:
    """Run recorded decisions again, and count those that come out the same.

    Ends with 1 when one comes out otherwise.
    """
    request = explanation_pb2.VerifyDecisionsRequest(processes=processes)
    if since is not None:
        request.since_time.CopyFrom(wire.timestamp(since))
    if until is not None:
        request.until_time.CopyFrom(wire.timestamp(until))
    began, differences = time.monotonic(), list[explanation_pb2.DecisionDifference]()
    answer = explanation_pb2.VerifyDecisionsResponse()
    async with connected(folder) as connections:
        async for answer in connections.explanations.VerifyDecisions(request):
            differences += answer.differences[: _SHOWN - len(differences)]
            if not as_json and sys.stderr.isatty():
                click.echo(f"\r{_progress(answer, time.monotonic() - began)}", err=True, nl=False)
    seconds = time.monotonic() - began
    failed = {each.reason: each.count for each in answer.not_replayable}
    if as_json:
        print_json(
            {
                "total": answer.total,
                "equal": answer.equal,
                "different": answer.different,
                "not_replayable": failed,
                "differences": [
                    {"decision_id": each.decision_id, "difference": each.difference} for each in differences
                ],
                "seconds": round(seconds, 3),
            }
        )
    else:
        if sys.stderr.isatty():
            click.echo(err=True)
        click.echo(f"{answer.total:,} decisions: {answer.equal:,} equal, {answer.different:,} different")
        for reason, count in failed.items():
            click.echo(f"  {count:,} could not be run again: {reason}")
        for each in differences:
            click.echo(f"  {each.decision_id} differs in {each.difference}")
        if answer.different > len(differences):
            click.echo(f"  and {answer.different - len(differences):,} more")
    if answer.different:
        sys.exit(1)


def _progress(answer: explanation_pb2.VerifyDecisionsResponse, seconds: float) -> str:
    done = answer.equal + answer.different + sum(each.count for each in answer.not_replayable)
    share = done / answer.total if answer.total else 1.0
    return f"{share:6.1%} {done:,} of {answer.total:,}, {done / max(seconds, 0.001):,.0f} a second  "

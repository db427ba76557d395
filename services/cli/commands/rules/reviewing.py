"""`rapport rules show` and `review`: a version as whoever decides about it needs to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import orjson
from rapport.decision.v1 import release_pb2, rule_set_pb2, simulation_pb2

from services.cli.commands.support import (
    enum_word,
    folder_option,
    iso,
    json_option,
    print_json,
    print_table,
    runs,
)
from services.cli.connections import connected
from services.cli.paging import entries_of
from services.cli.simulating.telling import STAGES, deltas, headline, stage
from services.cli.stack.errors import StackError
from services.cli.stack.trust_files import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from services.cli.connections import Connections

_STATE = "RULE_SET_STATE_"
_MOST_ROWS = 8
_as_option = click.option(
    "--as", "subject", default=OPERATOR, show_default=True, metavar="WHO", help="Whose token to use."
)


@click.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(0), default=0, help="Version; left out: the newest.")
@click.option("--source", is_flag=True, help="Its text too.")
@json_option
@_as_option
@folder_option
@runs
async def show(name: str, version: int, subject: str, folder: Path, *, source: bool, as_json: bool) -> None:
    """Show a version: where it stands, what it changes, its simulation, and each step that it took."""
    async with connected(folder, subject) as connections:
        answer, simulation = await _read(connections, name, version)
    if as_json:
        print_json(_json(answer, simulation, source=source))
        return
    _tell_version(answer, simulation)
    click.echo("\nits life so far")
    print_table(
        ("time", "step", "who", "state", "program", "why"),
        [
            (
                (iso(step.time) or "")[:19],
                step.action,
                step.actor,
                _word(step.to_state),
                step.program or "",
                step.comment,
            )
            for step in answer.steps
        ],
        empty="no steps: it was stored before they were written down",
    )
    if source:
        click.echo(f"\n{answer.rule_set.source}")


@click.command()
@click.argument("name", required=False)
@click.option("--version", type=click.IntRange(0), default=0, help="Version; left out: the one in review.")
@_as_option
@folder_option
@runs
async def review(name: str | None, version: int, subject: str, folder: Path) -> None:
    """Read a version that is in review, with what it changes and its simulation; without NAME list them."""
    async with connected(folder, subject) as connections:
        request = rule_set_pb2.ListRuleSetsRequest(all_versions=True)
        pages = entries_of(connections.rule_sets.ListRuleSets, request, "rule_sets")
        waiting = [each async for each in pages if each.state == rule_set_pb2.RULE_SET_STATE_IN_REVIEW]
        if name is None:
            _list(waiting)
            return
        known = [each.version for each in waiting if each.name == name]
        if not version and not known:
            raise StackError(f"No version of {name} is in review. See what is with: rapport rules review")
        answer, simulation = await _read(connections, name, version or known[-1])
    _tell_version(answer, simulation)
    submitted = next((step for step in reversed(answer.steps) if step.action == "submit"), None)
    if submitted is not None and submitted.comment:
        click.echo(f"\n{submitted.actor} says: {submitted.comment}")
    row = answer.rule_set
    if row.state != rule_set_pb2.RULE_SET_STATE_IN_REVIEW:
        click.echo(f"\nIt is {word_of(row.state)}, not in review.")
        return
    more = f"{row.name} --version {row.version} --as WHO"
    click.echo(
        f"\nThe text: rapport rules show {row.name} --version {row.version} --source"
        f"\nApprove it, unless you wrote or submitted it: rapport rules approve {more}"
        f"\nSend it back: rapport rules reject {more} --reason …"
    )


def tell(rule_set: rule_set_pb2.RuleSet) -> None:
    """A version and where it stands, in a line."""
    share = f" for {rule_set.canary_share:.4%} of the customers" if rule_set.canary_share else ""
    share = share.replace(".0000%", "%")
    back = ", taken back" if rule_set.taken_back else ""
    word = word_of(rule_set.state)
    article = "a " if word in {"draft", "canary"} else ""
    at = f", goes live at {iso(rule_set.schedule_time)}" if rule_set.HasField("schedule_time") else ""
    click.echo(f"{rule_set.name} version {rule_set.version} is {article}{word}{share}{back}{at}")


def word_of(state: rule_set_pb2.RuleSetState.ValueType) -> str:
    """Where a version stands, in a word or two."""
    return _word(state).replace("_", " ")


def key_numbers(result: Mapping[str, Any]) -> dict[str, Any]:
    """Of a simulation's result what a reviewer looks at first; ``live`` None where only drafts were run."""
    draft, live = result["draft"], result["live"]
    worlds = {"draft": draft} | ({"live": live} if live else {})
    displaced = result["displaced"] or {"lost": [], "gained": []}
    return {
        "since": result["since"],
        "until": result["until"],
        "sample": result["sample"],
        "events": result["events"],
        "customers": result["customers"],
        "drafts": result["drafts"],
        **{name: _world(world) for name, world in worlds.items()},
        "no_longer_sent": sum(row["actions"] for row in displaced["lost"]),
        "newly_sent": sum(row["actions"] for row in displaced["gained"]),
        "uneven": [
            {"trait": group["trait"], "group": row["group"], **row["ratio"]}
            for group in result["groups"]
            for row in group["groups"]
            if row["ratio"] is not None and not row["ratio"]["low"] <= 1 <= row["ratio"]["high"]
        ],
        "notices": result["notices"],
    }


def _world(world: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: stage(world, key) for key, _ in STAGES},
        "capped": world["funnel"]["gates"].get("CAPPED", 0),
        "reached": world["customers"]["reached"],
        "left_with_nothing": world["customers"]["left_with_nothing"],
        "value": world["value"],
        "cost": world["cost"],
    }


def _list(waiting: list[rule_set_pb2.RuleSet]) -> None:
    print_table(
        ("rule set", "version", "title", "written by", "submitted by"),
        [(row.name, row.version, row.title, row.author, row.submitter) for row in waiting],
        empty="nothing is in review",
    )
    if waiting:
        click.echo("\nRead one: rapport rules review NAME")


async def _read(
    connections: Connections, name: str, version: int
) -> tuple[release_pb2.GetRuleSetResponse, simulation_pb2.GetSimulationResponse | None]:
    answer = await connections.releases.GetRuleSet(release_pb2.GetRuleSetRequest(name=name, version=version))
    if not answer.simulation_id:
        return answer, None
    request = simulation_pb2.GetSimulationRequest(simulation_id=answer.simulation_id)
    return answer, await connections.simulations.GetSimulation(request)


def _tell_version(
    answer: release_pb2.GetRuleSetResponse, simulation: simulation_pb2.GetSimulationResponse | None
) -> None:
    row = answer.rule_set
    tell(row)
    if row.title:
        click.echo(f"  {row.title}")
    for label, value in (
        ("written by", row.author),
        ("submitted by", row.submitter),
        ("approved by", row.approver),
    ):
        if value:
            click.echo(f"  {label} {value}")
    for line in _changes(answer):
        click.echo(line)
    if simulation is not None:
        tell_simulation(simulation)
    elif row.submitter:
        click.echo("\nno simulation was attached")


def _changes(answer: release_pb2.GetRuleSetResponse) -> Iterator[str]:
    """What it changes, and whether that is still said beside what is live."""
    row = answer.rule_set
    if not row.submitter:
        return
    beside = answer.compared_version
    if not beside:
        yield "\nno version of it was live when it was submitted: all of it is new"
    else:
        yield f"\nwhat it changes, beside version {beside}:"
        yield from (f"  - {difference}" for difference in answer.differences)
        if not answer.differences:
            yield "  nothing that decides"
    if answer.live_version not in {beside, row.version}:
        now = f"version {answer.live_version} is live now" if answer.live_version else "none is live now"
        yield f"  ! {now}: submit it anew to see what it changes of that"


def tell_simulation(simulation: simulation_pb2.GetSimulationResponse) -> None:
    """A simulation's key numbers, in what way they differ from what is live, and what changes most."""
    result = orjson.loads(simulation.result.json)
    numbers = key_numbers(result)
    sample = "" if numbers["sample"] == 1 else f", {numbers['sample']:.4g} of the customers"
    click.echo(
        f"\nsimulation {simulation.result.simulation_id}, by {simulation.caller} at "
        f"{iso(simulation.create_time)}:\n  {numbers['since']} to {numbers['until']}{sample}: "
        f"{numbers['events']:,} events of {numbers['customers']:,} customers"
    )
    others = len(numbers["drafts"]) - 1
    if others:
        click.echo(
            f"  ! with {others} other draft{'s' if others > 1 else ''}: {', '.join(numbers['drafts'])}"
        )
    for notice in numbers["notices"]:
        click.echo(f"  ! {notice}")
    if not numbers["events"]:
        return
    for said in headline(result):
        click.echo(f"  {said}")
    click.echo()
    print_table(("", "with it", "live", ""), _numbers(numbers), empty="")
    changed = [row for row in deltas(result) if row[2] != row[3]]
    if changed:
        click.echo("\nwould be sent, where it changes most")
        print_table(("rule", "action", "with it", "live"), changed[:_MOST_ROWS], empty="")
    for row in numbers["uneven"]:
        click.echo(
            f"! {row['trait']} {row['group']} is offered {row['value']:.2f} times what the rest is "
            f"(95 %: {row['low']:.2f} to {row['high']:.2f})"
        )


def _numbers(numbers: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for key, words, money in (
        *((key, words, False) for key, words in STAGES),
        ("capped", "refused by caps", False),
        ("reached", "customers reached", False),
        ("left_with_nothing", "left with nothing", False),
        ("value", "value", True),
        ("cost", "cost", True),
    ):
        form = ",.2f" if money else ",d"
        draft = numbers["draft"][key]
        if "live" not in numbers:
            yield words, format(draft, form), "–", ""
            continue
        live = numbers["live"][key]
        change = round(draft - live, 2)
        yield words, format(draft, form), format(live, form), format(change, f"+{form}") if change else "="


def _json(
    answer: release_pb2.GetRuleSetResponse,
    simulation: simulation_pb2.GetSimulationResponse | None,
    *,
    source: bool,
) -> dict[str, Any]:
    rule_set = answer.rule_set
    return {
        "name": rule_set.name,
        "version": rule_set.version,
        "state": _word(rule_set.state),
        "title": rule_set.title,
        "author": rule_set.author,
        "submitter": rule_set.submitter,
        "approver": rule_set.approver,
        "canary_share": rule_set.canary_share,
        "taken_back": rule_set.taken_back,
        "create_time": iso(rule_set.create_time),
        "activate_time": iso(rule_set.activate_time),
        "schedule_time": iso(rule_set.schedule_time),
        "live_version": answer.live_version,
        "compared_version": answer.compared_version,
        "differences": list(answer.differences),
        "simulation_id": answer.simulation_id,
        "simulation": None if simulation is None else key_numbers(orjson.loads(simulation.result.json)),
        "steps": [
            {
                "action": step.action,
                "actor": step.actor,
                "time": iso(step.time),
                "from": _word(step.from_state),
                "to": _word(step.to_state),
                "comment": step.comment,
                "program": step.program,
            }
            for step in answer.steps
        ],
        **({"source": rule_set.source} if source else {}),
    }


def _word(state: rule_set_pb2.RuleSetState.ValueType) -> str:
    return enum_word(rule_set_pb2.RuleSetState.Name(state), _STATE) if state else ""

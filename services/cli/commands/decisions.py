"""`rapport decisions`: what was decided, and why."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import grpc
from rapport.decision.v1 import decision_pb2
from rapport.profile.v1 import profile_pb2

from services.cli.commands.decision_trees import node_json, tree_lines
from services.cli.commands.support import (
    folder_option,
    iso,
    json_option,
    limit_option,
    print_json,
    print_table,
    runs,
)
from services.cli.commands.verify import verify
from services.cli.commands.why_not import why_not
from services.cli.connections import Connections, connected
from services.cli.paging import entries_of
from services.vocabulary import wire
from services.vocabulary.words import RefusalReason


@click.group()
def decisions() -> None:
    """Look at decisions."""


@decisions.command("list")
@click.option(
    "--subject", default="", metavar="ID", help="Only this customer's: any identity, or customer:7."
)
@click.option("--rule-set", default="", help="Only those in which this rule set asked for something.")
@click.option(
    "--reason", type=click.Choice([word.value for word in RefusalReason]), help="Only with such a refusal."
)
@click.option("--event-type", default="", help="Only on this event type.")
@limit_option
@click.option("--all", "everything", is_flag=True, help="All of them, whatever --limit says.")
@json_option
@folder_option
@runs
async def list_decisions(
    subject: str,
    rule_set: str,
    reason: str | None,
    event_type: str,
    limit: int,
    folder: Path,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """List decisions, newest first."""
    request = decision_pb2.ListDecisionsRequest(
        subject=subject,
        rule_set=rule_set,
        reason=wire.REFUSAL_REASONS.to_wire(RefusalReason(reason) if reason else None),
        event_type=event_type,
    )
    rows: list[tuple[object, ...]] = []
    async with connected(folder) as connections:
        async for decision, identities in _pages(
            connections, request, None if everything else limit, json=as_json
        ):
            if as_json:
                print_json(decision_json(decision, identities))
                continue
            actions = ", ".join(
                f"{action['name']} {action['outcome']}{' ' + action['reason'] if action['reason'] else ''}"
                for action in map(action_json, decision.actions)
            )
            rows.append(
                (
                    decision.decision_id,
                    decision.customer,
                    decision.event_type,
                    iso(decision.event_time),
                    actions,
                )
            )
    if not as_json:
        print_table(("decision", "customer", "event", "time", "actions"), rows, empty="no decisions")


@decisions.command("explain")
@click.argument("decision_id", metavar="ID")
@click.option(
    "--for",
    "reader",
    type=click.Choice(["author", "care", "regulator"]),
    default="author",
    show_default=True,
    help="The whole tree, or one sentence for a care agent or a regulator.",
)
@json_option
@folder_option
@runs
async def explain(decision_id: str, reader: str, folder: Path, *, as_json: bool) -> None:
    """Explain a decision, by its id or by the id of one of its actions."""
    async with connected(folder) as connections:
        answer = await connections.decision.ExplainDecision(
            decision_pb2.ExplainDecisionRequest(decision_id=decision_id)
        )
        identities = await _identities(connections, answer.decision.customer) if as_json else []
    if as_json:
        print_json(
            {
                **decision_json(answer.decision, identities),
                "actions": [
                    {**action_json(action), "because": list(action.because), "arm": action.arm}
                    for action in answer.decision.actions
                ],
                "sentence": answer.sentence,
                "steps": [
                    {"kind": s.kind, "rule_set": s.rule_set, "name": s.name, "text": s.text, "held": s.held}
                    for s in answer.steps
                ],
                "reproduced": answer.reproduced,
                "difference": answer.difference,
                "regulator": answer.regulator_sentence,
                "care": answer.care_sentence,
                "tree": node_json(answer.tree),
            }
        )
        return
    if reader == "regulator":
        click.echo(answer.regulator_sentence or f"It cannot be said: {answer.difference}")
        return
    if reader == "care":
        click.echo(answer.care_sentence)
        return
    click.echo(answer.sentence)
    for line in tree_lines(answer.tree):
        click.echo(line)
    again = "the same" if answer.reproduced else f"NOT the same: {answer.difference}"
    click.echo(f"Run again from its recorded input, it comes out {again}.")


decisions.add_command(why_not)
decisions.add_command(verify)


async def _pages(
    connections: Connections, request: decision_pb2.ListDecisionsRequest, limit: int | None, *, json: bool
) -> AsyncIterator[tuple[decision_pb2.Decision, list[str]]]:
    """Decisions with their customer's identities (asked only where they are printed)."""
    known: dict[int, list[str]] = {}
    async for decision in entries_of(connections.decision.ListDecisions, request, "decisions", limit=limit):
        if json and decision.customer not in known:
            known[decision.customer] = await _identities(connections, decision.customer)
        yield decision, known.get(decision.customer, [])


async def _identities(connections: Connections, customer: int) -> list[str]:
    """None for a customer whom the profile has forgotten, as after a restore."""
    request = profile_pb2.GetProfileRequest(subject=f"customer:{customer}")
    try:
        answer = await connections.profile.GetProfile(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return []
        raise
    return [f"{identity.kind}:{identity.value}" for identity in answer.profile.identities]


def decision_json(decision: decision_pb2.Decision, identities: list[str]) -> dict[str, Any]:
    """A decision as listings give it; the names are a contract."""
    return {
        "decision_id": decision.decision_id,
        "event_id": decision.event_id,
        "event_type": decision.event_type,
        "event_time": iso(decision.event_time),
        "decided_time": iso(decision.decided_time),
        "customer": decision.customer,
        "identities": identities,
        "facts": list(decision.facts),
        "actions": [action_json(action) for action in decision.actions],
    }


def action_json(action: decision_pb2.DecidedAction) -> dict[str, Any]:
    """An action as listings give it; the names are a contract. What it has not is left out at the end."""
    found: dict[str, Any] = {
        "action_id": action.action_id,
        "rule_set": action.rule_set,
        "version": action.version,
        "rule": action.rule,
        "kind": wire.ACTION_KINDS.from_wire(action.kind),
        "name": action.name,
        "category": wire.CATEGORIES.from_wire(action.category),
        "outcome": wire.ACTION_OUTCOMES.from_wire(action.outcome),
        "reason": wire.REFUSAL_REASONS.from_wire(action.reason),
        "score": action.score,
    }
    if action.detail:
        found["detail"] = action.detail
    if action.HasField("factors"):
        found["factors"] = {
            name: _factor(getattr(action.factors, name))
            for name in ("propensity", "value", "cost", "urgency", "pressure")
        }
    return found


def _factor(factor: decision_pb2.Factor) -> dict[str, Any]:
    found = {"value": factor.value, "source": factor.source}
    return found | {"detail": factor.detail} if factor.detail else found

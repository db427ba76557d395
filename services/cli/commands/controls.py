"""`rapport controls`: what an operator throws, reports and limits while everything runs."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from google.protobuf.duration_pb2 import Duration
from rapport.channel.v1 import controls_pb2 as pb

from services.cli.commands.known_names import check_known
from services.cli.commands.policies import policies
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
from services.vocabulary.values import SECOND, ValueMistake, format_duration, parse_duration
from services.vocabulary.words import Category, Channel

_PAGE = 1000


class _Length(click.ParamType[Any]):
    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A length of time as rule sets write it."""
        if isinstance(value, Duration):
            return value
        try:
            return Duration(seconds=parse_duration(str(value)) // SECOND)
        except ValueMistake as error:
            self.fail(f"{value!r} {error.message}; {error.suggestion}", param, ctx)


def _what(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what a switch stops."""
    for option in (
        click.option("--all", "everything", is_flag=True, help="Everything."),
        click.option("--action", metavar="NAME", help="An offer, message, survey or task."),
        click.option("--rule-set", metavar="NAME", help="A rule set."),
        click.option("--category", type=click.Choice([word.value for word in Category]), help="A category."),
        click.option("--channel", type=click.Choice([word.value for word in Channel]), help="A channel."),
    ):
        function = option(function)
    return function


def _named(**chosen: str | bool | None) -> tuple[pb.KillScope.ValueType, str]:
    """Scope and name; a usage error unless exactly one is chosen."""
    found = [(scope, name) for scope, name in chosen.items() if name]
    if len(found) != 1:
        raise click.UsageError("say what: one of --all, --action, --rule-set, --category, --channel")
    scope, name = found[0]
    return pb.KillScope.Value(f"KILL_SCOPE_{scope.upper()}"), name if isinstance(name, str) else ""


@click.group()
def controls() -> None:
    """Stop, slow down, limit, and put policies into force; everywhere within two seconds."""


controls.add_command(policies)


@controls.command("stop")
@_what
@click.option("--reason", required=True, help="Why, for those who find it thrown.")
@click.option("--hold", is_flag=True, help="What it stops waits until the end, instead of being refused.")
@click.option("--anyway", is_flag=True, help="Also when nothing that is stored has that name.")
@click.option("--for", "lasts", type=_Length(), help="How long: 30m, 24h.  [default: until resumed]")
@json_option
@folder_option
@runs
async def stop(
    action: str | None,
    rule_set: str | None,
    category: str | None,
    channel: str | None,
    reason: str,
    lasts: Duration | None,
    folder: Path,
    *,
    everything: bool,
    hold: bool,
    anyway: bool,
    as_json: bool,
) -> None:
    """Throw a kill switch: what it stops is refused from now on, planned messages too."""
    scope, name = _named(all=everything, action=action, rule_set=rule_set, category=category, channel=channel)
    request = pb.SetKillSwitchRequest(
        request_id=str(uuid4()), scope=scope, name=name, hold=hold, reason=reason, lasts=lasts
    )
    async with connected(folder) as connections:
        if not anyway:
            warn = partial(click.echo, err=True)
            await check_known(connections, action=action or "", rule_set=rule_set or "", say=warn)
        switch = (await connections.controls.SetKillSwitch(request)).kill_switch
    _tell(switch, "is stopped", as_json=as_json)


@controls.command("resume")
@_what
@json_option
@folder_option
@runs
async def resume(
    action: str | None,
    rule_set: str | None,
    category: str | None,
    channel: str | None,
    folder: Path,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """Lift a kill switch; what it held goes on."""
    scope, name = _named(all=everything, action=action, rule_set=rule_set, category=category, channel=channel)
    request = pb.LiftKillSwitchRequest(request_id=str(uuid4()), scope=scope, name=name)
    async with connected(folder) as connections:
        switch = (await connections.controls.LiftKillSwitch(request)).kill_switch
    _tell(switch, "goes on", as_json=as_json)


@controls.command("list")
@json_option
@folder_option
@runs
async def list_switches(folder: Path, *, as_json: bool) -> None:
    """List kill switches that are thrown, those that have ended too."""
    async with connected(folder) as connections:
        answer = await connections.controls.ListKillSwitches(pb.ListKillSwitchesRequest(page_size=_PAGE))
    _listing(
        [_switch(switch) for switch in answer.kill_switches], "no kill switch is thrown", as_json=as_json
    )


@controls.command("load")
@click.argument("queue", required=False)
@click.argument("depth", type=click.IntRange(0), required=False)
@click.option(
    "--valid", type=_Length(), default="5m", show_default=True, help="How long the figure counts from now on."
)
@json_option
@folder_option
@runs
async def load(queue: str | None, depth: int | None, valid: Duration, folder: Path, *, as_json: bool) -> None:
    """Report how many calls wait in a QUEUE of the care desk; without one, list the queues."""
    if queue is not None and depth is None:
        raise click.UsageError("say how many calls wait: rapport controls load QUEUE DEPTH")
    async with connected(folder) as connections:
        if queue is not None:
            figure = pb.CareLoad(queue=queue, depth=depth or 0, valid=valid)
            request = pb.ReportCareLoadRequest(request_id=str(uuid4()), loads=[figure])
            await connections.controls.ReportCareLoad(request)
        answer = await connections.controls.ListCareLoads(pb.ListCareLoadsRequest(page_size=_PAGE))
    found = [_queue(one) for one in answer.queues if queue in (None, one.load.queue)]
    _listing(found, "no queue is named in campaigns.yaml, and none was reported", as_json=as_json)


@controls.command("campaigns")
@click.argument("name", required=False)
@json_option
@folder_option
@runs
async def campaigns(name: str | None, folder: Path, *, as_json: bool) -> None:
    """List campaigns with what they have used, or show one."""
    async with connected(folder) as connections:
        if name is not None:
            request = pb.GetCampaignUseRequest(name=name)
            found = [(await connections.controls.GetCampaignUse(request)).campaign]
        else:
            listed = await connections.controls.ListCampaigns(pb.ListCampaignsRequest(page_size=_PAGE))
            found = list(listed.campaigns)
    if as_json:
        for one in found:
            print_json(_campaign(one))
        return
    rows = [
        (
            told["campaign"],
            told["messages"],
            told["cost"],
            "\n".join(f"{limit['used']} of {limit['most']} {limit['what']}" for limit in told["limits"]),
            told["per_second"] or "",
            told["care_queue"],
        )
        for told in map(_campaign, found)
    ]
    headings = ("campaign", "messages", "cost", "limits", "a second", "fills")
    print_table(headings, rows, empty="no campaign is named in campaigns.yaml")


def _tell(switch: pb.KillSwitch, what: str, *, as_json: bool) -> None:
    told = _switch(switch)
    if as_json:
        print_json(told)
        return
    until = f" until {told['until_time']}" if told["until_time"] and what == "is stopped" else ""
    click.echo(f"{told['scope']} {told['name']}".rstrip() + f" {what}{until}")


def _listing(found: list[dict[str, Any]], empty: str, *, as_json: bool) -> None:
    if as_json:
        for one in found:
            print_json(one)
        return
    headings = tuple(name.replace("_", " ") for name in found[0]) if found else ("",)
    print_table(headings, [tuple(one.values()) for one in found], empty=empty)


def _switch(switch: pb.KillSwitch) -> dict[str, Any]:
    return {
        "scope": enum_word(pb.KillScope.Name(switch.scope), "KILL_SCOPE_"),
        "name": switch.name,
        "hold": switch.hold,
        "on": switch.on,
        "reason": switch.reason,
        "author": switch.author,
        "since_time": iso(switch.since_time),
        "until_time": iso(switch.until_time),
    }


def _queue(one: pb.CareQueueState) -> dict[str, Any]:
    return {
        "queue": one.load.queue,
        "stage": enum_word(pb.CareStage.Name(one.stage), "CARE_STAGE_"),
        "known": one.known,
        "depth": one.load.depth if one.load.HasField("time") else None,
        "time": iso(one.load.time),
        "valid": format_duration(one.load.valid.ToMicroseconds()) if one.load.HasField("valid") else None,
        "author": one.author,
    }


def _campaign(one: pb.CampaignUse) -> dict[str, Any]:
    return {
        "campaign": one.name,
        "messages": one.messages,
        "cost": _money(one.cost_micros, one.currency),
        "limits": [_limit(limit, one.currency) for limit in one.limits],
        "per_second": one.per_second,
        "care_queue": one.care_queue,
        "in_force": one.in_force,
    }


def _limit(limit: pb.CampaignLimit, currency: str) -> dict[str, Any]:
    span = {"total": "in all", "day": "a day"}.get(limit.span) or (
        f"in {format_duration(limit.window.ToMicroseconds())}"
    )
    money = limit.measure == "money"
    return {
        "what": f"{limit.measure} {span}",
        "most": _money(limit.most, currency) if money else limit.most,
        "used": _money(limit.used, currency) if money else limit.used,
    }


def _money(micros: int, currency: str) -> str:
    sign, whole, part = "-" if micros < 0 else "", abs(micros) // 1_000_000, abs(micros) % 1_000_000
    return f"{sign}{whole}.{re.sub('0{1,4}$', '', f'{part:06d}')} {currency}".rstrip()

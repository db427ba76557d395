"""`rapport account`: who pays for which line and who uses it, and who lives together."""

from pathlib import Path

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.profile.v1 import account_pb2

from services.cli.commands.support import folder_option, json_option, print_json, runs
from services.cli.connections import connected
from services.vocabulary.values import format_time
from services.vocabulary.wire import micros, value_from_wire


@click.group()
def account() -> None:
    """Look at accounts and households."""


@account.command("show")
@click.argument("number")
@click.option("--for", "viewer", metavar="ID", default="", help="Only what this person may see of it.")
@json_option
@folder_option
@runs
async def show(number: str, viewer: str, folder: Path, *, as_json: bool) -> None:
    """Show the account NUMBER with its subscriptions."""
    request = account_pb2.GetAccountRequest(account=number, viewer=viewer)
    async with connected(folder) as connections:
        found = (await connections.accounts.GetAccount(request)).account
    lines = [_subscription(one) for one in found.subscriptions]
    if as_json:
        print_json(
            {
                "account": found.account,
                "status": found.status,
                "payer": found.payer,
                "household": found.household,
                "subscriptions": lines,
                "too_many": found.too_many,
            }
        )
        return
    parts = [found.status or "no status", f"payer {found.payer}" if found.payer else "payer not shown"]
    parts += [f"household {found.household}"] if found.household else []
    click.echo(f"account {found.account}: " + ", ".join(parts))
    for line in lines:
        click.echo("  " + "  ".join(f"{name} {value}" for name, value in line.items() if value))
    if found.too_many:
        click.echo("  more than a hundred subscriptions, which are not listed")


@account.command("household")
@click.argument("subject", metavar="ID")
@click.option("--for-person", is_flag=True, help="As the person may see it, without the others' ids.")
@json_option
@folder_option
@runs
async def household(subject: str, folder: Path, *, for_person: bool, as_json: bool) -> None:
    """Show the household of the customer ID and what its members share."""
    request = account_pb2.GetHouseholdRequest(subject=subject, for_person=for_person)
    async with connected(folder) as connections:
        found = await connections.accounts.GetHousehold(request)
    home = found.household
    shared = {
        trait.name: "withheld" if trait.withheld else value_from_wire(trait.value) for trait in home.traits
    }
    if as_json:
        print_json(
            {
                "household": home.id,
                "members": home.members,
                "lines": home.lines,
                "shared": shared,
                "customers": list(found.members),
            }
        )
        return
    click.echo(f"household {home.id}: {home.members} members, {home.lines} lines")
    for name, value in shared.items():
        click.echo(f"  {name} {value}")
    if found.members:
        click.echo("  customers " + ", ".join(map(str, found.members)))


def _subscription(one: account_pb2.AccountSubscription) -> dict[str, object]:
    return {
        "subscription": one.subscription,
        "status": one.status,
        "plan": one.plan,
        "msisdn": one.msisdn,
        "sim": one.sim,
        "device": one.device,
        "user": one.user,
        "payer": one.payer,
        "from": _time(one.from_time) if one.HasField("from_time") else "",
        "until": _time(one.until_time) if one.HasField("until_time") else "",
    }


def _time(stamp: Timestamp) -> str:
    return format_time(micros(stamp))

"""`rapport identity`: who is who, and since when."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.profile.v1 import identity_pb2

from services.cli.commands.support import (
    enum_word,
    folder_option,
    iso,
    json_option,
    limit_option,
    print_json,
    print_table,
    reason_option,
    runs,
)
from services.cli.connections import connected
from services.cli.paging import entries_of

_PAGE = 200
because_option = click.option(
    "--because", "reason", default="", help="Why, for the history: a case's number, no personal data."
)
request_option = click.option(
    "--request-id", default="", help="The same id gives the first answer again.  [default: a new one]"
)
time_option = click.option(
    "--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]), help="In UTC.  [default: now]"
)
source_option = click.option(
    "--source", default="", help="The system that says so, of those that may.  [default: staff]"
)


@click.group()
def identity() -> None:
    """Say who is who: merge, split, assign, release, and take it back.

    ID is any identity, such as msisdn:+33612345678 or crm:42, or customer:7.
    """


@identity.command("merge")
@click.argument("other", metavar="ID")
@click.argument("into", metavar="INTO")
@because_option
@request_option
@json_option
@folder_option
@runs
async def merge(other: str, into: str, reason: str, request_id: str, folder: Path, *, as_json: bool) -> None:
    """Make one customer of two: ID is merged into INTO. The stricter consent holds from then on."""
    request = identity_pb2.MergeCustomersRequest(
        request_id=request_id or str(uuid4()), into=into, reason=reason, **{"from": other}
    )
    async with connected(folder) as connections:
        answer = await connections.identities.MergeCustomers(request)
    if as_json:
        print_json(
            {
                "merge": answer.merge_id,
                "from": answer.from_customer,
                "customer": answer.customer,
                "merged_customers": list(answer.merged_customers),
            }
        )
        return
    click.echo(
        f"customer {answer.from_customer} is customer {answer.customer} now; "
        f"take it back with: rapport identity undo {answer.merge_id}"
    )


@identity.command("undo")
@click.argument("merge_id", metavar="MERGE", type=int)
@because_option
@request_option
@json_option
@folder_option
@runs
async def undo(merge_id: int, reason: str, request_id: str, folder: Path, *, as_json: bool) -> None:
    """Take a merge back, or merge again what was split. MERGE is its number in the history."""
    request = identity_pb2.UndoMergeRequest(
        request_id=request_id or str(uuid4()), merge_id=merge_id, reason=reason
    )
    async with connected(folder) as connections:
        answer = await connections.identities.UndoMerge(request)
    if as_json:
        print_json(
            {
                "from": answer.from_customer,
                "customer": answer.customer,
                "identities_returned": answer.identities_returned,
                "identities_elsewhere": answer.identities_elsewhere,
                "events_returned": answer.events_returned,
            }
        )
        return
    click.echo(
        f"customers {answer.from_customer} and {answer.customer} are two: "
        f"{answer.identities_returned} identities and {answer.events_returned} events went back"
    )
    if answer.identities_elsewhere:
        click.echo(
            f"{answer.identities_elsewhere} identities have moved on meanwhile and stay where they are"
        )


@identity.command("split")
@click.argument("subject", metavar="ID")
@click.argument("identities", metavar="IDENTITY...", nargs=-1, required=True)
@because_option
@request_option
@json_option
@folder_option
@runs
async def split(
    subject: str, identities: tuple[str, ...], reason: str, request_id: str, folder: Path, *, as_json: bool
) -> None:
    """Make a new customer of some of ID's identities. Refusals go along, grants do not."""
    request = identity_pb2.SplitCustomerRequest(
        request_id=request_id or str(uuid4()), subject=subject, identities=identities, reason=reason
    )
    async with connected(folder) as connections:
        answer = await connections.identities.SplitCustomer(request)
    if as_json:
        print_json(
            {
                "merge": answer.merge_id,
                "new_customer": answer.new_customer,
                "customer": answer.customer,
                "events_moved": answer.events_moved,
            }
        )
        return
    click.echo(
        f"customer {answer.new_customer} was split from customer {answer.customer}, with "
        f"{answer.events_moved} events; take it back with: rapport identity undo {answer.merge_id}"
    )


@identity.command("assign")
@click.argument("subject", metavar="ID")
@click.argument("named", metavar="IDENTITY")
@time_option
@click.option("--line", default="", help="The line of a number.  [default: the next free one]")
@source_option
@because_option
@request_option
@json_option
@folder_option
@runs
async def assign(
    subject: str,
    named: str,
    since: Any,
    line: str,
    source: str,
    reason: str,
    request_id: str,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    """Say that IDENTITY is ID's from a time on. Nothing of who had it goes along."""
    request = identity_pb2.AssignIdentityRequest(
        request_id=request_id or str(uuid4()),
        subject=subject,
        identity=named,
        time=_stamp(since),
        line=line,
        source=source,
        reason=reason,
    )
    async with connected(folder) as connections:
        answer = await connections.identities.AssignIdentity(request)
    if as_json:
        print_json(
            {
                "customer": answer.customer,
                "previous_customer": answer.previous_customer,
                "line": answer.line,
                "until": iso(answer.until_time) if answer.HasField("until_time") else None,
                "changed": answer.changed,
            }
        )
        return
    if not answer.changed:
        click.echo(f"it was customer {answer.customer}'s at that time already")
        return
    before = f"customer {answer.previous_customer}'s" if answer.previous_customer else "nobody's"
    until = f" until {iso(answer.until_time)}" if answer.HasField("until_time") else ""
    click.echo(f"it is customer {answer.customer}'s{until}; it was {before}")


@identity.command("release")
@click.argument("subject", metavar="ID")
@click.argument("named", metavar="IDENTITY")
@time_option
@source_option
@because_option
@request_option
@folder_option
@runs
async def release(
    subject: str, named: str, since: Any, source: str, reason: str, request_id: str, folder: Path
) -> None:
    """Say that IDENTITY is no longer ID's from a time on."""
    request = identity_pb2.ReleaseIdentityRequest(
        request_id=request_id or str(uuid4()),
        subject=subject,
        identity=named,
        time=_stamp(since),
        source=source,
        reason=reason,
    )
    async with connected(folder) as connections:
        answer = await connections.identities.ReleaseIdentity(request)
    if answer.changed:
        click.echo(f"it is no longer customer {answer.customer}'s")
    else:
        click.echo(f"it was not customer {answer.customer}'s at that time; nothing changed")


@identity.command("history")
@click.argument("subject", metavar="ID")
@reason_option
@limit_option
@json_option
@folder_option
@runs
async def history(subject: str, reason: str, limit: int, folder: Path, *, as_json: bool) -> None:
    """List merges, splits and identities that came and went, newest first."""
    request = identity_pb2.ListIdentityHistoryRequest(subject=subject)
    async with connected(folder) as connections:
        call = connections.identities.ListIdentityHistory
        pages = entries_of(call, request, "entries", limit=limit, page=_PAGE, metadata=_metadata(reason))
        entries: list[identity_pb2.IdentityHistoryEntry] = [entry async for entry in pages]
    if as_json:
        for entry in entries:
            print_json(_entry_json(entry))
        return
    print_table(
        ("time", "what", "customer", "other", "merge", "identity", "by", "why", "taken back"),
        [
            (
                iso(entry.time),
                enum_word(identity_pb2.IdentityHistoryKind.Name(entry.kind), "IDENTITY_HISTORY_KIND_"),
                entry.customer,
                entry.other_customer or "",
                entry.merge_id or "",
                entry.identity,
                entry.by,
                entry.reason,
                iso(entry.undone_time) if entry.HasField("undone_time") else "",
            )
            for entry in entries
        ],
        empty="nothing happened to who this is",
    )


@identity.command("suggestions")
@click.option(
    "--state",
    type=click.Choice(["open", "accepted", "dismissed", "joining"]),
    default="open",
    show_default=True,
    help="Where they stand.",
)
@reason_option
@limit_option
@json_option
@folder_option
@runs
async def suggestions(state: str, reason: str, limit: int, folder: Path, *, as_json: bool) -> None:
    """List pairs of customers who may be one person, oldest first."""
    request = identity_pb2.ListIdentitySuggestionsRequest(
        state=identity_pb2.SuggestionState.Value(f"SUGGESTION_STATE_{state.upper()}")
    )
    async with connected(folder) as connections:
        call = connections.identities.ListIdentitySuggestions
        pages = entries_of(call, request, "suggestions", limit=limit, page=_PAGE, metadata=_metadata(reason))
        found: list[identity_pb2.IdentitySuggestion] = [one async for one in pages]
    if as_json:
        for one in found:
            print_json(_suggestion_json(one))
        return
    print_table(
        ("number", "customer", "other", "named together", "since", "by"),
        [
            (
                one.suggestion_id,
                one.customer,
                one.other_customer,
                " ".join(one.identities),
                iso(one.time),
                one.decided_by,
            )
            for one in found
        ],
        empty="no suggestions",
    )


@identity.command("decide")
@click.argument("suggestion", metavar="NUMBER", type=int)
@click.argument("verdict", type=click.Choice(["one", "two"]))
@because_option
@request_option
@folder_option
@runs
async def decide(suggestion: int, verdict: str, reason: str, request_id: str, folder: Path) -> None:
    """Say that a suggested pair is `one` person (both are merged) or `two` (never asked again)."""
    request = identity_pb2.DecideIdentitySuggestionRequest(
        request_id=request_id or str(uuid4()),
        suggestion_id=suggestion,
        accept=verdict == "one",
        reason=reason,
    )
    async with connected(folder) as connections:
        answer = await connections.identities.DecideIdentitySuggestion(request)
    one = answer.suggestion
    if one.merge_id:
        click.echo(
            f"customers {one.other_customer} and {one.customer} are one; "
            f"take it back with: rapport identity undo {one.merge_id}"
        )
    elif verdict == "one":
        click.echo("they were one already")
    else:
        click.echo(f"customers {one.other_customer} and {one.customer} are two and are not suggested again")


def _metadata(reason: str) -> list[tuple[str, str]] | None:
    return [("rapport-reason", reason)] if reason else None


def _stamp(since: Any) -> Timestamp | None:
    if since is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(since)
    return stamp


def _entry_json(entry: identity_pb2.IdentityHistoryEntry) -> dict[str, Any]:
    return {
        "time": iso(entry.time),
        "kind": enum_word(identity_pb2.IdentityHistoryKind.Name(entry.kind), "IDENTITY_HISTORY_KIND_"),
        "customer": entry.customer,
        "other_customer": entry.other_customer or None,
        "merge": entry.merge_id or None,
        "identity": entry.identity or None,
        "line": entry.line,
        "by": entry.by or None,
        "reason": entry.reason or None,
        "undone_time": iso(entry.undone_time) if entry.HasField("undone_time") else None,
        "undone_by": entry.undone_by or None,
        "undone_reason": entry.undone_reason or None,
    }


def _suggestion_json(one: identity_pb2.IdentitySuggestion) -> dict[str, Any]:
    return {
        "suggestion": one.suggestion_id,
        "customer": one.customer,
        "other_customer": one.other_customer,
        "identities": list(one.identities),
        "time": iso(one.time),
        "state": enum_word(identity_pb2.SuggestionState.Name(one.state), "SUGGESTION_STATE_"),
        "decided_by": one.decided_by or None,
        "decided_time": iso(one.decided_time) if one.HasField("decided_time") else None,
        "merge": one.merge_id or None,
    }

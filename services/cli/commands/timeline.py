"""`rapport timeline`: what happened to one customer, from all that the services know, in one order."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
import orjson
from rapport.decision.v1 import decision_pb2
from rapport.profile.v1 import timeline_pb2

from services.cli.commands.decisions import action_json
from services.cli.commands.support import (
    folder_option,
    iso,
    json_option,
    limit_option,
    print_json,
    reason_option,
    runs,
)
from services.cli.connections import Connections, connected
from services.cli.paging import entries_of
from services.vocabulary.wire import timestamp

_TIMES: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"]
_PREFIX: Final = "TIMELINE_KIND_"
_KINDS: Final = {
    name.removeprefix(_PREFIX).lower(): number
    for name, number in timeline_pb2.TimelineKind.items()
    if number != timeline_pb2.TIMELINE_KIND_UNSPECIFIED
}
DECISION: Final = "decision"
_DECISION_RANK: Final = 7
"""Where decisions stand among what happened at one time: behind everything that the profile tells."""
_WITH_FIELDS: Final = {"event", "consent", "identity"}
"""What is shown to people with its fields; of the others the text says what matters."""
_PAGE: Final = 500
_Place = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Shown:
    """One line of the timeline, and where it stands."""

    place: _Place
    told: dict[str, Any]


@click.command()
@click.argument("subject", metavar="ID")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([*_KINDS, DECISION]),
    help="Only these; can be repeated.",
)
@click.option("--from", "start", type=click.DateTime(_TIMES), help="Not before this time (UTC).")
@click.option("--to", "end", type=click.DateTime(_TIMES), help="Before this time (UTC).")
@click.option("--after", "cursor", default="", help="Go on behind the entry with this cursor (see --json).")
@click.option("--oldest-first", is_flag=True, help="Begin with what happened first.")
@click.option("--person", is_flag=True, help="As the person may read it, without internal words.")
@limit_option
@reason_option
@json_option
@folder_option
@runs
async def timeline(
    subject: str,
    kinds: tuple[str, ...],
    start: dt.datetime | None,
    end: dt.datetime | None,
    cursor: str,
    limit: int,
    reason: str,
    folder: Path,
    *,
    oldest_first: bool,
    person: bool,
    as_json: bool,
) -> None:
    """Show what happened to one customer. ID is any identity, such as msisdn:+33612345678, or customer:7.

    Events, consents, messages, refusals, decisions and who they are, under all their ids, newest first.
    """
    request = timeline_pb2.ListTimelineRequest(
        subject=subject,
        kinds=[_KINDS[name] for name in kinds if name in _KINDS],
        page_token=cursor,
        oldest_first=oldest_first,
        for_person=person,
    )
    for name, moment in (("from_time", start), ("until_time", end)):
        if moment is not None:
            getattr(request, name).FromDatetime(moment)
    async with connected(folder) as connections:
        only_decisions = bool(kinds) and not request.kinds
        shown, customers = await _entries(connections, request, 1 if only_decisions else limit, reason)
        if only_decisions:
            shown = []
        if not person and (not kinds or DECISION in kinds):
            shown += await _decisions(connections, customers, request)
    shown.sort(key=lambda one: one.place, reverse=not oldest_first)
    _print([one.told for one in shown[:limit]], as_json=as_json)


def _print(entries: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for entry in entries:
            print_json(entry)
        return
    for entry in entries:
        where = f", line {entry['line']}" if entry["line"] else ""
        click.echo(f"{entry['time']} {entry['kind']:<8} {entry['text']} ({entry['source']}{where})")
        if entry["retracted_time"]:
            click.echo(f"    taken back as a mistake: {entry['retracted_time']}")
        if entry["withheld"]:
            click.echo("    withheld: the customer does not agree to its use")
        elif entry["kind"] in _WITH_FIELDS and entry["data"]:
            click.echo(f"    {orjson.dumps(entry['data']).decode()}")
    if not entries:
        click.echo("nothing happened")


async def _entries(
    connections: Connections, request: timeline_pb2.ListTimelineRequest, limit: int, reason: str
) -> tuple[list[_Shown], Sequence[int]]:
    """What the profile tells, at most so much, and all ids of the person."""
    found: list[_Shown] = []
    wanted = timeline_pb2.ListTimelineRequest()
    wanted.CopyFrom(request)
    metadata = [("rapport-reason", reason)] if reason else None
    while True:
        wanted.page_size = min(_PAGE, limit - len(found))
        answer = await connections.timeline.ListTimeline(wanted, metadata=metadata)
        found += [_Shown(_place(entry.cursor), _entry_json(entry)) for entry in answer.entries]
        wanted.page_token = answer.next_page_token
        if not wanted.page_token or len(found) >= limit:
            return found, answer.customers


async def _decisions(
    connections: Connections, customers: Sequence[int], request: timeline_pb2.ListTimelineRequest
) -> list[_Shown]:
    """Every decision about the person in the part of time asked for."""
    found: dict[str, _Shown] = {}
    behind = _place(request.page_token) if request.page_token else None
    start = request.from_time.ToMicroseconds() if request.HasField("from_time") else 0
    end = request.until_time.ToMicroseconds() if request.HasField("until_time") else 1 << 62
    for customer in customers:
        wanted = decision_pb2.ListDecisionsRequest(subject=f"customer:{customer}")
        async for decision in entries_of(connections.decision.ListDecisions, wanted, "decisions", page=_PAGE):
            time = decision.decided_time.ToMicroseconds()
            number = UUID(decision.decision_id).int >> 66  # so that places are whole numbers of 62 bits
            place = (time, _DECISION_RANK, decision.customer, number)
            seen = behind is not None and (place <= behind if request.oldest_first else place >= behind)
            if start <= time < end and not seen:
                found[decision.decision_id] = _Shown(place, _decision_json(decision, place))
    return list(found.values())


def _place(cursor: str) -> _Place:
    """Where an entry stands; the service says what is wrong with a cursor that is none."""
    words = cursor.split(":")
    if len(words) != 4 or not all(word.isdecimal() for word in words):
        return (0, 0, 0, 0)
    time, kind, customer, number = map(int, words)
    return (time, kind, customer, number)


def _entry_json(entry: timeline_pb2.TimelineEntry) -> dict[str, Any]:
    kind = timeline_pb2.TimelineKind.Name(entry.kind).removeprefix(_PREFIX).lower()
    return {
        "time": iso(entry.time),
        "kind": kind,
        "type": entry.type,
        "text": entry.text,
        "customer": entry.customer,
        "line": entry.line,
        "source": entry.source,
        "event_id": entry.event_id,
        "data": orjson.loads(entry.data) if entry.data else {},
        "withheld": entry.withheld,
        "history": entry.history,
        "retracted_time": iso(entry.retracted_time),
        "cursor": entry.cursor,
    }


def _decision_json(decision: decision_pb2.Decision, place: _Place) -> dict[str, Any]:
    actions = [action_json(action) for action in decision.actions]
    became = ", ".join(
        f"{one['name']} {one['outcome']}{' ' + one['reason'] if one['reason'] else ''}" for one in actions
    )
    return {
        "time": iso(timestamp(place[0])),
        "kind": DECISION,
        "type": decision.event_type,
        "text": f"decided on {decision.event_type}: {became or 'nothing'}",
        "customer": decision.customer,
        "line": "",
        "source": "decision",
        "event_id": decision.event_id,
        "data": {"decision_id": decision.decision_id, "actions": actions},
        "withheld": False,
        "history": False,
        "retracted_time": None,
        "cursor": ":".join(map(str, place)),
    }

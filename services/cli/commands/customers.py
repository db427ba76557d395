"""`rapport profile`: who a customer is, and what is known of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import stream_pb2

from services.cli.commands.support import (
    folder_option,
    iso,
    json_option,
    print_json,
    print_table,
    reason_option,
    runs,
)
from services.cli.connections import connected
from services.vocabulary import wire
from services.vocabulary.values import to_json


@click.group()
def profile() -> None:
    """Look at customers."""


@profile.command("show")
@click.argument("subject", metavar="ID")
@reason_option
@json_option
@folder_option
@runs
async def show(subject: str, reason: str, folder: Path, *, as_json: bool) -> None:
    """Show one customer. ID is any identity, such as msisdn:+33612345678 or crm:42, or customer:7."""
    async with connected(folder) as connections:
        answer = await connections.profile.GetProfile(
            profile_pb2.GetProfileRequest(subject=subject),
            metadata=[("rapport-reason", reason)] if reason else None,
        )
    found = answer.profile
    if as_json:
        print_json(_profile_json(found))
        return
    click.echo(f"customer {found.customer}, {found.sequence} events")
    print_table(
        ("identity", "line"),
        [(f"{identity.kind}:{identity.value}", identity.line) for identity in found.identities],
        empty="no identities",
    )
    click.echo()
    print_table(
        ("trait", "value", "source", "since"),
        [
            (
                trait.name,
                "withheld" if trait.withheld else _value(trait),
                trait.source,
                _when(trait.time_micros),
            )
            for trait in sorted(found.traits, key=lambda trait: trait.name)
        ],
        empty="no traits",
    )
    if found.other_words:
        click.echo()
        print_table(
            ("also said", "value", "source", "since"),
            [
                (
                    word.name,
                    "withheld" if word.withheld else _value(word),
                    word.source,
                    _when(word.time_micros),
                )
                for word in found.other_words
            ],
            empty="",
        )
    click.echo()
    print_table(
        ("purpose", "channel", "consent", "by", "since"), consent_rows(found.consents), empty="no consents"
    )
    click.echo()
    print_table(
        ("activity", "kept", "days", "last"),
        [(entry.type, entry.entries, entry.days, iso(entry.last_time)) for entry in found.activity],
        empty="no activity",
    )


def _value(trait: stream_pb2.Trait) -> Any:
    value = wire.value_from_wire(trait.value)
    return None if value is None else to_json(value, wire.type_of_wire(trait.value))


def _when(micros: int) -> str | None:
    return iso(wire.timestamp(micros)) if micros else None


def consent_rows(entries: Sequence[stream_pb2.ConsentEntry]) -> list[tuple[object, ...]]:
    """Rows for a table: purpose, channel, state, by whom, since when."""
    return [
        (told["purpose"], told["channel"] or "all", told["state"], told["by"], told["time"])
        for told in map(consent_json, entries)
    ]


def consent_json(entry: stream_pb2.ConsentEntry) -> dict[str, Any]:
    """A consent in force, as listings give it; the names are a contract."""
    return {
        "purpose": wire.PURPOSES.from_wire(entry.purpose),
        "channel": wire.CHANNELS.from_wire(entry.channel),
        "state": wire.CONSENT_STATES.from_wire(entry.state),
        "by": wire.CONSENT_BY.from_wire(entry.by),
        "time": _when(entry.time_micros),
        "expiry_time": _when(entry.expiry_micros),
    }


def _profile_json(found: profile_pb2.Profile) -> dict[str, Any]:
    return {
        "customer": found.customer,
        "identities": [f"{identity.kind}:{identity.value}" for identity in found.identities],
        "traits": {
            trait.name: {
                "value": _value(trait),
                "source": trait.source,
                "time": _when(trait.time_micros),
                "line": trait.line,
                "withheld": trait.withheld,
            }
            for trait in found.traits
        },
        "also_said": [
            {
                "trait": word.name,
                "value": _value(word),
                "source": word.source,
                "time": _when(word.time_micros),
                "line": word.line,
                "withheld": word.withheld,
            }
            for word in found.other_words
        ],
        "consents": [consent_json(entry) for entry in found.consents],
        "activity": [
            {
                "type": entry.type,
                "entries": entry.entries,
                "days": entry.days,
                "last_time": iso(entry.last_time),
            }
            for entry in found.activity
        ],
        "preferences": dict(found.preferences),
        "sequence": found.sequence,
    }

"""`rapport profile` and `rapport consent`: who a customer is, and what they agreed to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

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
from services.vocabulary.words import Channel, ConsentBy, ConsentState, Purpose


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
        ("purpose", "channel", "consent", "by", "since"), _consent_rows(found.consents), empty="no consents"
    )
    click.echo()
    print_table(
        ("activity", "kept", "days", "last"),
        [(entry.type, entry.entries, entry.days, iso(entry.last_time)) for entry in found.activity],
        empty="no activity",
    )


@click.group()
def consent() -> None:
    """Record what customers agree to."""


@consent.command("set")
@click.argument("subject", metavar="ID")
@click.argument("purpose", type=click.Choice([word.value for word in Purpose]))
@click.argument("state", type=click.Choice([word.value for word in ConsentState]))
@click.option(
    "--channel", type=click.Choice([word.value for word in Channel]), help="[default: every channel]"
)
@click.option(
    "--by",
    type=click.Choice([word.value for word in ConsentBy]),
    default=ConsentBy.STAFF.value,
    show_default=True,
    help="Who says so; only the person lifts the person's own refusal.",
)
@click.option("--evidence", default="", help="How it can be proved, for example a form's reference.")
@click.option("--wording", default="", help="Version of the wording shown.")
@json_option
@folder_option
@runs
async def set_consent(
    subject: str,
    purpose: str,
    state: str,
    channel: str | None,
    by: str,
    evidence: str,
    wording: str,
    folder: Path,
    *,
    as_json: bool,
) -> None:
    """Record in the ledger that the customer ID says STATE to PURPOSE."""
    change = profile_pb2.ConsentChange(
        purpose=wire.PURPOSES.to_wire(Purpose(purpose)),
        channel=wire.CHANNELS.to_wire(Channel(channel) if channel else None),
        state=wire.CONSENT_STATES.to_wire(ConsentState(state)),
        by=wire.CONSENT_BY.to_wire(ConsentBy(by)),
        evidence=evidence,
        wording=wording,
    )
    request = profile_pb2.RecordConsentRequest(request_id=str(uuid4()), subject=subject, changes=[change])
    async with connected(folder) as connections:
        answer = await connections.profile.RecordConsent(request)
    if as_json:
        print_json(
            {
                "customer": answer.customer,
                "consents": [_consent_json(entry) for entry in answer.consents],
                "without_effect": list(answer.without_effect.values()),
            }
        )
        return
    for reason in answer.without_effect.values():
        click.echo(f"recorded, but without effect: {reason}")
    print_table(
        ("purpose", "channel", "consent", "by", "since"), _consent_rows(answer.consents), empty="no consents"
    )


def _value(trait: stream_pb2.Trait) -> Any:
    value = wire.value_from_wire(trait.value)
    return None if value is None else to_json(value, wire.type_of_wire(trait.value))


def _when(micros: int) -> str | None:
    return iso(wire.timestamp(micros)) if micros else None


def _consent_rows(entries: Sequence[stream_pb2.ConsentEntry]) -> list[tuple[object, ...]]:
    return [
        (told["purpose"], told["channel"] or "all", told["state"], told["by"], told["time"])
        for told in map(_consent_json, entries)
    ]


def _consent_json(entry: stream_pb2.ConsentEntry) -> dict[str, Any]:
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
        "consents": [_consent_json(entry) for entry in found.consents],
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

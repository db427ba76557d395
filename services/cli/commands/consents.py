"""`rapport consent`: what customers agree to, the ledger that proves it, and what is to be told of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from rapport.profile.v1 import consent_pb2, profile_pb2

from services.cli.commands.customers import consent_json, consent_rows
from services.cli.commands.support import (
    enum_word,
    folder_option,
    iso,
    json_option,
    print_json,
    print_table,
    runs,
)
from services.cli.connections import Connections, connected
from services.cli.paging import entries_of
from services.vocabulary import wire
from services.vocabulary.words import Channel, ConsentBy, ConsentState, Purpose

purpose_argument = click.argument("purpose", type=click.Choice([word.value for word in Purpose]))
_EVERY = "[default: every channel]"
_COLUMNS = ("purpose", "channel", "consent", "by", "since")


@click.group()
def consent() -> None:
    """Record what customers agree to, look it up, and prove it."""


@consent.command("set")
@click.argument("subject", metavar="ID")
@purpose_argument
@click.argument("state", type=click.Choice([word.value for word in ConsentState]))
@click.option("--channel", type=click.Choice([word.value for word in Channel]), help=_EVERY)
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
                "consents": [consent_json(entry) for entry in answer.consents],
                "without_effect": list(answer.without_effect.values()),
            }
        )
        return
    for reason in answer.without_effect.values():
        click.echo(f"recorded, but without effect: {reason}")
    print_table(_COLUMNS, consent_rows(answer.consents), empty="no consents")


@consent.command()
@click.argument("subjects", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--purpose", required=True, type=click.Choice([word.value for word in Purpose]), help="For what."
)
@click.option("--channel", type=click.Choice([word.value for word in Channel]), help="[default: none]")
@json_option
@folder_option
@runs
async def check(
    subjects: tuple[str, ...], purpose: str, channel: str | None, folder: Path, *, as_json: bool
) -> None:
    """Say whether customers agreed. What is not known is not allowed; exit code 1 if anything was not."""
    questions = [
        consent_pb2.ConsentQuestion(
            subject=subject,
            purpose=wire.PURPOSES.to_wire(Purpose(purpose)),
            channel=wire.CHANNELS.to_wire(Channel(channel) if channel else None),
        )
        for subject in subjects
    ]
    async with connected(folder) as connections:
        answer = await connections.consents.CheckConsent(consent_pb2.CheckConsentRequest(questions=questions))
    told = [_answer(subject, one) for subject, one in zip(subjects, answer.answers, strict=True)]
    if as_json:
        for one in told:
            print_json(one)
    else:
        print_table(
            ("subject", "allowed", "consent", "by", "since", "until", ""),
            [
                (
                    one["subject"],
                    "yes" if one["allowed"] else "no",
                    one["state"] or "none recorded",
                    one["by"],
                    one["since"],
                    one["expiry_time"],
                    one["error"] or ("waits to be confirmed" if one["pending"] else ""),
                )
                for one in told
            ],
            empty="",
        )
    if not all(one["allowed"] for one in told):
        raise click.exceptions.Exit(1)


@consent.command("list")
@click.argument("subject", metavar="ID")
@json_option
@folder_option
@runs
async def list_lines(subject: str, folder: Path, *, as_json: bool) -> None:
    """List the lines of a customer's ledger, in the order in which they were written; all of each: --json."""
    async with connected(folder) as connections:
        told = [_line(line) async for line in lines_of(connections, subject)]
    if as_json:
        for one in told:
            print_json(one)
        return
    shown = ("number", "purpose", "channel", "state", "by", "said", "evidence")
    print_table(shown, [tuple(one[name] for name in shown) for one in told], empty="no consents")


@consent.command()
@click.argument("subject", metavar="[ID]", required=False)
@click.option("--all", "everybody", is_flag=True, help="Everybody's.")
@json_option
@folder_option
@runs
async def verify(subject: str | None, folder: Path, *, everybody: bool, as_json: bool) -> None:
    """Verify that no line of a ledger was changed, left out, put in or cut off. Exit code 1: one was."""
    if bool(subject) == everybody:
        raise click.UsageError("name a customer, or --all")
    broken: list[dict[str, Any]] = []
    seen = consent_pb2.VerifyConsentsResponse()
    async with connected(folder) as connections:
        request = consent_pb2.VerifyConsentsRequest(subject=subject or "")
        async for seen in connections.consents.VerifyConsents(request, timeout=None):
            for one in seen.broken:
                broken.append({"customer": one.customer, "number": one.number, "problem": one.problem})
                if not as_json:
                    click.echo(f"customer {one.customer}, line {one.number}: {one.problem}", err=True)
            if everybody and not as_json:
                click.echo(f"{seen.customers} ledgers, {seen.lines} lines", err=True)
    if not seen.done:
        raise click.ClickException("it ended before everything was looked at")
    if as_json:
        told = {
            "customers": seen.customers,
            "lines": seen.lines,
            "erased": seen.erased,
            "waiting": seen.waiting,
            "broken": broken,
        }
        print_json(told)
    else:
        click.echo(
            f"{seen.customers} ledgers with {seen.lines} lines: "
            + (f"{len(broken)} broken" if broken else "all whole")
            + (f"; the texts of {seen.erased} lines were erased" if seen.erased else "")
            + (f"; {seen.waiting} lines have still to be chained" if seen.waiting else "")
        )
    if broken:
        raise click.exceptions.Exit(1)


@consent.command("ask")
@click.argument("subject", metavar="ID")
@json_option
@folder_option
@runs
async def ask(subject: str, folder: Path, *, as_json: bool) -> None:
    """Make the tokens by which a customer confirms grants that wait (double opt-in)."""
    async with connected(folder) as connections:
        answer = await connections.consents.AskConfirmation(
            consent_pb2.AskConfirmationRequest(subject=subject)
        )
    told = [
        {
            "customer": answer.customer,
            "purpose": wire.PURPOSES.from_wire(one.purpose),
            "channel": wire.CHANNELS.from_wire(one.channel),
            "said": iso(one.said_time),
            "token": one.token,
            "token_expiry_time": iso(one.token_expiry_time),
        }
        for one in answer.confirmations
    ]
    if as_json:
        for entry in told:
            print_json(entry)
        return
    shown = ("purpose", "channel", "said", "token", "token_expiry_time")
    print_table(shown, [tuple(one[name] for name in shown) for one in told], empty="nothing waits")


@consent.command("confirm")
@click.argument("token", metavar="TOKEN")
@click.option("--evidence", default="", help="What proves it, for example the page.")
@folder_option
@runs
async def confirm(token: str, evidence: str, folder: Path) -> None:
    """Confirm a grant by its token, for the person. Exit code 1: it is not in force."""
    request = consent_pb2.ConfirmConsentRequest(request_id=str(uuid4()), token=token, evidence=evidence)
    async with connected(folder) as connections:
        answer = await connections.consents.ConfirmConsent(request)
    status = enum_word(consent_pb2.ConfirmationStatus.Name(answer.status), "CONFIRMATION_STATUS_")
    click.echo(_CONFIRMED[status])
    if status not in {"confirmed", "stood"}:
        raise click.exceptions.Exit(1)


_CONFIRMED = {
    "confirmed": "the grant is in force",
    "stood": "it was confirmed before",
    "not_good": "the token is not ours, was changed, or its time is over; ask for another",
    "outdated": "the person said something else since, and that stands",
}


async def lines_of(connections: Connections, subject: str) -> AsyncIterator[consent_pb2.ConsentLine]:
    """All lines of a person's ledger."""
    request = consent_pb2.ListConsentLinesRequest(subject=subject)
    async for line in entries_of(connections.consents.ListConsentLines, request, "lines", page=500):
        yield line


def state_of(line: consent_pb2.ConsentLine) -> str:
    """The state of a line in words; `pending`: a grant that waited to be confirmed."""
    state = wire.CONSENT_STATES.from_wire(line.state)
    return "pending" if line.pending or state is None else state.value


def _line(line: consent_pb2.ConsentLine) -> dict[str, Any]:
    """A line as listings give it; the names are a contract."""
    return {
        "customer": line.customer,
        "number": line.number,
        "purpose": wire.PURPOSES.from_wire(line.purpose),
        "channel": wire.CHANNELS.from_wire(line.channel) or "all",
        "state": state_of(line),
        "by": wire.CONSENT_BY.from_wire(line.by),
        "said": iso(line.said_time),
        "until": iso(line.expiry_time) if line.HasField("expiry_time") else None,
        "recorded": iso(line.recorded_time),
        "evidence": "(erased)" if line.erased else line.evidence,
        "wording": "(erased)" if line.erased else line.wording,
        "source": line.source,
        "hash": line.hash.hex(),
    }


def _answer(subject: str, answer: consent_pb2.ConsentAnswer) -> dict[str, Any]:
    return {
        "subject": subject,
        "customer": answer.customer or None,
        "allowed": answer.allowed,
        "state": wire.CONSENT_STATES.from_wire(answer.state),
        "by": wire.CONSENT_BY.from_wire(answer.by),
        "since": iso(answer.since_time) if answer.HasField("since_time") else None,
        "expiry_time": iso(answer.expiry_time) if answer.HasField("expiry_time") else None,
        "pending": answer.pending,
        "error": answer.error or None,
    }

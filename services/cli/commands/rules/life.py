"""`rapport rules put`, `submit`, `approve`, `canary`, `rollback` …: the life of a version, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click
from rapport.decision.v1 import release_pb2, rule_set_pb2

from services.cli.commands.options import WHOLE, Moment, Share
from services.cli.commands.rules.live import sentence
from services.cli.commands.rules.reviewing import review, show, tell
from services.cli.commands.rules.sources import files_argument
from services.cli.commands.support import folder_option, runs
from services.cli.connections import connected
from services.cli.stack.errors import StackError
from services.cli.stack.trust_files import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def _of_version(
    help_text: str, *, needed: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """NAME, --version, --as and the folder."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            folder_option,
            click.option(
                "--as",
                "subject",
                default=OPERATOR,
                show_default=True,
                metavar="WHO",
                help="Whose token to use: operator, marketer, approver, or one in DIRECTORY/secrets.",
            ),
            click.option(
                "--version",
                type=click.IntRange(1 if needed else 0),
                metavar="N",
                help=help_text,
                **({"required": True} if needed else {"default": 0}),
            ),
            click.argument("name"),
        ):
            function = option(function)
        return function

    return decorate


_newest = _of_version("Version; left out: the newest.")
_read = _of_version("The version that was read.", needed=True)
_live = _of_version("Version; left out: the one that is live.")


@click.command()
@files_argument
@click.option("--as", "subject", default=OPERATOR, metavar="WHO", help="Whose token to use.")
@folder_option
@runs
async def put(files: tuple[Path, ...], subject: str, folder: Path) -> None:
    """Store rule sets as new versions; nothing goes live."""
    async with connected(folder, subject) as connections:
        for file in files:
            answer = await connections.rule_sets.PutRuleSet(
                rule_set_pb2.PutRuleSetRequest(
                    request_id=str(uuid4()), source=file.read_text(encoding="utf-8"), file=file.name
                )
            )
            if not answer.HasField("rule_set"):
                raise StackError(f"{file.name} was refused:{_lines(answer.problems)}")
            tell(answer.rule_set)
            for test in answer.tests:
                if not test.passed:
                    click.echo(f"  its test {test.name!r} fails: {test.message}")


@click.command()
@_newest
@click.option("--simulation", default="", metavar="ID", help="A simulation of it, for the reviewer.")
@click.option("--comment", default="", help="What the reviewer should know.")
@runs
async def submit(name: str, version: int, subject: str, simulation: str, comment: str, folder: Path) -> None:
    """Ask for a second person's word on a version."""
    async with connected(folder, subject) as connections:
        answer = await connections.releases.SubmitForReview(
            release_pb2.SubmitForReviewRequest(
                request_id=str(uuid4()),
                name=name,
                version=version,
                simulation_id=simulation,
                comment=comment,
            )
        )
    _refuse(answer, answer.problems)
    tell(answer.rule_set)
    for difference in answer.differences:
        click.echo(f"  - {difference}")
    click.echo(f"A second person reads it with: rapport rules review {name}")


@click.command()
@_read
@click.option("--comment", default="", help="What is to be remembered of it.")
@runs
async def approve(name: str, version: int, subject: str, comment: str, folder: Path) -> None:
    """Approve a version in review; not one's own."""
    await _review(folder, subject, name, version, release_pb2.VERDICT_APPROVE, comment)


@click.command()
@_read
@click.option("--reason", required=True, help="What is to be changed.")
@runs
async def reject(name: str, version: int, subject: str, reason: str, folder: Path) -> None:
    """Send a version in review back to its author."""
    await _review(folder, subject, name, version, release_pb2.VERDICT_REJECT, reason)


@click.command()
@_newest
@click.option("--share", type=Share(), required=True, help="Of the customers: 5% or 0.05.")
@runs
async def canary(name: str, version: int, subject: str, share: int, folder: Path) -> None:
    """Let a share of the customers meet a version, or another share of them."""
    async with connected(folder, subject) as connections:
        answer = await connections.releases.StartCanary(
            release_pb2.StartCanaryRequest(
                request_id=str(uuid4()), name=name, version=version, share=share / WHOLE
            )
        )
    _refuse(answer, answer.problems)
    tell(answer.rule_set)


@click.command("go-live")
@_newest
@runs
async def go_live(name: str, version: int, subject: str, folder: Path) -> None:
    """Have a stored version go live for everybody, after its trial."""
    async with connected(folder, subject) as connections:
        answer = await connections.rule_sets.ActivateRuleSet(
            rule_set_pb2.ActivateRuleSetRequest(request_id=str(uuid4()), name=name, version=version)
        )
    _refuse(answer, answer.problems)
    if not answer.HasField("rule_set"):
        raise StackError(f"{name} is not live:{_lines(answer.problems)}")
    tell(answer.rule_set)


@click.command()
@_newest
@click.option(
    "--at",
    type=Moment(),
    help="When, for example 2026-12-01T08:00:00+01:00; a time that has passed: at once.",
)
@click.option("--never", is_flag=True, help="No longer.")
@runs
async def schedule(
    name: str, version: int, subject: str, at: int | None, folder: Path, *, never: bool
) -> None:
    """Have a version go live by itself at a time."""
    if never == (at is not None):
        raise click.UsageError("say when: one of --at, --never")
    request = release_pb2.ScheduleActivationRequest(request_id=str(uuid4()), name=name, version=version)
    if at is not None:
        request.activate_time.FromMicroseconds(at)
    async with connected(folder, subject) as connections:
        answer = await connections.releases.ScheduleActivation(request)
    _refuse(answer)
    tell(answer.rule_set)


@click.command()
@click.argument("name")
@click.option("--to", "version", type=click.IntRange(0), default=0, help="A version that was live.")
@click.option("--as", "subject", default=OPERATOR, metavar="WHO", help="Whose token to use.")
@click.option("--reason", default="", help="Why.")
@folder_option
@runs
async def rollback(name: str, version: int, subject: str, reason: str, folder: Path) -> None:
    """Take back the last step of a rule set: its canary, else its live version."""
    async with connected(folder, subject) as connections:
        answer = await connections.releases.RollbackRuleSet(
            release_pb2.RollbackRuleSetRequest(
                request_id=str(uuid4()), name=name, version=version, reason=reason
            )
        )
    _refuse(answer, answer.problems)
    if answer.HasField("rule_set"):
        tell(answer.rule_set)
    else:
        click.echo(f"{name}: no version is live for everybody")


@click.command()
@_live
@click.option("--reason", default="", help="Why.")
@runs
async def retire(name: str, version: int, subject: str, reason: str, folder: Path) -> None:
    """Take a version that is live or a canary out of use, with nothing in its place."""
    async with connected(folder, subject) as connections:
        answer = await connections.releases.RetireRuleSet(
            release_pb2.RetireRuleSetRequest(
                request_id=str(uuid4()), name=name, version=version, reason=reason
            )
        )
    _refuse(answer, answer.problems)
    tell(answer.rule_set)


async def _review(
    folder: Path,
    subject: str,
    name: str,
    version: int,
    verdict: release_pb2.Verdict.ValueType,
    comment: str,
) -> None:
    async with connected(folder, subject) as connections:
        answer = await connections.releases.ReviewRuleSet(
            release_pb2.ReviewRuleSetRequest(
                request_id=str(uuid4()), name=name, version=version, verdict=verdict, comment=comment
            )
        )
    _refuse(answer)
    tell(answer.rule_set)


def _refuse(answer: Any, problems: Sequence[rule_set_pb2.Problem] = ()) -> None:
    if answer.HasField("refusal"):
        told = answer.refusal
        raise StackError(f"Refused: {told.detail}. {sentence(told.suggestion)}{_lines(problems)}".rstrip())


def _lines(problems: Sequence[rule_set_pb2.Problem]) -> str:
    return "".join(
        f"\n  {f'line {p.line}:{p.column}: ' if p.line else ''}{p.message}"
        f"{' – ' + p.suggestion if p.suggestion else ''}"
        for p in problems
        if p.severity == rule_set_pb2.SEVERITY_ERROR
    )


COMMANDS = (put, show, submit, review, approve, reject, canary, go_live, schedule, rollback, retire)
"""In the order in which a version goes through them."""

"""`rapport templates`: what is said, how it looks, its versions, and tests sent to staff."""

import asyncio
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from rapport.channel.v1 import templates_pb2

from services.cli.commands.support import (
    folder_option,
    iso,
    json_option,
    limit_option,
    print_json,
    print_table,
    runs,
)
from services.cli.commands.template_frames import framed
from services.cli.connections import Connections, connected
from services.cli.stack.errors import StackError
from services.vocabulary import wire
from services.vocabulary.words import Category, Channel

_PAGE = 200
_TEST_SECONDS = 20.0
_LOOK_SECONDS = 0.2

name_argument = click.argument("name")
channel_argument = click.argument("channel", type=click.Choice([channel.value for channel in Channel]))
locale_argument = click.argument("locale")


@click.group()
def templates() -> None:
    """Look at what is said, try it, and put versions of it in force."""


@templates.command("list")
@click.argument("name", default="")
@json_option
@folder_option
@runs
async def list_templates(name: str, folder: Path, *, as_json: bool) -> None:
    """List all texts, or those of one template, with what is wrong with them."""
    found: list[templates_pb2.TemplateText] = []
    async with connected(folder) as connections:
        request = templates_pb2.ListTemplatesRequest(name=name, page_size=_PAGE)
        while True:
            answer = await connections.templates.ListTemplates(request)
            found.extend(answer.texts)
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
    if as_json:
        for text in found:
            print_json(
                {
                    "name": text.name,
                    "locale": text.locale,
                    "channel": wire.CHANNELS.from_wire(text.channel),
                    "version": text.version,
                    "newest_version": text.newest_version,
                    "warnings": _warnings_json(text.warnings),
                }
            )
        return
    print_table(
        ("template", "channel", "locale", "in force", "newest", "warnings"),
        [
            (
                text.name,
                wire.CHANNELS.from_wire(text.channel),
                text.locale,
                text.version,
                text.newest_version or "",
                ", ".join(warning.code for warning in text.warnings),
            )
            for text in found
        ],
        empty="no templates",
    )
    for problem in answer.problems:
        click.echo(f"cannot be used: {problem}")


@templates.command("show")
@name_argument
@locale_argument
@channel_argument
@click.option("--version", type=click.IntRange(0), help="This version; 0: the file.  [default: in force]")
@json_option
@folder_option
@runs
async def show(
    name: str, locale: str, channel: str, version: int | None, folder: Path, *, as_json: bool
) -> None:
    """Show the source of a text as it was written."""
    async with connected(folder) as connections:
        answer = await _history(connections, name, locale, channel, 100)
    if version is None:
        in_force = [one.version for one in answer.versions if one.in_force]
        version = in_force[0] if in_force else 0
    sources = {one.version: one.source for one in answer.versions} | {0: answer.file_source}
    if not sources.get(version):
        raise StackError(f"{name}/{locale}.{channel} has no version {version} among its newest hundred.")
    if as_json:
        print_json({"version": version, "source": sources[version]})
    else:
        click.echo(sources[version], nl=not sources[version].endswith("\n"))


@templates.command("history")
@name_argument
@locale_argument
@channel_argument
@limit_option
@json_option
@folder_option
@runs
async def history(name: str, locale: str, channel: str, limit: int, folder: Path, *, as_json: bool) -> None:
    """List the versions of a text, newest first."""
    async with connected(folder) as connections:
        answer = await _history(connections, name, locale, channel, min(limit, 100))
    told = [
        {
            "version": one.version,
            "author": one.author,
            "save_time": iso(one.save_time),
            "in_force": one.in_force,
            "characters": len(one.source),
        }
        for one in answer.versions
    ]
    if answer.file_source:
        told.append(
            {
                "version": 0,
                "author": "rules/templates",
                "save_time": None,
                "in_force": answer.file_in_force,
                "characters": len(answer.file_source),
            }
        )
    if as_json:
        for entry in told:
            print_json(entry)
        return
    print_table(
        ("version", "saved by", "at", "in force", "characters"),
        [
            (e["version"], e["author"], e["save_time"], "yes" if e["in_force"] else "", e["characters"])
            for e in told
        ],
        empty="no versions and no file",
    )


def _preview_options(command: Any) -> Any:
    """What both a preview and a test are filled with."""
    for option in reversed(
        (
            click.option("--locale", default="", help="Language of the customer.  [default: the operator's]"),
            click.option("--file", "source", type=click.File(encoding="utf-8"), help="A draft; -: stdin."),
            click.option("--version", type=click.IntRange(1), help="A saved version instead."),
            click.option(
                "--with",
                "parameters",
                default="",
                metavar="JSON",
                help="The action's parameters: '{\"gb\": 2}'",
            ),
            click.option(
                "--trait", "traits", multiple=True, metavar="NAME=TEXT", help="A trait; repeatable."
            ),
            click.option("--zone", default="", help="Where times are shown, such as Europe/Paris."),
            click.option(
                "--category",
                type=click.Choice([word.value for word in Category]),
                help="What it is for.  [default: as templates.yaml says]",
            ),
        )
    ):
        command = option(command)
    return command


@templates.command("preview")
@name_argument
@channel_argument
@_preview_options
@click.option("--all", "everything", is_flag=True, help="In every language there is.")
@json_option
@folder_option
@runs
async def preview(folder: Path, *, everything: bool, as_json: bool, **asked: Any) -> None:
    """Show how a text looks filled: its segments, its cost, and what is wrong with it."""
    async with connected(folder) as connections:
        answer = await connections.templates.PreviewTemplate(_wish(**asked))
    shown = [answer.text, *(answer.others if everything else ())]
    for text in shown:
        if as_json:
            print_json(_filled_json(text))
        else:
            click.echo(framed(text))
    if not as_json and not everything and answer.others:
        names = ", ".join(text.locale for text in answer.others)
        click.echo(f"also in {names}; show with --all")


@templates.command("save")
@name_argument
@locale_argument
@channel_argument
@click.argument("source", type=click.File(encoding="utf-8"))
@click.option(
    "--expect",
    type=click.IntRange(0),
    required=True,
    help="The newest version that you saw (`history`); 0: there was none.",
)
@json_option
@folder_option
@runs
async def save(
    name: str, locale: str, channel: str, source: Any, expect: int, folder: Path, *, as_json: bool
) -> None:
    """Keep a version of a text; it is not in force before `activate`."""
    async with connected(folder) as connections:
        answer = await connections.templates.SaveTemplate(
            templates_pb2.SaveTemplateRequest(
                request_id=str(uuid4()),
                name=name,
                locale=locale,
                channel=_channel(channel),
                source=source.read(),
                expected_version=expect,
            )
        )
    if as_json:
        print_json({"version": answer.version, "warnings": _warnings_json(answer.warnings)})
        return
    click.echo(f"saved as version {answer.version}; not in force yet")
    for warning in answer.warnings:
        click.echo(f"  ! {warning.message}")


@templates.command("activate")
@name_argument
@locale_argument
@channel_argument
@click.argument("version", type=click.IntRange(0))
@json_option
@folder_option
@runs
async def activate(
    name: str, locale: str, channel: str, version: int, folder: Path, *, as_json: bool
) -> None:
    """Put a version in force, within 2 s everywhere; an older one rolls back, 0 is the file."""
    async with connected(folder) as connections:
        answer = await connections.templates.ActivateTemplate(
            templates_pb2.ActivateTemplateRequest(
                request_id=str(uuid4()),
                name=name,
                locale=locale,
                channel=_channel(channel),
                version=version,
            )
        )
    if as_json:
        print_json({"version": version, "previous_version": answer.previous_version})
    else:
        click.echo(f"in force: {_version(version)}; before: {_version(answer.previous_version)}")


@templates.command("test-send")
@name_argument
@channel_argument
@click.argument("recipient")
@_preview_options
@json_option
@folder_option
@runs
async def test_send(recipient: str, folder: Path, *, as_json: bool, **asked: Any) -> None:
    """Send a preview to an address of staff (RAPPORT_TEST_RECIPIENTS), and wait for what comes of it."""
    async with connected(folder) as connections:
        request = templates_pb2.SendTestRequest(
            request_id=str(uuid4()), preview=_wish(**asked), recipient=recipient
        )
        test_id = (await connections.templates.SendTest(request)).test_id
        state = await _outcome(connections, test_id)
    if as_json:
        print_json({"test_id": test_id, "state": state.state, "detail": state.detail})
    else:
        click.echo(f"test {test_id}: {state.state}{': ' if state.detail else ''}{state.detail}")
    if state.state == "failed":
        sys.exit(1)


async def _outcome(connections: Connections, test_id: str) -> templates_pb2.GetTestResponse:
    left = _TEST_SECONDS
    while True:
        state = await connections.templates.GetTest(templates_pb2.GetTestRequest(test_id=test_id))
        if state.state in {"sent", "failed"} or left <= 0:
            return state
        await asyncio.sleep(_LOOK_SECONDS)
        left -= _LOOK_SECONDS


async def _history(
    connections: Connections, name: str, locale: str, channel: str, limit: int
) -> templates_pb2.ListTemplateVersionsResponse:
    return await connections.templates.ListTemplateVersions(
        templates_pb2.ListTemplateVersionsRequest(
            name=name, locale=locale, channel=_channel(channel), page_size=limit
        )
    )


def _wish(
    *,
    name: str,
    channel: str,
    locale: str,
    source: Any,
    version: int | None,
    parameters: str,
    traits: tuple[str, ...],
    zone: str,
    category: str | None,
) -> templates_pb2.PreviewTemplateRequest:
    given = {}
    for trait in traits:
        key, equals, text = trait.partition("=")
        if not equals:
            raise click.UsageError(f"--trait {trait}: write NAME=TEXT, for example name=Ada")
        given[key] = text
    return templates_pb2.PreviewTemplateRequest(
        name=name,
        locale=locale,
        channel=_channel(channel),
        source="" if source is None else source.read(),
        version=version or 0,
        parameters=parameters,
        traits=given,
        zone=zone,
        category=wire.CATEGORIES.to_wire(Category(category) if category else None),
    )


def _channel(word: str) -> Any:
    return wire.CHANNELS.to_wire(Channel(word))


def _version(version: int) -> str:
    return f"version {version}" if version else "the file"


def _warnings_json(warnings: Any) -> list[dict[str, str]]:
    return [{"code": warning.code, "message": warning.message} for warning in warnings]


def _filled_json(text: templates_pb2.FilledText) -> dict[str, Any]:
    """A text as a preview gives it; the names are a contract."""
    told: dict[str, Any] = {
        "locale": text.locale,
        "template": text.template,
        "missing": text.missing,
        "subject": text.subject,
        "text": text.text,
        "html": text.html,
        "sender": text.sender,
        "cost": text.cost,
        "currency": text.currency,
        "warnings": _warnings_json(text.warnings),
    }
    if text.HasField("short_message"):
        short = text.short_message
        told["short_message"] = {
            "coding": short.coding,
            "length": short.length,
            "left": short.left,
            "segments": list(short.segments),
            "forced": [{"character": one.character, "suggestion": one.suggestion} for one in short.forced],
        }
    return told

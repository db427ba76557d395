"""`rapport controls policies`: versions of caps, quiet hours, campaigns and what else the channel reads."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from rapport.channel.v1 import controls_pb2 as pb

from services.cli.commands.support import (
    folder_option,
    iso,
    json_option,
    limit_option,
    print_json,
    print_table,
    runs,
)
from services.cli.connections import connected


class _Version(click.ParamType[Any]):
    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A number, or `files`: 0."""
        if value in {"files", 0}:
            return 0
        if not str(value).isdecimal() or not 0 < int(value) < 2**31:
            self.fail(f"{value!r} is no version; take one from the listing, or say files", param, ctx)
        return int(value)


@click.group()
def policies() -> None:
    """Put policies into force in the place of files, everywhere within two seconds, and go back."""


@policies.command("apply")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--comment", default="", help="Why, for people.")
@click.option("--dry-run", is_flag=True, help="Only say whether they are right.")
@json_option
@folder_option
@runs
async def apply(files: tuple[Path, ...], comment: str, folder: Path, *, dry_run: bool, as_json: bool) -> None:
    """Put FILES into force, each in the place of the one of its name: caps.yaml, campaigns.yaml and so on."""
    request = pb.ApplyPoliciesRequest(
        request_id=str(uuid4()),
        documents=[_document(file) for file in files],
        comment=comment,
        validate_only=dry_run,
    )
    async with connected(folder) as connections:
        version = (await connections.controls.ApplyPolicies(request)).version
    if as_json:
        print_json(_version(version))
    elif dry_run:
        click.echo("they are right")
    else:
        click.echo(f"version {version.version} is in force")


@policies.command("revert")
@click.argument("version", type=_Version())
@click.option("--comment", default="", help="Why, for people.")
@json_option
@folder_option
@runs
async def revert(version: int, comment: str, folder: Path, *, as_json: bool) -> None:
    """Put an earlier VERSION into force again, or `files`: those of rules/policies alone."""
    request = pb.RevertPoliciesRequest(request_id=str(uuid4()), version=version, comment=comment)
    async with connected(folder) as connections:
        new = (await connections.controls.RevertPolicies(request)).version
    if as_json:
        print_json(_version(new))
    else:
        was = f"what version {version} was" if version else "the files alone"
        click.echo(f"version {new.version} is in force: {was}")


@policies.command("list")
@limit_option
@json_option
@folder_option
@runs
async def list_versions(limit: int, folder: Path, *, as_json: bool) -> None:
    """List versions, newest first; the newest is in force."""
    async with connected(folder) as connections:
        request = pb.ListPolicyVersionsRequest(page_size=limit)
        answer = await connections.controls.ListPolicyVersions(request)
    found = [_version(version) for version in answer.versions]
    if as_json:
        for one in found:
            print_json(one)
        return
    print_table(
        ("version", "time", "author", "reverts to", "documents", "comment"),
        [
            (
                one["version"],
                one["apply_time"],
                one["author"],
                "files" if one["reverts_to"] == 0 else one["reverts_to"],
                ", ".join(one["documents"]),
                one["comment"],
            )
            for one in found
        ],
        empty="the files of rules/policies are in force",
    )


@policies.command("show")
@click.argument("name", required=False)
@click.option("--version", type=_Version(), default=0, help="An earlier version.  [default: in force]")
@json_option
@folder_option
@runs
async def show(name: str | None, version: int, folder: Path, *, as_json: bool) -> None:
    """Show the policies in force, or those of a version; with NAME (caps.yaml) the text of one alone."""
    async with connected(folder) as connections:
        answer = await connections.controls.GetPolicies(pb.GetPoliciesRequest(version=version))
    found = [document for document in answer.documents if name in {None, document.name}]
    if not found:
        known = ", ".join(document.name for document in answer.documents) or "none"
        raise click.UsageError(f"there is no {name} there; there are: {known}")
    for document in found:
        if as_json:
            told = {"version": answer.version, "name": document.name, "from_file": document.from_file}
            print_json({**told, "text": document.text})
        elif name is not None:
            click.echo(document.text, nl=not document.text.endswith("\n"))
        else:
            origin = "the file" if document.from_file else f"version {answer.version}"
            click.echo(f"# --- {document.name}: {origin}\n{document.text.rstrip()}\n")


def _document(file: Path) -> pb.PolicyDocument:
    try:
        return pb.PolicyDocument(name=file.name, text=file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is not text in UTF-8") from None


def _version(version: pb.PolicyVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "apply_time": iso(version.apply_time),
        "author": version.author,
        "comment": version.comment,
        "documents": list(version.documents),
        "reverts_to": version.reverts_to if version.HasField("reverts_to") else None,
    }

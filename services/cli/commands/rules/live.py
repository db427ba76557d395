"""`rapport rules activate` and `list`: the rule sets of a running Rapport."""

from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import click
from rapport.decision.v1 import rule_set_pb2

from services.cli.commands.rules.sources import files_argument, is_shared
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
from services.cli.stack.errors import StackError


@click.command()
@files_argument
@folder_option
@runs
async def activate(files: tuple[Path, ...], folder: Path) -> None:
    """Store rule sets as new versions and make them live, each after its trial."""
    async with connected(folder) as connections:
        await activate_files(connections, files, say=click.echo)


@click.command("list")
@click.option("--all-versions", is_flag=True, help="Every version, not only the live one and the newest.")
@json_option
@folder_option
@runs
async def list_rule_sets(folder: Path, *, all_versions: bool, as_json: bool) -> None:
    """List the rule sets that are stored."""
    async with connected(folder) as connections:
        request = rule_set_pb2.ListRuleSetsRequest(all_versions=all_versions)
        pages = entries_of(connections.rule_sets.ListRuleSets, request, "rule_sets")
        found: list[rule_set_pb2.RuleSet] = [rule_set async for rule_set in pages]
    told = [
        {
            "name": rule_set.name,
            "version": rule_set.version,
            "state": enum_word(rule_set_pb2.RuleSetState.Name(rule_set.state), "RULE_SET_STATE_"),
            "title": rule_set.title,
            "owner": rule_set.owner,
            "stage": rule_set.stage,
            "triggers": list(rule_set.triggers),
            "rules": rule_set.rules,
            "create_time": iso(rule_set.create_time),
            "activate_time": iso(rule_set.activate_time),
        }
        for rule_set in found
    ]
    if as_json:
        for entry in told:
            print_json(entry)
        return
    print_table(
        ("rule set", "version", "state", "title", "rules", "triggers"),
        [
            (e["name"], e["version"], e["state"], e["title"], e["rules"], ", ".join(rule_set.triggers))
            for e, rule_set in zip(told, found, strict=True)
        ],
        empty="no rule sets; activate some with: rapport rules activate FILE…",
    )


async def activate_files(
    connections: Connections, files: Sequence[Path], *, say: Callable[[str], object]
) -> None:
    """Stores and activates each file, shared ones first; raises StackError at the first refused."""
    for file in sorted(files, key=lambda file: (not is_shared(file), file.name)):
        put = await connections.rule_sets.PutRuleSet(
            rule_set_pb2.PutRuleSetRequest(
                request_id=str(uuid4()), source=file.read_text(encoding="utf-8"), file=file.name
            )
        )
        _refuse_errors(put.problems, file)
        answer = await connections.rule_sets.ActivateRuleSet(
            rule_set_pb2.ActivateRuleSetRequest(
                request_id=str(uuid4()), name=put.rule_set.name, version=put.rule_set.version
            )
        )
        if answer.HasField("refusal"):
            refusal = answer.refusal
            raise StackError(f"{file.name} is not live: {refusal.detail}. {sentence(refusal.suggestion)}")
        _refuse_errors(answer.problems, file)
        failed = [test for test in answer.tests if not test.passed]
        if failed:
            lines = "".join(f"\n  {test.name}: {test.message}" for test in failed)
            raise StackError(f"{file.name}: {len(failed)} of its tests failed:{lines}")
        name, version = answer.rule_set.name, answer.rule_set.version
        say(f"  {name} version {version} is live, {len(answer.tests)} tests passed")


def sentence(text: str) -> str:
    """What to do instead, as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _refuse_errors(problems: Sequence[rule_set_pb2.Problem], file: Path) -> None:
    errors = [problem for problem in problems if problem.severity == rule_set_pb2.SEVERITY_ERROR]
    if errors:
        lines = "".join(
            f"\n  line {p.line}:{p.column}: {p.message}{' – ' + p.suggestion if p.suggestion else ''}"
            for p in errors
        )
        raise StackError(f"{file.name} was refused:{lines}")

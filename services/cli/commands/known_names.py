"""What a kill switch may name: a slip of the pen must not look as if something had been stopped."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click
import grpc
from rapport.channel.v1 import templates_pb2
from rapport.decision.v1 import rule_set_pb2

from services.cli.connections import Connections
from services.cli.paging import entries_of

if TYPE_CHECKING:
    from collections.abc import Callable

_ACTION = re.compile(r"""(?<![\w-])(?:offer|message|survey|task)\s*:\s*["']?([\w.-]+)""")
_PAGE = 200


async def check_known(
    connections: Connections, *, action: str = "", rule_set: str = "", say: "Callable[[str], object]"
) -> None:
    """UsageError when no version of any rule set, and no template, has that name.

    Who stops something must not wait for the decision service: when it does not answer, nothing is checked,
    and `say` is told so.
    """
    name = action or rule_set
    if not name:
        return
    what = "action" if action else "rule set"
    try:
        rule_sets, actions = await _stored(connections)
    except grpc.RpcError:
        say(f"whether there is {what} {name!r} could not be looked up; list it with: rapport controls list")
        return
    known = actions if action else rule_sets
    if name not in known:
        raise click.UsageError(unknown(what, name, known))


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """That there is none of that name, and what was meant perhaps."""
    near = get_close_matches(name, sorted(known), n=1)
    meant = f"did you mean {near[0]}?" if near else "look at: rapport rules list"
    return f"nothing is stopped: there is no {what} {name!r}; {meant} (--anyway stops it all the same)"


def actions_named(source: str) -> set[str]:
    """What the text of a rule set does, by name."""
    return set(_ACTION.findall(source))


async def _stored(connections: Connections) -> tuple[set[str], set[str]]:
    """All rule sets by name, and the actions of all their versions: what waits may be of an old one."""
    rule_sets, actions = set(), set()
    stored = rule_set_pb2.ListRuleSetsRequest(all_versions=True, include_source=True)
    async for one in entries_of(connections.rule_sets.ListRuleSets, stored, "rule_sets", page=_PAGE):
        rule_sets.add(one.name)
        actions |= actions_named(one.source)
    texts = templates_pb2.ListTemplatesRequest()
    async for text in entries_of(connections.templates.ListTemplates, texts, "texts", page=_PAGE):
        actions.add(text.name)
    return rule_sets, actions

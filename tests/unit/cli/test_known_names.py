"""A kill switch names what there is."""

from types import SimpleNamespace

import click
import grpc
import pytest
from rapport.channel.v1 import templates_pb2
from rapport.decision.v1 import rule_set_pb2

from services.cli.commands.known_names import check_known

SOURCE = """
rules:
  drops:
    do: {task: call-back, with: {queue: care}, category: service}
  late:
    do:
      - offer: "plan-upgrade"
      - survey : ces-after-care
"""


def stored(*, away: bool = False):
    """Two rule sets on two pages, one template."""

    async def rule_sets(request, **_call):
        if away:
            raise grpc.RpcError
        if not request.page_token:
            first = rule_set_pb2.RuleSet(name="bill-shock", source="do: {message: bill-due}")
            return rule_set_pb2.ListRuleSetsResponse(rule_sets=[first], next_page_token="2")
        assert (request.all_versions, request.include_source) == (True, True)
        return rule_set_pb2.ListRuleSetsResponse(
            rule_sets=[rule_set_pb2.RuleSet(name="drops", source=SOURCE)]
        )

    async def templates(_, **_call):
        return templates_pb2.ListTemplatesResponse(texts=[templates_pb2.TemplateText(name="opt-in-link")])

    return SimpleNamespace(
        rule_sets=SimpleNamespace(ListRuleSets=rule_sets), templates=SimpleNamespace(ListTemplates=templates)
    )


@pytest.mark.parametrize(
    "named",
    [
        *({"action": name} for name in ("call-back", "plan-upgrade", "ces-after-care", "bill-due")),
        {"action": "opt-in-link"},
        {"rule_set": "drops"},
        {},
    ],
)
async def test_what_is_stored_may_be_stopped(named):
    await check_known(stored(), **named, say=pytest.fail)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"action": "plan-upgarde"}, "did you mean plan-upgrade"),
        ({"action": "drops"}, "no action 'drops'"),
        ({"rule_set": "bil-shock"}, "did you mean bill-shock"),
    ],
)
async def test_what_is_not_is_an_error_that_names_the_nearest(named, told):
    with pytest.raises(click.UsageError, match=told):
        await check_known(stored(), **named, say=pytest.fail)  # type: ignore[arg-type]


async def test_who_stops_something_does_not_wait_for_the_decision_service():
    said: list[str] = []
    await check_known(stored(away=True), action="call-back", say=said.append)  # type: ignore[arg-type]
    assert "could not be looked up" in said[0]

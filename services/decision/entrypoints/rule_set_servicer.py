"""RuleSetService over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rapport.decision.v1 import rule_set_pb2, rule_set_pb2_grpc

from services.decision.domain.release import Refused
from services.decision.entrypoints.pages import number_of, page_size
from services.decision.entrypoints.translate import (
    RUN_STATES,
    problem_to_wire,
    refusal_to_wire,
    rule_set_to_wire,
    run_to_wire,
    test_to_wire,
)
from services.runtime.errors import InvalidArgumentError
from services.runtime.requests import answer_once
from services.runtime.server import Served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc

    from services.decision.app.ports import RuleSetRow
    from services.decision.app.release import ReleaseVersions
    from services.decision.app.rule_sets import ManageRuleSets
    from services.decision.app.run_ports import RunLog
    from services.runtime.database import Database, Transaction
    from services.runtime.errors import ErrorTable

    Context = grpc.aio.ServicerContext[Any, Any]

_NAME = rule_set_pb2.DESCRIPTOR.services_by_name["RuleSetService"].full_name


class RuleSetServicer(rule_set_pb2_grpc.RuleSetServiceServicer):
    """Checks and trials run before the transaction that keeps the answer."""

    def __init__(
        self,
        database: Database,
        rule_sets: ManageRuleSets,
        release: ReleaseVersions,
        runs: RunLog,
        errors: ErrorTable,
        *,
        refresh: Callable[[], Awaitable[object]],
    ) -> None:
        self._database = database
        self._rule_sets = rule_sets
        self._release = release
        self._runs = runs
        self._refresh = refresh
        self._errors = errors

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: rule_set_pb2_grpc.add_RuleSetServiceServicer_to_server(self, server)
        )

    async def PutRuleSet(  # noqa: N802 - the proto's name
        self, request: rule_set_pb2.PutRuleSetRequest, context: Context
    ) -> rule_set_pb2.PutRuleSetResponse:
        """Stores a new version as a draft, or answers with its problems."""
        del context
        _need(request.source, "source")
        checked = await self._rule_sets.check(request.source, request.file)

        async def act(transaction: Transaction) -> rule_set_pb2.PutRuleSetResponse:
            row = await self._rule_sets.put(transaction, checked, request.source, request.file)
            answer = rule_set_pb2.PutRuleSetResponse(
                problems=[problem_to_wire(problem) for problem in checked.problems],
                tests=[test_to_wire(test) for test in checked.tests],
            )
            if row is not None:
                answer.rule_set.CopyFrom(rule_set_to_wire(row))
            return answer

        rpc = f"{_NAME}/PutRuleSet"
        return await answer_once(
            self._database, rpc, request, rule_set_pb2.PutRuleSetResponse, act, self._errors
        )

    async def ValidateRuleSet(  # noqa: N802 - the proto's name
        self, request: rule_set_pb2.ValidateRuleSetRequest, context: Context
    ) -> rule_set_pb2.ValidateRuleSetResponse:
        """Compiles a text and runs its tests; stores nothing."""
        del context
        _need(request.source, "source")
        checked = await self._rule_sets.check(request.source, request.file)
        return rule_set_pb2.ValidateRuleSetResponse(
            problems=[problem_to_wire(problem) for problem in checked.problems],
            tests=[test_to_wire(test) for test in checked.tests],
        )

    async def ActivateRuleSet(  # noqa: N802 - the proto's name
        self, request: rule_set_pb2.ActivateRuleSetRequest, context: Context
    ) -> rule_set_pb2.ActivateRuleSetResponse:
        """Makes a version live after its trial, or says why not."""
        del context
        _need(request.name, "name")
        if request.version < 0:
            raise InvalidArgumentError(
                f"version is {request.version}", field="version", suggestion="1 or more; 0 means the newest"
            )
        tried = await self._release.trial(request.name, request.version)

        async def act(transaction: Transaction) -> rule_set_pb2.ActivateRuleSetResponse:
            answer = rule_set_pb2.ActivateRuleSetResponse(
                problems=[problem_to_wire(problem) for problem in tried.problems],
                tests=[test_to_wire(test) for test in tried.tests],
            )
            done: RuleSetRow | Refused | None = tried.refused
            if tried.ready is not None:
                done = await self._release.activate(transaction, tried.ready)
            if isinstance(done, Refused):
                answer.refusal.CopyFrom(refusal_to_wire(done))
            elif done is not None:
                answer.rule_set.CopyFrom(rule_set_to_wire(done))
            return answer

        rpc = f"{_NAME}/ActivateRuleSet"
        answer = await answer_once(
            self._database, rpc, request, rule_set_pb2.ActivateRuleSetResponse, act, self._errors
        )
        await self._refresh()  # whoever asks here next is answered by it
        return answer

    async def ListRuleSets(  # noqa: N802 - the proto's name
        self, request: rule_set_pb2.ListRuleSetsRequest, context: Context
    ) -> rule_set_pb2.ListRuleSetsResponse:
        """A page of rule sets, by name, then version."""
        del context
        size = page_size(request.page_size)
        after = None
        if request.page_token:
            name, _, version = request.page_token.rpartition("@")
            if not name or not version.isdecimal():
                raise InvalidArgumentError(
                    "page_token is not one that was given out",
                    field="page_token",
                    suggestion="take it from the answer before",
                )
            after = (name, int(version))
        rows = await self._rule_sets.page(after, size + 1, all_versions=request.all_versions)
        answer = rule_set_pb2.ListRuleSetsResponse(
            rule_sets=[rule_set_to_wire(row, with_source=request.include_source) for row in rows[:size]]
        )
        if len(rows) > size:
            answer.next_page_token = f"{rows[size - 1].name}@{rows[size - 1].version}"
        return answer

    async def ListRuns(  # noqa: N802 - the proto's name
        self, request: rule_set_pb2.ListRunsRequest, context: Context
    ) -> rule_set_pb2.ListRunsResponse:
        """A page of runs, newest first."""
        del context
        size = page_size(request.page_size)
        state = next((word for word, number in RUN_STATES.items() if number == request.state), "")
        found = await self._runs.page(
            number_of(request.page_token), size + 1, rule_set=request.rule_set, state=state
        )
        answer = rule_set_pb2.ListRunsResponse(runs=[run_to_wire(run) for run in found[:size]])
        if len(found) > size:
            answer.next_page_token = str(found[size - 1].number)
        return answer


def _need(value: str, field: str) -> None:
    if not value.strip():
        raise InvalidArgumentError(f"{field} is empty", field=field, suggestion=f"say the {field}")

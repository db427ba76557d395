"""A second person's word on a version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import UUID

import orjson

from services.decision.app.release_ports import Step
from services.decision.app.versions import (
    any_error,
    digest_of,
    failed_tests,
    find_version,
    source_of,
    standing_of,
)
from services.decision.domain.release import Refused, Refusing, State, may_review, may_submit
from services.runtime.caller import current_caller

if TYPE_CHECKING:
    from services.decision.app.ports import RuleSetRow
    from services.decision.app.release_ports import Compiling, Lives
    from services.decision.app.simulation_ports import Simulations
    from services.decision.domain.problems import Problem
    from services.decision.domain.trial import TestResult
    from services.runtime.clock import Clock
    from services.runtime.database import Transaction


@dataclass(frozen=True, slots=True)
class Submission:
    """A version that is to be reviewed, with what the reviewer is shown."""

    row: RuleSetRow
    refused: Refused | None = None
    problems: tuple[Problem, ...] = ()
    tests: tuple[TestResult, ...] = ()
    differences: tuple[str, ...] = ()
    compared_version: int = 0
    simulation_id: str = ""
    comment: str = ""


class ReviewVersions:
    """The use cases about review. What takes long comes before the transaction."""

    def __init__(self, lives: Lives, compiling: Compiling, simulations: Simulations, clock: Clock) -> None:
        self._lives = lives
        self._compiling = compiling
        self._simulations = simulations
        self._clock = clock

    async def prepare_review(
        self, name: str, version: int, simulation_id: str = "", comment: str = ""
    ) -> Submission:
        """Runs a version's tests again, and says what it changes of what is live."""
        row = await find_version(self._lives, name, version)
        refused = may_submit(standing_of(row))
        if refused is None and simulation_id:
            refused = await self._unlike(row, simulation_id)
        if refused is not None:
            return Submission(row, refused)
        live = await self._lives.live()
        beside = tuple(source for source in live.sources if source.name != name)
        checked = await self._compiling.check(beside, row.source, row.file)
        failed = failed_tests(row, checked.tests)
        problems = [*checked.problems, *failed]
        if any_error(problems):
            why = "does not compile beside what is live"
            if failed:
                why = f"fails {len(failed)} of its {len(checked.tests)} tests"
            refused = Refused(
                Refusing.NOT_SOUND,
                f"{row.name} version {row.version} {why}",
                "put a version that compiles and passes its tests",
            )
            return Submission(row, refused, tuple(problems), checked.tests)
        before = next((source for source in live.sources if source.name == name), None)
        differences: tuple[str, ...] = ()
        if before is not None:
            differences = await self._compiling.differences(beside, before, source_of(row))
        return Submission(
            row,
            problems=tuple(problems),
            tests=checked.tests,
            differences=differences,
            compared_version=0 if before is None else before.version,
            simulation_id=str(UUID(simulation_id)) if simulation_id else "",
            comment=comment,
        )

    async def submit(self, transaction: Transaction, ready: Submission) -> RuleSetRow | Refused:
        """Puts a version into review, in the name of whoever asks."""
        row = await self._lives.hold(transaction, ready.row.name, ready.row.version)
        refused = ready.refused or may_submit(standing_of(row))
        if refused is not None:
            return refused
        after = replace(
            row,
            state=State.IN_REVIEW,
            submitter=current_caller().name,
            approver="",
            differences=ready.differences,
            compared_version=ready.compared_version,
            simulation_id=ready.simulation_id,
        )
        return await self._move(transaction, row, after, Step("submit", ready.comment))

    async def review(
        self, transaction: Transaction, name: str, version: int, comment: str, *, approve: bool
    ) -> RuleSetRow | Refused:
        """Takes the word of whoever asks; under a lock, so that of two at once one is told of the other."""
        row = await self._lives.hold(transaction, name, version)
        reviewer = current_caller().name
        refused = may_review(standing_of(row), reviewer, approve=approve)
        if refused is not None:
            return refused
        if approve:
            after = replace(row, state=State.APPROVED, approver=reviewer)
            return await self._move(transaction, row, after, Step("approve", comment))
        return await self._move(
            transaction, row, replace(row, state=State.DRAFT, approver=""), Step("reject", comment)
        )

    async def _unlike(self, row: RuleSetRow, simulation_id: str) -> Refused | None:
        """Why a simulation says nothing about a version; None: it is of its very text."""
        told = f"simulation {simulation_id}"
        again = f"simulate {row.name} version {row.version}, and submit it with the id that comes out"
        kept = await self._simulations.find(simulation_id) if _is_id(simulation_id) else None
        if kept is None:
            detail = f"there is no {told}, or it did not come to its end"
            return Refused(Refusing.WRONG_SIMULATION, detail, again)
        if row.name not in kept.rule_sets:
            detail = f"{told} is of {', '.join(kept.rule_sets)}, not of {row.name}"
            return Refused(Refusing.WRONG_SIMULATION, detail, again)
        digests = orjson.loads(kept.result).get("digests", {})
        if digests.get(row.name) != digest_of(row.source):
            detail = f"{told} is of another text of {row.name} than version {row.version}"
            return Refused(Refusing.WRONG_SIMULATION, detail, again)
        return None

    async def _move(
        self, transaction: Transaction, row: RuleSetRow, after: RuleSetRow, step: Step
    ) -> RuleSetRow:
        return await self._lives.move(transaction, row, after, step, self._clock.now_micros())


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True

"""What the use cases about versions share: finding one, and telling what is wrong with it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from services.decision.app.jobs import Source
from services.decision.domain.problems import Problem, Severity
from services.decision.domain.release import Standing, State
from services.runtime.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.ports import RuleSetRow
    from services.decision.app.release_ports import Lives
    from services.decision.domain.trial import TestResult

FAILED_TEST = "test-failed"
"""The check of a problem that is a test of the rule set itself."""


async def find_version(lives: Lives, name: str, version: int) -> RuleSetRow:
    """One version; 0: the newest. Raises NotFoundError."""
    row = await lives.find(name, version)
    if row is None:
        wanted = f"{name} version {version}" if version else name
        raise NotFoundError(
            f"there is no rule set {wanted}", field="name", suggestion="list them, or put it first"
        )
    return row


def standing_of(row: RuleSetRow) -> Standing:
    """What a version's next step depends on."""
    return Standing(row.name, row.version, State(row.state), row.author, row.submitter, row.approver)


def source_of(row: RuleSetRow, share: int = 0) -> Source:
    """A version as it is compiled."""
    return Source(row.name, row.version, row.file, row.source, share)


def digest_of(text: str) -> str:
    """What tells one text from another, in the audit log and in simulations."""
    return sha256(text.encode()).hexdigest()[:32]


def failed_tests(row: RuleSetRow, tests: Sequence[TestResult]) -> list[Problem]:
    """Its tests that did not pass, as problems."""
    return [
        problem_of(row, f"test {test.name!r} failed: {test.message}", FAILED_TEST)
        for test in tests
        if not test.passed
    ]


def any_error(problems: Sequence[Problem]) -> bool:
    """Whether one of them keeps it from running."""
    return any(problem.severity is Severity.ERROR for problem in problems)


def problem_of(row: RuleSetRow, message: str, check: str, suggestion: str = "") -> Problem:
    """An error of a version as a whole."""
    return Problem(Severity.ERROR, 0, 0, row.name, message, suggestion, check, row.file)

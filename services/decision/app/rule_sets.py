"""Rule sets come in, are checked, and go live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.decision.domain.errors import EngineDiedError
from services.decision.domain.problems import Problem, Severity
from services.runtime.errors import NotFoundError, TooLargeError, UnavailableError
from services.vocabulary.ids import derived_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.jobs import Checked
    from services.decision.app.ports import Checker, Listening, LiveProgram, RuleSetRow, RuleSets
    from services.decision.domain.trial import TestResult
    from services.runtime.clock import Clock
    from services.runtime.database import Transaction

MOST_BYTES = 1_000_000
DRAFT, TESTED = "draft", "tested"


@dataclass(frozen=True, slots=True)
class ReadyToLive:
    """A version that passed its trial, and the program it was tried beside."""

    row: RuleSetRow
    after: LiveProgram
    listened: tuple[str, ...]
    absences: tuple[str, ...] = ()
    schedules: int = 0


@dataclass(frozen=True, slots=True)
class Tried:
    """What a trial came to; ``ready`` is None when it was not passed."""

    ready: ReadyToLive | None
    problems: tuple[Problem, ...]
    tests: tuple[TestResult, ...]


class ManageRuleSets:
    """The use cases of RuleSetService. What takes long is done before the transaction that writes."""

    def __init__(
        self,
        rule_sets: RuleSets,
        checker: Checker,
        listening: Listening,
        clock: Clock,
        catalogue_version: str,
    ) -> None:
        self._rule_sets = rule_sets
        self._checker = checker
        self._listening = listening
        self._clock = clock
        self._catalogue_version = catalogue_version

    async def check(self, text: str, file: str) -> Checked:
        """Compiles a text beside what is stored, and runs its tests."""
        if len(text.encode()) > MOST_BYTES:
            raise TooLargeError(
                f"the rule set is over the limit of {MOST_BYTES} bytes",
                field="source",
                suggestion="split it into several",
            )
        return await self._checker.check(await self._rule_sets.context(), text, file or "rule set")

    async def put(
        self, transaction: Transaction, checked: Checked, text: str, file: str
    ) -> RuleSetRow | None:
        """Stores a checked text as the next version; None: it has errors and is stored nowhere."""
        if checked.rule_set is None or _errors(checked.problems):
            return None
        state = TESTED if all(test.passed for test in checked.tests) else DRAFT
        name = file or f"{checked.rule_set.name}.yaml"
        return await self._rule_sets.add(
            transaction, checked.rule_set, text, name, state, self._clock.now_micros()
        )

    async def trial(self, name: str, version: int) -> Tried:
        """Tries a version beside what is live, then has its event types listened to.

        Raises NotFoundError for a version that is not stored, UnavailableError when the profile service is
        away.
        """
        row = await self._rule_sets.find(name, version)
        if row is None:
            wanted = f"{name} version {version}" if version else name
            raise NotFoundError(
                f"there is no rule set {wanted}", field="name", suggestion="list them, or put it first"
            )
        after = await self._rule_sets.live()
        beside = tuple(source for source in after.sources if source.name != name)
        try:
            checked = await self._checker.trial(beside, row.source, row.file, row.version)
        except EngineDiedError as died:
            message = "the rules engine did not survive trying this rule set on made-up customers"
            suggestion = "it was not made live, what is live stays; split it, or simplify its conditions"
            problem = _problem(row, f"{message} ({died})", "trial-crash", suggestion)
            return Tried(None, (problem,), ())
        problems = [*checked.problems]
        problems += [_problem(row, difference, "trial-difference") for difference in checked.differences]
        problems += [
            _problem(row, f"test {test.name!r} failed: {test.message}", "test-failed")
            for test in checked.tests
            if not test.passed
        ]
        if _errors(problems) or checked.rule_set is None:
            return Tried(None, tuple(problems), checked.tests)
        listened = tuple(sorted({*checked.listened, *after.listened}))
        absences = tuple(sorted({*checked.absences, *after.absences}))
        await self._listening.set_listened(
            listened,
            absences,
            derived_id("listened", after.version, row.name, row.version, *listened, "absences", *absences),
        )
        ready = ReadyToLive(row, after, tuple(checked.listened), checked.absences, checked.schedules)
        return Tried(ready, tuple(problems), checked.tests)

    async def activate(self, transaction: Transaction, ready: ReadyToLive) -> RuleSetRow:
        """Makes a version that passed its trial live; every worker hears of it with the commit."""
        row = await self._rule_sets.go_live(
            transaction, ready, self._catalogue_version, self._clock.now_micros()
        )
        if row is None:
            raise UnavailableError(
                "another activation came in between",
                suggestion="try again: it is tried beside the new program",
            )
        return row

    async def page(self, after: tuple[str, int] | None, size: int, *, all_versions: bool) -> list[RuleSetRow]:
        """Rule sets by name, then version."""
        return await self._rule_sets.page(after, size, all_versions=all_versions)


def _errors(problems: Sequence[Problem]) -> bool:
    return any(problem.severity is Severity.ERROR for problem in problems)


def _problem(row: RuleSetRow, message: str, check: str, suggestion: str = "") -> Problem:
    return Problem(Severity.ERROR, 0, 0, row.name, message, suggestion, check, row.file)

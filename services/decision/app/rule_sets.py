"""Rule sets come in, and are checked and listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.domain.problems import Severity
from services.decision.domain.release import State
from services.runtime.errors import TooLargeError

if TYPE_CHECKING:
    from services.decision.app.jobs import Checked
    from services.decision.app.ports import Checker, RuleSetRow, RuleSets
    from services.runtime.clock import Clock
    from services.runtime.database import Transaction

MOST_BYTES = 1_000_000


class ManageRuleSets:
    """The use cases of RuleSetService. What takes long is done before the transaction that writes."""

    def __init__(self, rule_sets: RuleSets, checker: Checker, clock: Clock) -> None:
        self._rule_sets = rule_sets
        self._checker = checker
        self._clock = clock

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
        if checked.rule_set is None or any(
            problem.severity is Severity.ERROR for problem in checked.problems
        ):
            return None
        state = State.TESTED if all(test.passed for test in checked.tests) else State.DRAFT
        name = file or f"{checked.rule_set.name}.yaml"
        return await self._rule_sets.add(
            transaction, checked.rule_set, text, name, state, self._clock.now_micros()
        )

    async def page(self, after: tuple[str, int] | None, size: int, *, all_versions: bool) -> list[RuleSetRow]:
        """Rule sets by name, then version."""
        return await self._rule_sets.page(after, size, all_versions=all_versions)

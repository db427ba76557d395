"""What the use cases about outcomes need from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.ports import Recorded
    from services.decision.domain.answers import Noted
    from services.decision.domain.arbitration import Candidate
    from services.runtime.database import Transaction
    from services.runtime.statements import Statements


@dataclass(frozen=True, slots=True)
class Waiting:
    """A planned action that has not been decided again. Times in micros."""

    customer: int
    action_id: str
    decision_id: str
    due_micros: int
    line: str
    candidate: Candidate


class Plans(Protocol):
    """Planned actions, by whom they wait for."""

    async def waiting(self, transaction: Statements, customers: Sequence[int]) -> list[Waiting]:
        """Those of these customers, by the time at which they fall due."""
        ...

    async def find(self, transaction: Transaction, action_id: str) -> Waiting | None:
        """By its id; None: it does not wait."""
        ...

    async def take_back(self, transaction: Transaction, action_ids: Sequence[str]) -> set[str]:
        """Ends those that still wait, under their customers' locks; which did."""
        ...


class Answers(Protocol):
    """What came of actions after they were decided."""

    async def of_action(self, transaction: Transaction, customer: int, action_id: str) -> list[Noted]:
        """Oldest first; exact under the customer's lock."""
        ...

    async def add(self, transaction: Transaction, notes: Sequence[Noted]) -> None:
        """Writes them, in this order, under the customers' locks."""
        ...


class AnswersHandOver(Protocol):
    """Tells the system what came of actions, through the outbox."""

    async def answered(self, transaction: Transaction, notes: Sequence[Noted]) -> None:
        """Own events for each, and what an acceptance asks for."""
        ...

    async def give_back(self, transaction: Transaction, actions: Sequence[tuple[int, str]]) -> None:
        """Has the channel service free what it reserved for these (customer and action id).

        What it said by itself stays said; to be told again does no harm.
        """
        ...


class Looking(Protocol):
    """Decisions as they were recorded."""

    async def find(self, known_id: str) -> Recorded | None:
        """By decision id, or by action id its newest decision."""
        ...

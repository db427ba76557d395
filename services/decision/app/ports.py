"""What the use cases need from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.app.jobs import Batch, DueQuestion, Evaluated, Item, Loaded, SetAside, Source
    from services.decision.domain.arbitration import Arbitration, Standing
    from services.decision.domain.decide import Evaluation, Planned
    from services.decision.domain.ledger import Ledger
    from services.runtime.database import Transaction


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision, ready to be written and handed on. Times in micros.

    ``standing``: the part of the customer's standing that it rested on. ``first``: false for a planned action
    that was counted when it was planned.
    """

    decision_id: str
    customer: int
    event_id: str
    source: str
    event_type: str
    event_micros: int
    sequence: int
    decided_micros: int
    program: int
    line: str
    hops: int
    evaluation: Evaluation
    standing: Standing
    arbitration: Arbitration
    material: bytes
    planned: Planned | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned action as stored."""

    customer: int
    decision_id: str
    planned: Planned
    line: str
    hops: int
    done: bool


@dataclass(frozen=True, slots=True)
class DuePlan:
    """A planned action whose time has come."""

    customer: int
    action_id: str
    decision_id: str
    due_micros: int
    line: str
    hops: int


class Evaluator(Protocol):
    """Runs the live rules on events, in a process that may die and comes back."""

    async def load(self, version: int, sources: Sequence[Source]) -> Loaded:
        """Makes a version of the whole program the live one."""
        ...

    async def evaluate(
        self, payloads: Sequence[bytes], stored_arms: Mapping[int, Mapping[str, str]] | None = None
    ) -> Batch:
        """Evaluates messages of EVENTS."""
        ...

    async def evaluate_due(
        self, questions: Sequence[DueQuestion], stored_arms: Mapping[int, Mapping[str, str]] | None = None
    ) -> tuple[Item, ...]:
        """Evaluates planned actions that fell due."""
        ...


class Standings(Protocol):
    """What decisions leave behind, in a transaction that holds the customers' locks."""

    async def lock(
        self, transaction: Transaction, customers: Sequence[int], from_micros: int, to_micros: int
    ) -> Ledger:
        """Locks the customers in id order and reads their accounts; conversations won within the times."""
        ...

    async def write(self, transaction: Transaction, ledger: Ledger, now_micros: int) -> None:
        """Writes what has changed."""
        ...


class Decisions(Protocol):
    """Decisions and planned actions as stored."""

    async def known(self, transaction: Transaction, decision_ids: Sequence[str]) -> set[str]:
        """Those of the ids that were decided before."""
        ...

    async def write(self, transaction: Transaction, decided: Sequence[Decided]) -> None:
        """Writes decisions, their actions, and the plans among them; marks plans decided again as done."""
        ...

    async def plans(self, action_ids: Sequence[str]) -> Mapping[str, Plan]:
        """Planned actions by id."""
        ...

    async def take_due(self, transaction: Transaction, now_micros: int, most: int) -> list[DuePlan]:
        """Claims planned actions whose time has come."""
        ...

    async def next_due(self) -> int | None:
        """When the next planned action falls due; None: nothing is planned."""
        ...


class HandOver(Protocol):
    """Hands on what was decided, through the outbox."""

    async def hand_on(self, transaction: Transaction, decided: Sequence[Decided]) -> None:
        """Actions for the channel service, and own events for the profile service."""
        ...

    async def fell_due(self, transaction: Transaction, due: Sequence[DuePlan]) -> None:
        """`action.due` for each plan."""
        ...


class SetAsides(Protocol):
    """The dead letters of this service."""

    async def set_aside(self, transaction: Transaction, item: SetAside) -> None:
        """Keeps an event that could not be decided, with its input."""
        ...

    async def set_aside_evaluated(self, transaction: Transaction, item: Evaluated, reason: str) -> None:
        """The same for an event that was evaluated and could not be written."""
        ...

"""One customer's course through a simulation: what decisions leave behind in memory, and what falls due.

The standing is the ledger of live decisions, and `settle` enters what they use up, as it does live.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.decision.domain.decide import Planned, assumed_wrongly
from services.decision.domain.journeys import Position, StepDue
from services.decision.domain.ledger import Ledger
from services.decision.domain.settling import Asked, settle
from services.vocabulary.words import ActionOutcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.domain.arbitration import Arbitration
    from services.decision.domain.decide import Evaluation
    from services.decision.domain.ledger import Account


@dataclass(frozen=True, slots=True)
class PlanDue:
    """A planned action, to be decided again at that time."""

    micros: int
    decision_id: str
    planned: Planned
    line: str
    hops: int

    @property
    def action_id(self) -> str:
        """The action's."""
        return self.planned.candidate.action_id


@dataclass(frozen=True, slots=True)
class StepOfJourneyDue:
    """A step of a journey, from which it goes on at that time."""

    micros: int
    due: StepDue
    position: Position


Due = PlanDue | StepOfJourneyDue


@dataclass(frozen=True, slots=True)
class Moment:
    """When a decision is made: of which decision, on an event of which time and place, at which time."""

    decision_id: str
    event_micros: int
    sequence: int
    now_micros: int


class Course:
    """One customer, whoever was merged into it, under one program."""

    def __init__(self, accounts: Mapping[int, Account], conversation_micros: int) -> None:
        """``accounts``: what is known of before; they are changed."""
        self._ledger = Ledger(dict(accounts))
        self._conversation = conversation_micros
        self._people: tuple[int, ...] = ()
        self._waiting: list[tuple[int, int, Due]] = []
        self._serial = itertools.count()

    def arms(self, people: tuple[int, ...]) -> Mapping[str, str]:
        """The arms that were given to a customer so far."""
        return self._ledger.standing(people).arms

    def assumed_wrongly(self, people: tuple[int, ...], evaluation: Evaluation) -> bool:
        """Whether the evaluation took the customer for one of another arm."""
        return bool(evaluation.arms) and assumed_wrongly(evaluation, self._ledger.standing(people))

    def decide(
        self, asked: Asked, evaluation: Evaluation, moment: Moment, planned: Planned | None = None
    ) -> Arbitration:
        """Decides, and plans what is to be decided later; `limits` are left to who sees all customers."""
        self._people = asked.people
        whole = self._ledger.standing(asked.people, evaluation.households)
        _, arbitration = settle(self._ledger, asked, evaluation, whole, moment.now_micros, self._conversation)
        since = (moment.event_micros, moment.sequence)
        if planned is not None:
            since = (planned.since_micros, planned.since_sequence)
        for action in arbitration.actions:
            candidate = action.candidate
            if action.outcome is ActionOutcome.PLANNED and candidate.planned_micros is not None:
                again = Planned(candidate, *since)
                hops = asked.hops
                self._wait(PlanDue(candidate.planned_micros, moment.decision_id, again, asked.line, hops))
        for (rule_set, key), moved in arbitration.moves.items():
            entered = None if moved is None else self._positions().get((rule_set, key))
            if entered is not None and not entered.ended:
                step = StepDue(rule_set, key, entered.step, entered.reached_micros)
                self._wait(StepOfJourneyDue(entered.due_micros, step, entered))
        return arbitration

    @property
    def has_plans(self) -> bool:
        """Whether anything will fall due."""
        return bool(self._waiting)

    def next_due(self, until_micros: int) -> Due | None:
        """What falls due next, until then at the latest; a step that the customer has left is none."""
        while self._waiting and self._waiting[0][0] <= until_micros:
            due = heapq.heappop(self._waiting)[2]
            if isinstance(due, PlanDue):
                return due
            if due.due.is_at(self._positions().get((due.due.rule_set, due.due.key))):
                return due
        return None

    def waiting(self) -> tuple[int, ...]:
        """When what is planned now falls due, in any order."""
        return tuple(micros for micros, _, _ in self._waiting)

    def leave(self, people: tuple[int, ...], due: StepDue) -> None:
        """Ends a journey from whose step nothing led on."""
        self._ledger.leave(people, due)

    def give_back(self, people: tuple[int, ...], action_id: str) -> None:
        """Frees what an action had used up that was not said after all."""
        self._ledger.give_back(people, action_id)

    def _positions(self) -> Mapping[tuple[str, str], Position]:
        return self._ledger.standing(self._people).positions if self._people else {}

    def _wait(self, due: Due) -> None:
        heapq.heappush(self._waiting, (due.micros, next(self._serial), due))

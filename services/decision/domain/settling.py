"""A decision against what earlier ones left behind: decided, and entered into the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.decision.domain.decide import decide, standing_that_counts
from services.vocabulary.words import ActionOutcome

if TYPE_CHECKING:
    from services.decision.domain.arbitration import Arbitration, Standing
    from services.decision.domain.decide import Evaluation
    from services.decision.domain.journeys import StepDue
    from services.decision.domain.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about whom. ``people``: the customer first, then those merged into it.

    ``planned``: the action id, when it is a planned action that fell due; ``due``: the step, when it is one
    of a journey.
    """

    people: tuple[int, ...]
    line: str = ""
    hops: int = 0
    planned: str = ""
    due: StepDue | None = None


def settle(
    ledger: Ledger,
    asked: Asked,
    evaluation: Evaluation,
    whole: Standing,
    now_micros: int,
    conversation_micros: int,
) -> tuple[Standing, Arbitration]:
    """Decides on the customer's ``whole`` standing, and enters what that used up and freed.

    Returns the part of the standing that it rested on, and what came out.
    """
    ids = [candidate.action_id for candidate in evaluation.candidates]
    rooms = ledger.rooms(evaluation.limits, now_micros, ids)
    standing = replace(standing_that_counts(whole, evaluation), rooms=rooms)
    arbitration = decide(evaluation, standing, conversation_micros)
    ledger.enter(asked.people[0], arbitration, dict(evaluation.arms))
    ledger.move(asked.people, arbitration.moves, asked.line, asked.hops)
    if asked.due is not None:
        ledger.leave(asked.people, asked.due)
    if asked.planned and arbitration.actions[0].outcome is ActionOutcome.REFUSED:
        ledger.give_back(asked.people, asked.planned)
    return standing, arbitration

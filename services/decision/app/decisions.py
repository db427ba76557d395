"""Past decisions: listed, and explained by running them again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.decision.domain.decide import Evaluation, as_judged_then, decide
from services.decision.domain.explain import Step, gate_step, label_of, sentence_of
from services.runtime.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.app.ports import Asker, Journal, Recorded, RuleSets, Wanted
    from services.vocabulary.words import RefusalReason


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why: the decision as recorded, a sentence, the steps, and whether a replay came out the same."""

    recorded: Recorded
    sentence: str
    steps: tuple[Step, ...]
    because: Mapping[str, tuple[str, ...]]
    reproduced: bool


class LookBack:
    """The use cases about past decisions."""

    def __init__(self, journal: Journal, rule_sets: RuleSets, asker: Asker, conversation_micros: int) -> None:
        self._journal = journal
        self._rule_sets = rule_sets
        self._asker = asker
        self._conversation = conversation_micros

    async def page(self, wanted: Wanted) -> list[tuple[int, Recorded]]:
        """Decisions, newest first, each with its number."""
        return await self._journal.page(wanted)

    async def explain(self, decision_id: str, action_id: str) -> Explanation:
        """Runs a decision again, by its id or one of its actions'. Raises NotFoundError."""
        recorded = await self._journal.find(action_id or decision_id)
        if recorded is None:
            field = "action_id" if action_id else "decision_id"
            raise NotFoundError(
                f"there is no decision of this {field.replace('_', ' ')}",
                field=field,
                suggestion="list decisions for their ids; events that triggered nothing leave none",
            )
        live = await self._rule_sets.live(recorded.program)
        replayed = await self._asker.replay(
            live.version, live.whole, recorded.material, recorded.evaluation.arms, recorded.planned
        )
        reproduced = False
        if replayed.evaluation is not None:
            judged = as_judged_then(replayed.evaluation, recorded.evaluation)
            evaluation = with_gates(judged, recorded.gates)
            again = decide(evaluation, recorded.standing, self._conversation)
            reproduced = evaluation.facts == recorded.evaluation.facts and again.actions == recorded.actions
        names = {action.candidate.action_id: label_of(action.candidate) for action in recorded.actions}
        for action in recorded.actions:
            if action.outranked_by and action.outranked_by not in names:
                winner = await self._journal.find(action.outranked_by)
                names |= {
                    other.candidate.action_id: f"{label_of(other.candidate)} of an earlier decision"
                    for other in (() if winner is None else winner.actions)
                }
        asked = [
            action for action in recorded.actions if not action_id or action.candidate.action_id == action_id
        ]
        gates = tuple(gate_step(action, names) for action in recorded.actions)
        return Explanation(
            recorded,
            sentence_of(asked, replayed.because, names),
            (*replayed.steps, *gates),
            replayed.because,
            reproduced,
        )


def with_gates(evaluation: Evaluation, gates: Mapping[str, tuple[RefusalReason, str]]) -> Evaluation:
    """The evaluation with what the channel's gates said beforehand counted against the actions."""
    if not gates:
        return evaluation
    return replace(
        evaluation,
        candidates=tuple(
            replace(candidate, refusal=gates[candidate.action_id][0], detail=gates[candidate.action_id][1])
            if candidate.action_id in gates and candidate.refusal is None
            else candidate
            for candidate in evaluation.candidates
        ),
    )

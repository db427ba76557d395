"""A recorded decision run again: whether it comes out the same, and the first field that does not."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from services.decision.domain.decide import Question, as_judged_then, decide, evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from services.decision.domain.arbitration import DecidedAction, Standing
    from services.decision.domain.decide import Evaluation, Planned
    from services.decision.domain.eligibility import Eligibility
    from services.decision.domain.engine import RulesEngine
    from services.decision.domain.program import Program
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation
    from services.vocabulary.words import RefusalReason

_LONGEST = 120


class Given(Protocol):
    """What a decision rested on beside its event and snapshot."""

    @property
    def standing(self) -> Standing:
        """What earlier decisions had left."""
        ...

    @property
    def planned(self) -> Planned | None:
        """The plan that was decided again."""
        ...

    @property
    def gates(self) -> Mapping[str, tuple[RefusalReason, str]]:
        """What the channel's gates had refused beforehand."""
        ...


class Remembered(Given, Protocol):
    """What a record holds of a decision beside its event and snapshot: all that its replay needs."""

    @property
    def evaluation(self) -> Evaluation:
        """What the rules came to."""
        ...

    @property
    def actions(self) -> tuple[DecidedAction, ...]:
        """What became of each candidate."""
        ...


@dataclass(frozen=True)
class Difference:
    """A field that did not come out the same; values as a sentence shows them."""

    field: str
    then: str
    now: str

    @property
    def sentence(self) -> str:
        """Both values."""
        return f"{self.field} was {self.then} and is {self.now}"


@dataclass(frozen=True)
class Again:
    """What a replay came to. ``outcome`` None: of a planned action, whose conditions are not asked again."""

    evaluation: Evaluation
    actions: tuple[DecidedAction, ...]
    outcome: Outcome | None


def run_again(
    program: Program,
    engine: RulesEngine,
    eligibility: Eligibility,
    decision_id: str,
    situation: Situation,
    remembered: Remembered,
) -> Again:
    """The decision once more, rules and arbitration, from what was recorded of its input."""
    question = Question(decision_id, situation, remembered.planned)
    evaluation, outcome = evaluate(program, engine, eligibility, question)
    judged = as_judged_then(evaluation, remembered.evaluation)
    return Again(judged, _arbitrated(program, judged, remembered), outcome)


def run_by_todays_policy(
    program: Program,
    engine: RulesEngine,
    eligibility: Eligibility,
    decision_id: str,
    situation: Situation,
    given: Given,
) -> Again:
    """The same where nothing of what came out then is at hand: scores are by the policy as it is today."""
    evaluation, outcome = evaluate(
        program, engine, eligibility, Question(decision_id, situation, given.planned)
    )
    return Again(evaluation, _arbitrated(program, evaluation, given), outcome)


def _arbitrated(program: Program, evaluation: Evaluation, given: Given) -> tuple[DecidedAction, ...]:
    gated = with_gates(evaluation, given.gates)
    return decide(gated, given.standing, program.catalogue.conversation_micros).actions


def first_difference(remembered: Remembered, again: Again) -> Difference | None:
    """The first field of all that was recorded that came out otherwise; None: the same decision.

    Facts and arms come first, then what the filters look at, then the actions.
    """
    then, now = remembered.evaluation, again.evaluation
    each = (
        ("facts", then.facts, now.facts),
        ("arms", then.arms, now.arms),
        ("circumstances", then.circumstances, now.circumstances),
        ("actions", remembered.actions, again.actions),
    )
    return next((found for path, old, new in each for found in _differing(path, old, new)), None)


def arbitration_differs(remembered: Remembered, conversation_micros: int) -> Difference | None:
    """The same for arbitration alone, over the candidates as recorded, where the rules cannot be run again.

    An action that had to wait for its turn under a pace was recorded with that turn, and is left as it is.
    """
    if remembered.standing.rooms:
        return None
    again = decide(remembered.evaluation, remembered.standing, conversation_micros)
    return next(_differing("actions", remembered.actions, again.actions), None)


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


def _differing(path: str, then: Any, now: Any) -> Iterator[Difference]:
    if type(then) is type(now) and is_dataclass(then):
        for known in fields(then):
            if known.compare:
                yield from _differing(
                    f"{path}.{known.name}", getattr(then, known.name), getattr(now, known.name)
                )
    elif isinstance(then, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*then, *now)):
            if key in then and key in now:
                yield from _differing(f"{path}.{_key(key)}", then[key], now[key])
            else:
                yield Difference(f"{path}.{_key(key)}", _shown(then.get(key)), _shown(now.get(key)))
    elif isinstance(then, tuple) and isinstance(now, tuple):
        for position, (old, new) in enumerate(zip(then, now, strict=False)):
            yield from _differing(f"{path}[{position}]", old, new)
        if len(then) != len(now):
            rest = min(len(then), len(now))
            old, new = (each[rest] if len(each) > rest else None for each in (then, now))
            yield Difference(f"{path}[{rest}]", _shown(old), _shown(new))
    elif then != now:
        yield Difference(path, _shown(then), _shown(now))


def _key(key: Any) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _shown(value: Any) -> str:
    """A value in a sentence; of what was not there at all, or is a whole thing, only that."""
    if value is None:
        return "not there"
    if is_dataclass(value):
        return "there"
    if isinstance(value, Enum | Decimal):
        return str(value)
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

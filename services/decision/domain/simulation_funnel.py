"""What a simulation counts: from what rules ask for to what would be decided, rule by rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from services.vocabulary.words import ActionOutcome, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.decision.domain.arbitration import DecidedAction


class ActionName(NamedTuple):
    """One action of a rule; ``kind`` and ``category`` in the words of the catalogue."""

    rule_set: str
    rule: str
    kind: str
    name: str
    category: str


class Would(NamedTuple):
    """An action that would go to the gates, at that time. ``message``: as it travels to the channel.

    ``costed``: its cost is known, so that a budget can be kept.
    """

    micros: int
    customer: int
    action_id: str
    name: ActionName
    value: float
    cost: float
    costed: bool
    expires_micros: int
    message: bytes


@dataclass
class Stages:
    """How far the actions of one name came.

    ``asked``: rules asked for it. ``refused``: a hard filter stood against it, by reason. ``outranked``: it
    lost the conversation, or passed no limit. ``planned``: it was put off. ``fell_due``: what was put off
    came back; then it is refused, outranked or decided as any other. ``done``: at once (say, avoid, set,
    emit). ``decided``: it would go to the gates.
    """

    asked: int = 0
    planned: int = 0
    fell_due: int = 0
    done: int = 0
    outranked: int = 0
    decided: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: Stages) -> None:
        """Takes in what was counted elsewhere."""
        self.asked += other.asked
        self.planned += other.planned
        self.fell_due += other.fell_due
        self.done += other.done
        self.outranked += other.outranked
        self.decided += other.decided
        self.refused.update(other.refused)

    @property
    def eligible(self) -> int:
        """Those that could compete: nothing stood against them."""
        return self.asked + self.fell_due - self.refused.total()


@dataclass
class Funnel:
    """The counts of one program: ``events`` that could trigger something, ``decisions`` where one did."""

    events: int = 0
    decisions: int = 0
    stages: dict[ActionName, Stages] = field(default_factory=dict)

    def note(self, actions: Iterable[DecidedAction], *, fell_due: bool) -> None:
        """Counts one decision; ``fell_due``: it was about an action planned before."""
        self.decisions += 1
        for action in actions:
            stages = self.stages.setdefault(name_of(action), Stages())
            if fell_due:
                stages.fell_due += 1
            else:
                stages.asked += 1
            match action.outcome:
                case ActionOutcome.DISPATCHED:
                    stages.decided += 1
                case ActionOutcome.PLANNED:
                    stages.planned += 1
                case ActionOutcome.DONE:
                    stages.done += 1
                case _ if action.reason is RefusalReason.OUTRANKED:
                    stages.outranked += 1
                case _:
                    stages.refused[reason_of(action)] += 1

    def add(self, other: Funnel) -> None:
        """Takes in what was counted elsewhere."""
        self.events += other.events
        self.decisions += other.decisions
        for name, stages in other.stages.items():
            self.stages.setdefault(name, Stages()).add(stages)


def name_of(action: DecidedAction) -> ActionName:
    """Under which name an action is counted."""
    candidate = action.candidate
    return ActionName(
        candidate.rule_set,
        candidate.rule,
        candidate.kind.value,
        candidate.name or candidate.kind.value,
        "" if candidate.category is None else candidate.category.value,
    )


def reason_of(action: DecidedAction) -> str:
    """Why it was refused, in the word that outcomes carry."""
    return "" if action.reason is None else action.reason.value

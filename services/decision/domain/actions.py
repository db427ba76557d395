"""From the action a rule asks for to the action for one customer: places filled, times fixed, slot named."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from services.decision.domain.program import ActionSpec, Once
from services.decision.domain.situation import Situation
from services.vocabulary.values import ValueType


@dataclass(frozen=True, slots=True)
class Filled:
    """An action for one customer. Times in micros since the epoch; None: none."""

    parameters: Mapping[str, tuple[ValueType, Any]]
    template: str
    say: str
    due_micros: int | None
    expires_micros: int | None
    planned_micros: int | None


@dataclass(frozen=True, slots=True)
class OnceSlot:
    """A slot to reserve: taken again only when the last is older than `period_micros`; None: never again."""

    key: str
    period_micros: int | None


def fill(spec: ActionSpec, situation: Situation, arm: str = "") -> Filled:
    """The action's parameters and times for this situation, in this arm. Parameters without a value are left out."""
    raise NotImplementedError


def once_slot(once: Once, situation: Situation) -> OnceSlot:
    """Which slot of its rule an action takes; the key holds the cycle and the value of `by`, if asked for."""
    raise NotImplementedError


def unless_happened(spec: ActionSpec, situation: Situation, since_micros: int, since_sequence: int) -> str:
    """The first of the action's `unless` types seen after the decision on that event, up to now; empty: none."""
    raise NotImplementedError


def still_wanted(spec: ActionSpec, situation: Situation, shared_facts: Collection[str]) -> bool:
    """Whether the action's `keep` holds in the situation of its due time."""
    raise NotImplementedError

"""What rules ask not to bring up: kept from every rule set, in the decision and in the conversation after it.

It is kept where slots of `once` are, under a name that no rule can have, one for each category.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.domain.once import Taken
from services.vocabulary.words import Category

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.decision.domain.arbitration import Candidate

SlotName = tuple[str, str, str]
NOTHING_AVOIDED: Mapping[Category, str] = {}
_SLOTS: Mapping[Category, SlotName] = {
    category: ("", "avoid", category.value)
    for category in (Category.RETENTION, Category.SALES, Category.SURVEY)
}
"""What can be avoided: no rule keeps from a customer what a law, the contract or a repair demands."""


def kept(
    slots: Mapping[SlotName, Taken], time_micros: int, conversation_micros: int
) -> Mapping[Category, str]:
    """What is not to be brought up in a conversation around that time, each with who asked for it."""
    if not slots:
        return NOTHING_AVOIDED
    found: dict[Category, str] = {}
    for category, name in _SLOTS.items():
        taken = slots.get(name)
        if taken is not None and abs(time_micros - taken.taken_micros) < conversation_micros:
            asked = taken.holders[0]
            found[category] = f"action {asked} asked to avoid {category.value} in this conversation"
    return found


def words_of(candidate: Candidate) -> dict[Category, str]:
    """What an action asks to avoid, with what to say of it."""
    return {
        category: f"{candidate.rule_set}/{candidate.rule} asks to avoid {category.value}"
        for category in candidate.avoid
        if category in _SLOTS
    }


def taken(asked: Iterable[Candidate], time_micros: int, conversation_micros: int) -> dict[SlotName, Taken]:
    """What is to be kept of these actions, which were done at that time."""
    found: dict[SlotName, Taken] = {}
    for candidate in sorted(asked, key=lambda each: (each.order, each.action_id)):
        held = Taken(time_micros, (candidate.action_id,), time_micros + conversation_micros)
        for category in candidate.avoid:
            if category in _SLOTS:
                found.setdefault(_SLOTS[category], held)
    return found


NAMES = frozenset(_SLOTS.values())
"""Under which all of it is kept."""

"""What may have been said between a backup and the loss of what came after it."""

from dataclasses import dataclass

from services.channel.domain.actions import Action
from services.vocabulary.words import CATEGORY_FACTS

AHEAD_MICROS = 300_000_000
"""How far ahead of the clock an event may be: so much after the gap's end one may still have been decided."""

HELD_BACK = frozenset(category for category, facts in CATEGORY_FACTS.items() if not facts.resend_when_unknown)
"""Categories that are never said twice: retention, sales, survey."""

DETAIL = "it may have been said between the backup and the loss"


@dataclass(frozen=True, slots=True)
class Gap:
    """From the oldest backup to the loss, in microseconds of business time."""

    start_micros: int
    end_micros: int


def belongs_to(gap: Gap, action: Action) -> bool:
    """Whether an action that nobody remembers may have been dispatched in the gap.

    What is decided only now counts by its event's time: the event may have been decided in the gap too. An
    event that comes late for the first time is taken for one of the gap; nothing tells it from a repeat.
    """
    moment = action.event_micros or action.decided_micros
    return 0 < moment <= gap.end_micros + AHEAD_MICROS

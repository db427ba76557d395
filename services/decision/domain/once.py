"""`once`: at most one action of a rule in a rolling time, per key."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.vocabulary.catalogue import CYCLE_DAYS
from services.vocabulary.values import DAY

CYCLE_KEY = "cycle="
"""A key that begins so holds the billing cycle."""


@dataclass(frozen=True)
class Slot:
    """What a rule may do once: (rule set, rule, key), for ``period_micros``; None: ever, within the key.

    ``household``: whose it is instead of the customer's; 0: the customer's.
    """

    rule_set: str
    rule: str
    key: str
    period_micros: int | None
    household: int = 0

    @property
    def name(self) -> tuple[str, str, str]:
        """What the slot is looked up by, beside the customer."""
        return (self.rule_set, self.rule, self.key)

    def ends_micros(self, taken_micros: int) -> int:
        """From when on no event can find it taken; 0: it is taken for good."""
        if self.period_micros is not None:
            return taken_micros + self.period_micros
        # no later event is of that cycle
        return taken_micros + 2 * CYCLE_DAYS * DAY if self.key.startswith(CYCLE_KEY) else 0


@dataclass(frozen=True, slots=True)
class Taken:
    """A slot in use since ``taken_micros`` (event time) by these actions.

    ``ends_micros``: from when on it means nothing; 0: never, or not known. It is there for pruning alone.
    """

    taken_micros: int
    holders: tuple[str, ...] = field(default=())
    ends_micros: int = field(default=0, compare=False)


def is_free(slot: Slot, taken: Taken | None, time_micros: int, action_id: str = "") -> bool:
    """Whether the slot can be taken at that event time.

    The distance counts in both directions, so that an event that comes late finds what a later one took. An
    action finds the slot free that it holds itself: so a planned one is not refused when it falls due.
    """
    if taken is None or (action_id and action_id in taken.holders):
        return True
    if slot.period_micros is None:
        return False
    return abs(time_micros - taken.taken_micros) >= slot.period_micros

"""`once`: at most one action of a rule in a rolling time, per key."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Slot:
    """What a rule may do once: (rule set, rule, key), for ``period_micros``; None: ever, within the key."""

    rule_set: str
    rule: str
    key: str
    period_micros: int | None

    @property
    def name(self) -> tuple[str, str, str]:
        """What the slot is looked up by, beside the customer."""
        return (self.rule_set, self.rule, self.key)


@dataclass(frozen=True, slots=True)
class Taken:
    """A slot in use since ``taken_micros`` (event time) by these actions."""

    taken_micros: int
    holders: tuple[str, ...] = field(default=())


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

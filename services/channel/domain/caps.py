"""Frequency caps: how many contacts a person gets in a sliding window."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.channel.domain.contact import Contact
from services.vocabulary.words import Category, Channel


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `most` contacts in any window of that length, over all rule sets.

    `limits` names the categories that it refuses, `counts` those whose contacts fill it; `channels` empty
    means all channels together; `same_name` counts only contacts of the same name (a repeat limit).
    """

    name: str
    most: int
    window_micros: int
    limits: frozenset[Category]
    counts: frozenset[Category]
    channels: frozenset[Channel] = frozenset()
    same_name: bool = False

    def concerns(self, category: Category, channel: Channel) -> bool:
        """Whether it refuses that category on that channel."""
        return category in self.limits and (not self.channels or channel in self.channels)


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A cap without room."""

    cap: Cap
    count: int
    next_micros: int | None
    """When enough contacts have left the window; None: never (a cap of nothing)."""


def exceeded(
    caps: Sequence[Cap],
    contacts: Sequence[Contact],
    category: Category,
    channel: Channel,
    name: str,
    now_micros: int,
) -> Exceeded | None:
    """The cap that leaves no room for one more contact now, with the longest wait; None: all have room.

    A window at time t covers (t - window, t]. All caps must have room, so a refused contact fills none.
    """
    worst: Exceeded | None = None
    for cap in caps:
        if not cap.concerns(category, channel):
            continue
        times = sorted(
            contact.time_micros
            for contact in contacts
            if contact.time_micros > now_micros - cap.window_micros
            and contact.category in cap.counts
            and (not cap.channels or contact.channel in cap.channels)
            and (not cap.same_name or contact.name == name)
        )
        if len(times) < cap.most:
            continue
        leaves = times[len(times) - cap.most] + cap.window_micros if cap.most > 0 else None
        if worst is None or _waits_longer(leaves, worst.next_micros):
            worst = Exceeded(cap, len(times), leaves)
    return worst


def longest_window(caps: Sequence[Cap]) -> int:
    """How far back contacts matter at all, in microseconds."""
    return max((cap.window_micros for cap in caps), default=0)


def _waits_longer(one: int | None, other: int | None) -> bool:
    if other is None:
        return False
    return one is None or one > other

"""Frequency caps: how many contacts a person gets in a sliding window."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.channel.domain.actions import Action
from services.channel.domain.contact import Contact
from services.channel.domain.identity import Same
from services.vocabulary.arbitration_policy import over_share
from services.vocabulary.words import Category, Channel

_EVERY_CATEGORY = frozenset(Category)


@dataclass(frozen=True, slots=True)
class Reserve:
    """The last slots of a cap, kept for what matters: that priority or above, or one of these categories."""

    last: int
    from_priority: int | None = None
    categories: frozenset[Category] = frozenset()

    def is_open_to(self, action: Action) -> bool:
        """Whether the action may take one of them."""
        urgent = self.from_priority is not None and action.priority >= self.from_priority
        return urgent or action.category in self.categories

    def __str__(self) -> str:
        """For whom they are kept, for people."""
        kept_for = [] if self.from_priority is None else [f"priority {self.from_priority} and above"]
        kept_for += sorted(category.value for category in self.categories)
        return " or ".join(kept_for)


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `most` contacts in any window of that length, over all rule sets.

    `limits` names the categories that it refuses, `counts` those whose contacts fill it. `channels`, `topics`
    and `names` narrow both: only these actions are refused and only these contacts count; empty: all, of
    channels all together. `same_name` counts only contacts of the same name (a repeat limit).
    """

    name: str
    most: int
    window_micros: int
    limits: frozenset[Category]
    counts: frozenset[Category]
    channels: frozenset[Channel] = frozenset()
    same_name: bool = False
    topics: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    reserve: Reserve | None = None
    household: bool = False

    def concerns(self, category: Category, channel: Channel) -> bool:
        """Whether it may refuse actions of that category on that channel."""
        return category in self.limits and (not self.channels or channel in self.channels)

    def room_for(self, action: Action) -> int:
        """How many contacts there may be after this action: all slots, or those that are not reserved."""
        if self.reserve is None or self.reserve.is_open_to(action):
            return self.most
        return max(0, self.most - self.reserve.last)


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A cap without room for an action."""

    cap: Cap
    count: int
    next_micros: int | None
    """When all caps that refuse the action have room again; None: never (a cap of nothing)."""

    @property
    def by_reserve(self) -> bool:
        """There is room, but the last slots are kept for what matters more."""
        return self.count < self.cap.most


def exceeded(
    caps: Sequence[Cap],
    contacts: Sequence[Contact],
    action: Action,
    channel: Channel,
    now_micros: int,
    *,
    household: Sequence[Contact] = (),
) -> Exceeded | None:
    """The cap that leaves no room for this contact now, with the longest wait; None: all have room.

    `household`: the contacts of all members, for caps that count those.

    A window at time t covers (t - window, t]. All caps must have room, so a refused contact fills none.
    As contacts only leave a window, the longest of the waits is the wait for all of them.
    """
    worst: Exceeded | None = None
    selected: dict[tuple[_Selection, bool], list[int]] = {}
    for cap, selection in _concerning(Same(tuple(caps)), action.category, channel):
        if (cap.topics and action.topic not in cap.topics) or (cap.names and action.name not in cap.names):
            continue
        room = cap.room_for(action)
        counted = household if cap.household else contacts
        if len(counted) < room:
            continue  # not even all of them together
        times = selected.get((selection, cap.household))
        if times is None:
            times = selected[selection, cap.household] = selection.times(counted, action.name)
        if len(times) < room:
            continue
        start = now_micros - cap.window_micros
        inside = [time for time in times if time > start]
        if len(inside) < room:
            continue
        inside.sort()
        leaves = inside[len(inside) - room] + cap.window_micros if room > 0 else None
        if worst is None or _waits_longer(leaves, worst.next_micros):
            worst = Exceeded(cap, len(inside), leaves)
    return worst


@dataclass(frozen=True, slots=True)
class SalesShare:
    """At most that share of a person's contacts in any window of that length may be sales."""

    most: float
    window_micros: int

    def over(self, contacts: Sequence[Contact], now_micros: int) -> str:
        """Why one more sales contact would be too large a share; empty: it would not.

        Contacts of other systems that do not say what for lend sales no room, nor do tasks for an agent.
        """
        start = now_micros - self.window_micros
        found = [
            contact.category
            for contact in contacts
            if contact.time_micros > start and contact.category and contact.channel is not Channel.TASK
        ]
        return over_share(self.most, self.window_micros, len(found), found.count(Category.SALES))


def longest_window(caps: Sequence[Cap]) -> int:
    """How far back contacts matter at all, in microseconds."""
    return max((cap.window_micros for cap in caps), default=0)


class _Selection:
    """Which contacts fill a cap; caps that differ in their window only share one."""

    __slots__ = ("_categories", "_channels", "_names", "_same_name", "_topics")

    def __init__(self, cap: Cap) -> None:
        # tuples are looked through by identity, which is faster than the hash of a word; None: all
        self._categories = None if cap.counts == _EVERY_CATEGORY else tuple(cap.counts)
        self._channels = tuple(cap.channels)
        self._topics = cap.topics
        self._names = cap.names
        self._same_name = cap.same_name

    def times(self, contacts: Sequence[Contact], name: str) -> list[int]:
        """Their times; `name` is that of the action.

        A contact of another system that does not say what it was for counts where every category does.
        """
        found = contacts
        if (categories := self._categories) is not None:
            found = [contact for contact in found if contact.category in categories]
        if channels := self._channels:
            found = [contact for contact in found if contact.channel in channels]
        if self._same_name:
            found = [contact for contact in found if contact.name == name]
        if topics := self._topics:
            found = [contact for contact in found if contact.topic in topics]
        if names := self._names:
            found = [contact for contact in found if contact.name in names]
        return [contact.time_micros for contact in found]


@lru_cache(maxsize=512)
def _concerning(
    table: Same[tuple[Cap, ...]], category: Category, channel: Channel
) -> tuple[tuple[Cap, _Selection], ...]:
    """The caps that may refuse such an action, each with what fills it."""
    selections: dict[tuple[object, ...], _Selection] = {}
    found = []
    for cap in table.of:
        if cap.concerns(category, channel):
            fills = (cap.counts, cap.channels, cap.same_name, cap.topics, cap.names)
            found.append((cap, selections.setdefault(fills, _Selection(cap))))
    return tuple(found)


def _waits_longer(one: int | None, other: int | None) -> bool:
    if other is None:
        return False
    return one is None or one > other

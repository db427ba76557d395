"""What a simulated program said to itself, laid over what is known of the real past.

Traits that it set and events that it emitted are seen by later decisions; contacts within the simulated time
are its own, in the place of those that were really made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import nan
from typing import TYPE_CHECKING, Any

from services.decision.domain.activity import NO_ACTIVITY, Activity
from services.decision.domain.contacts import SENT
from services.decision.domain.trial import activity_of

if TYPE_CHECKING:
    from services.decision.domain.situation import Situation
    from services.vocabulary.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class OwnTrait:
    """A trait that was set, in its typed form; ``until_micros`` 0: for good."""

    value: Any
    set_micros: int
    until_micros: int = 0


@dataclass(frozen=True, slots=True)
class OwnEntry:
    """An event of our own in the activity: its kept fields, and after which event it was taken."""

    micros: int
    sequence: int
    fields: Mapping[str, Any]


@dataclass(slots=True)
class OwnPast:
    """What one program left in one customer's past. ``since_micros``: when the simulated time begins.

    ``foreign``: contacts within it that no rule set of the program made, by time and sequence. ``said`` is
    equal for those that said the same in the same order; ``kinds`` are the event types that were emitted.
    """

    catalogue: Catalogue
    since_micros: int
    traits: dict[str, OwnTrait] = field(default_factory=dict)
    entries: dict[str, list[OwnEntry]] = field(default_factory=dict)
    foreign: frozenset[tuple[int, int]] = frozenset()
    said: int = 0
    kinds: frozenset[str] = frozenset()

    def set(self, name: str, trait: OwnTrait) -> None:
        """A trait was set."""
        self.traits[name] = trait
        self.said = hash((self.said, name, repr(trait)))

    def add(self, event_type: str, entry: OwnEntry) -> None:
        """An event of our own was taken."""
        self.entries.setdefault(event_type, []).append(entry)
        self.said = hash((self.said, event_type, repr(entry)))
        if event_type != SENT:
            self.kinds |= {event_type}

    def over(self, situation: Situation, set_times: Mapping[str, int]) -> None:
        """Lays it over a situation; ``set_times``: when the traits known for real were said."""
        if self.traits:
            situation.traits = self._traits(situation, set_times)
        situation.activity = _Activities(situation.activity, self, situation.withheld)

    def over_again(self, situation: Situation, arms: Mapping[str, str]) -> Situation:
        """A situation with this own past over it, instead of another of which nothing was seen."""
        activity = situation.activity
        assert isinstance(activity, _Activities), "nothing was laid over it"
        mine = _Activities(activity.base, self, situation.withheld)
        return replace(situation, activity=mine, arms=arms, cache=dict(situation.cache))

    @staticmethod
    def was_seen(situation: Situation) -> bool:
        """Whether anything was looked at that was laid over a situation, traits aside."""
        return not isinstance(situation.activity, _Activities) or situation.activity.seen

    def _traits(self, situation: Situation, set_times: Mapping[str, int]) -> Mapping[str, Any]:
        now = situation.now_micros
        found: dict[str, Any] = {}
        for name, own in self.traits.items():
            known = self.catalogue.traits.get(name)
            if known is None or known.purpose in situation.withheld or not own.set_micros <= now:
                continue
            if own.until_micros and own.until_micros <= now:
                continue
            if set_times.get(name, 0) <= own.set_micros:
                found[name] = own.value
        return _Over(situation.traits, found) if found else situation.traits


class _Over(Mapping[str, Any]):
    """A mapping with some of its values replaced."""

    __slots__ = ("_base", "_own")

    def __init__(self, base: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        self._base = base
        self._own = own

    def get(self, name: str, default: Any = None) -> Any:
        """Ours, else the one below."""
        return self._own[name] if name in self._own else self._base.get(name, default)

    def __getitem__(self, name: str) -> Any:
        """Ours, else the one below."""
        return self._own[name] if name in self._own else self._base[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._base, *self._own)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Activities(Mapping[str, Activity]):
    """Activity by event type, ours among it."""

    __slots__ = ("_made", "_own", "_withheld", "base", "seen")

    def __init__(self, base: Mapping[str, Activity], own: OwnPast, withheld: frozenset[Any]) -> None:
        self.base = base
        self.seen = False
        self._own = own
        self._withheld = withheld
        self._made: dict[str, Activity | None] = {}

    def get(self, event_type: str, default: Any = None) -> Any:
        """Of one type; the default when there is none, or it is withheld."""
        if event_type != SENT and event_type not in self._own.entries:
            return self.base.get(event_type, default)
        self.seen = True
        if event_type not in self._made:
            self._made[event_type] = self._merged(event_type)
        found = self._made[event_type]
        return default if found is None else found

    def __getitem__(self, event_type: str) -> Activity:
        """Of one type."""
        found: Activity | None = self.get(event_type)
        if found is None:
            raise KeyError(event_type)
        return found

    def __iter__(self) -> Iterator[str]:
        self.seen = True
        return iter(dict.fromkeys((*self.base, *self._own.entries)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _merged(self, event_type: str) -> Activity | None:
        base = self.base.get(event_type)
        known = self._own.catalogue.events.get(event_type)
        own = self._own.entries.get(event_type, [])
        if known is None or known.purpose in self._withheld:
            return base
        if base is not None and event_type == SENT:
            base = _until(base, self._own.since_micros, self._own.foreign)
        return _with(base or NO_ACTIVITY, own, event_type, self._own.catalogue) if own else base


def _until(activity: Activity, since_micros: int, foreign: frozenset[tuple[int, int]]) -> Activity:
    """Only what was before, and what others did."""
    kept = [
        place
        for place, (time, sequence) in enumerate(zip(activity.times, activity.sequences, strict=True))
        if time < since_micros or (time, sequence) in foreign
    ]
    if len(kept) == len(activity.times):
        return activity
    return replace(
        activity,
        times=[activity.times[place] for place in kept],
        sequences=[activity.sequences[place] for place in kept],
        numbers={name: [column[place] for place in kept] for name, column in activity.numbers.items()},
        texts={name: [column[place] for place in kept] for name, column in activity.texts.items()},
    )


def _with(base: Activity, own: list[OwnEntry], event_type: str, catalogue: Catalogue) -> Activity:
    """With entries of ours, in order of time, then sequence."""
    ours = activity_of([(event_type, entry.micros, entry.fields) for entry in own], catalogue)[event_type]
    times = [*base.times, *ours.times]
    sequences = [*base.sequences, *(entry.sequence for entry in own)]
    order = sorted(range(len(times)), key=lambda place: (times[place], sequences[place]))
    no_numbers, no_texts = [nan] * len(base.times), [None] * len(base.times)
    numbers = {name: [*base.numbers.get(name, no_numbers), *column] for name, column in ours.numbers.items()}
    texts = {name: [*base.texts.get(name, no_texts), *column] for name, column in ours.texts.items()}
    return replace(
        base,
        times=[times[place] for place in order],
        sequences=[sequences[place] for place in order],
        numbers={name: [column[place] for place in order] for name, column in numbers.items()},
        texts={name: [column[place] for place in order] for name, column in texts.items()},
    )

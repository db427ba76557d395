"""Typed traits: what is known of a person, from whom, since when, until when."""

from collections.abc import Iterable
from dataclasses import dataclass

from services.vocabulary.values import Value

TraitKey = tuple[str, str]
"""Name and line; an empty line is the person, or the main line."""


@dataclass(frozen=True, slots=True)
class Trait:
    """One trait. `value` None: taken away at that time. `until_micros` 0: no end."""

    name: str
    value: Value | None
    time_micros: int
    source: str
    line: str = ""
    until_micros: int = 0

    def holds_at(self, time_micros: int) -> bool:
        """Whether it has a value then."""
        return self.value is not None and not 0 < self.until_micros <= time_micros


def changed_by(known: dict[TraitKey, Trait], update: Trait) -> bool:
    """Whether an update says something newer than what is known; the same again is no change.

    An update older than what is known changes nothing, in whatever order both arrive.
    """
    before = known.get((update.name, update.line))
    if before is None:
        return update.value is not None
    if update.time_micros < before.time_micros:
        return False
    same = before.value == update.value and type(before.value) is type(update.value)
    return not (same and before.until_micros == update.until_micros and before.source == update.source)


def next_end_micros(traits: Iterable[Trait]) -> int:
    """When the next of them ends by itself; 0: none will."""
    return min(
        (trait.until_micros for trait in traits if trait.until_micros and trait.value is not None), default=0
    )

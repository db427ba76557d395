"""Typed traits: what is known of a person, from whom, since when, until when, and who else says something.

Where the catalogue declares an order of sources for a trait (sources.yaml), the latest word of each source is
kept: which of them holds then depends on the words and the time asked, never on the order of their arrival.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from services.vocabulary.catalogue import Precedence
from services.vocabulary.values import Value

TraitKey = tuple[str, str]
"""Name and line; an empty line is the person, or the main line."""


@dataclass(frozen=True, slots=True)
class Trait:
    """One trait. `value` None: taken away at that time. `until_micros` 0: no end.

    `others` are the latest words of further sources, where the catalogue declares an order; each has none
    itself.
    """

    name: str
    value: Value | None
    time_micros: int
    source: str
    line: str = ""
    until_micros: int = 0
    others: tuple["Trait", ...] = ()

    def holds_at(self, time_micros: int) -> bool:
        """Whether it has a value then."""
        return self.value is not None and not 0 < self.until_micros <= time_micros

    @property
    def words(self) -> tuple["Trait", ...]:
        """What each source said last, this one's first; none of them has others."""
        return (replace(self, others=()), *self.others) if self.others else (self,)


def with_word(before: Trait | None, update: Trait, precedence: Precedence | None = None) -> Trait | None:
    """The trait after one more word; None: the word changes nothing that is known.

    A source's own word is replaced by a later one of its own, or by one of the same time that was accepted
    later: a correction. Without an order of sources all of them count as one.
    """
    if before is None:
        return update
    if precedence is None:
        if not _replaces(before, update):
            return None
        return update
    return _with_ranked(before, update, precedence)


def _with_ranked(before: Trait, update: Trait, precedence: Precedence) -> Trait | None:
    by_rank: dict[int, Trait] = {}
    for word in before.words:
        _put(by_rank, precedence.rank(word.source), word)
    if not _put(by_rank, precedence.rank(update.source), update):
        return None
    return settled_trait(by_rank.values(), precedence)


def _put(by_rank: dict[int, Trait], rank: int, word: Trait) -> bool:
    """Whether a word is its rank's latest. Sources of one rank are told apart at the same time by name."""
    standing = by_rank.get(rank)
    if standing is not None:
        if standing.source != word.source:
            if (word.time_micros, word.source) < (standing.time_micros, standing.source):
                return False
        elif not _replaces(standing, word):
            return False
    by_rank[rank] = word
    return True


def settled_trait(words: Iterable[Trait], precedence: Precedence) -> Trait:
    """One trait of the words of several sources: the one that holds when the newest of them was said."""
    every = sorted(words, key=lambda word: precedence.rank(word.source))
    first = _prevailing(every, precedence, max(word.time_micros for word in every))
    return replace(first, others=tuple(word for word in every if word is not first))


def trait_at(trait: Trait, time_micros: int, precedence: Precedence | None) -> Trait:
    """The word that holds then: the first in order that is fresh; if none is, the newest that has a value."""
    if precedence is None or not trait.others:
        return trait
    words = sorted(trait.words, key=lambda word: precedence.rank(word.source))
    return _prevailing(words, precedence, time_micros)


def _prevailing(words: list[Trait], precedence: Precedence, time_micros: int) -> Trait:
    """Of words in their order. Who took a word back says nothing more: the next in order is heard."""
    holding = [word for word in words if word.holds_at(time_micros)]
    for word in holding:
        if precedence.is_fresh(word.time_micros, time_micros):
            return word
    return max(holding or words, key=lambda word: word.time_micros)


def _replaces(before: Trait, update: Trait) -> bool:
    if update.time_micros != before.time_micros:
        return update.time_micros > before.time_micros
    return _says_else(before, update)


def _says_else(one: Trait, other: Trait) -> bool:
    return (
        one.value != other.value
        or type(one.value) is not type(other.value)
        or one.until_micros != other.until_micros
        or one.source != other.source
    )


def changed_by(known: Mapping[TraitKey, Trait], update: Trait, precedence: Precedence | None = None) -> bool:
    """Whether an update changes what holds; the same again, only later, is no such change.

    An update older than what is known changes nothing, in whatever order both arrive.
    """
    before = known.get((update.name, update.line))
    after = with_word(before, update, precedence)
    return after is not None and differs(before, after)


def differs(before: Trait | None, after: Trait) -> bool:
    """Whether another value holds, from another source or until another time."""
    return after.value is not None if before is None else _says_else(before, after)


def values_of(trait: Trait | None) -> list[Value]:
    """What holds, and all that may come to hold as words grow old or end; each once."""
    found: list[Value] = []
    for word in trait.words if trait is not None else ():
        if word.value is not None and word.value not in found:
            found.append(word.value)
    return found


def next_end_micros(traits: Iterable[Trait]) -> int:
    """When the next of them ends by itself; 0: none will."""
    return min(
        (trait.until_micros for trait in traits if trait.until_micros and trait.value is not None), default=0
    )

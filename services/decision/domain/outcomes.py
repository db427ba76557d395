"""Whose outcome differs between two versions of a rule set."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from services.decision.domain.customers import Customer, CustomerMistake

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from services.decision.domain.customers import Asked, Version
    from services.decision.domain.engine import RulesEngine

MOST_EXAMPLES = 10
_MOST_STEPS = 200


class Change(StrEnum):
    """How the outcome of one customer differs."""

    SAME = "same"
    MORE = "fires more"
    LESS = "fires less"
    OTHER = "other action"


@dataclass(frozen=True, slots=True)
class Met:
    """What both versions ask for, for one customer."""

    customer: Customer
    old: tuple[Asked, ...]
    new: tuple[Asked, ...]

    @property
    def change(self) -> Change:
        """By what is asked for, and in which order; what the rules are called does not count."""
        old, new = ([asked.details for asked in each] for each in (self.old, self.new))
        if old == new:
            return Change.SAME
        gone, come = _without(old, new), _without(new, old)
        if bool(gone) is bool(come):
            return Change.OTHER
        return Change.MORE if come else Change.LESS

    @property
    def rules(self) -> tuple[object, ...]:
        """By which two differences are of the same sort."""
        return self.change, tuple(each.rule for each in self.old), tuple(each.rule for each in self.new)


@dataclass(slots=True)
class Tally:
    """How many customers differ in which way, and some of them, the simplest first."""

    counts: Counter[Change] = field(default_factory=Counter)
    examples: tuple[Met, ...] = ()
    unread: int = 0
    """Made-up customers that a version could not read."""

    @property
    def differs(self) -> bool:
        """Whether any outcome does."""
        return sum(self.counts.values()) > self.counts[Change.SAME]

    def joined(self, other: Tally) -> Tally:
        """Both together, the examples of this one first."""
        examples = (*self.examples, *other.examples)[:MOST_EXAMPLES]
        return Tally(self.counts + other.counts, examples, self.unread + other.unread)


class Comparison:
    """Meets both versions with customers."""

    def __init__(self, old: Version, new: Version, engine: RulesEngine) -> None:
        self._old = old
        self._new = new
        self._engine = engine

    def meet(self, customer: Customer) -> Met:
        """Both outcomes, at the same moment. Raises CustomerMistake."""
        timed = customer
        if customer.at_micros is None:
            timed = replace(customer, at_micros=self._new.moment)
        old = self._old.meets(self._engine, timed, self._new)
        return Met(customer, old, self._new.meets(self._engine, timed, self._old))

    def tally(self, customers: Iterable[Customer], *, strict: bool) -> Tally:
        """All of them met; `strict`: one that cannot be read raises CustomerMistake, else it is counted."""
        tally = Tally()
        found: dict[tuple[object, ...], list[Met]] = {}
        for customer in customers:
            try:
                met = self.meet(customer)
            except CustomerMistake as mistake:
                if strict:
                    raise CustomerMistake(f"{customer.where}: {mistake}") from None
                tally.unread += 1
                continue
            tally.counts[met.change] += 1
            if met.change is not Change.SAME:
                alike = found.setdefault(met.rules, [])
                if len(alike) < MOST_EXAMPLES:
                    alike.append(met)
        tally.examples = self._examples(list(found.values()))
        return tally

    def _examples(self, sorts: list[list[Met]]) -> tuple[Met, ...]:
        """One of each sort first, then more; each with no more than what makes it differ."""
        chosen: list[Met] = []
        seen: set[str] = set()
        for rank in range(MOST_EXAMPLES):
            for sort in sorts:
                if rank < len(sort) and len(chosen) < MOST_EXAMPLES:
                    small = self._smallest(sort[rank])
                    text = repr((small.customer.given, small.customer.when))
                    if text not in seen:
                        seen.add(text)
                        chosen.append(small)
        return tuple(sorted(chosen, key=lambda met: _size(met.customer.given) + _size(met.customer.when)))

    def _smallest(self, met: Met) -> Met:
        """The same difference with as little as possible known of the customer."""
        steps = 0
        while steps < _MOST_STEPS:
            for smaller in _smaller(met.customer):
                steps += 1
                try:
                    found = self.meet(smaller)
                except CustomerMistake:
                    continue
                if found.rules == met.rules:
                    met = found
                    break
            else:
                break
        return met


def _without(these: list[Any], those: list[Any]) -> list[Any]:
    left = list(these)
    for each in those:
        if each in left:
            left.remove(each)
    return left


def _size(value: object) -> int:
    match value:
        case dict():
            return sum(1 + _size(each) for each in value.values())
        case list():
            return sum(1 + _size(each) for each in value)
        case _:
            return 0


def _smaller(customer: Customer) -> Iterator[Customer]:
    """The customer without one of the things that are given."""
    if customer.at_micros is not None:
        yield replace(customer, at_micros=None)
    for given in _without_one(customer.given):
        yield replace(customer, given=given)
    for when in _without_one(customer.when):
        yield replace(customer, when=when)


def _without_one(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key in value:
        yield {name: each for name, each in value.items() if name != key}
    for key, inner in value.items():
        if isinstance(inner, dict) and len(inner) > 1:
            for less in _without_one(inner):
                yield {**value, key: less}
        elif isinstance(inner, list) and len(inner) > 1:
            for number in range(len(inner)):
                yield {**value, key: [*inner[:number], *inner[number + 1 :]]}

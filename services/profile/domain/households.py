"""Households: who belongs to one, which lines it has, and what its members share."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.profile.domain.accounts import Line, Subscription
from services.profile.domain.traits import Trait, changed_by, with_word

MOST_MEMBERS: Final = 20
"""An account with more users than this is a company's, and no household."""


@dataclass(slots=True)
class Member:
    """One person of a household. `said`: it was said of this person; else it follows from an account."""

    said: bool = False
    lines: tuple[Line, ...] = ()


@dataclass(slots=True)
class Household:
    """A household: its members by customer id, and what they share by name. `key`: what it is found by."""

    id: int
    key: bytes
    members: dict[int, Member] = field(default_factory=dict)
    traits: dict[str, Trait] = field(default_factory=dict)
    changed: bool = False

    def copy(self) -> "Household":
        """The same, untouched by what is said later."""
        return Household(self.id, self.key, dict(self.members), dict(self.traits))

    def join(self, customer: int, lines: Sequence[Line], *, said: bool) -> None:
        """Somebody belongs to it from now on."""
        self.members[customer] = Member(said, tuple(lines))
        self.changed = True

    def leave(self, customer: int) -> None:
        """Somebody belongs to it no more; without members it shares nothing."""
        if self.members.pop(customer, None) is not None:
            self.changed = True
        if not self.members:
            self.traits.clear()

    def hold_lines(self, customer: int, lines: Sequence[Line]) -> None:
        """The lines of a member are these now."""
        member = self.members.get(customer)
        if member is not None and member.lines != tuple(lines):
            member.lines = tuple(lines)
            self.changed = True

    def lines_at(self, time_micros: int) -> int:
        """How many lines it has then."""
        return sum(line.counts_at(time_micros) for one in self.members.values() for line in one.lines)

    def changed_by(self, word: Trait) -> bool:
        """Whether a word changes what its members share."""
        return changed_by({(name, ""): trait for name, trait in self.traits.items()}, word)

    def take(self, word: Trait) -> None:
        """Take a word of any member; an older one never replaces a newer."""
        after = with_word(self.traits.get(word.name), word)
        if after is not None:
            self.traits[word.name] = after
            self.changed = True


def persons_together(
    subscriptions: Collection[Subscription], payer: int, time_micros: int, who: Callable[[int], int]
) -> frozenset[int]:
    """Who forms a household by sharing an account; nobody where one alone uses its lines, or too many.

    `who`: who a customer is now, 0: nobody.
    """
    counting = [one for one in subscriptions if one.counts_at(time_micros)]
    users = {who(one.user) for one in counting} - {0}
    payers = {who(one.payer) for one in counting} | {who(payer)}
    persons = (users | payers) - {0}
    return frozenset(persons) if len(users) > 1 and len(persons) <= MOST_MEMBERS else frozenset()

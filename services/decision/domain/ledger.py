"""The standing of the customers of one transaction, in memory while their rows are locked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from services.decision.domain.arbitration import Standing, Won
from services.decision.domain.journeys import MOST_HOPS, latest
from services.decision.domain.limits import Room
from services.vocabulary.words import Category

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.decision.domain.arbitration import Arbitration
    from services.decision.domain.journeys import Position, PositionName, StepDue
    from services.decision.domain.limits import Limits, Use
    from services.decision.domain.once import Taken

SlotName = tuple[str, str, str]
_NEVER_HELD_OUT = frozenset({Category.MANDATORY, Category.SERVICE})


@dataclass(slots=True)
class Account:
    """What earlier decisions left behind for one customer."""

    slots: dict[SlotName, Taken] = field(default_factory=dict)
    won: dict[str, int] = field(default_factory=dict)
    arms: dict[str, str] = field(default_factory=dict)
    positions: dict[PositionName, Position] = field(default_factory=dict)


@dataclass(slots=True)
class LimitAccount:
    """What a rule set has used of its limits, whatever they are; see `limits.Room`."""

    spent: Decimal = Decimal(0)
    free_micros: int = 0
    days: dict[int, int] = field(default_factory=dict)


class Ledger:
    """Accounts by customer, and what has changed in them since they were read.

    ``limits``: accounts by rule set. ``uses``: what the actions now looked at have taken of them.
    ``actions_added``: by rule set and day, how many more actions there are now. ``households``: the household
    of each of those actions that holds a slot of one; ``holders_written``: what is new of that, and when the
    slot ends. ``erased``: those of the customers who were erased, of whom nothing is to be written.
    """

    def __init__(self, accounts: dict[int, Account]) -> None:
        self._accounts = accounts
        self.erased: frozenset[int] = frozenset()
        self.limits: dict[str, LimitAccount] = {}
        self.uses: dict[str, Use] = {}
        self.households: dict[str, int] = {}
        self.uses_written: dict[str, Use | None] = {}
        self.actions_added: dict[tuple[str, int], int] = {}
        self.slots_written: dict[tuple[int, SlotName], Taken | None] = {}
        self.holders_written: dict[str, tuple[int, int] | None] = {}
        self.won_written: dict[tuple[int, str], int | None] = {}
        self.arms_written: dict[tuple[int, str], str] = {}
        self.positions_written: dict[tuple[int, PositionName], Position | None] = {}

    def part(self, customers: Iterable[int]) -> Ledger:
        """The accounts of some of its customers, to be looked at alone."""
        return Ledger({customer: self._accounts[customer] for customer in customers})

    def standing(self, people: Sequence[int], households: Sequence[int] = ()) -> Standing:
        """What counts for a customer, who is first among ``people``; the others were merged into them.

        Of a slot the latest taking counts, those of the ``households`` among them; of an experiment the first
        person's arm; of a journey the place of who has not ended it, and moved last.
        """
        if len(people) == 1 and not households:
            account = self._account(people[0])
            return Standing(
                dict(account.slots), _won(account), dict(account.arms), positions=dict(account.positions)
            )
        slots: dict[SlotName, Taken] = {}
        won: list[Won] = []
        arms: dict[str, str] = {}
        positions: dict[PositionName, Position] = {}
        for person in people:
            account = self._account(person)
            _latest_slots(slots, account)
            won.extend(_won(account))
            arms = {**account.arms, **arms}
            for place, position in account.positions.items():
                known_position = positions.get(place)
                positions[place] = latest([known_position, position] if known_position else [position])
        for household in households:
            _latest_slots(slots, self._account(household))
            won.extend(_won(self._account(household)))
        return Standing(slots, tuple(dict.fromkeys(won)), arms, positions=positions)

    def rooms(
        self, limits: Mapping[str, Limits], now_micros: int, action_ids: Iterable[str], *, paced: bool = True
    ) -> dict[str, Room]:
        """What is left for these actions; without ``paced`` they are answers, which nothing spreads."""
        if not limits:
            return {}
        holders = frozenset(action_id for action_id in action_ids if action_id in self.uses)
        found: dict[str, Room] = {}
        for name, limit in limits.items():
            account = self._limit(name)
            counted = limit if paced else replace(limit, per_second=None)
            found[name] = Room(
                counted, now_micros, account.spent, account.free_micros, dict(account.days), holders
            )
        return found

    def enter(self, customer: int, arbitration: Arbitration, arms: dict[str, str]) -> None:
        """Enters what a decision used up, and the arms of the experiments that now count.

        Where the customer then stands in journeys is entered by `move`.
        """
        account = self._account(customer)
        slots = (action.candidate.slot for action in arbitration.actions)
        owners = {slot.name: slot.household for slot in slots if slot is not None}
        for name, taken in arbitration.taken.items():
            owner = owners.get(name) or customer  # what is to be avoided is no action's slot
            self._account(owner).slots[name] = self.slots_written[owner, name] = taken
            if owner != customer:
                for action_id in taken.holders:
                    self.holders_written[action_id] = (owner, taken.ends_micros)
        for action_id, use in arbitration.uses.items():
            self._use(action_id, use)
        for rule_set, free in arbitration.free.items():
            self._limit(rule_set).free_micros = free
        for won in arbitration.won:
            account.won[won.action_id] = self.won_written[customer, won.action_id] = won.time_micros
            if arbitration.household:
                self._share(won, arbitration.household, arbitration.won_until_micros)
        for action in arbitration.actions:
            candidate = action.candidate
            experiment = candidate.experiment
            if (
                experiment
                and candidate.category not in _NEVER_HELD_OUT
                and experiment not in account.arms
                and experiment in arms
            ):
                account.arms[experiment] = self.arms_written[customer, experiment] = arms[experiment]

    def move(
        self,
        people: Sequence[int],
        moves: Mapping[PositionName, Position | None],
        line: str = "",
        hops: int = 0,
    ) -> None:
        """Enters where a customer, the first of ``people``, stands in journeys from now on.

        ``line`` and ``hops`` of the event decided: a journey keeps the line it began with, and a step that is
        due at once stays in the chain of our own events that led here.
        """
        for place, position in moves.items():
            before = [found for person in people if (found := self._position(person, place)) is not None]
            for person in people:
                if self._account(person).positions.pop(place, None) is not None:
                    self.positions_written[person, place] = None
            if position is None:
                continue
            at_once = not position.ended and position.due_micros <= position.reached_micros
            entered = replace(
                position,
                line=latest(before).line if before else line,
                hops=min(hops + 1, MOST_HOPS) if at_once else 0,
            )
            customer = people[0]
            self._account(customer).positions[place] = entered
            self.positions_written[customer, place] = entered

    def leave(self, people: Sequence[int], due: StepDue) -> bool:
        """Ends the journey of who still stands at a step that was due, and from which nothing led on."""
        place = (due.rule_set, due.key)
        for person in people:
            position = self._position(person, place)
            if position is not None and due.is_at(position):
                ended = replace(position, step="", fields="{}") if due.key else None
                self._account(person).positions.pop(place)
                if ended is not None:
                    self._account(person).positions[place] = ended
                self.positions_written[person, place] = ended
                return True
        return False

    def _share(self, won: Won, household: int, until_micros: int) -> None:
        """A conversation that is the whole household's; who gives the action back finds it there."""
        shared = self._account(household)
        shared.won[won.action_id] = self.won_written[household, won.action_id] = won.time_micros
        held = self.holders_written.get(won.action_id)
        if held is None or 0 < held[1] < until_micros:  # an end of 0: never
            self.holders_written[won.action_id] = (household, until_micros)

    def _position(self, person: int, place: PositionName) -> Position | None:
        return self._account(person).positions.get(place)

    def give_back(self, people: Iterable[int], action_id: str) -> None:
        """Frees what an action had used up that was not said after all; its turn under a pace has passed."""
        use = self.uses.pop(action_id, None)
        if use is not None:
            limit = self._limit(use.rule_set)
            limit.spent -= use.cost
            self._count(limit, use, -1)
            self.uses_written[action_id] = None
        household = self.households.pop(action_id, 0)
        if household:
            self.holders_written[action_id] = None
        for person in (*people, household) if household else people:
            account = self._account(person)
            # it may have won a conversation outside the times that were read
            account.won.pop(action_id, None)
            self.won_written[person, action_id] = None
            for name, taken in list(account.slots.items()):
                if action_id not in taken.holders:
                    continue
                left = tuple(holder for holder in taken.holders if holder != action_id)
                if left:
                    account.slots[name] = self.slots_written[person, name] = replace(taken, holders=left)
                else:
                    del account.slots[name]
                    self.slots_written[person, name] = None

    def _use(self, action_id: str, use: Use) -> None:
        limit = self._limit(use.rule_set)
        limit.spent += use.cost
        self._count(limit, use, 1)
        self.uses[action_id] = self.uses_written[action_id] = use

    def _count(self, limit: LimitAccount, use: Use, added: int) -> None:
        limit.days[use.day] = limit.days.get(use.day, 0) + added
        key = (use.rule_set, use.day)
        self.actions_added[key] = self.actions_added.get(key, 0) + added

    def _limit(self, rule_set: str) -> LimitAccount:
        return self.limits.setdefault(rule_set, LimitAccount())

    def _account(self, customer: int) -> Account:
        return self._accounts.setdefault(customer, Account())


def _latest_slots(slots: dict[SlotName, Taken], account: Account) -> None:
    for name, taken in account.slots.items():
        known = slots.get(name)
        if known is None or taken.taken_micros > known.taken_micros:
            slots[name] = taken


def _won(account: Account) -> tuple[Won, ...]:
    return tuple(Won(action_id, micros) for action_id, micros in account.won.items())

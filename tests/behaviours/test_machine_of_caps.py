"""Caps over a real PostgreSQL, whatever several writers do at once, in whatever order.

After every step, however it came about:

- no cap that limits a message which passed in this step holds more than its threshold in its window;
- what may not touch a reserve left it untouched;
- what was refused for a cap really found one full, and names one;
- the slots taken are exactly those of the messages that hold one: given back once, never by halves.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import hypothesis.strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.channel.app.ports import Handed, HandOver, Outgoing, Receipt, ReceiptState
from services.channel.app.receipts import take_receipts
from services.channel.app.upkeep import expire, recover
from services.channel.domain.actions import Action
from services.channel.domain.caps import Cap, Reserve
from services.channel.domain.policies import Policies
from services.vocabulary import ids
from services.vocabulary.values import DAY, HOUR, MINUTE
from services.vocabulary.words import Category, Channel
from tests.behaviours.machines import WRITERS, Company, bounded
from tests.fakes.channel import make_action, reachable

PERSONS = 3
CATEGORIES = (Category.SALES, Category.RETENTION, Category.SURVEY, Category.SERVICE)
CHANNELS = (Channel.SMS, Channel.EMAIL)
HOLDING = ("planned", "sending", "sent", "delivered", "quarantined")

categories = st.sets(st.sampled_from(CATEGORIES), min_size=1).map(frozenset)
reserves = st.none() | st.builds(
    Reserve,
    last=st.just(1),
    from_priority=st.sampled_from([None, 50]),
    categories=st.sampled_from([frozenset(), frozenset({Category.SERVICE})]),
)


@st.composite
def caps(draw: st.DrawFn) -> tuple[Cap, ...]:
    """One to four caps, several windows of each size of time."""
    found = []
    for place in range(draw(st.integers(1, 4))):
        limits = draw(categories)
        found.append(
            Cap(
                f"c{place}",
                draw(st.sampled_from([0, 1, 1, 2, 2, 3, 3])),
                draw(st.sampled_from([MINUTE, HOUR, DAY])),
                limits,
                draw(st.just(limits) | categories),
                frozenset(draw(st.sets(st.sampled_from(CHANNELS), max_size=1))),
                same_name=draw(st.booleans()) and draw(st.booleans()),
                reserve=draw(reserves),
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Drawn:
    """An action before it has an id and a customer."""

    person: int
    of_alias: bool
    category: Category
    channel: Channel
    name: str
    priority: int
    expires_in: int


drawn = st.builds(
    Drawn,
    person=st.integers(0, PERSONS - 1),
    of_alias=st.booleans(),
    category=st.sampled_from(CATEGORIES),
    channel=st.sampled_from(CHANNELS),
    name=st.sampled_from(["hello", "other"]),
    priority=st.sampled_from([0, 50]),
    expires_in=st.sampled_from([0, 0, HOUR // 2]),
)


@dataclass(frozen=True)
class Slot:
    """A taken slot, as the database has it."""

    customer: int
    message_id: str
    channel: Channel
    category: Category
    name: str
    time_micros: int


class CapsMachine(RuleBasedStateMachine):
    """Does what comes, and looks at the database after each step."""

    company: Company

    def __init__(self) -> None:
        super().__init__()
        self.main = self.company.new_customers(PERSONS)
        self.alias = self.company.new_customers(PERSONS)
        self.merged: set[int] = set()
        self.actions: dict[str, Action] = {}
        """By message id."""
        self.held: dict[str, Slot] = {}
        self.company.clock.now += 40 * DAY  # nothing of the example before is in any window
        self.company.transport.sent.clear()
        self._introduce()

    @initialize(found=caps())
    def begin(self, found: tuple[Cap, ...]) -> None:
        self.company.in_force(Policies(caps=found))

    # what happens

    @rule(wanted=st.lists(drawn, min_size=2, max_size=12), killed=st.integers(0, 7))
    def dispatch(self, wanted: list[Drawn], killed: int) -> None:
        """Several writers take actions at once; one of them may die before its commit."""
        actions = [self._action(one) for one in wanted]
        batches = [actions[place::WRITERS] for place in range(WRITERS)]
        works = [
            self._take(place, batch, dies=place == killed) for place, batch in enumerate(batches) if batch
        ]
        self.company.together(*works)
        lost = batches[killed] if killed < WRITERS else []
        self._check_passed(gone=lost, taken=actions)

    @precondition(lambda self: self.actions)
    @rule(place=st.integers(0, 30), times=st.integers(2, 4))
    def repeat(self, place: int, times: int) -> None:
        """The same action again, by several writers at once: it takes no second slot."""
        action = list(self.actions.values())[place % len(self.actions)]
        self.company.together(*(self._take(number % WRITERS, [action]) for number in range(times)))
        self._check_passed()

    @rule(one=drawn, writers=st.integers(1, WRITERS))
    def reserve(self, one: Drawn, writers: int) -> None:
        """A caller who presents it himself asks for a slot, perhaps twice at once."""
        action = self._action(one)
        self.company.together(*(self._reserve(place, action) for place in range(writers)))
        self._check_passed()

    @precondition(lambda self: self.actions)
    @rule(outcomes=st.lists(st.sampled_from(HandOver), min_size=1, max_size=5))
    def hand_over(self, outcomes: list[HandOver]) -> None:
        """Two senders work through what is planned on SMS; the provider says this and that."""

        def answer(message: Outgoing) -> Handed:
            outcome = outcomes[int(message.message_id[:8], 16) % len(outcomes)]
            return Handed(message.message_id, outcome, f"p-{message.message_id}")

        self.company.transport.answer = answer
        self.company.together(*(road.sender.turn() for road in self.company.roads[:2]))
        self._check_passed()

    @precondition(lambda self: self.actions)
    @rule(states=st.lists(st.sampled_from(ReceiptState), min_size=1, max_size=4), twice=st.booleans())
    def receive(self, states: list[ReceiptState], *, twice: bool) -> None:
        """Receipts for all that was sent by SMS, perhaps twice, by two processes."""
        found = self._rows("state = 'sent' AND channel = 'sms'")
        receipts = [
            Receipt("fake", f"p-{message_id}", states[place % len(states)])
            for place, (message_id, *_) in enumerate(found)
        ]
        roads = self.company.roads[: 1 + twice]
        self.company.together(*(take_receipts(road.store, road.clock, receipts) for road in roads))
        self._check_passed()

    @rule(step=st.sampled_from([1, MINUTE - 1, MINUTE, 20 * MINUTE, HOUR, DAY]))
    def time_passes(self, step: int) -> None:
        """What waits gets its turn, what is over ends, what a dead sender left is taken up."""
        self.company.clock.now += step
        self.company.clock.wall += 120_000_000
        works = []
        for road in self.company.roads[:2]:
            works += [road.due(), expire(road.store, road.clock), recover(road.store, road.clock)]
        self.company.together(*works)
        self._check_passed()

    @precondition(lambda self: self.actions)
    @rule(found=caps())
    def policies_change(self, found: tuple[Cap, ...]) -> None:
        self.company.in_force(Policies(caps=found))

    @precondition(lambda self: self.actions)
    @rule(person=st.integers(0, PERSONS - 1))
    def two_ids_are_found_to_be_one_person(self, person: int) -> None:
        self.merged.add(person)
        self._introduce()

    @precondition(lambda self: self.actions)
    @rule()
    def everything_restarts(self) -> None:
        self.company.restart()

    # what must hold

    @invariant()
    def slots_are_those_of_the_messages_that_hold_one(self) -> None:
        state_of = {row[0]: row for row in self._rows("true")}
        holding = {
            message_id
            for message_id, state, reason, *_ in state_of.values()
            if state in HOLDING or reason == "HANDOVER_UNKNOWN"
        }
        assert set(self._slots()) == holding

    def _check_passed(self, gone: Sequence[Action] = (), taken: Sequence[Action] = ()) -> None:
        slots = self._slots()
        for action in gone:
            assert _message_id(action) not in slots, "its writer died before the commit"
            del self.actions[_message_id(action)]
        new = [slot for message_id, slot in slots.items() if message_id not in self.held]
        for slot in new:
            self._check_room(slot, new, slots)
        said = {row[0]: row[3] for row in self._rows("reason = 'CAPPED'")}
        for action in taken:
            if action not in gone and (detail := said.get(_message_id(action))) is not None:
                self._check_full(action, detail, slots)
        self.held = slots

    def _check_full(self, action: Action, detail: str, slots: dict[str, Slot]) -> None:
        """Refused in a step that only took slots: the cap named has no room for it at the end either."""
        cap = next(cap for cap in self.company.policies.caps if detail.startswith(f"cap {cap.name}: "))
        person, channel = self._person(action.customer), action.channels[0].channel
        inside = [slot for slot in slots.values() if self._fills(cap, slot, person, action.name)]
        assert action.category in cap.limits
        assert not cap.channels or channel in cap.channels
        assert len(inside) >= cap.room_for(action), f"{cap} had room: {detail}"

    def _fills(self, cap: Cap, slot: Slot, person: int, name: str) -> bool:
        return (
            self._person(slot.customer) == person
            and slot.category in cap.counts
            and (not cap.channels or slot.channel in cap.channels)
            and (not cap.same_name or slot.name == name)
            and slot.time_micros > self.company.clock.now - cap.window_micros
        )

    def _check_room(self, slot: Slot, new: list[Slot], slots: dict[str, Slot]) -> None:
        for cap in self.company.policies.caps:
            if not _limits(cap, slot):
                continue
            person = self._person(slot.customer)
            inside = [other for other in slots.values() if self._fills(cap, other, person, slot.name)]
            room = self._room(cap, slot)
            # what came in this step and is bound by no more room than this one: the last of them found all
            # the others there; what is not bound by the cap, or by more room, may have come after it
            bound = [
                other
                for other in inside
                if other not in new or (_limits(cap, other) and self._room(cap, other) <= room)
            ]
            if slot not in inside:
                bound = [other for other in inside if other not in new]
                room -= 1  # it passed, so there was room for one that would have filled it
            assert len(bound) <= room, f"{cap} holds {len(bound)} where {room} may be"

    def _room(self, cap: Cap, slot: Slot) -> int:
        action = self.actions[slot.message_id]
        kept = cap.reserve
        if kept is None or action.category in kept.categories:
            return cap.most
        urgent = kept.from_priority is not None and action.priority >= kept.from_priority
        return cap.most if urgent else max(0, cap.most - kept.last)

    # how it is done

    def _action(self, one: Drawn) -> Action:
        customer = (self.alias if one.of_alias else self.main)[one.person]
        action = make_action(
            str(uuid4()),
            customer,
            category=one.category,
            name=one.name,
            channels=(one.channel,),
            priority=one.priority,
            expires_micros=self.company.clock.now + one.expires_in if one.expires_in else 0,
        )
        self.actions[_message_id(action)] = action
        return action

    async def _take(self, place: int, batch: list[Action], *, dies: bool = False) -> None:
        road = self.company.roads[place]
        if not dies:
            await road.take(*batch)
            return
        prepared = await road.admission.prepare(batch)
        with suppress(ConnectionError):
            async with road.store.transaction() as tx:
                await road.admission.take(tx, prepared)
                _break_off()

    async def _reserve(self, place: int, action: Action) -> None:
        road = self.company.roads[place]
        channel = action.channels[0].channel
        assert channel is not None
        prepared = await road.admission.prepare([action])
        async with road.store.transaction() as tx:
            await road.admission.reserve(tx, prepared, channel)

    def _introduce(self) -> None:
        for person, (one, other) in enumerate(zip(self.main, self.alias, strict=True)):
            known = person in self.merged
            self.company.profile.reaches[one] = reachable(one, merged=(other,) if known else ())
            self.company.profile.reaches[other] = reachable(other, merged=(one,) if known else ())

    def _person(self, customer: int) -> int:
        for person, (one, other) in enumerate(zip(self.main, self.alias, strict=True)):
            if customer in (one, other) and person in self.merged:
                return one
        return customer

    def _slots(self) -> dict[str, Slot]:
        found = self.company.rows(
            "SELECT customer, message_id::text, channel, category, name, time_micros FROM contact "
            "WHERE customer = ANY(%s::bigint[])",
            ([*self.main, *self.alias],),
        )
        return {
            row[1]: Slot(row[0], row[1], Channel(row[2]), Category(row[3]), row[4], row[5]) for row in found
        }

    def _rows(self, where: str) -> list[tuple]:
        return self.company.rows(
            "SELECT message_id::text, state, reason, detail, customer FROM message "
            f"WHERE customer = ANY(%s::bigint[]) AND {where} ORDER BY number",
            ([*self.main, *self.alias],),
        )


def _limits(cap: Cap, slot: Slot) -> bool:
    return slot.category in cap.limits and (not cap.channels or slot.channel in cap.channels)


def _break_off() -> None:
    raise ConnectionError("killed before its commit")


def _message_id(action: Action) -> str:
    return ids.message_id(action.action_id)


def test_no_order_of_events_passes_a_cap_or_loses_a_slot(make_database: Callable[..., str]) -> None:
    company = Company(make_database)
    try:
        machine = type("Caps", (CapsMachine,), {"company": company})
        run_state_machine_as_test(machine, settings=bounded(examples=15, steps=12))
    finally:
        company.close()

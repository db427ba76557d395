"""Takes actions through the gates: each becomes a message that is planned, waits, or is refused."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.channel.app.campaigns import Spending
from services.channel.app.ports import MissingTemplate, Rendered
from services.channel.app.profile import ProfilePort, ask_profile, question_of
from services.channel.app.speech import Speech
from services.channel.app.store import Customers, GateTransaction, MessageKey, MessageTransaction, Reached
from services.channel.domain.actions import Action, ChannelChoice
from services.channel.domain.choice import Choice, Chosen, Dropped, Waits, choose
from services.channel.domain.contact import Contact, Reach, SuppressedFor
from services.channel.domain.escalation import messages_of, next_turn
from services.channel.domain.gap import DETAIL, HELD_BACK, belongs_to
from services.channel.domain.gates.verdict import GateState, is_contact
from services.channel.domain.messages import Message, Wording, accept, contact_of, turn_of
from services.channel.domain.outcomes import own_events, totals
from services.channel.domain.policies import Policies
from services.channel.domain.suppression import suppressed_for
from services.runtime.clock import Clock
from services.runtime.metrics import CAP_SECONDS, REFUSALS
from services.vocabulary import ids
from services.vocabulary.words import Channel, MessageState, RefusalReason

ASK_AGAIN_MICROS = 2_000_000
"""How long, on the wall's clock, a message rests when the profile could not be asked."""

_RENDERED_AT_ONCE = 64


@dataclass(slots=True)
class Prepared:
    """An action with what was asked and rendered for it before the transaction."""

    action: Action
    reach: Reach | None
    choices: tuple[ChannelChoice, ...]
    message_id: str
    """The message that carries the action."""
    said: dict[Channel, Rendered | MissingTemplate] = field(default_factory=dict)
    answers: bool = False
    """It answers what the person wrote a moment ago: it takes its slot, and no cap refuses it."""
    after_micros: int = 0
    """Only channels whose turn came so long after the decision, or later."""
    siblings: frozenset[str] = frozenset()
    """Other messages that may carry the same action: together they are one contact."""

    def carried_by(self, message_id: str, after_micros: int) -> None:
        """Which message carries it, and from which channels on."""
        self.message_id, self.after_micros = message_id, after_micros
        self.choices = tuple(choice for choice in self.choices if choice.after_micros >= after_micros)

    def forget(self, erased: frozenset[int]) -> None:
        """What the profile said of a person who was erased meanwhile counts no more: nobody knows them."""
        if not erased.isdisjoint((self.action.customer, self.recipient)):
            self.reach = Reach(known=False, asked_wall_micros=0)
            self.said.clear()

    def reached(self) -> Iterator[Reached]:
        """The addresses that it may go to."""
        permissions = self.reach.permissions if self.reach is not None else {}
        for choice in self.choices:
            if choice.channel is not None and choice.channel in permissions:
                yield self.recipient, choice.channel, permissions[choice.channel].address

    @property
    def recipient(self) -> int:
        """Who is written to: the customer, or who pays for the customer's line."""
        told = self.reach.recipient if self.reach is not None else 0
        return told or self.action.customer

    @property
    def person(self) -> tuple[int, ...]:
        """All ids of who is written to."""
        merged = self.reach.merged if self.reach is not None else ()
        return (self.recipient, *merged)

    @property
    def household(self) -> int:
        """The household of who is written to; 0: none."""
        return self.reach.household if self.reach is not None else 0

    @property
    def locks(self) -> tuple[int, ...]:
        """Whose gates it passes: the customer's own, those of who is written to, and of their household."""
        found = (self.action.customer, *self.person)
        return (*found, self.household) if self.household else found


@dataclass(slots=True)
class Gathered:
    """What the gates look at, read once for a batch under the customers' locks."""

    contacts: dict[int, list[Contact]]
    suppressed: Mapping[tuple[int, Channel], frozenset[SuppressedFor]]
    now_micros: int
    spending: Spending
    slots: list[Contact] = field(default_factory=list)
    """Taken by this batch."""
    of_households: dict[int, list[Contact]] = field(default_factory=dict)
    """What members of these households got, by household; only read where a cap counts it."""
    given_back: list[MessageKey] = field(default_factory=list)
    """Slots that pass to another message of the same action."""

    def contacts_of(self, one: Prepared) -> list[Contact]:
        """Slots taken under all ids of the person, and the contacts that other systems told of."""
        own = [contact for customer in one.person for contact in self.contacts.get(customer, ())]
        if one.siblings:
            own = [contact for contact in own if contact.message_id not in one.siblings]
        return own if one.reach is None or not one.reach.contacts else [*own, *one.reach.contacts]

    def household_contacts(self, one: Prepared) -> list[Contact]:
        """Slots of all members of the household, and what this person got besides."""
        own = self.contacts_of(one)
        if not one.household:
            return own
        shared = self.of_households.get(one.household, ())
        others = [contact for contact in shared if contact.message_id not in one.siblings]
        return [*others, *(contact for contact in own if contact.household != one.household)]

    def suppressed_for(self, person: tuple[int, ...], channel: Channel) -> frozenset[SuppressedFor]:
        """Why the channel is suppressed under any id of the person; empty: it is not."""
        return suppressed_for(self.suppressed, person, channel)

    def take_slot(self, message: Message, action: Action) -> None:
        """The message counts from now on, also for the rest of the batch."""
        self.spending.take(action, message.cost_micros)
        contact = contact_of(message, self.now_micros, action.topic)
        self.contacts.setdefault(contact.customer, []).append(contact)
        if contact.household:
            self.of_households.setdefault(contact.household, []).append(contact)
        self.slots.append(contact)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one action."""

    message: Message
    duplicate: bool
    choice: Choice | None = None
    """What the gates said just now; None: it was taken before."""


class Admission:
    """The gates as a use case; `policies` gives those in force."""

    def __init__(
        self,
        customers: Customers,
        profile: ProfilePort,
        speech: Speech,
        policies: Callable[[], Policies],
        clock: Clock,
    ) -> None:
        self._customers = customers
        self._profile = profile
        self._speech = speech
        self._policies = policies
        self._clock = clock

    async def prepare(self, actions: Sequence[Action]) -> list[Prepared]:
        """Everything that takes time, before the transaction: asks the profile in bulk, renders texts."""
        await self._clock.wait_until(1)  # a process that has just started may not know the time yet
        answers = await ask_profile(self._profile, actions)
        prepared: list[Prepared] = []
        for action in actions:
            reach = answers.get(question_of(action))
            choices = action.choices(reach.preferred if reach is not None else None)
            one = Prepared(
                action,
                reach,
                choices,
                ids.message_id(action.action_id),
                siblings=messages_of(action.action_id, choices),
            )
            self._render_likely(one)
            prepared.append(one)
            if len(prepared) % _RENDERED_AT_ONCE == 0:
                await asyncio.sleep(0)  # others have their turn
        await self._customers.know_customers(sorted({customer for one in prepared for customer in one.locks}))
        return prepared

    async def take(self, tx: GateTransaction, prepared: Sequence[Prepared]) -> list[Taken]:
        """Makes a message of each action, once; answers in the order given.

        Where slots are short the more urgent tier comes first, then the higher score and priority.
        """
        gathered = await self.gather(tx, prepared)
        known = await tx.messages([(one.action.customer, one.message_id) for one in prepared])
        gap = await tx.gap()
        fresh: dict[str, Message] = {}
        choices: dict[int, Choice] = {}
        for place in sorted(range(len(prepared)), key=lambda place: turn_of(prepared[place].action)):
            one = prepared[place]
            if one.message_id in known or one.message_id in fresh:
                continue
            message = accept(one.action, one.message_id, gathered.now_micros)
            message.after_micros = one.after_micros
            fresh[one.message_id] = message
            if gap is not None and belongs_to(gap, one.action):
                message.of_gap(held_back=one.action.category in HELD_BACK)
            choices[place] = self.choose(one, gathered)
            self._apply(choices[place], one, message, gathered)
        messages = list(fresh.values())
        await tx.add(messages, {one.message_id: one.action.record for one in prepared})
        await tx.count({"actions.taken": len(messages), "actions.duplicate": len(prepared) - len(messages)})
        await tx.count(_recovered(messages))
        await _tell(tx, messages, gathered)
        known.update(fresh)
        return [
            Taken(known[one.message_id], place not in choices, choices.get(place))
            for place, one in enumerate(prepared)
        ]

    async def take_again(self, tx: MessageTransaction, prepared: Sequence[Prepared]) -> list[Message]:
        """Asks all gates anew for messages that are due; those no longer waiting are left alone."""
        gathered = await self.gather(tx, prepared)
        stored = await tx.messages([(one.action.customer, one.message_id) for one in prepared])
        judged: list[Message] = []
        for one in sorted(prepared, key=lambda one: turn_of(one.action)):
            message = stored.get(one.message_id)
            if message is not None and message.waits:
                self._apply(self.choose(one, gathered), one, message, gathered)
                judged.append(message)
        await tx.save(judged)
        await tx.count(_recovered(judged, repeats=False))
        await _tell(tx, judged, gathered)
        return judged

    async def reserve(
        self, tx: MessageTransaction, prepared: Sequence[Prepared], channel: Channel
    ) -> list[Choice]:
        """Passes actions through the gates for a caller who presents them; refused, they leave no trace.

        An action that passed before keeps its slot and passes again; one that was dispatched and refused, or
        waits, has none to show and does not.
        """
        for one in prepared:
            one.choices = (ChannelChoice(channel),)
        gathered = await self.gather(tx, prepared)
        known = await tx.messages([(one.action.customer, one.message_id) for one in prepared])
        choices: list[Choice] = []
        fresh: list[Message] = []
        for one in prepared:
            if one.message_id in known:
                choices.append(_found_before(known[one.message_id], channel))
                continue
            choice = self.choose(one, gathered, rendered=False)
            choices.append(choice)
            if isinstance(choice, Chosen):
                message = known[one.message_id] = accept(one.action, one.message_id, gathered.now_micros)
                message.campaign = gathered.spending.names(one.action)
                message.recipient = one.recipient if one.recipient != message.customer else 0
                message.household = one.household
                message.cost_micros = self._cost(one, channel, rendered=False)
                message.hand_to_agent(gathered.now_micros, channel, "presented by the caller")
                if is_contact(one.action, channel):
                    gathered.take_slot(message, one.action)
                fresh.append(message)
            elif isinstance(choice, Dropped):
                REFUSALS.labels(choice.reason.name, one.action.category.value).inc()
        await tx.add(fresh, {})
        await _tell(tx, fresh, gathered)
        return choices

    async def gather(self, tx: GateTransaction, prepared: Sequence[Prepared]) -> Gathered:
        """Locks the customers, then reads what the gates look at."""
        customers = sorted({customer for one in prepared for customer in one.person})
        policies = self._policies()
        caps = policies.caps
        homes = sorted({one.household for one in prepared if one.household})
        with CAP_SECONDS.time():
            # households have ids of the customers' own sequence: all are locked in one order
            erased = await tx.lock_customers(sorted({customer for one in prepared for customer in one.locks}))
            for one in prepared if erased else ():
                one.forget(erased)
            now_micros = self._clock.now_micros()
            after_micros = now_micros - policies.looks_back_micros
            contacts = await tx.contacts(customers, after_micros)
            counted = bool(homes) and any(cap.household for cap in caps)
            shared = await tx.household_contacts(homes, after_micros) if counted else {}
        spending = Spending(policies, now_micros)
        await spending.open(tx, [one.action for one in prepared])
        await tx.adopt_suppressions([reached for one in prepared for reached in one.reached()])
        suppressed = await tx.suppressed(customers)
        return Gathered(contacts, suppressed, now_micros, spending, of_households=shared)

    def choose(self, one: Prepared, gathered: Gathered, *, rendered: bool = True) -> Choice:
        """Which channel the action takes, or what speaks against it; `rendered`: it must have words."""
        policies = self._policies()
        contacts = gathered.contacts_of(one)
        shared = gathered.household_contacts(one) if any(cap.household for cap in policies.caps) else contacts

        def state_of(channel: Channel) -> GateState:
            campaigns, care = gathered.spending.states(
                one.action, lambda: self._cost(one, channel, rendered=rendered)
            )
            return GateState(
                channel=channel,
                reach=one.reach,
                quiet=policies.quiet_hours,
                caps=() if one.answers else policies.caps,
                sales_share=None if one.answers else policies.sales_share,
                contacts=contacts,
                household_contacts=shared,
                suppressed=gathered.suppressed_for(one.person, channel),
                breaks_quiet_hours=self._speech.breaks_quiet_hours(one.action, channel),
                switches=policies.controls.switches,
                campaigns=campaigns,
                care=care,
            )

        def cannot_say(channel: Channel) -> str:
            said = self._say(one, channel) if rendered else None
            return said.detail if isinstance(said, MissingTemplate) else ""

        return choose(one.action, one.choices, state_of, cannot_say, gathered.now_micros)

    def _apply(self, choice: Choice, one: Prepared, message: Message, gathered: Gathered) -> None:
        now_micros = gathered.now_micros
        message.campaign = gathered.spending.names(one.action)
        message.recipient = one.recipient if one.recipient != message.customer else 0
        message.household = one.household
        match choice:
            case Chosen(channel):
                message.word(self._wording(one, channel))
                said = self._said(one, channel)
                message.said_by(said.template, said.segments)
                if one.action.is_task:
                    message.hand_to_agent(now_micros, channel)
                    return
                assert one.reach is not None, "the consent gate passes no contact without the profile's word"
                message.plan(
                    now_micros,
                    channel,
                    # wishes are judged once more just before the hand-over, by what the profile says then
                    0 if one.reach.has_wishes else one.reach.asked_wall_micros,
                    one.reach.zone,
                    any_hour=self._speech.breaks_quiet_hours(one.action, channel),
                )
                message.cost_micros = self._cost(one, channel)
                message.escalates_micros = next_turn(one.choices, channel, now_micros)
                gathered.given_back += [
                    (one.recipient, name) for name in sorted(one.siblings - {one.message_id})
                ]
                gathered.take_slot(message, one.action)
                if message.in_gap:
                    message.quarantine(now_micros, DETAIL)
            case Waits(channel, reason, detail, until_micros):
                message.wait(now_micros, until_micros, channel, reason, detail)
                if reason is RefusalReason.RATE_LIMITED:
                    gathered.spending.pass_over(one.action)
                if reason is RefusalReason.CONSENT_UNKNOWN:
                    rest = ASK_AGAIN_MICROS * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, no secret
                    message.retry_wall_micros = self._clock.wall_micros() + int(rest)
            case Dropped(channel, reason, detail):
                message.refuse(now_micros, channel, reason, detail)

    def _cost(self, one: Prepared, channel: Channel, *, rendered: bool = True) -> int:
        """What the message costs there, in millionths; what has no words costs nothing."""
        said = self._say(one, channel) if rendered else Rendered("")
        if isinstance(said, MissingTemplate):
            return 0
        return self._policies().campaigns.cost(channel, said.segments)

    def _wording(self, one: Prepared, channel: Channel) -> Wording:
        said = self._said(one, channel)
        permission = one.reach.permissions.get(channel) if one.reach is not None else None
        address = permission.address if permission is not None and not one.action.is_task else ""
        return Wording(said.text, said.subject, said.html, said.sender, address)

    def _said(self, one: Prepared, channel: Channel) -> Rendered:
        said = self._say(one, channel)
        assert isinstance(said, Rendered), "a channel without words is not chosen"
        return said

    def _say(self, one: Prepared, channel: Channel) -> Rendered | MissingTemplate:
        if channel not in one.said:
            one.said[channel] = self._speech.say(one.action, channel, one.reach)
        return one.said[channel]

    def _render_likely(self, one: Prepared) -> None:
        """The first channel that has an address and permission is most likely the one."""
        for choice in one.choices:
            channel = choice.channel
            if channel is None:
                continue
            permission = one.reach.permissions.get(channel) if one.reach is not None else None
            if one.action.is_task or (permission is not None and permission.allowed and permission.address):
                self._say(one, channel)
                return


async def _tell(tx: GateTransaction, messages: Sequence[Message], gathered: Gathered) -> None:
    """Takes the slots, publishes the outcomes and counts them."""
    await tx.give_back_slots(gathered.given_back)
    await tx.take_slots(gathered.slots)
    await gathered.spending.close(tx)
    await tx.publish(list(own_events(messages)))
    await tx.count(totals(messages))


def _recovered(messages: Sequence[Message], *, repeats: bool = True) -> dict[str, int]:
    """What recovery made of them: held back, or sent although they may have been sent before."""
    held = sum(message.state is MessageState.QUARANTINED for message in messages)
    again = sum(message.resent and not message.is_over for message in messages) if repeats else 0
    return {"recovery.quarantined": held, "recovery.sent_again": again}


def _found_before(message: Message, channel: Channel) -> Choice:
    if message.waits:
        return Waits(message.channel or channel, message.reason, message.detail, message.due_micros)
    if message.gives_back_slot:
        return Dropped(message.channel, message.reason or RefusalReason.EXPIRED, message.detail)
    return Chosen(message.channel or channel)

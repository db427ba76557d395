"""A message and the states it goes through; it keeps account of every change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct

from services.channel.domain.actions import Action
from services.channel.domain.contact import Contact
from services.channel.domain.errors import IllegalTransitionError
from services.vocabulary.words import (
    CATEGORY_FACTS,
    ActionKind,
    Category,
    Channel,
    MessageState,
    RefusalReason,
)

_S = MessageState
_SCORE, _BITS = Struct(">f"), Struct(">I")
_MOST_SCORE = 1e30

TRANSITIONS: Mapping[MessageState, frozenset[MessageState]] = {
    _S.ACCEPTED: frozenset({_S.PLANNED, _S.DEFERRED, _S.SENT, _S.EXPIRED, _S.REFUSED}),
    _S.DEFERRED: frozenset({_S.PLANNED, _S.DEFERRED, _S.SENT, _S.EXPIRED, _S.REFUSED}),
    _S.PLANNED: frozenset({_S.SENDING, _S.DEFERRED, _S.EXPIRED, _S.REFUSED, _S.QUARANTINED}),
    _S.SENDING: frozenset({_S.SENT, _S.PLANNED, _S.FAILED}),
    _S.SENT: frozenset({_S.DELIVERED, _S.FAILED, _S.EXPIRED}),
    _S.DELIVERED: frozenset(),
    _S.FAILED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.REFUSED: frozenset(),
    _S.QUARANTINED: frozenset({_S.PLANNED, _S.FAILED}),
}
"""Which state may follow which."""

_CORRECTED = frozenset({_S.FAILED, _S.EXPIRED})
"""What a provider may correct by a receipt that it was delivered."""

FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)
"""Nothing follows."""

WAITING = frozenset({_S.ACCEPTED, _S.DEFERRED})
"""Not through the gates yet: they are asked again when it is due. Such a message holds no slot."""

REPEATABLE = frozenset({Channel.APP})
"""Channels on which handing over twice is handing over once: our own inbox keeps a message once."""

HOLDS_SLOT = frozenset({_S.PLANNED, _S.SENDING, _S.SENT, _S.DELIVERED, _S.QUARANTINED})
"""Through the gates: it counts for caps."""


FOLLOWED = -1
"""In place of the time at which the next channel has its turn: another message carries the action there."""

CONFIRMED = frozenset({Channel.SMS, Channel.APP})
"""Channels that tell what was delivered; on the others what was sent counts as delivered until it fails."""

GIVEN_BACK = "given back: the caller presented it to nobody"
ANSWERED = "the customer answered it before it was said"

LONGEST_HAND_OVER_MICROS = 72 * 3_600_000_000
"""After so long, in business time, a message that never expires is not handed over any more."""


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a message's history."""

    position: int
    """From 1."""
    time_micros: int
    """Business time."""
    state: MessageState
    reason: RefusalReason | None = None
    detail: str = ""
    noted: bool = False
    """Nothing happened to it: a note in its history, which is not told to others (and not stored as such)."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What the customer reads, and where it goes."""

    text: str = ""
    subject: str = ""
    html: str = ""
    sender: str = ""
    address: str = ""


@dataclass(slots=True)
class Message:
    """One message to one customer. Times are microseconds since 1970 (UTC), of business time unless said."""

    message_id: str
    action_id: str
    customer: int
    category: Category
    kind: ActionKind
    name: str
    decision_id: str = ""
    rule_set: str = ""
    rule: str = ""
    priority: int = 0
    hops: int = 0
    topic: str = ""
    line: str = ""
    to_payer: bool = False
    accepted_micros: int = 0
    expires_micros: int = 0
    trace: str = ""
    """The trace of what led to it (W3C traceparent)."""
    turn: int = 0
    """Lower goes first where not all can go at once."""
    state: MessageState = MessageState.ACCEPTED
    reason: RefusalReason | None = None
    detail: str = ""
    channel: Channel | None = None
    due_micros: int = 0
    """When it was, or will be, tried."""
    retry_wall_micros: int = 0
    """Not handed over before this moment of the wall's clock."""
    sent_micros: int = 0
    receipt_micros: int = 0
    attempts: int = 0
    resent: bool = False
    """Handed over before with an outcome that nobody knows."""
    after_micros: int = 0
    """It goes only to channels whose turn came so long after the decision, or later; 0: to any."""
    escalates_micros: int = 0
    """When the next channel has its turn unless it was delivered by then; 0: never, FOLLOWED: it had it."""
    ends_micros: int = 0
    """Not handed over at or after this moment; 0: not planned yet, or planned before there was an end."""
    asked_wall_micros: int = 0
    """When the profile was last asked whether it may be sent, on the wall's clock."""
    zone: str = ""
    any_hour: bool = False
    """Its legal ground lets it pass quiet hours."""
    in_gap: bool = False
    """It may have been said between a backup and the loss: once through the gates it is held back."""
    changes: int = 0
    """How many steps its history has."""
    template: str = ""
    """What said it: name/locale.channel@version; empty: not worded yet, or without a template."""
    segments: int = 0
    """How many text messages its text takes; 0: not worded yet, 1 where the channel has no segments."""
    campaign: str = ""
    """Campaigns it belongs to, with blanks between."""
    cost_micros: int = 0
    """What it costs, in millionths of the currency of the campaigns' policy; 0: not planned, or free."""
    recipient: int = 0
    """Who is written to instead of the customer: who pays for the line; 0: the customer, or not known yet."""
    household: int = 0
    """The household of who is written to, when it went through the gates; 0: none."""
    wording: Wording | None = None
    """None: not rendered yet."""
    reworded: bool = False
    """The wording is not stored yet."""
    new_changes: list[Change] = field(default_factory=list)
    """Steps not stored yet."""
    takes_slot_back: bool = field(default=False, repr=False, compare=False)
    """Its slot was given away, and now it turns out that it reached the customer."""
    loaded: tuple[object, ...] = field(default=(), repr=False, compare=False)
    """What the database holds of what changes, in its own words; empty: not known."""

    @property
    def is_task(self) -> bool:
        """Work for a care agent."""
        return self.kind is ActionKind.TASK

    @property
    def person(self) -> int:
        """Who is written to: whose caps, suppression list and inbox they are."""
        return self.recipient or self.customer

    @property
    def slot(self) -> tuple[int, str]:
        """By what its slot is found."""
        return (self.person, self.message_id)

    @property
    def is_reserved(self) -> bool:
        """A caller presents it: it went to no provider and into no agent's list."""
        return self.state is MessageState.SENT and not self.attempts and not self.is_task

    @property
    def was_sent(self) -> bool:
        """A provider took it."""
        return self.sent_micros > 0

    def was_stored(self) -> None:
        """What happens from now on is new to the database."""
        self.new_changes.clear()
        self.reworded = False

    @property
    def is_ready(self) -> bool:
        """A sender may take it."""
        return self.state is MessageState.PLANNED

    @property
    def is_over(self) -> bool:
        """Nothing follows."""
        return self.state in FINAL

    @property
    def gives_back_slot(self) -> bool:
        """It did not reach the customer and will not: another may have its slot.

        Where nobody knows whether it did, the slot stays taken.
        """
        return self.state not in HOLDS_SLOT and self.reason is not RefusalReason.HANDOVER_UNKNOWN

    @property
    def waits(self) -> bool:
        """Not through the gates yet."""
        return self.state in WAITING

    def plan(
        self, now_micros: int, channel: Channel, asked_wall_micros: int, zone: str, *, any_hour: bool = False
    ) -> None:
        """Through the gates; waits for a sender."""
        self.any_hour = any_hour
        self.channel = channel
        self.asked_wall_micros = asked_wall_micros
        self.zone = zone
        self.due_micros = now_micros
        self.ends_micros = self.expires_micros or now_micros + LONGEST_HAND_OVER_MICROS
        self.retry_wall_micros = 0
        self._to(MessageState.PLANNED, now_micros)

    def word(self, wording: Wording) -> None:
        """Says what the customer, or the agent, will read."""
        self.wording = wording
        self.reworded = True

    def said_by(self, template: str, segments: int) -> None:
        """Notes which version of which template its words come from, and how long they are."""
        self.template = template
        self.segments = segments

    def hand_to_agent(self, now_micros: int, channel: Channel, detail: str = "") -> None:
        """Needs no provider: a task, or what the caller presents itself."""
        self.channel = channel
        self.due_micros = now_micros
        self.sent_micros = now_micros
        self._to(MessageState.SENT, now_micros, detail=detail)

    def give_back(self, now_micros: int) -> None:
        """The caller who had reserved it presented it to nobody, and will not."""
        self.sent_micros = 0
        self._to(MessageState.EXPIRED, now_micros, detail=GIVEN_BACK)

    def answered(self, now_micros: int) -> None:
        """The customer has said yes or no to it while it waited: nobody wants to hear of it any more."""
        self._to(MessageState.REFUSED, now_micros, RefusalReason.NO_LONGER_TRUE, ANSWERED)

    def wait(
        self,
        now_micros: int,
        until_micros: int,
        channel: Channel | None,
        reason: RefusalReason | None,
        detail: str,
    ) -> None:
        """Not now; the gates are asked again then. Waiting on for the same reason is no new step.

        While the profile cannot be asked a message stays as it is: nothing has been found out about it.
        """
        self.due_micros = until_micros
        self.retry_wall_micros = 0
        self.channel = channel
        if reason is RefusalReason.CONSENT_UNKNOWN and self.state in WAITING:
            self.reason, self.detail = reason, detail
        elif self.state is not MessageState.DEFERRED or (self.reason, self.detail) != (reason, detail):
            self._to(MessageState.DEFERRED, now_micros, reason, detail)

    def refuse(self, now_micros: int, channel: Channel | None, reason: RefusalReason, detail: str) -> None:
        """A gate said no. What a gate refuses because its time is over has expired."""
        self.channel = channel
        state = MessageState.EXPIRED if reason is RefusalReason.EXPIRED else MessageState.REFUSED
        self._to(state, now_micros, reason, detail)

    def start_hand_over(self, now_micros: int, wall_micros: int, lease_micros: int) -> None:
        """About to be handed over; after the lease, without an answer, the sender must have died."""
        self.attempts += 1
        self.retry_wall_micros = wall_micros + lease_micros
        self._to(MessageState.SENDING, now_micros)

    def taken_by_provider(self, now_micros: int) -> None:
        """The provider took it."""
        self.sent_micros = now_micros
        self.retry_wall_micros = 0
        self._to(MessageState.SENT, now_micros)

    def try_again(self, now_micros: int, retry_wall_micros: int, detail: str) -> None:
        """The provider did not take it and may later; its slot stays its own."""
        self.retry_wall_micros = retry_wall_micros
        self._to(MessageState.PLANNED, now_micros, detail=detail)

    def rejected(self, now_micros: int, detail: str) -> None:
        """The provider will never take it."""
        self._to(MessageState.FAILED, now_micros, RefusalReason.PROVIDER_REJECTED, detail)

    def lost_sight(self, now_micros: int, retry_wall_micros: int, detail: str) -> None:
        """Nobody knows whether the provider took it.

        Mandatory and service messages are handed over again; the others are not, and keep their slot.
        What may be handed over any number of times is.
        """
        if CATEGORY_FACTS[self.category].resend_when_unknown or self.channel in REPEATABLE:
            self.resent = True
            self.retry_wall_micros = retry_wall_micros
            self._to(MessageState.PLANNED, now_micros, RefusalReason.HANDOVER_UNKNOWN, detail)
        else:
            self._to(MessageState.FAILED, now_micros, RefusalReason.HANDOVER_UNKNOWN, detail)

    def of_gap(self, *, held_back: bool) -> None:
        """It may have been said in the gap: held back once it is through the gates, or said again."""
        self.in_gap = held_back
        self.resent = not held_back

    def quarantine(self, now_micros: int, detail: str) -> None:
        """Through the gates, but it may have been said in the gap: staff decide. Its slot stays its own."""
        self._to(MessageState.QUARANTINED, now_micros, RefusalReason.QUARANTINED, detail)

    def release(self, now_micros: int) -> None:
        """Out of quarantine; the profile is asked anew before it is sent."""
        self.in_gap = False
        self.asked_wall_micros = 0
        self.ends_micros = self.expires_micros or now_micros + LONGEST_HAND_OVER_MICROS
        self.retry_wall_micros = 0
        self._to(MessageState.PLANNED, now_micros, detail="released from quarantine")

    def discard(self, now_micros: int) -> None:
        """Never said again; nobody knows whether it was said in the gap, so what it used up stays used."""
        self.in_gap = False
        self._to(MessageState.FAILED, now_micros, RefusalReason.HANDOVER_UNKNOWN, "discarded from quarantine")

    def receipt(self, now_micros: int, state: MessageState, detail: str) -> bool:
        """The provider's final word; False when nothing follows (a second receipt, a state passed by).

        One word counts more than an earlier one: that it was delivered after all.
        """
        corrected = state is MessageState.DELIVERED and self.was_sent and self.state in _CORRECTED
        if not corrected and state not in TRANSITIONS[self.state]:
            return False
        if corrected or (state is MessageState.DELIVERED and self.escalates_micros == FOLLOWED):
            self.takes_slot_back = True
        if state is MessageState.DELIVERED and self.escalates_micros > 0:
            self.escalates_micros = 0
        self.receipt_micros = now_micros
        if corrected:
            self.state, self.reason, self.detail = state, None, "delivered after all"
            self._record(now_micros)
            return True
        reason = RefusalReason.PROVIDER_REJECTED if state is MessageState.FAILED else None
        self._to(state, now_micros, reason, detail)
        return True

    def note(self, now_micros: int, detail: str) -> None:
        """Nothing happened to it, and that is worth a line in its history."""
        self.detail = detail
        self.changes += 1
        self.new_changes.append(Change(self.changes, now_micros, self.state, self.reason, detail, noted=True))

    def _to(
        self,
        state: MessageState,
        now_micros: int,
        reason: RefusalReason | None = None,
        detail: str = "",
    ) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"a message that is {self.state.value} cannot become {state.value}")
        self.state = state
        self.reason = reason
        self.detail = detail
        self._record(now_micros)

    def _record(self, now_micros: int) -> None:
        self.changes += 1
        self.new_changes.append(Change(self.changes, now_micros, self.state, self.reason, self.detail))


def accept(action: Action, message_id: str, now_micros: int) -> Message:
    """Takes an action: the first step of its message."""
    message = Message(
        message_id=message_id,
        action_id=action.action_id,
        customer=action.customer,
        category=action.category,
        kind=action.kind,
        name=action.name,
        decision_id=action.decision_id,
        rule_set=action.rule_set,
        rule=action.rule,
        priority=action.priority,
        hops=action.hops,
        topic=action.topic,
        line=action.line,
        to_payer=action.to_payer,
        accepted_micros=now_micros,
        expires_micros=action.expires_micros,
        turn=turn_of(action),
        due_micros=now_micros,
    )
    message._record(now_micros)  # noqa: SLF001 - its own maker
    return message


def turn_of(action: Action) -> int:
    """Where it stands among others that wait: tier, then the higher score, then the higher priority."""
    score = min(max(action.score, -_MOST_SCORE), _MOST_SCORE)
    bits: int = _BITS.unpack(_SCORE.pack(score))[0]
    rising = bits ^ 0xFFFF_FFFF if bits >> 31 else bits | 0x8000_0000  # as the numbers are ordered
    priority = min(max(action.priority, -(1 << 15)), (1 << 15) - 1) + (1 << 15)
    tier = CATEGORY_FACTS[action.category].tier
    return tier << 48 | (0xFFFF_FFFF - rising) << 16 | (0xFFFF - priority)


def action_of(message: Message) -> Action:
    """As much of a planned message's action as the gates before the hand-over look at."""
    return Action(
        action_id=message.action_id,
        customer=message.customer,
        kind=message.kind,
        name=message.name,
        category=message.category,
        rule_set=message.rule_set,
        rule=message.rule,
        topic=message.topic,
        expires_micros=message.ends_micros or message.expires_micros,
        line=message.line,
        to_payer=message.to_payer,
    )


def contact_of(message: Message, now_micros: int, topic: str = "") -> Contact:
    """The slot that a message takes when it passes the gates; `topic` is its action's."""
    if message.channel is None:
        raise IllegalTransitionError("a message without a channel takes no slot")
    return Contact(
        message.person,
        message.message_id,
        message.channel,
        message.category,
        message.name,
        now_micros,
        topic,
        campaign=message.campaign,
        cost_micros=message.cost_micros,
        household=message.household,
    )

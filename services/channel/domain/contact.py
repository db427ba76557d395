"""What the profile says about reaching a customer, and who was reached before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.vocabulary.words import Category, Channel, RefusalReason


@dataclass(frozen=True, slots=True)
class Permission:
    """Permission for one category on one channel."""

    allowed: bool
    reason: RefusalReason | None = None
    address: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """One taken slot: a message that was, or is about to be, said to a customer.

    Or a contact that another system told of: without a message, a name and a topic; `category` None: it did
    not say what for.
    """

    customer: int
    message_id: str
    channel: Channel
    category: Category | None
    name: str
    time_micros: int
    topic: str = ""
    campaign: str = ""
    """Campaigns it counts for, with blanks between."""
    cost_micros: int = 0
    """What it costs them, in millionths of the currency."""
    household: int = 0
    """The customer's household at that time; 0: none."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The profile's answer about one customer and category, as it was when asked."""

    known: bool
    asked_wall_micros: int
    """The wall's time just before the question: the answer is at least that fresh."""
    permissions: Mapping[Channel, Permission] = field(default_factory=dict)
    zone: str = "UTC"
    language: str = ""
    preferred: Channel | None = None
    service_blocked: bool = False
    traits: Mapping[str, str] = field(default_factory=dict)
    merged: tuple[int, ...] = ()
    """Other customer ids of the same person, whose contacts count too."""
    contacts: tuple[Contact, ...] = ()
    """What other systems made of late, under all ids of the person."""
    recipient: int = 0
    """Whom all this is about: the payer, where the payer was asked for; 0: the customer."""
    household: int = 0
    """The recipient's household; 0: none."""
    quiet_hours: tuple[tuple[int, int], ...] = ()
    """The person's own, each day, beside the operator's and the law's: from and to, in minutes of the day."""
    paused_until_micros: int = 0
    """Until then the person wants to hear of nothing that can wait; 0: no pause."""
    topics_off: frozenset[str] = frozenset()
    """What the person wants to hear nothing about."""

    @property
    def has_wishes(self) -> bool:
        """Whether the person said when, or about what, not to be contacted."""
        return bool(self.quiet_hours or self.paused_until_micros or self.topics_off)


class SuppressedFor(StrEnum):
    """Why a customer's channel is on the suppression list."""

    UNSUBSCRIBED = "unsubscribed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    MANUAL = "manual"

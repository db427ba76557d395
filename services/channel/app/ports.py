"""What the channel service needs from outside: providers, templates, the profile and its own storage."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from services.vocabulary.values import Value, ValueType
from services.vocabulary.words import Category, Channel


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message ready to be handed to a provider."""

    message_id: str
    """UUID; the provider may use it as the client's own key (Message-ID of a mail, user reference)."""
    customer: int
    address: str
    """Where to: E.164 number, e-mail address, `device` identity; never to be logged."""
    text: str
    subject: str
    """Empty where the channel has none."""
    html: str
    """HTML alternative of a mail; empty: text only."""
    sender: str
    """Who it says it is from; empty: the transport's default."""
    category: Category
    name: str
    """Offer, message or survey name."""
    validity_micros: int
    """How long the provider may go on trying, in microseconds from now; 0: the provider's default."""
    again: bool
    """True: handed over before with an unknown outcome, so the customer might see it twice."""


class HandOver(StrEnum):
    """What came of handing one message over; this is the whole retry vocabulary."""

    ACCEPTED = "accepted"
    """The provider answered that it took it."""
    TRANSIENT = "transient"
    """It certainly did not take it, and may take it later (not connected, throttled, 4xx)."""
    PERMANENT = "permanent"
    """It certainly did not take it, and never will (unknown address, 5xx)."""
    UNKNOWN = "unknown"
    """It may have taken it: sent, but no answer came."""


@dataclass(frozen=True, slots=True)
class Handed:
    """The provider's answer about one message."""

    message_id: str
    outcome: HandOver
    provider_id: str = ""
    """The provider's id, unique within the provider; empty: no receipt will come."""
    detail: str = ""
    """Why not, for people: a status code and its meaning, without address or text."""
    provider: str = ""
    """Which provider took it, where the transport has several, as in receipts; empty: its `provider`."""
    unreachable: bool = False
    """Of a PERMANENT one: nobody has the address, so that nothing more is to be sent to it."""


class ReceiptState(StrEnum):
    """What a provider reports about a message it took; other reports (en route) are not passed on."""

    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A provider's final word on one message."""

    provider: str
    provider_id: str
    state: ReceiptState
    time_micros: int = 0
    """When the provider says it happened (its own clock); 0: not said. Business time rules."""
    detail: str = ""
    """The provider's error code and its meaning, without address or text."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message that a customer sent to us."""

    provider: str
    """As in receipts."""
    key: str
    """The same for a message that comes a second time, unique within the provider."""
    channel: Channel
    sender: str
    """Who sent it: E.164 number with its plus sign, or e-mail address; never to be logged.

    A sender that is neither (a short code, a name) comes as the provider wrote it.
    """
    recipient: str
    """Which of our numbers, short codes or addresses it was sent to."""
    text: str


class Transport(Protocol):
    """The way to one provider of one channel."""

    @property
    def channel(self) -> Channel:
        """The channel it serves."""

    @property
    def provider(self) -> str:
        """Stable name that, with a provider id, identifies a receipt, for example "smsc"."""

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Handed]:
        """Hands over up to 512 messages; one answer each, in any order. May be called again meanwhile.

        Never raises for a provider's sake: not connected is TRANSIENT for all, an answer that did not come
        within the transport's own bound (at most 15 s) is UNKNOWN. One bad message does not spoil the others.
        A message left out of the answer counts as UNKNOWN.
        """

    def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """Receipts as they come, in small batches, until cancelled; reconnects by itself.

        The provider is told that a batch was taken (`deliver_sm_resp`) only when the next one is asked for:
        by then it is committed. Receipts may come before the answer to their submit, twice, or for messages
        never sent. A transport without receipts returns at once.
        """

    def inbound(self) -> AsyncIterator[Sequence[Inbound]]:
        """What customers send, as it comes, in small batches, until cancelled; reconnects by itself.

        As with receipts the provider is told that a batch was taken only when the next one is asked for. A
        message may come twice. A transport that customers cannot write to returns at once.
        """

    async def close(self) -> None:
        """Unbinds and closes; waits for submits under way, a few seconds at most."""


@dataclass(frozen=True, slots=True)
class ToRender:
    """What a template is filled with."""

    name: str
    """Template name: the action's `template`, else the action's own name."""
    locale: str
    """BCP 47 language of the customer; empty: the operator's default."""
    channel: Channel
    category: Category
    parameters: Mapping[str, Value] = field(default_factory=dict)
    """The action's parameters, typed as in the catalogue."""
    types: Mapping[str, ValueType] = field(default_factory=dict)
    """Type of each parameter: it tells times and durations (microseconds, both int) from whole numbers."""
    zone: str = ""
    """IANA zone in which times are shown; empty: the operator's default."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """Traits that a template may show (name, plan), as text."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the customer will read."""

    text: str
    subject: str = ""
    html: str = ""
    sender: str = ""
    segments: int = 1
    """How many text messages it takes (3GPP TS 23.038); 1 where the channel has no segments."""
    template: str = ""
    """Which version of which template said it: name/locale.channel@version."""


@dataclass(frozen=True, slots=True)
class MissingTemplate:
    """Nothing to say on this channel in any fitting language, or a template that could not be filled."""

    detail: str
    """What is missing and what would be right, without personal data."""


class Renderer(Protocol):
    """Turns an action into words. Pure and quick: about 50 µs, no I/O after loading."""

    def render(self, wanted: ToRender) -> Rendered | MissingTemplate:
        """Fills the template; locale falls back from `fr-CA` to `fr` to the operator's default."""


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One in-app message at its place in the inbox."""

    cursor: int
    """Grows in the order of commits: whoever has read up to a cursor misses nothing before it."""
    customer: int
    message_id: str


class Inbox(Protocol):
    """Where in-app messages wait for the app; kept in the service's own database.

    The in-app transport puts messages here (`provider` "inbox", provider id: the cursor as text); being put
    is being sent, and a watcher whose cursor has passed a message has it delivered.
    """

    async def put(self, batch: Sequence[Outgoing]) -> Mapping[str, int]:
        """Puts messages; cursor by message id. One that is there already keeps its cursor."""

    async def after(
        self, customers: Sequence[int], cursor: int, limit: int, *, unseen_to: int = 0
    ) -> Sequence[InboxEntry]:
        """Entries beyond the cursor in order, of these customers; of every customer when none is named.

        With `unseen_to` only those up to that cursor that were not marked as seen.
        """

    async def mark_seen(self, entries: Sequence[InboxEntry]) -> None:
        """They have been seen; marked after their messages are delivered: a crash repeats only that."""

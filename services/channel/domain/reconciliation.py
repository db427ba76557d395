"""A provider's report held against our messages: what a line of it comes to."""

from dataclasses import dataclass, field
from enum import StrEnum

from services.vocabulary.words import MessageState, RefusalReason


class Reported(StrEnum):
    """What a provider says has become of a message."""

    TAKEN = "taken"
    """Nothing but that it is known there."""
    EN_ROUTE = "en_route"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class FindingKind(StrEnum):
    """On what two sides do not agree."""

    DIFFERS = "differs"
    UNKNOWN_HERE = "unknown_here"
    UNKNOWN_THERE = "unknown_there"


FINAL_STATES = {
    Reported.DELIVERED: MessageState.DELIVERED,
    Reported.FAILED: MessageState.FAILED,
    Reported.EXPIRED: MessageState.EXPIRED,
}
"""What a final state there is called here."""


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One line of a report; one of the two ids is given."""

    line: int
    provider_id: str
    reference: str
    """Our message id, as the provider was told; what is no UUID names nothing."""
    state: Reported


@dataclass(frozen=True, slots=True)
class HandedOver:
    """One of our messages, as far as a comparison looks at it."""

    number: int
    customer: int
    message_id: str
    state: MessageState
    reason: RefusalReason | None
    was_sent: bool
    """A provider took it, so far as we know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One message on which the two sides do not agree."""

    kind: FindingKind
    line: int = 0
    message: HandedOver | None = None
    there: Reported = Reported.TAKEN
    provider_id: str = ""
    applied: bool = False


def agrees(here: HandedOver, there: Reported, *, same_part: bool = True) -> bool:
    """Whether both sides say the same of a message.

    `same_part` False: the line is about another part of a long message than the one that stands for it,
    so all it can tell is that the provider took the message.
    """
    if not here.was_sent:
        # refused by the provider on both sides; else they have something that we believe was never taken
        return (
            here.state is MessageState.FAILED
            and here.reason is RefusalReason.PROVIDER_REJECTED
            and there in {Reported.TAKEN, Reported.FAILED}
        )
    if there is Reported.TAKEN or not same_part:
        return True
    if there is Reported.EN_ROUTE:
        return here.state is MessageState.SENT
    return here.state is FINAL_STATES[there]


def can_be_applied(here: HandedOver, there: Reported) -> bool:
    """Whether their state is the receipt that we miss."""
    return here.state is MessageState.SENT and there in FINAL_STATES


_CHUNK = 1 << 16


@dataclass(slots=True)
class Named:
    """Which of our messages a report has named: one bit for each number, so a long report is small."""

    _chunks: dict[int, bytearray] = field(default_factory=dict)

    def add(self, number: int) -> None:
        """A line names it."""
        chunk = self._chunks.setdefault(number // _CHUNK, bytearray(_CHUNK // 8))
        chunk[number % _CHUNK // 8] |= 1 << number % 8

    def __contains__(self, number: int) -> bool:
        chunk = self._chunks.get(number // _CHUNK)
        return chunk is not None and bool(chunk[number % _CHUNK // 8] >> number % 8 & 1)

"""Mails about our mails: bounces, complaints, ways out, and what is none of these; what follows from each."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.channel.domain.links import Link
from services.vocabulary.values import DAY

UNREACHABLE: Final = frozenset(
    {"5.1.0", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.6", "5.1.10", "5.2.1"},
)
"""Nobody has the address, and nobody will (RFC 3463 §3.2, RFC 7505), or its mailbox is switched off (5.2.1 of
RFC 3463 §3.3, with the class of permanent failures). 5.1.7 and 5.1.8 are about the sender's address."""
_OURS = frozenset({"5", "6", "7"})
"""Protocol, content and policy (RFC 3463 §3.6 to §3.8): the mail or its sender, not the address."""
MOST_OCTETS: Final = 1 << 18
"""Of a mail; what is longer is read up to here: reports stand at the beginning."""
SOFT_MOST: Final = 5
"""Messages that did not arrive for a passing reason before the address counts as dead."""
SOFT_WINDOW: Final = 30 * DAY
"""The time in which they are counted, in microseconds of business time."""


class ReportKind(StrEnum):
    """What a mail about a mail says."""

    HARD = "hard"
    """The address is none: the message failed, and nothing more is sent there."""
    SOFT = "soft"
    """A mailbox that is full, a host that is away for days: the message failed, the address is counted."""
    OURS = "ours"
    """Refused for what the mail or its sender is: the message failed, the address is good."""
    DELAYED = "delayed"
    """Tried on: nothing follows."""
    DELIVERED = "delivered"
    """It arrived."""
    COMPLAINT = "complaint"
    """The person called it spam: nothing more is sent there."""
    WAY_OUT = "way_out"
    """The person unsubscribes by mail."""
    AUTOMATIC = "automatic"
    """Out of office and its like (RFC 3834): nothing follows."""
    UNKNOWN = "unknown"
    """None of these, or about no message of ours: set aside for people."""
    REPEATED = "repeated"
    """The same mail again: nothing follows."""


FAILURES: Final = frozenset({ReportKind.HARD, ReportKind.SOFT, ReportKind.OURS})
"""The message did not arrive and will not."""


@dataclass(frozen=True, slots=True)
class MailReport:
    """What was read out of one mail; nothing of its text is kept."""

    key: str
    """The same for the same mail, whichever way it comes."""
    kind: ReportKind
    message_id: str = ""
    """Which message of ours it is about; empty: it names none."""
    status: str = ""
    """RFC 3463 code; empty: none."""
    link: Link | None = None
    """A link of ours, signed, that it carries."""


def kind_of_failure(status: str) -> ReportKind:
    """What a final failure says about the address, from its RFC 3463 code."""
    if status in UNREACHABLE:
        return ReportKind.HARD
    _, _, subject_and_detail = status.partition(".")
    return ReportKind.OURS if subject_and_detail.partition(".")[0] in _OURS else ReportKind.SOFT

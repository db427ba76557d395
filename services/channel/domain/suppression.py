"""The suppression list: channels on which a customer is not contacted, why, and who may lift what."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.channel.domain.contact import SuppressedFor
from services.vocabulary.words import Channel


class LiftedBy(StrEnum):
    """Who puts a channel on the list, or takes it off."""

    PERSON = "person"
    """The customer, by START or a link sent to them."""
    STAFF = "staff"
    """Somebody who works here, an import, or another system."""


MAY_LIFT: Mapping[LiftedBy, frozenset[SuppressedFor]] = {
    LiftedBy.PERSON: frozenset({SuppressedFor.UNSUBSCRIBED}),
    LiftedBy.STAFF: frozenset({SuppressedFor.MANUAL, SuppressedFor.BOUNCED}),
}
"""A person's own word is lifted by that person alone; that START lifts nothing else is the law's point too.

A complaint is a person's word as well, and stays: who complained hears from us when they write to us anew.
"""

OWN_WORD = frozenset({SuppressedFor.UNSUBSCRIBED, SuppressedFor.COMPLAINED})
"""Reasons that the person gave: staff, imports and merges leave them."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """One reason for which a channel of a customer is on the list; several may stand at once."""

    customer: int
    channel: Channel
    reason: SuppressedFor
    time_micros: int
    """Business time since which it stands."""
    evidence: str = ""
    """How it can be proved: a provider's key, a status code, a ticket; no address and no text."""
    message_id: str = ""
    """The message that it answers; empty: none."""
    number: int = 0
    """Grows with every entry; 0: not stored yet."""


@dataclass(frozen=True, slots=True)
class SuppressionFilter:
    """Which entries; what is empty or None does not narrow."""

    customers: tuple[int, ...] = ()
    channel: Channel | None = None
    reason: SuppressedFor | None = None


def change_totals(reasons: Collection[SuppressedFor], *, lifted: bool) -> dict[str, int]:
    """Exact counters of what changed."""
    verb = "lifted" if lifted else "added"
    counted: dict[str, int] = {}
    for reason in reasons:
        name = f"suppression.{verb}.{reason.value}"
        counted[name] = counted.get(name, 0) + 1
    return counted


def suppressed_for(
    listed: Mapping[tuple[int, Channel], frozenset[SuppressedFor]], person: tuple[int, ...], channel: Channel
) -> frozenset[SuppressedFor]:
    """Why the channel is suppressed under any id of a person: a merge lifts nothing."""
    found = [listed[customer, channel] for customer in person if (customer, channel) in listed]
    return frozenset().union(*found)

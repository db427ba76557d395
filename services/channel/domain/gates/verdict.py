"""The one interface of all gates: an action, the state it meets and the time give a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.channel.domain.actions import Action
from services.channel.domain.campaigns import CampaignState, CareState
from services.channel.domain.caps import Cap, SalesShare
from services.channel.domain.contact import Contact, Permission, Reach, SuppressedFor
from services.channel.domain.controls import KillSwitch
from services.channel.domain.quiet_hours import QuietHours
from services.vocabulary.words import Channel, RefusalReason


@dataclass(frozen=True, slots=True)
class Passed:
    """Nothing speaks against it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something speaks against it, and says what."""

    reason: RefusalReason
    detail: str
    """For people, without address or text."""
    next_micros: int | None = None
    """Business time at which it could pass; None: not foreseeable."""


PASSED = Passed()

Verdict = Passed | Refused


@dataclass(slots=True)
class GateState:
    """All that the gates look at besides the action and the time, for one channel."""

    channel: Channel
    reach: Reach | None
    """None: the profile service cannot be reached."""
    quiet: QuietHours
    caps: Sequence[Cap] = ()
    sales_share: SalesShare | None = None
    contacts: Sequence[Contact] = ()
    """Slots taken by this person under all ids."""
    household_contacts: Sequence[Contact] = ()
    """Slots taken by all members of the person's household, the person's own among them."""
    suppressed: frozenset[SuppressedFor] = frozenset()
    """Every reason for which the channel is on the suppression list, under any id of the person."""
    taken: bool = False
    """The action was taken before."""
    breaks_quiet_hours: bool = False
    """The legal ground named by the template allows it at any hour."""
    rate_free_micros: int = 0
    """Business time at which the provider's rate has room again; 0: now."""
    switches: Sequence[KillSwitch] = ()
    """Kill switches that were thrown."""
    campaigns: Sequence[CampaignState] = ()
    """The campaigns of the action with what they have used; none before the hand-over."""
    care: Sequence[CareState] = ()
    """Queues of the care desk that those campaigns fill."""

    @property
    def permission(self) -> Permission | None:
        """The profile's permission on this channel; None: not listed there, or not to be had."""
        return self.reach.permissions.get(self.channel) if self.reach is not None else None


def is_contact(action: Action, channel: Channel) -> bool:
    """Whether it reaches the customer: a task, or what an agent has on the screen, does not."""
    return not action.is_task and channel is not Channel.TASK


class Gate(Protocol):
    """One question. Pure: the same three always give the same verdict."""

    def __call__(self, action: Action, state: GateState, now_micros: int) -> Verdict:
        """Judges the action on the state's channel at that business time."""

"""What `sms after 2h` means once the channel before it was taken: it follows unless that was delivered."""

from collections.abc import Sequence
from enum import StrEnum

from services.channel.domain.actions import ChannelChoice
from services.channel.domain.messages import CONFIRMED, Message
from services.vocabulary import ids
from services.vocabulary.words import Channel, MessageState, RefusalReason

_S = MessageState


class Next(StrEnum):
    """What the turn of the next channel makes of a message."""

    FOLLOWS = "follows"
    """Another message carries the action there, through all gates."""
    MOVES = "moves"
    """Not handed over yet: it goes there itself, through all gates."""
    LATER = "later"
    """It is being handed over, or held back: look again."""
    STAYS = "stays"
    """It was delivered, or has a way of its own; nobody follows."""


def next_of(message: Message) -> Next:
    """Whether the next channel takes over: never where the one before was delivered, or may have been.

    What nobody knows the hand-over of has its own rule: it is said again or never again, on its channel.
    """
    if message.reason is RefusalReason.HANDOVER_UNKNOWN and message.state is _S.FAILED:
        return Next.STAYS
    match message.state:
        case _S.SENT:
            return Next.FOLLOWS if message.channel in CONFIRMED else Next.STAYS
        case _S.FAILED | _S.EXPIRED:
            return Next.FOLLOWS
        case _S.PLANNED:
            return Next.MOVES
        case _S.SENDING | _S.QUARANTINED:
            return Next.LATER
        case _:
            return Next.STAYS


def step_after(choices: Sequence[ChannelChoice], channel: Channel | None) -> int | None:
    """How long after the decision the next channel has its turn; None: there is none after this one."""
    taken = next((choice.after_micros for choice in choices if choice.channel is channel), 0)
    return min((choice.after_micros for choice in choices if choice.after_micros > taken), default=None)


def next_turn(choices: Sequence[ChannelChoice], channel: Channel, now_micros: int) -> int:
    """When the next channel has its turn if this one is taken now; 0: there is none."""
    after = step_after(choices, channel)
    if after is None:
        return 0
    taken = next((choice.after_micros for choice in choices if choice.channel is channel), 0)
    return now_micros + after - taken


def messages_of(action_id: str, choices: Sequence[ChannelChoice]) -> frozenset[str]:
    """All messages that may carry an action; empty where only one does."""
    steps = {choice.after_micros for choice in choices if choice.after_micros}
    if not steps:
        return frozenset()
    return frozenset(
        {ids.message_id(action_id), *(ids.later_message_id(action_id, after) for after in steps)}
    )

"""What is not said any more: reservations that callers give back, and what was answered while it waited."""

from collections.abc import Sequence

from services.channel.app.receipts import settle
from services.channel.app.store import MessageKey, MessageTransaction
from services.channel.domain.messages import WAITING, Message
from services.runtime.clock import Clock


async def give_back(tx: MessageTransaction, clock: Clock, keys: Sequence[MessageKey]) -> list[Message]:
    """Ends these messages and frees their slots; those that were given back now.

    Only what a caller reserved: what went to a provider or into an agent's list is left as it is, and so is
    what was given back before.
    """
    stored = await tx.messages(keys, lock=True)
    reserved = [message for message in stored.values() if message.is_reserved]
    now_micros = clock.now_micros()
    for message in reserved:
        message.give_back(now_micros)
    if reserved:
        await settle(tx, reserved)
    return reserved


async def end_answered(tx: MessageTransaction, clock: Clock, keys: Sequence[MessageKey]) -> list[Message]:
    """Ends what the customer has answered and what still waits to be said; those ended now.

    What was said or shown, and what a provider is about to get, is left as it is.
    """
    stored = await tx.messages(keys, lock=True)
    waiting = [message for message in stored.values() if message.state in WAITING]
    now_micros = clock.now_micros()
    for message in waiting:
        message.answered(now_micros)
    if waiting:
        await settle(tx, waiting)
    return waiting

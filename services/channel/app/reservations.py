"""Reservations that their callers give back: what was presented to nobody uses nothing up."""

from collections.abc import Sequence

from services.channel.app.receipts import settle
from services.channel.app.store import MessageKey, MessageTransaction
from services.channel.domain.messages import Message
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

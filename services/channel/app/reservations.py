"""What is not said any more: reservations that callers give back, and what was answered while it waited."""

from collections.abc import Callable, Sequence

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
    return await _end(tx, clock, reserved, Message.give_back)


async def end_answered(tx: MessageTransaction, clock: Clock, keys: Sequence[MessageKey]) -> list[Message]:
    """Ends what the customer has answered and what still waits to be said; those ended now.

    What was said or shown, and what a provider is about to get, is left as it is.
    """
    stored = await tx.messages(keys, lock=True)
    waiting = [message for message in stored.values() if message.state in WAITING]
    return await _end(tx, clock, waiting, Message.answered)


async def _end(
    tx: MessageTransaction, clock: Clock, ended: list[Message], how: Callable[[Message, int], None]
) -> list[Message]:
    now_micros = clock.now_micros()
    for message in ended:
        how(message, now_micros)
    if ended:
        await settle(tx, ended)
    return ended

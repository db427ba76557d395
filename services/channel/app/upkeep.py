"""What is looked at once a second: hand-overs whose sender died, messages whose time is over."""

from collections.abc import Sequence

from services.channel.app.store import MessageStore, MessageTransaction
from services.channel.domain.messages import Message
from services.channel.domain.outcomes import own_events, totals
from services.runtime.clock import Clock
from services.vocabulary.words import RefusalReason

BATCH = 256
"""At once."""


async def recover(store: MessageStore, clock: Clock, limit: int = BATCH) -> int:
    """Takes up messages whose sender died during the hand-over; how many there were.

    Mandatory and service messages are handed over again; the others end as HANDOVER_UNKNOWN, with their slot.
    """
    async with store.transaction() as tx:
        lost = await tx.claim_lost(clock.wall_micros(), limit)
        now_micros = clock.now_micros()
        for message in lost:
            message.lost_sight(now_micros, 0, "the sender ended before the provider's answer was kept")
        await tx.save(lost)
        await tell_all(tx, lost)
    return len(lost)


async def expire(store: MessageStore, clock: Clock, limit: int = BATCH) -> int:
    """Ends planned messages whose validity is over and gives their slots back; how many there were."""
    async with store.transaction() as tx:
        now_micros = clock.now_micros()
        over = await tx.claim_expired(now_micros, limit)
        for message in over:
            message.refuse(now_micros, message.channel, RefusalReason.EXPIRED, "no provider took it in time")
        await tx.save(over)
        await tx.give_back_slots([(message.customer, message.message_id) for message in over])
        await tell_all(tx, over)
    return len(over)


async def tell_all(tx: MessageTransaction, messages: Sequence[Message]) -> None:
    """Publishes and counts the new steps of messages."""
    await tx.publish(list(own_events(messages)))
    await tx.count(totals(messages))

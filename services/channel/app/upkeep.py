"""What is looked at once a second: hand-overs whose sender died, messages whose time is over."""

from collections.abc import Sequence

from services.channel.app.store import MessageStore, MessageTransaction
from services.channel.domain.messages import Message
from services.channel.domain.outcomes import own_events, totals
from services.runtime.clock import Clock
from services.vocabulary.values import HOUR, MINUTE
from services.vocabulary.words import MessageState, RefusalReason

BATCH = 256
"""At once."""

LEASE_MICROS = 30_000_000
"""After so long without an outcome, on the wall's clock, the sender of a message must have died."""
LONGEST_REST_MICROS = 15 * MINUTE
"""Longer than anything rests: ten minutes in the queue of a lane, with its places in one batch."""
RECEIPT_MICROS = 72 * HOUR
"""So long, on the wall's clock, a provider has for its final word; longer than SMSCs keep trying."""


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
        await tx.give_back_slots([message.slot for message in over])
        await tell_all(tx, over)
    return len(over)


async def after_jump(store: MessageStore, clock: Clock) -> int:
    """Ends rests begun by a clock that has been set back since; how many there were.

    Nothing rests longer than a lane's queue; without this all that rested would do so for as long as the
    clock went back.
    """
    async with store.transaction() as tx:
        return await tx.end_rests(clock.wall_micros(), LONGEST_REST_MICROS, LEASE_MICROS)


async def note_unconfirmed(store: MessageStore, clock: Clock, limit: int = BATCH) -> int:
    """Notes with messages that were sent and of which nothing was heard since; how many there were.

    They stay `sent`, with their slot: nobody knows whether they arrived. Each is noted once; a receipt that
    comes later still counts.
    """
    async with store.transaction() as tx:
        silent = await tx.claim_unconfirmed(clock.wall_micros() - RECEIPT_MICROS, limit)
        sent = [message for message in silent if message.state is MessageState.SENT]
        for message in sent:
            message.note(clock.now_micros(), "no receipt came within 72 hours")
        await tx.save(sent)
        await tx.count({"receipts.never_came": len(sent)})
    return len(silent)


async def tell_all(tx: MessageTransaction, messages: Sequence[Message]) -> None:
    """Publishes and counts the new steps of messages."""
    await tx.publish(list(own_events(messages)))
    await tx.count(totals(messages))

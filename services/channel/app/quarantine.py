"""Messages that were held back after a restore: released or discarded by staff."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.channel.app.store import MessageTransaction, QuarantineFilter
from services.channel.domain.messages import Message
from services.channel.domain.outcomes import own_events, totals
from services.runtime.clock import Clock

MOST = 500
"""Messages of one call."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The messages that were let go or ended, and how many that fit are left."""

    messages: Sequence[Message]
    remaining: int


async def release(tx: MessageTransaction, clock: Clock, wanted: QuarantineFilter) -> Settled:
    """Lets messages go to their sender, which asks the gates before a hand-over once more."""
    now_micros = clock.now_micros()
    return await _settle(tx, wanted, lambda message: message.release(now_micros), "recovery.released")


async def discard(tx: MessageTransaction, clock: Clock, wanted: QuarantineFilter) -> Settled:
    """Ends messages as HANDOVER_UNKNOWN, with their slots."""
    now_micros = clock.now_micros()
    return await _settle(tx, wanted, lambda message: message.discard(now_micros), "recovery.discarded")


async def _settle(
    tx: MessageTransaction, wanted: QuarantineFilter, change: Callable[[Message], None], total: str
) -> Settled:
    messages = await tx.claim_quarantined(wanted, MOST)
    for message in messages:
        change(message)
    await tx.save(messages)
    await tx.publish(list(own_events(messages)))
    await tx.count({**totals(messages), total: len(messages)})
    return Settled(messages, await tx.quarantined(wanted))

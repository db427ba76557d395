"""Gives messages that waited for a better time their next turn at the gates."""

from services.channel.app.admit import Admission
from services.channel.app.store import MessageStore
from services.runtime.clock import Clock

BATCH = 256
LEASE_MICROS = 30_000_000
LET_GO_AT_ONCE = 1000


async def take_due(store: MessageStore, admission: Admission, clock: Clock, limit: int = BATCH) -> int:
    """Asks the gates anew for what is due; how many messages there were."""
    async with store.transaction() as tx:
        waiting = await tx.claim_waiting(clock.now_micros(), clock.wall_micros(), limit, LEASE_MICROS)
    if not waiting:
        return 0
    prepared = await admission.prepare([action for _, action in waiting])
    for (message, _), one in zip(waiting, prepared, strict=True):
        one.carried_by(message.message_id, message.after_micros)
    async with store.transaction() as tx:
        await admission.take_again(tx, prepared)
    return len(waiting)


async def let_go(store: MessageStore, clock: Clock, limit: int = LET_GO_AT_ONCE) -> int:
    """Gives what kill switches hold its next turn now, in short transactions; how many messages there were.

    Those that another switch still holds wait on.
    """
    total = 0
    now_micros = clock.now_micros()
    while True:
        async with store.transaction() as tx:
            done = await tx.let_go(now_micros, limit)
        total += done
        if done < limit:
            return total

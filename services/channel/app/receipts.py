"""Takes what providers and watchers report about messages that were sent."""

from collections.abc import Sequence

from services.channel.app.ports import InboxEntry, Receipt, ReceiptState
from services.channel.app.store import MessageStore, MessageTransaction
from services.channel.domain.messages import Message, contact_of
from services.channel.domain.outcomes import own_events, totals
from services.runtime.clock import Clock
from services.vocabulary.words import MessageState

RECEIPT_STATES = {
    ReceiptState.DELIVERED: MessageState.DELIVERED,
    ReceiptState.FAILED: MessageState.FAILED,
    ReceiptState.EXPIRED: MessageState.EXPIRED,
}
"""What a receipt makes of a message."""


async def take_receipts(store: MessageStore, clock: Clock, receipts: Sequence[Receipt]) -> None:
    """Applies receipts, each once; those of messages not known yet are kept for their submit's answer."""
    if not receipts:
        return
    async with store.transaction() as tx:
        known = await tx.received(receipts)
        now_micros = clock.now_micros()
        changed = [
            message
            for receipt, message in known
            if message.receipt(now_micros, RECEIPT_STATES[receipt.state], receipt.detail)
        ]
        await settle(tx, changed)
        await tx.count(
            {"receipts.taken": len(receipts), "receipts.without_message": len(receipts) - len(known)}
        )


async def take_seen(store: MessageStore, clock: Clock, entries: Sequence[InboxEntry]) -> None:
    """In-app messages that a watcher's cursor has passed are delivered."""
    if not entries:
        return
    async with store.transaction() as tx:
        stored = await tx.messages([(entry.customer, entry.message_id) for entry in entries], lock=True)
        now_micros = clock.now_micros()
        await settle(
            tx,
            [
                message
                for message in stored.values()
                if message.receipt(now_micros, MessageState.DELIVERED, "")
            ],
        )


async def settle(tx: MessageTransaction, changed: Sequence[Message]) -> None:
    """Stores what providers said of messages, tells of it, and frees the slots of what did not arrive."""
    await tx.save(changed)
    # what was delivered after all has reached the customer, whoever has its place now
    after_all = [message for message in changed if message.takes_slot_back]
    if after_all:  # campaigns are given to and taken from: locked together, so that none waits in a ring
        await tx.lock_campaigns({name: None for message in changed for name in message.campaign.split()})
    await tx.give_back_slots(
        [message.slot for message in changed if message.gives_back_slot],
    )
    await tx.give_back_slots([message.slot for message in after_all])
    await tx.take_slots([contact_of(message, message.due_micros) for message in after_all])
    await tx.publish(list(own_events(changed)))
    await tx.count(totals(changed))

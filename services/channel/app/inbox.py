"""What a watcher of the in-app inbox sees, and what its cursor says was seen."""

from collections.abc import Sequence

from services.channel.app.ports import Inbox
from services.channel.app.receipts import take_seen
from services.channel.app.store import MessageStore
from services.channel.domain.messages import Message
from services.runtime.clock import Clock
from services.vocabulary.words import MessageState

PAGE = 200
_UNDER_WAY = frozenset({MessageState.PLANNED, MessageState.SENDING})


async def acknowledge(
    store: MessageStore, inbox: Inbox, clock: Clock, customers: Sequence[int], cursor: int
) -> int:
    """Messages up to the cursor count as delivered; how many are so from now on."""
    total = 0
    while cursor > 0:
        entries = await inbox.after(customers, 0, PAGE, unseen_to=cursor)
        if not entries:
            break
        await take_seen(store, clock, entries)
        await inbox.mark_seen(entries)
        total += len(entries)
    return total


async def ready_entries(
    store: MessageStore, inbox: Inbox, customers: Sequence[int], cursor: int
) -> list[tuple[int, Message]]:
    """Messages beyond the cursor in order, up to the first whose hand-over is still being committed."""
    entries = await inbox.after(customers, cursor, PAGE)
    async with store.transaction() as tx:
        messages = await tx.messages([(entry.customer, entry.message_id) for entry in entries])
    ready: list[tuple[int, Message]] = []
    for entry in entries:
        message = messages[entry.message_id]
        if message.state in _UNDER_WAY:
            break
        ready.append((entry.cursor, message))
    return ready

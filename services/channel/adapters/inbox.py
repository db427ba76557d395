"""The in-app channel: handing over is putting into the inbox, from which the app's watcher reads."""

from collections.abc import AsyncIterator, Sequence

from services.channel.app.ports import Handed, HandOver, Inbound, Inbox, Outgoing, Receipt
from services.vocabulary.words import Channel


class InboxTransport:
    """Puts messages into the inbox; a watcher's cursor that passes them delivers them, not a receipt."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    @property
    def channel(self) -> Channel:
        """In-app."""
        return Channel.APP

    @property
    def provider(self) -> str:
        """The inbox."""
        return "inbox"

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Handed]:
        """Puts all of them; once, however often it is asked."""
        cursors = await self._inbox.put(batch)
        return [
            Handed(message.message_id, HandOver.ACCEPTED, provider_id=str(cursors[message.message_id]))
            for message in batch
        ]

    def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """None."""
        return _none()

    def inbound(self) -> AsyncIterator[Sequence[Inbound]]:
        """None."""
        return _nothing()

    async def close(self) -> None:
        """Nothing is open."""


async def _none() -> AsyncIterator[Sequence[Receipt]]:
    for receipts in list[Sequence[Receipt]]():
        yield receipts


async def _nothing() -> AsyncIterator[Sequence[Inbound]]:
    for messages in list[Sequence[Inbound]]():
        yield messages

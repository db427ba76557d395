"""The worker's way in: messages of EVENTS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rapport.types.v1 import stream_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.take_events import TakeEvents
    from services.runtime.consumer import Delivery


class EventsHandler:
    """The runtime's StreamHandler for EVENTS."""

    def __init__(self, take_events: TakeEvents) -> None:
        self._take_events = take_events

    def count(self, payload: bytes) -> int:
        """How many events a message holds."""
        return max(len(stream_pb2.EventBatch.FromString(payload).events), 1)

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Decides all in one transaction."""
        await self._take_events.take(deliveries)

    async def handle_singly(self, delivery: Delivery) -> None:
        """Decides one message; an event that fails alone is set aside."""
        await self._take_events.take_singly(delivery)

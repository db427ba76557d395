"""What SMSCs delivered, waiting for those who take it; each delivery is answered once it was taken."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.channel.adapters.smpp_link import SmppLink

_BATCH = 500
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Delivery(Generic[Item]):
    """One thing delivered over a link; `answer` tells the SMSC a command status, once."""

    item: Item
    link: SmppLink | None
    answer: Callable[[int], None]


class Deliveries(Generic[Item]):
    """A bounded queue whose batches are answered when the next one is asked for."""

    def __init__(self, most: int, *, forgets: bool) -> None:
        """`forgets`: what came over a lost link is left to come again."""
        self._most = most
        self._forgets = forgets
        self._waiting: deque[Delivery[Item]] = deque()
        self._came = asyncio.Event()
        self.asked = False
        """Whether anybody has ever asked for what comes."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether there is no room for another."""
        return len(self._waiting) >= self._most

    def put(self, delivery: Delivery[Item]) -> None:
        """Adds one at the end."""
        self._waiting.append(delivery)
        self._came.set()

    def link_lost(self, link: SmppLink) -> None:
        """What a lost link delivered and nobody has asked for yet comes again, unless it is kept."""
        if self._forgets:
            self._waiting = deque(delivery for delivery in self._waiting if delivery.link is not link)

    async def batches(self) -> AsyncIterator[Sequence[Item]]:
        """The items as they come, until cancelled."""
        self.asked = True
        while True:
            while not self._waiting:
                self._came.clear()
                await self._came.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
            try:
                yield [delivery.item for delivery in batch]
            except BaseException:
                # Nobody took them: whoever asks next gets them again.
                self._waiting.extendleft(
                    delivery
                    for delivery in reversed(batch)
                    if not (self._forgets and delivery.link is not None and not delivery.link.bound)
                )
                raise
            for delivery in batch:
                delivery.answer(0)

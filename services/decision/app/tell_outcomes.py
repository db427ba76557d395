"""Tells other systems what came about, in one order, from where each of them stopped."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from services.decision.domain.errors import DecisionError
from services.runtime.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from services.decision.app.ports import Recorded
    from services.decision.domain.answers import Noted
    from services.runtime.database import Transaction

PLACES = 1 << 16
"""Positions of one number: a decision's or an answer's; what it tells has the places from 1."""
MOST_READ = 50
_POLL_SECONDS = 0.2
_SEEN_EVERY = 10
"""At every so many looks that find nothing it is seen whether another stream has begun."""


class AnotherStreamError(DecisionError):
    """A newer stream of the same consumer has begun, or the consumer was forgotten."""

    def __init__(self) -> None:
        super().__init__("a newer stream of this consumer has begun, or it was forgotten")


@dataclass(frozen=True, slots=True)
class CameAbout:
    """A decision; or, with a note, what came of one of its actions. ``number``: its place among all."""

    number: int
    recorded: Recorded
    note: Noted | None = None


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who takes outcomes. Times in micros, by the wall clock; ``oldest_micros`` by business time; 0: none.

    ``behind``: decisions and answers that it has not acknowledged.
    """

    name: str
    acknowledged: int
    acknowledged_micros: int
    stream_micros: int
    caller: str
    behind: int
    oldest_micros: int
    kept_after: int


class Feed(Protocol):
    """What came about, and up to where each consumer has taken it."""

    async def begin(self, name: str, stream: str, cursor: int, *, from_now: bool) -> tuple[int, int]:
        """Makes this the stream of the consumer that counts; where it begins, and where what is kept does.

        Raises InvalidArgumentError for a cursor that nothing has reached.
        """
        ...

    async def read(self, after: int, most: int) -> list[CameAbout]:
        """What comes after a position and is complete up to there, in order."""
        ...

    async def acknowledge(self, name: str, stream: str, position: int) -> bool:
        """Notes that everything up to a position was taken; False: another stream counts now."""
        ...

    async def counts(self, name: str, stream: str) -> bool:
        """Whether this stream is still the consumer's."""
        ...

    async def consumers(self, after: str, most: int) -> list[Consumer]:
        """By name."""
        ...

    async def remove(self, transaction: Transaction, name: str) -> bool:
        """Forgets a consumer; False: there is none of that name."""
        ...


class Telling:
    """One stream: what was sent and not acknowledged is bounded, and acknowledging lets more come."""

    def __init__(self, feed: Feed, name: str, most_unacknowledged: int) -> None:
        self._feed = feed
        self._name = name
        self._stream = str(uuid4())
        self._most = most_unacknowledged
        self._sent: deque[int] = deque()
        self._last_sent = 0
        self._heard = asyncio.Event()
        self._ended = False

    async def begin(self, cursor: int, *, from_now: bool) -> tuple[int, int]:
        """Where it begins, and where what is kept begins."""
        begun, kept = await self._feed.begin(self._name, self._stream, cursor, from_now=from_now)
        self._last_sent = begun
        return begun, kept

    async def acknowledge(self, position: int) -> None:
        """Everything up to here was taken. Raises InvalidArgumentError and AnotherStreamError."""
        if not 0 < position <= self._last_sent:
            raise InvalidArgumentError(
                f"acknowledged is {position}, which was not sent on this stream",
                field="acknowledged",
                suggestion="the position of the last outcome that was taken",
            )
        if not await self._feed.acknowledge(self._name, self._stream, position):
            raise AnotherStreamError
        while self._sent and self._sent[0] <= position:
            self._sent.popleft()
        self._heard.set()

    def end(self) -> None:
        """Nothing more is wanted."""
        self._ended = True
        self._heard.set()

    def sent(self, positions: Sequence[int]) -> None:
        """These are on their way."""
        self._sent.extend(positions)
        self._last_sent = positions[-1]

    async def room(self) -> int:
        """How many more may be sent now, once some may; 0: the end has come."""
        while len(self._sent) >= self._most and not self._ended:
            await self._wait()
        return 0 if self._ended else self._most - len(self._sent)

    async def came_about(self) -> AsyncIterator[list[CameAbout]]:
        """What comes after where it began, as it comes, until the end. Raises AnotherStreamError."""
        idle = 0
        after = self._last_sent
        while await self.room():
            found = await self._feed.read(after, MOST_READ)
            if found:
                yield found
                after = found[-1].number * PLACES + PLACES - 1
                continue
            idle += 1
            if idle % _SEEN_EVERY == 0 and not await self._feed.counts(self._name, self._stream):
                raise AnotherStreamError
            await self._wait()

    async def _wait(self) -> None:
        """Until something was acknowledged, or it is time to look again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._heard.wait()
        self._heard.clear()

"""Fakes of what the channel service needs from outside, and the actions that its tests dispatch."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from uuid import UUID, uuid5

from services.channel.app.ports import (
    Handed,
    HandOver,
    Inbound,
    MissingTemplate,
    Outgoing,
    Receipt,
    Rendered,
    ToRender,
)
from services.channel.app.profile import ContactQuestion
from services.channel.domain.actions import Action, ChannelChoice
from services.channel.domain.contact import Permission, Reach
from services.channel.domain.errors import ProfileUnavailableError
from services.channel.domain.inbound import Owner
from services.vocabulary.words import ActionKind, Category, Channel

NAMESPACE = UUID("a57cf5f7-44fb-4a3a-96b9-0e1b5e3f8a10")
NOON = 1_790_000_000_000_000 - (1_790_000_000_000_000 % 86_400_000_000) + 12 * 3_600_000_000
"""A day's noon, UTC."""


class SetClock:
    """A clock whose business time and wall time stand where the test puts them."""

    def __init__(self, now_micros: int = NOON) -> None:
        self._now = now_micros
        self._moved = asyncio.Event()
        self.wall = 1_000_000_000_000

    @property
    def now(self) -> int:
        return self._now

    @now.setter
    def now(self, micros: int) -> None:
        self._now = micros
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def now_micros(self) -> int:
        return self.now

    def wall_micros(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def wait_until(self, micros: int, wake: asyncio.Event | None = None) -> None:
        assert wake is None, "nobody in the channel service waits for both"
        while self.now < micros:
            await self._moved.wait()

    async def wait_changed(self, seen_micros: int) -> int:
        await self.wait_until(seen_micros + 1)
        return self.now


class SetProfile:
    """Answers what the test says about each customer; asked ones are kept."""

    def __init__(self, clock: SetClock) -> None:
        self._clock = clock
        self.reaches: dict[int, Reach] = {}
        self.by_category: dict[tuple[int, Category], Reach] = {}
        self.numbers: dict[str, Owner] = {}
        self.away = False
        self.asked: list[ContactQuestion] = []

    async def check_contact(self, questions: Sequence[ContactQuestion]) -> Sequence[Reach]:
        if self.away:
            raise ProfileUnavailableError("away")
        self.asked.extend(questions)
        return [
            replace(
                self.by_category.get((one.customer, one.category))
                or self.reaches.get(one.customer)
                or reachable(one.customer),
                asked_wall_micros=self._clock.wall,
            )
            for one in questions
        ]

    async def owners(self, subjects: Sequence[str]) -> dict[str, Owner]:
        if self.away:
            raise ProfileUnavailableError("away")
        return {subject: self.numbers[subject] for subject in subjects if subject in self.numbers}


class SaysName:
    """Says the name of the template, on any channel but those it was told to lack."""

    def __init__(self) -> None:
        self.missing: set[tuple[str, Channel]] = set()
        self.rendered: list[ToRender] = []

    def render(self, wanted: ToRender) -> Rendered | MissingTemplate:
        self.rendered.append(wanted)
        if wanted.channel is Channel.TASK or (wanted.name, wanted.channel) in self.missing:
            return MissingTemplate(f"no template {wanted.name} for {wanted.channel.value}")
        return Rendered(f"{wanted.name} in words", subject=wanted.name)


class SetTransport:
    """Takes every message, unless the test says otherwise; sent ones are kept."""

    def __init__(self, channel: Channel = Channel.SMS, provider: str = "fake") -> None:
        self._channel = channel
        self._provider = provider
        self.sent: list[Outgoing] = []
        self.answer: Callable[[Outgoing], Handed | None] = self.accept
        self.before_answer: Callable[[Sequence[Outgoing]], asyncio.Future[None] | None] = lambda _: None
        self.incoming: asyncio.Queue[Sequence[Receipt]] = asyncio.Queue()
        self.written: asyncio.Queue[Sequence[Inbound]] = asyncio.Queue()

    @property
    def channel(self) -> Channel:
        return self._channel

    @property
    def provider(self) -> str:
        return self._provider

    def accept(self, message: Outgoing) -> Handed:
        return Handed(message.message_id, HandOver.ACCEPTED, f"p-{message.message_id}")

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Handed]:
        self.sent.extend(batch)
        waiting = self.before_answer(batch)
        if waiting is not None:
            await waiting
        answers = [self.answer(message) for message in batch]
        return [answer for answer in answers if answer is not None]

    async def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        while True:
            yield await self.incoming.get()

    async def inbound(self) -> AsyncIterator[Sequence[Inbound]]:
        while True:
            yield await self.written.get()

    async def close(self) -> None:
        """Nothing is open."""


def always(outcome: HandOver, detail: str = "") -> Callable[[Outgoing], Handed]:
    return lambda message: Handed(message.message_id, outcome, detail=detail)


def reachable(
    customer: int,
    *,
    channels: Sequence[Channel] = (Channel.SMS, Channel.EMAIL),
    zone: str = "UTC",
    **kwargs: object,
) -> Reach:
    """A customer with an address and permission on these channels."""
    permissions = {
        channel: Permission(True, address=f"{channel.value}-address-{customer}") for channel in channels
    }
    return Reach(True, 0, permissions, zone, **kwargs)  # type: ignore[arg-type]


def make_action(
    number: int | str,
    customer: int = 1,
    *,
    category: Category = Category.SERVICE,
    kind: ActionKind = ActionKind.MESSAGE,
    name: str = "hello",
    channels: Sequence[Channel | None] = (Channel.SMS,),
    **kwargs: object,
) -> Action:
    """An action; the same number gives the same id."""
    return Action(
        action_id=str(uuid5(NAMESPACE, str(number))),
        customer=customer,
        kind=kind,
        name=name,
        category=category,
        rule_set="tests",
        rule="one",
        channels=tuple(ChannelChoice(channel) for channel in channels),
        **kwargs,  # type: ignore[arg-type]
    )

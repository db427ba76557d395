"""One batch of messages on its way: written as there is room, throttled parts again, answers put together."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import smpp34

from services.channel.adapters.smpp_link import Answer, LinkLost
from services.channel.adapters.smpp_pdus import (
    NotSendable,
    asks_to_slow_down,
    name_of,
    outcome_of,
    submits_of,
)
from services.channel.adapters.smpp_smsc import SmscLinks
from services.channel.app.ports import Handed, HandOver, Outgoing

_NOT_CONNECTED = "not connected to an SMSC"
_NO_ROOM = "not submitted: the SMSC takes no more now"


class Choice(Protocol):
    """Which SMSC gets the next message."""

    def next(self, message: Outgoing, now: float) -> SmscLinks | None:
        """One with room; None: none has any now."""

    def free_at(self, now: float) -> float | None:
        """When one may take a submit again by its pace; None: none is up."""


@dataclass(slots=True)
class _Message:
    """A message given to an SMSC: its parts, and what was answered to each."""

    outgoing: Outgoing
    smsc: SmscLinks
    pdus: Sequence[bytes]
    waiting: deque[int]
    """Parts to be written, or to be written again."""
    answers: dict[int, Answer] = field(default_factory=dict)

    @property
    def untouched(self) -> bool:
        """Whether it is certain that its SMSC has nothing of it, and that none of it is under way."""
        refused = [number for number, answer in self.answers.items() if answer.status]
        return len(refused) == len(self.answers) and len({*refused, *self.waiting}) == len(self.pdus)

    def handed(self) -> Handed:
        """What the answers to its parts say together.

        A part refused for good settles it; a part that was certainly not taken means that the message was
        not taken as a whole, and trying again completes it; else a part without answer leaves it open.
        """
        name = self.smsc.name
        answers = list(self.answers.values())
        refused = [answer.status for answer in answers if answer.status]
        for outcome in (HandOver.PERMANENT, HandOver.TRANSIENT):
            for status in refused:
                if outcome_of(status) is outcome:
                    return Handed(self.outgoing.message_id, outcome, detail=name_of(status), provider=name)
        if len(answers) < len(self.pdus):
            detail = "not all parts could be submitted" if answers else _NO_ROOM
            return Handed(self.outgoing.message_id, HandOver.TRANSIENT, detail=detail, provider=name)
        if any(answer.status is None for answer in answers):
            detail = "submitted, but no answer came"
            return Handed(self.outgoing.message_id, HandOver.UNKNOWN, detail=detail, provider=name)
        identifier = self.smsc.settings.dialect.answered_id(self.answers[len(self.pdus) - 1].message_id)
        return Handed(self.outgoing.message_id, HandOver.ACCEPTED, provider_id=identifier, provider=name)


class Batch:
    """Hands over messages; `run` returns one answer for each."""

    def __init__(self, messages: Sequence[Outgoing], choice: Choice, write_seconds: float) -> None:
        self._choice = choice
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + write_seconds
        self._fresh = deque(messages)
        self._begun: list[_Message] = []
        self._partly: deque[_Message] = deque()
        self._refused: list[Handed] = []
        self._open = 0
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be room again, or an SMSC less."""
        self._wake.set()

    async def run(self) -> list[Handed]:
        """Write until all is answered, no SMSC is left, or time is over; wait for what was written."""
        while True:
            self._wake.clear()
            now = self._loop.time()
            pause: float | None = None
            if now < self._deadline:
                self._write(now)
                free_at = self._choice.free_at(now)
                if (self._fresh or self._partly) and free_at is not None:
                    pause = min(self._deadline, free_at if free_at > now else self._deadline) - now
            if pause is None and not self._open:
                break
            # Without a pause only answers are awaited: each comes, or is overdue, or its link is lost.
            try:
                async with asyncio.timeout(None if pause is None else max(pause, 0.001)):
                    await self._wake.wait()
            except TimeoutError:
                continue
        detail = _NOT_CONNECTED if self._choice.free_at(self._loop.time()) is None else _NO_ROOM
        left = [Handed(message.message_id, HandOver.TRANSIENT, detail=detail) for message in self._fresh]
        return [*self._refused, *(message.handed() for message in self._begun), *left]

    def _write(self, now: float) -> None:
        for _ in range(len(self._partly)):
            message = self._partly.popleft()
            if not message.waiting:
                continue
            if message.untouched and (not message.smsc.up or message.smsc.rests(now)):
                self._begun.remove(message)
                self._fresh.appendleft(message.outgoing)  # another may take it
            else:
                self._write_parts(message, now)
        while self._fresh:
            smsc = self._choice.next(self._fresh[0], now)
            if smsc is None:
                return
            self._begin(self._fresh.popleft(), smsc, now)

    def _begin(self, outgoing: Outgoing, smsc: SmscLinks, now: float) -> None:
        settings = smsc.settings
        try:
            pdus = submits_of(outgoing, settings.sender, settings.reference_tag, settings.rules)
        except (NotSendable, smpp34.SmppError) as error:
            detail = str(error) if isinstance(error, NotSendable) else "the message is no valid submit_sm"
            self._refused.append(Handed(outgoing.message_id, HandOver.PERMANENT, detail=detail))
            return
        message = _Message(outgoing, smsc, pdus, deque(range(len(pdus))))
        self._begun.append(message)
        self._write_parts(message, now)

    def _write_parts(self, message: _Message, now: float) -> None:
        smsc, waiting = message.smsc, message.waiting
        while waiting:
            link = smsc.link(now)
            if link is None:
                self._partly.append(message)
                return
            number = waiting[0]
            message.answers.pop(number, None)
            try:
                smsc.submit(link, message.pdus[number], partial(self._answered, message, number), now)
            except LinkLost:
                self._partly.append(message)
                return
            waiting.popleft()
            self._open += 1

    def _answered(self, message: _Message, number: int, answer: Answer) -> None:
        now = self._loop.time()
        self._open -= 1
        self._wake.set()
        message.answers[number] = answer
        message.smsc.answered(answer, now)
        if asks_to_slow_down(answer.status) and now < self._deadline:
            if not message.waiting:
                self._partly.append(message)
            message.waiting.append(number)
        elif answer.status and outcome_of(answer.status) is HandOver.PERMANENT:
            message.waiting.clear()  # the other parts would be of no use

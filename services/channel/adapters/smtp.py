"""Mail to relays over SMTP: connections kept, one recipient a message, and no answer taken for a yes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from services.channel.adapters.mail import BadMail, Letterhead, Mail, mail_of, sender_of
from services.channel.adapters.smtp_answers import Answer
from services.channel.adapters.smtp_link import (
    LinkSettings,
    NotConnectedError,
    Relays,
    SmtpLink,
    quit_all,
)
from services.channel.app.ports import Handed, HandOver, Inbound, Outgoing, Receipt
from services.vocabulary.words import Channel

_LONG_CHARACTERS = 8_000
_NO_BATCHES: tuple[Sequence[Receipt], ...] = ()


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """How mail is sent; times in seconds. With those of the link they stay under 15."""

    link: LinkSettings
    letterhead: Letterhead
    connections: int = 4
    begin: float = 3.0
    """How long into a batch a message may still be begun; the rest goes back."""
    close: float = 2.0


class SmtpTransport:
    """Transport of the channel `email`."""

    def __init__(self, settings: SmtpSettings, now_micros: Callable[[], int]) -> None:
        """`now_micros`: business time for the Date header; raises ValueError for an unfit setting."""
        _, address = sender_of("", settings.letterhead.sender)
        own_name = address.rpartition("@")[2]
        self._settings = settings
        self._now_micros = now_micros
        self._relays = Relays(settings.link, own_name, _loop_time)
        self._idle: list[SmtpLink] = []
        self._places = asyncio.Semaphore(settings.connections)
        self._closing = False

    @property
    def channel(self) -> Channel:
        """The channel it serves."""
        return Channel.EMAIL

    @property
    def provider(self) -> str:
        """Name of the provider; what comes back later comes as mail, not as receipts."""
        return "smtp"

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Handed]:
        """Hand the messages over, several at a time; see the port."""
        run = _Run(iter(batch), _loop_time() + self._settings.begin)
        places = min(self._settings.connections, len(batch))
        await asyncio.gather(*(self._work(run) for _ in range(places)))
        return run.handed

    def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """None: a relay's yes is all that SMTP says."""
        return _no_receipts()

    def inbound(self) -> AsyncIterator[Sequence[Inbound]]:
        """None: a relay only takes mail."""
        return _nothing_inbound()

    async def close(self) -> None:
        """Say goodbye on all connections."""
        self._closing = True
        await quit_all(self._idle, self._settings.close)

    async def _work(self, run: "_Run") -> None:
        """Take messages from the batch, one after the other, over one connection."""
        async with self._places:
            link = await self._kept()
            for message in run.waiting:
                if self._closing or run.reason or _loop_time() > run.begin_until:
                    detail = run.reason or "not tried: the relay is slow or the service stops"
                    run.add(message, HandOver.TRANSIENT, detail)
                    continue
                link = await self._hand_over(run, message, link)
            if link is not None:
                self._idle.append(link)

    async def _kept(self) -> SmtpLink | None:
        """A connection that is open already, if it leads to the best relay that there is now."""
        while self._idle:
            link = self._idle.pop()
            if self._relays.is_best(link.relay):
                return link
            await quit_all([link], self._settings.close)
        return None

    async def _written(self, message: Outgoing) -> Mail:
        """The mail; a long one is written and signed beside the loop, which it would hold up over 5 ms."""
        letterhead, now_micros = self._settings.letterhead, self._now_micros()
        if len(message.text) + len(message.html) > _LONG_CHARACTERS:
            return await asyncio.to_thread(mail_of, message, letterhead, now_micros)
        return mail_of(message, letterhead, now_micros)

    async def _hand_over(self, run: "_Run", message: Outgoing, link: SmtpLink | None) -> SmtpLink | None:
        """Hand one message over; returns the connection while it is good for the next."""
        try:
            mail = await self._written(message)
        except ValueError as error:
            detail = str(error) if isinstance(error, BadMail) else "the message cannot be written as a mail"
            run.add(message, HandOver.PERMANENT, detail)
            return link
        answer: Answer | None = None
        if link is not None:
            answer = await link.offer(mail)
            if answer.lost:
                link.close()
                if answer.outcome is not HandOver.TRANSIENT:
                    run.take(message, answer)
                    return None
                # The relay had hung up on the idle connection; nothing was handed over: once more, anew.
                link, answer = None, None
        if link is None or answer is None:
            try:
                link = await self._relays.connect()
            except NotConnectedError as error:
                run.reason = str(error)
                run.add(message, HandOver.TRANSIENT, run.reason)
                return None
            answer = await link.offer(mail)
            if answer.lost and answer.outcome is HandOver.TRANSIENT:
                self._relays.leave_alone(link.relay)
        run.take(message, answer)
        if answer.lost:
            link.close()
            return None
        return link


@dataclass(slots=True)
class _Run:
    """One batch under way, shared by the connections that work on it."""

    waiting: Iterator[Outgoing]
    begin_until: float
    handed: list[Handed] = field(default_factory=list)
    reason: str = ""
    """Why the relay cannot be spoken to; what is left of the batch goes back."""

    def add(self, message: Outgoing, outcome: HandOver, detail: str = "") -> None:
        self.handed.append(Handed(message.message_id, outcome, detail=detail))

    def take(self, message: Outgoing, answer: Answer) -> None:
        self.handed.append(
            Handed(message.message_id, answer.outcome, detail=answer.detail, unreachable=answer.unreachable)
        )


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


async def _no_receipts() -> AsyncIterator[Sequence[Receipt]]:
    for batch in _NO_BATCHES:
        yield batch


async def _nothing_inbound() -> AsyncIterator[Sequence[Inbound]]:
    for batch in list[Sequence[Inbound]]():
        yield batch

"""Mail to a relay over SMTP: connections kept, one recipient a message, and no answer taken for a yes."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import aiosmtplib
import structlog
from aiosmtplib import SMTPException, SMTPResponseException

from services.channel.adapters.mail import BadMail, Mail, mail_address, mail_of
from services.channel.app.ports import Handed, HandOver, Inbound, Outgoing, Receipt
from services.vocabulary.words import Channel

_ENHANCED = re.compile(r"\b([245]\.[0-9]{1,3}\.[0-9]{1,3})\b")
_BASE = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+")
# Answers about our standing with the relay, not about the message: it may take it once we are let in.
_NOT_LET_IN = frozenset({503, 530, 534, 535, 538})
_NO_BATCHES: tuple[Sequence[Receipt], ...] = ()
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """The relay and how it is spoken to; times in seconds. Together they stay under 15."""

    host: str
    port: int
    sender: str
    """Default sender, `Name <address>` or an address."""
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    """TLS from the first octet; without it STARTTLS is used whenever the relay offers it."""
    unsubscribe_base: str = ""
    """Where List-Unsubscribe points to, the message id is appended; empty: no such header."""
    connections: int = 4
    connect: float = 3.0
    envelope: float = 2.0
    content: float = 7.0
    begin: float = 3.0
    """How long into a batch a message may still be begun; the rest goes back."""
    close: float = 2.0


class SmtpTransport:
    """Transport of the channel `email`."""

    def __init__(self, settings: SmtpSettings, now_micros: Callable[[], int]) -> None:
        """`now_micros`: business time for the Date header; raises ValueError for an unfit setting."""
        address = settings.sender.rpartition("<")[2].rstrip("> ")
        self._domain = mail_address(address).rpartition("@")[2]
        if settings.unsubscribe_base and not _BASE.fullmatch(settings.unsubscribe_base):
            raise ValueError("unsubscribe_base is no web address; write https://operator.example/unsubscribe")
        self._settings = settings
        self._now_micros = now_micros
        self._idle: list[aiosmtplib.SMTP] = []
        self._places = asyncio.Semaphore(settings.connections)
        self._closing = False
        self._reached = True

    @property
    def channel(self) -> Channel:
        """The channel it serves."""
        return Channel.EMAIL

    @property
    def provider(self) -> str:
        """Name of the provider; it sends no receipts."""
        return "smtp"

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Handed]:
        """Hand the messages over, several at a time; see the port."""
        run = _Run(iter(batch), asyncio.get_running_loop().time() + self._settings.begin)
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
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(contextlib.suppress(TimeoutError))
            await stack.enter_async_context(asyncio.timeout(self._settings.close))
            while self._idle:
                await _quit(self._idle.pop())
        while self._idle:
            self._idle.pop().close()

    async def _work(self, run: "_Run") -> None:
        """Take messages from the batch, one after the other, over one connection."""
        async with self._places:
            connection = self._idle.pop() if self._idle else None
            for message in run.waiting:
                if self._closing or run.reason or asyncio.get_running_loop().time() > run.begin_until:
                    detail = run.reason or "not tried: the relay is slow or the service stops"
                    run.add(message, HandOver.TRANSIENT, detail)
                    continue
                connection = await self._hand_over(run, message, connection)
            if connection is not None:
                self._idle.append(connection)

    async def _hand_over(
        self, run: "_Run", message: Outgoing, connection: aiosmtplib.SMTP | None
    ) -> aiosmtplib.SMTP | None:
        """Hand one message over; returns the connection while it is good for the next."""
        try:
            mail = mail_of(
                message,
                sender=self._settings.sender,
                unsubscribe_base=self._settings.unsubscribe_base,
                now_micros=self._now_micros(),
            )
        except ValueError as error:
            detail = str(error) if isinstance(error, BadMail) else "the message cannot be written as a mail"
            run.add(message, HandOver.PERMANENT, detail)
            return connection
        answer: _Answer | None = None
        if connection is not None:
            answer = await self._offer(connection, mail)
            if answer.lost:
                connection.close()
                if answer.outcome is not HandOver.TRANSIENT:
                    run.add(message, answer.outcome, answer.detail)
                    return None
                # The relay had hung up on the idle connection; nothing was handed over: once more, anew.
                connection, answer = None, None
        if connection is None or answer is None:
            connection = await self._connect(run)
            if connection is None:
                run.add(message, HandOver.TRANSIENT, run.reason)
                return None
            answer = await self._offer(connection, mail)
        run.add(message, answer.outcome, answer.detail)
        if answer.lost or (answer.outcome is not HandOver.ACCEPTED and not await self._reset(connection)):
            connection.close()
            return None
        return connection

    async def _connect(self, run: "_Run") -> aiosmtplib.SMTP | None:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            use_tls=settings.tls,
            local_hostname=self._domain,
            timeout=settings.connect,
            username=settings.user or None,
            password=settings.password or None,
        )
        try:
            async with asyncio.timeout(settings.connect):
                await client.connect()
        except (SMTPException, OSError, TimeoutError) as error:
            client.close()
            run.reason = f"not connected to the mail relay: {_name(error)}"
            if self._reached:
                _log.warning("smtp.not_connected", reason=_name(error))
            self._reached = False
            return None
        if not self._reached:
            _log.info("smtp.connected_again")
        self._reached = True
        return client

    async def _offer(self, connection: aiosmtplib.SMTP, mail: Mail) -> "_Answer":
        """Envelope, then content; before the content nothing is handed over."""
        try:
            async with asyncio.timeout(self._settings.envelope):
                await connection.mail(mail.sender)
                await connection.rcpt(mail.recipient)
        except SMTPResponseException as error:
            return _refusal(error)
        except (SMTPException, OSError, TimeoutError) as error:
            detail = f"the relay was lost before the content: {_name(error)}"
            return _Answer(HandOver.TRANSIENT, detail, lost=True)
        try:
            async with asyncio.timeout(self._settings.content):
                await connection.data(mail.content)
        except SMTPResponseException as error:
            return _refusal(error)
        except (SMTPException, OSError, TimeoutError) as error:
            return _Answer(HandOver.UNKNOWN, f"handed over, but no answer came: {_name(error)}", lost=True)
        return _Answer(HandOver.ACCEPTED)

    async def _reset(self, connection: aiosmtplib.SMTP) -> bool:
        """Forget the envelope that was refused; False when the connection is of no more use."""
        try:
            async with asyncio.timeout(self._settings.envelope):
                await connection.rset()
        except (SMTPException, OSError, TimeoutError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the relay made of one message; `lost`: its connection is of no more use."""

    outcome: HandOver
    detail: str = ""
    lost: bool = False


@dataclass(slots=True)
class _Run:
    """One batch under way, shared by the connections that work on it."""

    waiting: Iterator[Outgoing]
    begin_until: float
    handed: list[Handed] = field(default_factory=list)
    reason: str = ""
    """Why the rest need not be tried."""

    def add(self, message: Outgoing, outcome: HandOver, detail: str = "") -> None:
        self.handed.append(Handed(message.message_id, outcome, detail=detail))


def _refusal(error: SMTPResponseException) -> _Answer:
    """A status code as an outcome; its text may quote the address: only its RFC 3463 code is kept."""
    enhanced = _ENHANCED.search(error.message)
    detail = f"SMTP status {error.code}" + (f" {enhanced[1]}" if enhanced else "")
    lost = error.code == 421 or error.code in _NOT_LET_IN
    if error.code >= 500 and not lost:
        return _Answer(HandOver.PERMANENT, detail)
    if error.code >= 400:
        return _Answer(HandOver.TRANSIENT, detail, lost)
    return _Answer(HandOver.UNKNOWN, detail, lost=True)


def _name(error: Exception) -> str:
    code = f" {error.code}" if isinstance(error, SMTPResponseException) else ""
    return type(error).__name__ + code


async def _quit(connection: aiosmtplib.SMTP) -> None:
    try:
        await connection.quit()
    except (SMTPException, OSError):
        connection.close()


async def _no_receipts() -> AsyncIterator[Sequence[Receipt]]:
    for batch in _NO_BATCHES:
        yield batch


async def _nothing_inbound() -> AsyncIterator[Sequence[Inbound]]:
    for batch in list[Sequence[Inbound]]():
        yield batch

"""Connections to mail relays: the best relay that answers, TLS as it was asked for, and a login."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import aiosmtplib
import structlog
from aiosmtplib import SMTPException, SMTPResponseException

from services.channel.adapters.mail import Mail
from services.channel.adapters.smtp_answers import Answer, Stage, read_refusal
from services.channel.app.ports import HandOver

_log = structlog.get_logger(__name__)


class Tls(StrEnum):
    """How a link to a relay is kept from being read."""

    REQUIRED = "required"
    """STARTTLS, or nothing is said; the relay's certificate is checked."""
    OFFERED = "offered"
    """STARTTLS where the relay offers it, with its certificate checked; a password only then."""
    NEVER = "never"
    """Plain, the password too: for a relay on this machine."""
    IMPLICIT = "implicit"
    """TLS from the first octet (RFC 8314, port 465)."""


@dataclass(frozen=True, slots=True)
class Relay:
    """One mail relay."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How relays are spoken to; times in seconds."""

    relays: tuple[Relay, ...]
    """The best first; another is only asked while those before it do not answer."""
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = Tls.OFFERED
    tls_name: str = ""
    """Whose certificate it must be; empty: the relay's host."""
    ca_file: str = ""
    """Authorities that sign relays' certificates (PEM); empty: those of the system."""
    connect: float = 3.0
    envelope: float = 2.0
    content: float = 7.0
    rest: float = 5.0
    """How long a relay that did not answer is left alone while there is another."""


class NotConnectedError(Exception):
    """No relay could be spoken to; the message says why."""


class SmtpLink:
    """One connection that is logged in."""

    def __init__(self, client: aiosmtplib.SMTP, relay: Relay, settings: LinkSettings) -> None:
        self._client = client
        self._settings = settings
        self.relay = relay

    async def offer(self, mail: Mail) -> Answer:
        """Envelope, then content; before the content nothing is handed over.

        After a refusal that left it in the middle of a message the link is put back to the beginning.
        """
        answer = await self._offer(mail)
        if answer.lost or answer.outcome is HandOver.ACCEPTED or await self._reset():
            return answer
        return Answer(answer.outcome, answer.detail, lost=True, unreachable=answer.unreachable)

    async def _offer(self, mail: Mail) -> Answer:
        stage = Stage.SENDER
        try:
            async with asyncio.timeout(self._settings.envelope):
                await self._client.mail(mail.sender)
                stage = Stage.RECIPIENT
                await self._client.rcpt(mail.recipient)
        except SMTPResponseException as error:
            return read_refusal(error.code, error.message, stage)
        except (SMTPException, OSError, TimeoutError) as error:
            detail = f"the relay was lost before the content: {name_of(error)}"
            return Answer(HandOver.TRANSIENT, detail, lost=True)
        try:
            async with asyncio.timeout(self._settings.content):
                await self._client.data(mail.content)
        except SMTPResponseException as error:
            return read_refusal(error.code, error.message, Stage.CONTENT)
        except (SMTPException, OSError, TimeoutError) as error:
            return Answer(HandOver.UNKNOWN, f"handed over, but no answer came: {name_of(error)}", lost=True)
        return Answer(HandOver.ACCEPTED)

    async def _reset(self) -> bool:
        """Forget the envelope that was refused; False when the connection is of no more use."""
        try:
            async with asyncio.timeout(self._settings.envelope):
                await self._client.rset()
        except (SMTPException, OSError, TimeoutError):
            return False
        return True

    async def quit(self) -> None:
        """Say goodbye."""
        try:
            await self._client.quit()
        except (SMTPException, OSError, TimeoutError):
            self._client.close()

    def close(self) -> None:
        """Without a word."""
        self._client.close()


class Relays:
    """All relays: which one is spoken to now."""

    def __init__(self, settings: LinkSettings, own_name: str, monotonic: Callable[[], float]) -> None:
        """`own_name`: what we call ourselves. Raises ValueError for authorities that cannot be read."""
        self._settings = settings
        self._own_name = own_name
        self._monotonic = monotonic
        self._context = _context(settings)
        self._rests_until: dict[Relay, float] = {}
        self._away: set[Relay] = set()

    def is_best(self, relay: Relay) -> bool:
        """Whether none before it could be spoken to as well."""
        return relay == self._ready()[0]

    async def connect(self) -> SmtpLink:
        """A link to the best relay that answers; raises NotConnectedError."""
        reasons: list[str] = []
        until = self._monotonic() + self._settings.connect
        for relay in self._ready():
            left = until - self._monotonic()
            if reasons and left <= 0:
                break
            try:
                link = await self._connect(relay, max(left, 0.1) if reasons else self._settings.connect)
            except NotConnectedError as error:
                reasons.append(str(error))
                self.leave_alone(relay)
                if relay not in self._away:
                    _log.warning("smtp.not_connected", relay=relay.host, reason=str(error))
                self._away.add(relay)
            else:
                self._rests_until.pop(relay, None)
                if relay in self._away:
                    _log.info("smtp.connected_again", relay=relay.host)
                self._away.discard(relay)
                return link
        raise NotConnectedError("not connected to the mail relay: " + "; ".join(reasons))

    def leave_alone(self, relay: Relay) -> None:
        """It took nothing: others come first for a while."""
        self._rests_until[relay] = self._monotonic() + self._settings.rest

    def _ready(self) -> Sequence[Relay]:
        """Those that do not rest, best first; all of them when all rest."""
        now = self._monotonic()
        awake = [relay for relay in self._settings.relays if self._rests_until.get(relay, 0.0) <= now]
        return awake or self._settings.relays

    async def _connect(self, relay: Relay, seconds: float) -> SmtpLink:
        settings = self._settings
        implicit = settings.tls is Tls.IMPLICIT
        client = aiosmtplib.SMTP(
            hostname=relay.host,
            port=relay.port,
            use_tls=implicit,
            start_tls=False,
            tls_context=self._context if implicit else None,
            local_hostname=self._own_name,
            timeout=seconds,
        )
        try:
            async with asyncio.timeout(seconds):
                await client.connect()
                await client.ehlo()
                encrypted = implicit or await self._encrypt(client, relay)
                if settings.user:
                    await self._log_in(client, encrypted=encrypted)
        except NotConnectedError:
            client.close()
            raise
        except (SMTPException, OSError, TimeoutError, ValueError) as error:
            client.close()
            raise NotConnectedError(name_of(error)) from error
        except BaseException:  # a cancelled connect too leaves no link behind
            client.close()
            raise
        return SmtpLink(client, relay, settings)

    async def _log_in(self, client: aiosmtplib.SMTP, *, encrypted: bool) -> None:
        if not encrypted and self._settings.tls is not Tls.NEVER:
            raise NotConnectedError("it offers no STARTTLS, and a password is not sent in the clear")
        await client.login(self._settings.user, self._settings.password)

    async def _encrypt(self, client: aiosmtplib.SMTP, relay: Relay) -> bool:
        if self._settings.tls is Tls.NEVER:
            return False
        if not client.supports_extension("starttls"):
            if self._settings.tls is Tls.REQUIRED:
                raise NotConnectedError("it offers no STARTTLS, which is required")
            return False
        await client.starttls(
            server_hostname=self._settings.tls_name or relay.host, tls_context=self._context
        )
        await client.ehlo()
        return True


def _context(settings: LinkSettings) -> ssl.SSLContext | None:
    if settings.tls is Tls.NEVER:
        return None
    if settings.ca_file and not Path(settings.ca_file).is_file():
        raise ValueError("the file with the relays' authorities is not there")
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except ssl.SSLError:
        raise ValueError("the file with the relays' authorities holds no certificate in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def name_of(error: BaseException) -> str:
    """What kind of error, with its code; texts of servers may quote addresses."""
    code = f" {error.code}" if isinstance(error, SMTPResponseException) else ""
    if isinstance(error.__cause__, ssl.SSLError):
        return f"{type(error.__cause__).__name__}{code}"
    return type(error).__name__ + code


async def quit_all(links: list[SmtpLink], seconds: float) -> None:
    """Say goodbye on all of them, in so many seconds together."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while links:
                await links.pop().quit()
    while links:
        links.pop().close()

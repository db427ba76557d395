"""A mail server that keeps what it gets: SMTP over TCP with a record per recipient and faults."""

import asyncio
import email
import email.policy
import hmac
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import click
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from services.cli.providers.faults import FaultFile, SmtpFaults
from services.cli.providers.process import ListenAddress, PasswordFile, run_provider
from services.cli.providers.record import RecordFile
from services.runtime.clock import WallClock

_HOST_NAME = "sink.rapport.invalid"
_OK = "250 2.0.0 Taken"
_MAX_MESSAGE_OCTETS = 1_048_576


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """How the sink is run."""

    record: Path
    """One JSON object per recipient of each message taken."""
    user: str = ""
    """User that clients log in as; empty: no login is asked for."""
    password: str = ""


class SmtpSink:
    """The mail server: takes messages and writes them down before it says so."""

    def __init__(
        self,
        settings: SinkSettings,
        faults: FaultFile[SmtpFaults] | None = None,
        now_micros: Callable[[], int] | None = None,
    ) -> None:
        self.settings = settings
        self.faults = faults or FaultFile(SmtpFaults())
        self._now_micros = now_micros or WallClock().now_micros
        self._record: RecordFile | None = None
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self.connections = 0
        """Links opened since the start."""

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Open the record and listen; port 0 takes a free one. Returns what it listens on."""
        self._record = RecordFile(self.settings.record)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._link, host, port)
        address: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return address

    def _link(self) -> "_Link":
        wants_login = bool(self.settings.user)
        with warnings.catch_warnings():
            # It warns of a login without TLS; this server is for one machine.
            warnings.simplefilter("ignore", UserWarning)
            return _Link(
                self,
                loop=asyncio.get_running_loop(),
                hostname=_HOST_NAME,
                ident="Rapport sink",
                data_size_limit=_MAX_MESSAGE_OCTETS,
                enable_SMTPUTF8=True,
                auth_required=wants_login,
                auth_require_tls=False,
                authenticator=self._authenticate if wants_login else None,
            )

    async def stop(self) -> None:
        """Stop listening, cut all links, close the record."""
        if self._server is not None:
            self._server.close()
        self.cut_links()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
        if self._record is not None:
            self._record.close()
            self._record = None

    def cut_links(self) -> None:
        """Drop every link at once, as a broken network does."""
        for link in list(self._links):
            link.abort()

    def opened(self, link: "_Link") -> None:
        """A client has connected."""
        self._links.add(link)
        self.connections += 1

    def closed(self, link: "_Link") -> None:
        """A client has gone."""
        self._links.discard(link)

    @property
    def links(self) -> int:
        """How many clients are connected."""
        return len(self._links)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: Any
    ) -> AuthResult:
        del server, session, envelope, mechanism
        right = (
            isinstance(credentials, LoginPassword)
            and hmac.compare_digest(credentials.login, self.settings.user.encode())
            and hmac.compare_digest(credentials.password, self.settings.password.encode())
        )
        return AuthResult(success=right, handled=False)

    async def handle_RCPT(  # noqa: N802 - the server library calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient or refuse it."""
        del server, session, options
        refusal = self.faults.current().refuse.get(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - the server library calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Take a message: write it down, then answer."""
        del session
        faults = self.faults.current()
        if faults.busy > 0:
            faults.busy -= 1
            return "451 4.3.2 Busy, try again later"
        if faults.refuse_content > 0:
            faults.refuse_content -= 1
            return "554 5.6.0 Content refused"
        drop = faults.drop_after_content > 0
        assert self._record is not None
        assert isinstance(envelope.content, bytes)
        entry = _entry(envelope.content, envelope.mail_from or "", self._now_micros())
        self._record.append({**entry, "recipient": to, "answered": not drop} for to in envelope.rcpt_tos)
        if drop:
            faults.drop_after_content -= 1
            assert isinstance(server, _Link)
            server.abort()
        return _OK


def _entry(content: bytes, mail_from: str, now_micros: int) -> dict[str, Any]:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return {
        "time_micros": now_micros,
        "recipient": "",
        "mail_from": mail_from,
        "message_id": message.get("Message-ID"),
        "reference": (message.get("Message-ID") or "").strip("<> ").partition("@")[0] or None,
        "subject": _header(message, "Subject"),
        "text": _body(message, "plain"),
        "html": _body(message, "html"),
        "list_unsubscribe": _header(message, "List-Unsubscribe"),
        "list_unsubscribe_post": _header(message, "List-Unsubscribe-Post"),
        "answered": True,
    }


def _header(message: EmailMessage, name: str) -> str | None:
    value = message.get(name)
    return None if value is None else str(value).strip()  # a folded line begins with a blank


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    if part is None:
        return None
    return str(part.get_content()).replace("\r\n", "\n").rstrip("\n")


class _Link(SMTP):
    """One client's connection."""

    def __init__(self, sink: SmtpSink, **options: Any) -> None:
        super().__init__(sink, **options)
        self._sink = sink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sink.opened(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._sink.closed(self)
        super().connection_lost(error)

    def abort(self) -> None:
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()


@click.command()
@click.option("--listen", type=ListenAddress(), required=True, help="Host and port; port 0 takes a free one.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File that gets one JSON object per recipient (mode 0600).",
)
@click.option("--user", default="", help="User that clients must log in as; none: no login.")
@click.option(
    "--password-file",
    "password",
    type=PasswordFile(),
    help="File of mode 0600 with the user's password.",
)
@click.option(
    "--faults",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON file with faults; read again whenever it changes.",
)
def main(listen: tuple[str, int], record: Path, user: str, password: str | None, faults: Path | None) -> None:
    """Run a mail sink until it is told to stop (SIGTERM, SIGINT)."""
    if bool(user) != (password is not None):
        raise click.UsageError("--user and --password-file go together: give both or none")
    settings = SinkSettings(record=record, user=user, password=password or "")
    run_provider("smtp-sink", lambda: SmtpSink(settings, FaultFile(SmtpFaults(), faults)), listen)


if __name__ == "__main__":
    main()

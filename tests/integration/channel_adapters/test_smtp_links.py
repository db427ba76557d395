"""Links to relays: TLS as it was asked for, passwords only where they may be sent, and the best relay."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope

from services.channel.adapters.mail import Letterhead
from services.channel.adapters.smtp import SmtpSettings, SmtpTransport
from services.channel.adapters.smtp_link import LinkSettings, Relay, Tls
from services.channel.app.ports import HandOver
from services.cli.stack.ports import free_port
from tests.fakes.trust import trust
from tests.integration.channel_adapters.test_smtp_transport import mail

NOW_MICROS = 1_796_148_000_000_000
CA = str(trust().folder / "ca.crt")


@dataclass
class Server:
    """An independent mail server; `taken` says whether each mail came over TLS, and whether with a login."""

    port: int
    taken: list[tuple[bool, bool]] = field(default_factory=list)
    answer: str = "250 2.0.0 Taken"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Envelope) -> str:  # noqa: N802
        del server
        assert envelope.rcpt_tos
        self.taken.append((session.ssl is not None, bool(session.authenticated)))
        return self.answer

    def authenticate(self, *_: object) -> AuthResult:
        return AuthResult(success=True)


MakeServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def make_server() -> AsyncIterator[MakeServer]:
    servers: list[asyncio.Server] = []

    async def make(*, port: int = 0, starttls: bool = True) -> Server:
        context = None
        if starttls:
            files = trust().certificate("relay")
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(files.chain, files.key)
        made = Server(port)
        options: dict[str, Any] = {"authenticator": made.authenticate, "auth_require_tls": starttls}
        listening = await asyncio.get_running_loop().create_server(
            lambda: SMTP(made, hostname="relay.example", tls_context=context, **options), "127.0.0.1", port
        )
        servers.append(listening)
        made.port = listening.sockets[0].getsockname()[1]
        return made

    yield make
    for server in servers:
        server.close()


@pytest.fixture
async def make_transport() -> AsyncIterator[Callable[..., SmtpTransport]]:
    async with AsyncExitStack() as stack:

        def make(*ports: int, **changes: Any) -> SmtpTransport:
            relays = tuple(Relay("127.0.0.1", port) for port in ports)
            link = LinkSettings(relays, **changes)
            transport = SmtpTransport(
                SmtpSettings(link, Letterhead("hello@operator.example"), connections=1), lambda: NOW_MICROS
            )
            stack.push_async_callback(transport.close)
            return transport

        yield make


async def outcome(transport: SmtpTransport, number: int = 1) -> tuple[HandOver, str]:
    (handed,) = await transport.send([mail(number)])
    return handed.outcome, handed.detail


@pytest.mark.parametrize("tls", [Tls.REQUIRED, Tls.OFFERED])
async def test_starttls_with_a_certificate_that_is_checked(tls: Tls, make_server, make_transport) -> None:
    server = await make_server()
    transport = make_transport(server.port, tls=tls, ca_file=CA, user="rapport", password="secret12")
    assert (await outcome(transport))[0] is HandOver.ACCEPTED
    assert server.taken == [(True, True)]


@pytest.mark.parametrize("tls", [Tls.REQUIRED, Tls.OFFERED])
@pytest.mark.parametrize("changes", [{}, {"ca_file": CA, "tls_name": "other.example"}])
async def test_a_certificate_of_somebody_else_is_not_talked_to(
    tls: Tls, changes: dict[str, str], make_server, make_transport
) -> None:
    server = await make_server()
    result, detail = await outcome(make_transport(server.port, tls=tls, **changes))
    assert result is HandOver.TRANSIENT
    assert "not connected" in detail
    assert server.taken == []


async def test_a_name_of_its_own(make_server, make_transport) -> None:
    server = await make_server()
    transport = make_transport(server.port, tls=Tls.REQUIRED, ca_file=CA, tls_name="localhost")
    assert (await outcome(transport))[0] is HandOver.ACCEPTED


async def test_a_relay_without_starttls(make_server, make_transport) -> None:
    server = await make_server(starttls=False)
    result, detail = await outcome(make_transport(server.port, tls=Tls.REQUIRED, ca_file=CA))
    assert (result, "STARTTLS, which is required" in detail) == (HandOver.TRANSIENT, True)
    assert (await outcome(make_transport(server.port, tls=Tls.OFFERED)))[0] is HandOver.ACCEPTED
    login = {"user": "rapport", "password": "secret12"}
    result, detail = await outcome(make_transport(server.port, tls=Tls.OFFERED, **login))
    assert (result, "not sent in the clear" in detail) == (HandOver.TRANSIENT, True)
    assert "secret12" not in detail
    assert (await outcome(make_transport(server.port, tls=Tls.NEVER, **login)))[0] is HandOver.ACCEPTED
    assert server.taken == [(False, False), (False, True)]


async def test_the_next_relay_while_the_best_is_away_and_back(make_server, make_transport) -> None:
    best_port = free_port()
    second = await make_server(starttls=False)
    transport = make_transport(best_port, second.port, tls=Tls.NEVER, rest=0.0)
    assert (await outcome(transport, 1))[0] is HandOver.ACCEPTED
    assert len(second.taken) == 1
    best = await make_server(port=best_port, starttls=False)
    assert (await outcome(transport, 2))[0] is HandOver.ACCEPTED
    assert (len(best.taken), len(second.taken)) == (1, 1)


async def test_a_relay_that_rests_is_not_asked_while_there_is_another(make_server, make_transport) -> None:
    best_port = free_port()
    second = await make_server(starttls=False)
    transport = make_transport(best_port, second.port, tls=Tls.NEVER, rest=60.0)
    assert (await outcome(transport, 1))[0] is HandOver.ACCEPTED
    best = await make_server(port=best_port, starttls=False)
    assert (await outcome(transport, 2))[0] is HandOver.ACCEPTED
    assert (len(best.taken), len(second.taken)) == (0, 2)


async def test_a_relay_that_hangs_up_on_every_mail_gives_way(make_server, make_transport) -> None:
    best, second = await make_server(starttls=False), await make_server(starttls=False)
    best.answer = "421 4.3.2 Closing"
    transport = make_transport(best.port, second.port, tls=Tls.NEVER, rest=60.0)
    assert (await outcome(transport, 1))[0] is HandOver.TRANSIENT
    assert (await outcome(transport, 1))[0] is HandOver.ACCEPTED
    assert len(second.taken) == 1


@pytest.mark.parametrize("ca_file", ["/nowhere/ca.crt", __file__])
def test_authorities_that_cannot_be_read_are_told_at_the_start(ca_file: str) -> None:
    link = LinkSettings((Relay("127.0.0.1", 25),), ca_file=ca_file)
    with pytest.raises(ValueError, match="authorities"):
        SmtpTransport(SmtpSettings(link, Letterhead("hello@operator.example")), lambda: 0)

"""The SMTP transport against the simulated mail server over TCP."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.channel.adapters.mail import Letterhead
from services.channel.adapters.smtp import SmtpSettings, SmtpTransport
from services.channel.adapters.smtp_link import LinkSettings, Relay, Tls
from services.channel.app.ports import HandOver, Outgoing
from services.channel.domain.links import LinkKeys, Links
from services.cli.providers.record import read_record
from services.cli.providers.smtp_sink import SinkSettings, SmtpSink
from services.vocabulary.words import Category, Channel
from tests.integration.channel_adapters.smsc_at_work import outgoing, until

NOW_MICROS = 1_796_148_000_000_000  # 2026-12-01T18:00:00Z
KEYS = LinkKeys([b"k" * 32])
LETTERHEAD = Letterhead("Rapport <hello@operator.example>")
MakeTransport = Callable[..., SmtpTransport]


def mail(number: int, **changes: Any) -> Outgoing:
    given: dict[str, Any] = {"address": f"u{number}@example.com", "subject": "Your data"}
    return outgoing(number, **(given | changes))


class SinkAtWork:
    """A mail server that can go down and come back on the same port with the same record."""

    def __init__(self, record: Path) -> None:
        self.settings = SinkSettings(record=record)
        self.port = 0
        self.now: SmtpSink | None = None

    async def up(self) -> SmtpSink:
        sink = SmtpSink(self.settings)
        _, self.port = await sink.start("127.0.0.1", self.port)
        self.now = sink
        return sink

    async def down(self) -> None:
        if self.now is not None:
            await self.now.stop()
            self.now = None

    def entries(self) -> list[dict[str, Any]]:
        return list(read_record(self.settings.record))

    def taken(self) -> list[str]:
        return [entry["reference"] for entry in self.entries()]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[SinkAtWork]:
    place = SinkAtWork(tmp_path / "mail.jsonl")
    await place.up()
    yield place
    await place.down()


@pytest.fixture
def sink(place: SinkAtWork) -> SmtpSink:
    assert place.now is not None
    return place.now


@pytest.fixture
async def make_transport(place: SinkAtWork) -> AsyncIterator[MakeTransport]:
    async with AsyncExitStack() as stack:

        def make(connections: int = 4, letterhead: Letterhead = LETTERHEAD, **changes: Any) -> SmtpTransport:
            link = LinkSettings((Relay("127.0.0.1", place.port),), tls=Tls.NEVER, content=0.7)
            settings = SmtpSettings(replace(link, **changes), letterhead, connections)
            transport = SmtpTransport(settings, lambda: NOW_MICROS)
            stack.push_async_callback(transport.close)
            return transport

        yield make


async def test_a_batch_goes_over_few_connections_one_recipient_each(
    sink: SmtpSink, place: SinkAtWork, make_transport: MakeTransport
) -> None:
    transport = make_transport(connections=3)
    for start in (0, 50):
        handed = await transport.send([mail(start + number) for number in range(50)])
        assert Counter(item.outcome for item in handed) == {HandOver.ACCEPTED: 50}
    assert transport.channel is Channel.EMAIL
    assert sorted(place.taken()) == [mail(number).message_id for number in range(100)]
    assert {entry["recipient"] for entry in place.entries()} == {f"u{n}@example.com" for n in range(100)}
    assert sink.connections == 3
    assert [batch async for batch in transport.receipts()] == []


@pytest.mark.usefixtures("sink")
async def test_what_the_server_sees(place: SinkAtWork, make_transport: MakeTransport) -> None:
    text = "Bonjour Chloé,\n\nVos données sont épuisées.\n.\nVotre opérateur 😜"
    letterhead = Letterhead(
        LETTERHEAD.sender,
        links=Links(KEYS, "https://operator.example/"),
        return_path="bounces@operator.example",
        return_keys=KEYS,
    )
    await make_transport(letterhead=letterhead).send(
        [mail(1, text=text, subject="Données épuisées", html="<p>Bonjour Chloé</p>", category=Category.SALES)]
    )
    (entry,) = place.entries()
    assert entry["text"] == text
    assert entry["html"] == "<p>Bonjour Chloé</p>"
    assert entry["subject"] == "Données épuisées"
    assert entry["mail_from"] == f"bounces+{KEYS.return_tag(mail(1).message_id)}@operator.example"
    assert entry["message_id"] == f"<{mail(1).message_id}@operator.example>"
    assert entry["list_unsubscribe"].startswith("<https://operator.example/l/")
    assert entry["list_unsubscribe_post"] == "List-Unsubscribe=One-Click"


async def test_one_refused_recipient_of_many(
    sink: SmtpSink, place: SinkAtWork, make_transport: MakeTransport
) -> None:
    sink.faults.faults.refuse = {
        "u7@example.com": "550 5.1.1 <u7@example.com> no such mailbox",
        "u9@example.com": "450 4.2.1 <u9@example.com> busy",
    }
    handed = await make_transport(connections=2).send([mail(number) for number in range(20)])
    other = {item.message_id[-2:]: item for item in handed if item.outcome is not HandOver.ACCEPTED}
    assert {key: item.outcome for key, item in other.items()} == {
        "07": HandOver.PERMANENT,
        "09": HandOver.TRANSIENT,
    }
    assert (other["07"].unreachable, other["09"].unreachable) == (True, False)
    assert other["07"].detail == "SMTP status 550 5.1.1 to RCPT"
    assert len(place.entries()) == 18
    # A refusal does not cost the connection.
    assert sink.connections == 2


async def test_content_refused_or_put_off(
    sink: SmtpSink, place: SinkAtWork, make_transport: MakeTransport
) -> None:
    sink.faults.faults.refuse_content = 1
    transport = make_transport(connections=1)
    (first,) = await transport.send([mail(1)])
    sink.faults.faults.busy = 1
    (second,) = await transport.send([mail(2)])
    (third,) = await transport.send([mail(2)])
    assert [first.outcome, second.outcome, third.outcome] == [
        HandOver.PERMANENT,
        HandOver.TRANSIENT,
        HandOver.ACCEPTED,
    ]
    assert place.taken() == [mail(2).message_id]


async def test_a_link_lost_after_the_content_is_unknown(
    sink: SmtpSink, place: SinkAtWork, make_transport: MakeTransport
) -> None:
    sink.faults.faults.drop_after_content = 1
    handed = await make_transport(connections=1).send([mail(1), mail(2)])
    assert [item.outcome for item in handed] == [HandOver.UNKNOWN, HandOver.ACCEPTED]
    assert place.taken() == [mail(1).message_id, mail(2).message_id]


async def test_a_server_down_and_back(place: SinkAtWork, make_transport: MakeTransport) -> None:
    transport = make_transport()
    await transport.send([mail(1)])
    await place.down()
    handed = await transport.send([mail(number) for number in range(2, 12)])
    assert Counter(item.outcome for item in handed) == {HandOver.TRANSIENT: 10}
    await place.up()
    handed = await transport.send([mail(number) for number in range(2, 12)])
    assert Counter(item.outcome for item in handed) == {HandOver.ACCEPTED: 10}
    assert max(Counter(place.taken()).values()) == 1


async def test_an_idle_connection_that_was_closed_is_replaced(
    sink: SmtpSink, place: SinkAtWork, make_transport: MakeTransport
) -> None:
    transport = make_transport(connections=1)
    await transport.send([mail(1)])
    sink.cut_links()
    (handed,) = await transport.send([mail(2)])
    assert handed.outcome is HandOver.ACCEPTED
    assert place.taken() == [mail(1).message_id, mail(2).message_id]
    assert sink.connections == 2


@pytest.mark.usefixtures("sink")
async def test_injection_does_not_reach_the_server(place: SinkAtWork, make_transport: MakeTransport) -> None:
    handed = await make_transport().send(
        [
            mail(1, address="u1@example.com>\r\nRCPT TO:<victim@example.com"),
            mail(2, address="u2@example.com\nBcc: victim@example.com"),
            mail(3, subject="Hi\r\nBcc: victim@example.com\r\n\r\nother text", sender="Op\r\nX-Evil: 1"),
        ]
    )
    outcomes = {item.message_id[-1]: item.outcome for item in handed}
    assert outcomes == {"1": HandOver.PERMANENT, "2": HandOver.PERMANENT, "3": HandOver.ACCEPTED}
    (entry,) = place.entries()
    assert entry["recipient"] == "u3@example.com"
    assert entry["subject"] == "Hi Bcc: victim@example.com other text"
    assert entry["text"] == mail(3).text


async def test_login(tmp_path: Path, make_transport: MakeTransport) -> None:
    sink = SmtpSink(SinkSettings(record=tmp_path / "closed.jsonl", user="rapport", password="secret12"))
    _, port = await sink.start("127.0.0.1", 0)
    try:
        for user, password, outcome in (
            ("", "", HandOver.TRANSIENT),
            ("rapport", "wrong", HandOver.TRANSIENT),
            ("rapport", "secret12", HandOver.ACCEPTED),
        ):
            (handed,) = await make_transport(
                relays=(Relay("127.0.0.1", port),), user=user, password=password
            ).send([mail(1)])
            assert handed.outcome is outcome
    finally:
        await sink.stop()


async def test_close_says_goodbye(sink: SmtpSink, make_transport: MakeTransport) -> None:
    transport = make_transport()
    await transport.send([mail(number) for number in range(8)])
    await transport.close()
    await until(lambda: not sink.links)
    (handed,) = await transport.send([mail(9)])
    assert handed.outcome is HandOver.TRANSIENT

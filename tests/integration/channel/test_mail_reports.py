"""Bounces and complaints on a real database: each acted on once, acknowledged after its commit."""

from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from psycopg.errors import UndefinedTable

from services.channel.adapters.mail_reports import MailReportReader
from services.channel.adapters.mailboxes import Maildir
from services.channel.adapters.storage.mail_reports import PostgresReportLog
from services.channel.app.ports import Handed, HandOver
from services.channel.domain.links import Link, Purpose
from services.channel.domain.mail_reports import MOST_OCTETS, SOFT_WINDOW, ReportKind
from services.channel.domain.messages import Message
from services.channel.entrypoints.mail_reports import PATH, MailboxLoop, ReportHook, Reports
from services.channel.entrypoints.web import WebEndpoint
from services.runtime.errors import UnavailableError
from services.vocabulary.words import Category, Channel, MessageState
from tests.fakes.channel import SetTransport, make_action
from tests.integration.channel.conftest import Road
from tests.unit.channel_adapters.test_mail_reports import KEYS, arf, dsn, mail

SECRET = "a secret of sixteen"


def reports(road: Road) -> Reports:
    return Reports(MailReportReader(KEYS), road.store, PostgresReportLog(), road.clock)


async def sent(road: Road, customer: int) -> Message:
    road.sender = road.another_sender(SetTransport(Channel.EMAIL))
    action = make_action(str(uuid4()), customer, category=Category.SALES, channels=(Channel.EMAIL,))
    message = await road.take_one(action)
    await road.sender.turn()
    assert (await road.stored(message)).state is MessageState.SENT
    return message


def about(message: Message, report: bytes) -> bytes:
    """A report about this message instead of the examples'."""
    tag = KEYS.return_tag(message.message_id).encode()
    return report.replace(KEYS.return_tag("2f0c1a52-9a77-5c2e-8a44-0d9f6b8f1e01").encode(), tag)


async def listed(road: Road) -> list[tuple[int, str, str]]:
    return await road.rows("SELECT customer, channel, reason FROM suppression_entry ORDER BY 1")


async def test_what_follows_from_each(road: Road) -> None:
    taken = reports(road)
    hard, ours, late, complained = [await sent(road, customer) for customer in (1, 2, 3, 4)]
    slots = await road.slots()
    bounce = about(hard, dsn(original=""))
    assert await taken.take_mail(bounce) is ReportKind.HARD
    stored = await road.stored(hard)
    assert (stored.state, stored.detail) == (MessageState.FAILED, "bounced 5.1.1")
    assert await road.slots() == slots - 1
    for again in (ReportKind.REPEATED, ReportKind.REPEATED):
        assert await taken.take_mail(bounce) is again
    assert len(await road.rows("SELECT 1 FROM audit_entry")) == 1

    assert await taken.take_mail(about(ours, dsn(status="5.7.1", original=""))) is ReportKind.OURS
    assert (await road.stored(ours)).state is MessageState.FAILED
    assert await taken.take_mail(about(late, dsn("delayed", "4.4.1", original=""))) is ReportKind.DELAYED
    assert (await road.stored(late)).state is MessageState.SENT
    assert await taken.take_mail(about(complained, arf(original=""))) is ReportKind.COMPLAINT
    assert (await road.stored(complained)).state is MessageState.SENT
    assert await listed(road) == [(1, "email", "bounced"), (4, "email", "complained")]

    gone = Link(Purpose.OPT_OUT, 9, Channel.EMAIL, str(uuid4()))
    assert await taken.take_mail(mail(f"Subject: {KEYS.token(gone)}")) is ReportKind.WAY_OUT
    assert (9, "email", "unsubscribed") in await listed(road)
    assert await taken.take_mail(dsn()) is ReportKind.UNKNOWN, "a signed tag of a message that is not there"
    assert await taken.take_mail(mail("Auto-Submitted: auto-replied")) is ReportKind.AUTOMATIC
    totals = await road.totals()
    assert (totals["mail_reports.hard"], totals["mail_reports.repeated"]) == (1, 2)
    assert "action.failed" in {kind for kind, _ in await road.told()}


async def test_an_address_that_the_relay_itself_calls_none_is_a_bounce(road: Road) -> None:
    transport = SetTransport(Channel.EMAIL)
    road.sender = road.another_sender(transport)
    transport.answer = lambda outgoing: Handed(
        outgoing.message_id, HandOver.PERMANENT, detail="550", unreachable=outgoing.customer == 1
    )
    for customer in (1, 2):
        await road.take_one(make_action(str(uuid4()), customer, channels=(Channel.EMAIL,)))
    await road.sender.turn()
    assert await listed(road) == [(1, "email", "bounced")]


async def test_five_soft_bounces_in_a_month_count_as_a_dead_address(road: Road) -> None:
    taken = reports(road)
    full = dsn(status="5.2.2", original="")
    first = about(await sent(road, 1), full)
    for number in range(3):
        await taken.take_mail(first + b"\n" * number)  # of one message: counted once
    road.clock.now += SOFT_WINDOW
    for number in range(4):
        await taken.take_mail(about(await sent(road, 1), full))
        assert await listed(road) == [], number
    await taken.take_mail(about(await sent(road, 1), full))
    assert await listed(road) == [(1, "email", "bounced")]


async def test_letters_leave_the_mailbox_after_the_commit(road: Road, tmp_path: Path) -> None:
    new, aside = tmp_path / "new", tmp_path / ".Unknown/cur"
    new.mkdir()
    first, second = await sent(road, 1), await sent(road, 2)
    (new / "1.host").write_bytes(about(first, dsn(original="")))
    (new / "2.host").write_bytes(b"Subject: hello\n\nwhere is my bill?")
    loop = MailboxLoop(Maildir(tmp_path), reports(road))

    async with road.database.transaction() as raw:
        await raw.execute("ALTER TABLE mail_report RENAME TO away")
    for _ in range(2):
        with pytest.raises(UndefinedTable):
            await loop.turn()
    assert (len(list(new.iterdir())), await listed(road)) == (2, [])
    async with road.database.transaction() as raw:
        await raw.execute("ALTER TABLE away RENAME TO mail_report")

    assert await loop.turn() == 2
    assert [path.read_bytes()[:14] for path in aside.iterdir()] == [b"Subject: hello"]
    assert not list(new.iterdir())
    assert await listed(road) == [(1, "email", "bounced")]
    # a crash after the commit and before the letter was taken out: it comes again, and nothing follows
    (new / "3.host").write_bytes(about(first, dsn(original="")))
    assert (await loop.turn(), await loop.turn()) == (1, 0)
    # what comes before the hand-over is committed waits
    (new / "4.host").write_bytes(about(second, dsn(original="")))
    await road.rows("UPDATE message SET state = 'sending' WHERE customer = 2 RETURNING 1")
    assert await loop.turn() == 0
    await road.rows("UPDATE message SET state = 'sent' WHERE customer = 2 RETURNING 1")
    assert await loop.turn() == 1
    assert (await road.stored(second)).state is MessageState.FAILED


async def test_reports_that_are_posted(road: Road) -> None:
    hook = ReportHook(reports(road), SECRET)
    endpoint = WebEndpoint(hook.routes(), most_octets=MOST_OCTETS)
    await endpoint.start("127.0.0.1:0")
    bounce = about(await sent(road, 1), dsn(original=""))
    as_mail = {"Authorization": f"Bearer {SECRET}", "Content-Type": "message/rfc822"}
    where = f"http://{endpoint.address}{PATH}"
    try:
        async with aiohttp.ClientSession() as client:
            for headers, status in (
                ({}, 401),
                ({**as_mail, "Authorization": f"Bearer {SECRET}x"}, 401),
                ({**as_mail, "Content-Type": "text/plain"}, 415),
            ):
                async with client.post(where, data=bounce, headers=headers) as answer:
                    assert answer.status == status
            async with client.post(where, data=b"x" * (MOST_OCTETS + 1), headers=as_mail) as answer:
                assert answer.status == 413
            assert await listed(road) == []
            for kind in ("hard", "repeated"):
                async with client.post(where, data=bounce, headers=as_mail) as answer:
                    assert (answer.status, await answer.json()) == (200, {"kind": kind})
            assert await listed(road) == [(1, "email", "bounced")]
            hook._reports._store = Away()  # type: ignore[assignment]
            async with client.post(where, data=bounce + b"x", headers=as_mail) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
    finally:
        await endpoint.stop()


class Away:
    """A database that does not answer."""

    async def find(self, _: str) -> None:
        raise UnavailableError("away")

"""Links over HTTP on a real database: looking changes nothing, pressing does once, for one person."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import aiohttp
import pytest

from services.channel.app.suppression import opt_out
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.links import Link, LinkKeys, Purpose
from services.channel.entrypoints.web import WebEndpoint
from services.channel.entrypoints.web_links import MOST_OCTETS, LinkPages
from services.vocabulary.words import Category, Channel
from tests.fakes.channel import make_action
from tests.integration.channel.conftest import Road

KEYS = LinkKeys([b"k" * 32])
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
AGAIN = {"Subscribe-Again": "Yes"}


@dataclass
class Web:
    """The endpoint at work, and somebody who calls it."""

    road: Road
    base: str
    client: aiohttp.ClientSession

    async def link(self, customer: int = 7, purpose: Purpose = Purpose.OPT_OUT) -> tuple[Link, str]:
        action = make_action(str(uuid4()), customer, category=Category.SALES, channels=(Channel.EMAIL,))
        message = await self.road.take_one(action)
        link = Link(purpose, customer, Channel.EMAIL, message.message_id)
        return link, f"/l/{KEYS.token(link)}"

    async def ask(self, method: str, path: str, **kwargs: object) -> tuple[int, str]:
        async with self.client.request(method, self.base + path, **kwargs) as answer:  # type: ignore[arg-type]
            return answer.status, await answer.text()

    async def listed(self) -> list[tuple[int, str, str]]:
        return await self.road.rows("SELECT customer, channel, reason FROM suppression ORDER BY 1, 2, 3")

    async def audited(self) -> int:
        return len(await self.road.rows("SELECT 1 FROM audit_entry"))


@pytest.fixture
async def web(road: Road) -> AsyncIterator[Web]:
    pages = LinkPages(KEYS, road.store, road.profile, road.clock, default_language="en")
    endpoint = WebEndpoint(pages.routes(), most_octets=MOST_OCTETS)
    await endpoint.start("127.0.0.1:0")
    async with aiohttp.ClientSession() as client:
        yield Web(road, f"http://{endpoint.address}", client)
    await endpoint.stop()


async def test_a_look_changes_nothing_and_a_press_unsubscribes_with_one_record(web: Web) -> None:
    """However often and however many at a time (behaviour 19), as RFC 8058 posts it in both forms.

    Whoever it was forwarded to acts for the original person (behaviour 21), and it works when the message is
    gone.
    """
    link, path = await web.link(customer=7)
    await web.link(customer=8)
    for method in ("GET", "HEAD", "GET"):
        assert (await web.ask(method, path))[0] == 200
    assert (await web.ask("POST", path))[0] == 400
    assert (await web.listed(), await web.audited()) == ([], 0)
    multipart = aiohttp.MultipartWriter("form-data")
    multipart.append("One-Click").set_content_disposition("form-data", name="List-Unsubscribe")
    answers = await asyncio.gather(
        *(web.ask("POST", path, data=ONE_CLICK, headers={"Cookie": "customer=8"}) for _ in range(8)),
        web.ask("POST", path, data=multipart),
    )
    assert {status for status, _ in answers} == {200}
    assert all("You are unsubscribed" in text for _, text in answers)
    assert (await web.listed(), await web.audited()) == ([(7, "email", "unsubscribed")], 1)
    replied = [fields for event, fields in await web.road.events() if event.type == "message.replied"]
    stored = await web.road.stored(link.reference)
    assert replied == [{"text": "List-Unsubscribe=One-Click", "intent": "stop", "action": stored.action_id}]
    gone = Link(Purpose.OPT_OUT, 9, Channel.EMAIL, str(uuid4()))
    assert (await web.ask("POST", f"/l/{KEYS.token(gone)}", data=ONE_CLICK))[0] == 200
    assert await web.listed() == [(7, "email", "unsubscribed"), (9, "email", "unsubscribed")]


async def test_the_person_opts_in_again(web: Web) -> None:
    """By a link that staff sent (behaviour 18): a look does nothing, and only the own opt-out is lifted."""
    await web.ask("POST", (await web.link())[1], data=ONE_CLICK)
    async with web.road.store.transaction() as tx:
        for customer in (7, 8):
            await opt_out(
                tx,
                web.road.clock,
                customer=customer,
                channel=Channel.SMS,
                reason=SuppressedFor.COMPLAINED,
                evidence="",
            )
    _, path = await web.link(purpose=Purpose.OPT_IN)
    status, text = await web.ask("GET", path)
    assert (status, "Subscribe again</button>" in text) == (200, True)
    assert (await web.ask("POST", path, data=ONE_CLICK))[0] == 400
    assert len(await web.listed()) == 3
    for _ in range(2):
        status, text = await web.ask("POST", path, data=AGAIN)
        assert (status, "Welcome back" in text) == (200, True)
    assert await web.listed() == [(7, "sms", "complained"), (8, "sms", "complained")]
    shut = Link(Purpose.OPT_IN, 8, Channel.SMS, str(uuid4()))
    assert "Something else" in (await web.ask("POST", f"/l/{KEYS.token(shut)}", data=AGAIN))[1]
    assert (8, "sms", "complained") in await web.listed()

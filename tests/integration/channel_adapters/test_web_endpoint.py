"""The web endpoint over HTTP, with no database behind it: bounds, headers, and what is not ours."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from uuid import uuid4

import aiohttp
import pytest

from services.channel.domain.links import Link, LinkKeys, Purpose
from services.channel.entrypoints.web import HEADERS, WebEndpoint
from services.channel.entrypoints.web_links import MOST_OCTETS, LinkPages
from services.vocabulary.words import Channel
from tests.fakes.channel import SetClock, SetProfile, reachable
from tests.fakes.trust import trust

KEYS = LinkKeys([b"k" * 32])
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


class Away:
    """A database that does not answer; how often it was asked."""

    asked = 0

    def transaction(self) -> object:
        self.asked += 1
        raise ConnectionError("the database is away")


def link_to(customer: int = 7) -> Link:
    return Link(Purpose.OPT_OUT, customer, Channel.EMAIL, str(uuid4()))


@dataclass
class Web:
    """The endpoint at work, and somebody who calls it."""

    endpoint: WebEndpoint
    client: aiohttp.ClientSession
    profile: SetProfile
    store: Away
    link: Link = field(default_factory=link_to)

    @property
    def path(self) -> str:
        return f"/l/{KEYS.token(self.link)}"

    async def ask(self, method: str, path: str, **kwargs: object) -> tuple[int, str, Mapping[str, str]]:
        where = f"http://{self.endpoint.address}{path}"
        async with self.client.request(method, where, **kwargs) as answer:  # type: ignore[arg-type]
            assert not answer.cookies
            return answer.status, await answer.text(), answer.headers


Start = Callable[..., AsyncIterator[Web]]


@pytest.fixture
async def parts() -> AsyncIterator[tuple[LinkPages, SetProfile, Away, aiohttp.ClientSession]]:
    clock, store = SetClock(), Away()
    profile = SetProfile(clock)
    pages = LinkPages(KEYS, store, profile, clock, default_language="en")  # type: ignore[arg-type]
    async with aiohttp.ClientSession() as client:
        yield pages, profile, store, client


@pytest.fixture
async def web(parts) -> AsyncIterator[Web]:
    pages, profile, store, client = parts
    endpoint = WebEndpoint(
        pages.routes(), most_octets=MOST_OCTETS, connection_seconds=0.5, most_connections=20
    )
    await endpoint.start("127.0.0.1:0")
    yield Web(endpoint, client, profile, store)
    await endpoint.stop()


async def test_looking_needs_no_database(web: Web) -> None:
    for method in ("GET", "HEAD"):
        status, text, _ = await web.ask(method, web.path)
        assert (status, "Unsubscribe</button>" in text) == (200, method == "GET")
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await web.ask(method, web.path, data=ONE_CLICK))[0] == 405
    assert web.store.asked == 0


async def test_while_the_database_is_away_the_person_is_told(web: Web) -> None:
    status, text, headers = await web.ask("POST", web.path, data=ONE_CLICK)
    assert (status, headers["Retry-After"], web.store.asked) == (503, "30", 1)
    assert "nothing was changed" in text


@pytest.mark.parametrize(
    ("status", "kwargs"),
    [
        (400, {}),
        (400, {"data": {"List-Unsubscribe": "no"}}),
        (400, {"data": {"Subscribe-Again": "Yes"}}),
        (400, {"data": b"\xff\x00"}),
        (400, {"data": "List-Unsubscribe%3DOne-Click"}),
        (400, {"json": ONE_CLICK}),
        (400, {"data": b"--", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}),
        (413, {"data": {**ONE_CLICK, "more": "x" * MOST_OCTETS}}),
    ],
)
async def test_only_what_asks_for_it_acts(web: Web, status: int, kwargs: dict[str, object]) -> None:
    assert (await web.ask("POST", web.path, **kwargs))[0] == status
    assert web.store.asked == 0


async def test_what_is_not_ours_is_answered_alike(web: Web) -> None:
    token = KEYS.token(web.link)
    foreign = LinkKeys([b"f" * 32]).token(web.link)
    over = KEYS.token(replace(web.link, purpose=Purpose.OPT_IN, until_micros=60_000_000))
    altered = token[:-9] + ("B" if token[-9] == "A" else "A") + token[-8:]
    answers = set()
    for one in [foreign, over, altered, token[1:], "x", "x" * 300, "%00", token.upper()]:
        answers.add((await web.ask("GET", f"/l/{one}"))[:2])
        answers.add((await web.ask("POST", f"/l/{one}", data=ONE_CLICK))[:2])
    ((status, text),) = answers
    assert status == 404
    assert "This link does not work" in text
    assert (await web.ask("GET", "/"))[0] == (await web.ask("GET", "/l/"))[0] == 404
    assert (web.store.asked, web.profile.asked) == (0, [])


def test_what_is_not_ours_takes_as_long() -> None:
    """No way to tell by the clock how far a made-up token got: the medians are as good as the same."""
    token = KEYS.token(link_to())

    def took(one: str) -> float:
        times = []
        for _ in range(200):
            began = time.perf_counter()
            assert KEYS.read_token(one, 0) is None
            times.append(time.perf_counter() - began)
        return sorted(times)[100]

    assert abs(took(token[:-1] + "A") - took(LinkKeys([b"f" * 32]).token(link_to()))) < 0.0001


async def test_headers_of_every_answer(web: Web) -> None:
    for method, where in (("GET", web.path), ("POST", web.path), ("GET", "/l/x"), ("GET", "/elsewhere")):
        _, _, headers = await web.ask(method, where)
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert headers["Server"] == "rapport"
        assert "Location" not in headers
    assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
    assert HEADERS["Referrer-Policy"] == "no-referrer"
    assert HEADERS["Cache-Control"] == "no-store"


async def test_the_customer_s_language_and_the_browser_s_where_nobody_knows(web: Web) -> None:
    web.profile.reaches[7] = reachable(7, language="fr-FR")
    german = {"Accept-Language": "de"}
    assert "Se désabonner" in (await web.ask("GET", web.path, headers=german))[1]
    web.profile.away = True
    assert "Abmelden" in (await web.ask("GET", web.path, headers=german))[1]


async def hung_up(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends the connection, without an answer."""
    async with asyncio.timeout(5):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


POST = (
    "POST {} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n"
)


@pytest.mark.parametrize("sent", ["", "GET {} HTTP/1.1\r\nHost: a\r\n", POST, POST + "\r\nList-Uns"])
async def test_who_dawdles_is_hung_up_on(web: Web, sent: str) -> None:
    host, port = web.endpoint.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent.format(web.path).encode())
    assert await hung_up(reader)
    writer.close()
    assert web.store.asked == 0


async def test_too_many_connections_are_turned_away(web: Web) -> None:
    host, port = web.endpoint.address.split(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(host, int(port))
    assert await hung_up(reader)
    assert time.monotonic() - began < 0.4
    for one in (writer, *(writer for _, writer in opened)):
        one.close()


async def test_over_tls_by_files(parts) -> None:
    pages, _, _, client = parts
    files = trust().certificate("web")
    endpoint = WebEndpoint(pages.routes(), most_octets=MOST_OCTETS)
    await endpoint.start("127.0.0.1:0", cert_file=str(files.chain), key_file=str(files.key))
    context = ssl.create_default_context(cafile=str(files.authority))
    try:
        async with client.get(f"https://{endpoint.address}/l/x", ssl=context) as answer:
            assert answer.status == 404
    finally:
        await endpoint.stop()

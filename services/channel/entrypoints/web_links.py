"""Links that customers follow: looking changes nothing, pressing the button does at once (RFC 8058)."""

import asyncio

import structlog
from aiohttp import web

from services.channel.app.profile import ContactQuestion, ProfilePort
from services.channel.app.store import MessageStore
from services.channel.app.ways_out import follow
from services.channel.domain.errors import ProfileUnavailableError
from services.channel.domain.links import PATH, Link, LinkKeys, Purpose
from services.channel.entrypoints.web import RETRY_SECONDS
from services.channel.entrypoints.web_pages import BUTTONS, language_of, page
from services.channel.entrypoints.web_words import Page
from services.runtime.clock import Clock
from services.vocabulary.words import Category

MOST_OCTETS = 4_096
"""Of a body: a form with one field."""
_ASK_SECONDS = 1.0
_ACT_SECONDS = 5.0
_ASKS = {Purpose.OPT_OUT: Page.ASK_OUT, Purpose.OPT_IN: Page.ASK_IN}
_DONE = {Purpose.OPT_OUT: Page.OUT, Purpose.OPT_IN: Page.IN}
_log = structlog.get_logger(__name__)


class LinkPages:
    """GET shows a page with a button, whoever looks; POST does it, with the page or without."""

    def __init__(
        self,
        keys: LinkKeys,
        store: MessageStore,
        profile: ProfilePort,
        clock: Clock,
        *,
        default_language: str,
    ) -> None:
        self._keys = keys
        self._store = store
        self._profile = profile
        self._clock = clock
        self._default_language = default_language

    def routes(self) -> list[web.RouteDef]:
        """For WebEndpoint; HEAD is answered as GET."""
        return [web.get(f"{PATH}{{token}}", self.look), web.post(f"{PATH}{{token}}", self.act)]

    async def look(self, request: web.Request) -> web.Response:
        """The page; nothing is changed and nothing noted: link scanners and previews look too."""
        link = self._link(request)
        if link is None:
            return self._bad(request)
        language = await self._language(request, link)
        return _html(page(_ASKS[link.purpose], language, link.channel, link.purpose))

    async def act(self, request: web.Request) -> web.Response:
        """Does what the link is for, if it is asked as mail programs and our own button do."""
        link = self._link(request)
        if link is None:
            return self._bad(request)
        name, value = BUTTONS[link.purpose]
        try:
            posted = (await request.clone(client_max_size=MOST_OCTETS).post()).get(name)
        except ValueError:
            posted = None
        language = await self._language(request, link)
        if posted != value:
            return _html(page(_ASKS[link.purpose], language, link.channel, link.purpose), 400)
        try:
            async with asyncio.timeout(_ACT_SECONDS):
                open_again = await follow(self._store, self._clock, link)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being kept, the person is told
            _log.warning("link_not_followed", purpose=link.purpose.value, error=type(error).__name__)
            answer = _html(page(Page.AWAY, language, link.channel), 503)
            answer.headers["Retry-After"] = RETRY_SECONDS
            return answer
        which = _DONE[link.purpose] if open_again else Page.STILL_SHUT
        return _html(page(which, language, link.channel))

    def _link(self, request: web.Request) -> Link | None:
        """What the link stands for; the time is the wall's: business time may stand still."""
        return self._keys.read_token(request.match_info["token"], self._clock.wall_micros())

    def _bad(self, request: web.Request) -> web.Response:
        """The same answer for all that is not ours, as quick, whether it is looked at or pressed."""
        language = language_of("", request.headers.get("Accept-Language", ""), self._default_language)
        return _html(page(Page.BAD, language), 404)

    async def _language(self, request: web.Request, link: Link) -> str:
        """The customer's own, while the profile answers quickly."""
        wanted = ""
        question = ContactQuestion(link.customer, Category.SERVICE)
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                (reach,) = await self._profile.check_contact([question])
                wanted = reach.language
        except (ProfileUnavailableError, TimeoutError):
            pass
        return language_of(wanted, request.headers.get("Accept-Language", ""), self._default_language)


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")

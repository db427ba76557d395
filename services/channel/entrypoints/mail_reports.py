"""Takes mails about our mails: from a mailbox, and from mail services that post them."""

import asyncio
import hmac
from typing import Final

import structlog
from aiohttp import web

from services.channel.app.mail_reports import (
    Letter,
    Mailbox,
    NotSentYetError,
    ReportLog,
    ReportReader,
    take_report,
)
from services.channel.app.store import MessageStore
from services.channel.domain.mail_reports import MOST_OCTETS, MailReport, ReportKind
from services.channel.entrypoints.web import RETRY_SECONDS
from services.runtime import metrics
from services.runtime.clock import Clock
from services.runtime.process import is_away

PATH: Final = "/reports/mail"
_LETTERS = 50
_TRIES = 3
_EVERY_SECONDS = 10.0
_ACT_SECONDS = 10.0
_log = structlog.get_logger(__name__)


class Reports:
    """Reads and acts, however a report came."""

    def __init__(
        self,
        reader: ReportReader,
        store: MessageStore,
        log: ReportLog,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._store = store
        self._log = log
        self._clock = clock

    async def take_mail(self, content: bytes) -> ReportKind:
        """A mail as it came."""
        return await self._take(await asyncio.to_thread(self._reader.read, content))

    async def take_json(self, body: bytes) -> ReportKind:
        """What a mail service made of one."""
        return await self._take(self._reader.read_json(body))

    async def _take(self, report: MailReport) -> ReportKind:
        kind = await take_report(self._store, self._log, self._clock, report)
        metrics.MAIL_REPORTS.labels(kind.value).inc()
        return kind


class MailboxLoop:
    """Empties a mailbox: each letter leaves it only when what follows from it is committed.

    A letter that fails three times is set aside, so that it holds up no other.
    """

    def __init__(self, mailbox: Mailbox, reports: Reports, *, every_seconds: float = _EVERY_SECONDS) -> None:
        self._mailbox = mailbox
        self._reports = reports
        self._every_seconds = every_seconds
        self._failures: dict[str, int] = {}
        self._reached = True

    async def run(self) -> None:
        """Looks until cancelled; a mailbox or a database that is away is waited for."""
        while True:
            if not await self.turn():
                await asyncio.sleep(self._every_seconds)

    async def turn(self) -> int:
        """Takes what is there, up to 50 letters; how many were settled."""
        try:
            letters = await self._mailbox.fetch(_LETTERS)
            settled = 0
            for letter in letters:
                settled += await self._settle(letter)
        except OSError as error:
            if self._reached:
                _log.warning("mailbox_away", error=type(error).__name__, reason=str(error))
            self._reached = False
            return 0
        if not self._reached:
            _log.info("mailbox_there_again")
        self._reached = True
        return settled

    async def _settle(self, letter: Letter) -> bool:
        try:
            kind = await self._reports.take_mail(letter.content)
        except NotSentYetError:
            return False
        except Exception as error:
            if is_away(error):
                raise  # the database, not the letter
            failures = self._failures.get(letter.name, 0) + 1
            if failures < _TRIES:
                self._failures[letter.name] = failures
                _log.warning("mail_report_failed", failures=failures, error=type(error).__name__)
                raise
            _log.error("mail_report_set_aside", error=type(error).__name__)
            kind = ReportKind.UNKNOWN
        self._failures.pop(letter.name, None)
        await self._mailbox.settle(letter, aside=kind is ReportKind.UNKNOWN)
        return True


class ReportHook:
    """Takes reports that mail services post, from who shows the secret as a bearer token."""

    def __init__(self, reports: Reports, secret: str) -> None:
        self._reports = reports
        self._expected = f"Bearer {secret}".encode()

    def routes(self) -> list[web.RouteDef]:
        """For WebEndpoint."""
        return [web.post(PATH, self.take)]

    async def take(self, request: web.Request) -> web.Response:
        """A mail (message/rfc822) or a JSON form; answered when what follows is committed."""
        shown = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(shown, self._expected):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        if request.content_type not in {"message/rfc822", "application/json"}:
            return web.Response(status=415, text="post message/rfc822 or application/json\n")
        is_mail = request.content_type == "message/rfc822"
        take = self._reports.take_mail if is_mail else self._reports.take_json
        body = await request.clone(client_max_size=MOST_OCTETS).read()
        try:
            async with asyncio.timeout(_ACT_SECONDS):
                kind = await take(body)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being kept, it must come again
            _log.warning("mail_report_not_taken", error=type(error).__name__)
            return web.Response(status=503, headers={"Retry-After": RETRY_SECONDS})
        return web.json_response({"kind": kind.value})

"""Text messages to an SMSC over SMPP 3.4: a transport that stays bound, and tells what it does not know."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import smpp34
import structlog

from services.channel.adapters.smpp_arrivals import Arrivals
from services.channel.adapters.smpp_delivered import Dialect
from services.channel.adapters.smpp_deliveries import Deliveries
from services.channel.adapters.smpp_link import (
    Answer,
    BindRefused,
    LinkLimits,
    LinkLost,
    SmppLink,
)
from services.channel.adapters.smpp_pdus import (
    NotSendable,
    name_of,
    outcome_of,
    submits_of,
)
from services.channel.app.ports import Handed, HandOver, Inbound, Outgoing, Receipt
from services.runtime.clock import WallClock
from services.runtime.errors import UnavailableError
from services.vocabulary.words import Channel

_MOST_WAITING = 10_000
_log = structlog.get_logger(__name__)


async def see_bound(transport: "SmppTransport") -> None:
    """UnavailableError while no session with the SMSC stands."""
    if not transport.bound:
        raise UnavailableError("no session with the SMSC stands")


@dataclass(frozen=True, slots=True)
class SmppSettings:
    """The SMSC and how it is spoken to; times in seconds."""

    host: str
    port: int
    system_id: str
    password: str = field(repr=False)
    """At most 8 characters in SMPP 3.4."""
    system_type: str = ""
    sender: str = ""
    """Default sender: a number, a short code, or up to 11 letters and digits; empty: the SMSC's."""
    reference_tag: int = 0x1401
    """Vendor parameter (0x1400 to 0x3FFF) that carries our message id, so that both ends can be counted; an
    SMSC that does not know it ignores it (SMPP 3.4 §3.3). 0: none is sent."""
    dialect: Dialect = field(default_factory=Dialect)
    tls: ssl.SSLContext | None = None
    limits: LinkLimits = field(default_factory=LinkLimits)
    connect: float = 5.0
    first_bind: float = 1.5
    """How long a batch waits for a link that is being made for the first time, or again."""
    write: float = 4.0
    """How long a batch waits for room in the window; what is not written by then goes back."""
    shortest_pause: float = 0.2
    longest_pause: float = 10.0
    close: float = 3.0


class SmppTransport:
    """Transport of the channel `sms`. One process binds once; several processes bind beside each other."""

    def __init__(self, settings: SmppSettings, jitter: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._jitter = jitter
        self._link: SmppLink | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._closing = False
        self._receipts = Deliveries[Receipt](_MOST_WAITING, forgets=True)
        self._inbound = Deliveries[Inbound](_MOST_WAITING, forgets=False)
        self._arrivals = Arrivals(
            self.provider, settings.dialect, self._receipts, self._inbound, WallClock().now_micros
        )

    @property
    def channel(self) -> Channel:
        """The channel it serves."""
        return Channel.SMS

    @property
    def provider(self) -> str:
        """Name of the provider in receipts."""
        return "smsc"

    @property
    def bound(self) -> bool:
        """Whether a link stands right now."""
        return self._link is not None and self._link.bound

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Handed]:
        """Submit the messages through the window; see the port."""
        link = await self._bound_link()
        if link is None:
            detail = "not connected to the SMSC"
            return [Handed(message.message_id, HandOver.TRANSIENT, detail=detail) for message in batch]
        handed: list[Handed] = []
        written: list[_Written] = []
        try:
            async with asyncio.timeout(self._settings.write):
                await self._write_all(link, batch, written, handed)
        except TimeoutError:
            pass
        futures = [future for message in written for future in message.answers]
        if futures:
            # Each is done at the latest when its answer is overdue or the link is lost.
            await asyncio.wait(futures)
        handed.extend(message.handed() for message in written)
        done = {item.message_id for item in handed}
        handed.extend(
            Handed(message.message_id, HandOver.TRANSIENT, detail="not submitted: the SMSC takes no more now")
            for message in batch
            if message.message_id not in done
        )
        return handed

    async def _write_all(
        self, link: SmppLink, batch: Sequence[Outgoing], written: list["_Written"], handed: list[Handed]
    ) -> None:
        """Write until the link is lost or asks to slow down; `written` holds what may have arrived."""
        slow_downs = link.slow_downs
        for message in batch:
            try:
                pdus = submits_of(message, self._settings.sender, self._settings.reference_tag)
            except (NotSendable, smpp34.SmppError) as error:
                detail = str(error) if isinstance(error, NotSendable) else "the message is no valid submit_sm"
                handed.append(Handed(message.message_id, HandOver.PERMANENT, detail=detail))
                continue
            entry = _Written(message.message_id, len(pdus), [])
            for pdu in pdus:
                try:
                    await link.room()
                    if link.slow_downs != slow_downs:
                        return
                    answer = link.submit(pdu)
                except LinkLost:
                    return
                if not entry.answers:
                    written.append(entry)
                entry.answers.append(answer)

    def receipts(self) -> AsyncIterator[Sequence[Receipt]]:
        """Receipts in batches; asking for the next batch answers the deliver_sm of the one before."""
        self._keep()
        return self._receipts.batches()

    def inbound(self) -> AsyncIterator[Sequence[Inbound]]:
        """What subscribers write, long messages made whole; answered as receipts are."""
        self._keep()
        return self._inbound.batches()

    async def close(self) -> None:
        """Unbind and close."""
        self._closing = True
        self._arrivals.close()
        link = self._link
        if link is not None:
            await link.unbind(self._settings.close)
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper

    async def _bound_link(self) -> SmppLink | None:
        self._keep()
        if not self._settled.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.first_bind):
                    await self._settled.wait()
        return self._link if self.bound else None

    def _keep(self) -> None:
        """Start the task that keeps a link, unless it runs."""
        if (self._keeper is None or self._keeper.done()) and not self._closing:
            self._keeper = asyncio.get_running_loop().create_task(self._keep_bound(), name="smpp-link")

    async def _keep_bound(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while not self._closing:
            try:
                link = await self._connect()
            except (OSError, TimeoutError) as error:
                failures += 1
                self._settled.set()
                if failures == 1 or isinstance(error, BindRefused):
                    _log.warning("smsc.not_bound", reason=_reason(error), failures=failures)
                await asyncio.sleep(self._pause(failures))
                continue
            self._link = link
            self._settled.set()
            _log.info("smsc.bound")
            bound_at = loop.time()
            reason = await link.lost
            self._settled.clear()
            self._link = None
            self._arrivals.link_lost(link)
            if not self._closing:
                _log.warning("smsc.lost", reason=reason)
                failures = 1 if loop.time() - bound_at >= self._settings.longest_pause else failures + 1
                await asyncio.sleep(self._pause(failures))

    async def _connect(self) -> SmppLink:
        settings = self._settings
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(settings.connect):
            _, link = await loop.create_connection(
                lambda: SmppLink(settings.limits, self._arrivals.deliver),
                settings.host,
                settings.port,
                ssl=settings.tls,
            )
        try:
            await link.bind(settings.system_id, settings.password, settings.system_type)
        except BaseException:
            await link.unbind(0)
            raise
        return link

    def _pause(self, failures: int) -> float:
        """Seconds before the next try: doubling, bounded, spread so that not all processes come at once."""
        pause = min(
            self._settings.longest_pause, self._settings.shortest_pause * 2.0 ** min(failures - 1, 10)
        )
        return pause * (0.5 + 0.5 * self._jitter())


@dataclass(slots=True)
class _Written:
    """A message of which at least one part was written."""

    message_id: str
    parts: int
    answers: list[asyncio.Future[Answer]]

    def handed(self) -> Handed:
        """What the answers to its parts say together.

        A part refused for good settles it; a part that was certainly not taken means that the message was
        not taken as a whole, and trying again completes it; else a part without answer leaves it open.
        """
        answers = [future.result() for future in self.answers]
        statuses = [answer.status for answer in answers]
        refused = [status for status in statuses if status]
        for outcome in (HandOver.PERMANENT, HandOver.TRANSIENT):
            for status in refused:
                if outcome_of(status) is outcome:
                    return Handed(self.message_id, outcome, detail=name_of(status))
        if len(answers) < self.parts:
            return Handed(self.message_id, HandOver.TRANSIENT, detail="not all parts could be submitted")
        if None in statuses:
            return Handed(self.message_id, HandOver.UNKNOWN, detail="submitted, but no answer came")
        return Handed(self.message_id, HandOver.ACCEPTED, provider_id=answers[-1].message_id)


def _reason(error: Exception) -> str:
    if isinstance(error, BindRefused):
        return name_of(error.status)
    return type(error).__name__

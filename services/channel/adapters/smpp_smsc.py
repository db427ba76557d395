"""All links to one SMSC: binds kept up, submits given to those with room, its pace, and whether to use it."""

import asyncio
import contextlib
import random
from collections.abc import Callable

import structlog

from services.channel.adapters.smpp_arrivals import Arrivals
from services.channel.adapters.smpp_link import Answer, BindAs, BindRefused, SmppLink
from services.channel.adapters.smpp_pace import Pace
from services.channel.adapters.smpp_pdus import asks_to_slow_down, name_of
from services.channel.adapters.smpp_settings import Patience, SmppSettings

_log = structlog.get_logger(__name__)


class SmscLinks:
    """One SMSC as the transport uses it. `changed()` is called when it may take more, or no more."""

    def __init__(
        self,
        settings: SmppSettings,
        patience: Patience,
        arrivals: Arrivals,
        changed: Callable[[], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._patience = patience
        self._arrivals = arrivals
        self._changed = changed
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._links: list[SmppLink] = []
        self._standing: dict[SmppLink, None] = {}
        self._trying: set[int] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._closing = False
        self._pace = Pace(settings.per_second)
        self._was_lost = False
        self._up_since = 0.0
        self._refusing_since: float | None = None
        self._rests_until = 0.0
        self.tried = False
        """Whether the first try to bind has ended."""

    @property
    def name(self) -> str:
        """As in receipts."""
        return self.settings.name

    @property
    def up(self) -> bool:
        """Whether a link for submits stands."""
        return bool(self._links)

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for: a link stands, or the last try to make one failed."""
        return self.up or (self.tried and not self._trying)

    @property
    def binds(self) -> int:
        """How many links for submits stand."""
        return len(self._links)

    @property
    def rate(self) -> float:
        """Submits per second that may go now; 0: no limit."""
        return self._pace.rate

    def start(self) -> None:
        """Begin to keep the binds."""
        kinds = [BindAs.TRANSMITTER, BindAs.RECEIVER]
        if self.settings.transceiver:
            kinds = [BindAs.TRANSCEIVER]
        for number in range(self.settings.binds):
            for kind in kinds:
                place = len(self._keepers)
                if kind is not BindAs.RECEIVER:
                    self._trying.add(place)
                name = f"smpp-{self.name}-{kind.name.lower()}-{number + 1}"
                self._keepers.append(self._loop.create_task(self._keep(kind, place), name=name))

    async def close(self) -> None:
        """Unbind and close."""
        self._closing = True
        self._arrivals.close()
        await asyncio.gather(*(link.unbind(self._patience.close) for link in list(self._standing)))
        for keeper in self._keepers:
            keeper.cancel()
        for keeper in self._keepers:
            with contextlib.suppress(asyncio.CancelledError):
                await keeper

    # Whether to use it.

    def rests(self, now: float) -> bool:
        """Whether it took nothing for so long that another should be asked."""
        return now < self._rests_until

    def steady(self, now: float) -> bool:
        """Whether it has been up for long enough since it was lost."""
        return not self._was_lost or now - self._up_since >= self._patience.return_after

    def answered(self, answer: Answer, now: float) -> None:
        """What it said to a submit."""
        if answer.status == 0:
            self._refusing_since = None
            self._pace.accepted(now)
            return
        if asks_to_slow_down(answer.status):
            self._pace.throttled(now)
        elif answer.status is not None and answer.status not in _TROUBLES:
            self._refusing_since = None  # it has looked at the message
            return
        if self._refusing_since is None:
            self._refusing_since = now
        elif now - self._refusing_since >= self._patience.refuses_for and not self.rests(now):
            self._rests_until = now + self._patience.return_after
            _log.warning("smsc.takes_nothing", smsc=self.name)

    # Submits.

    def link(self, now: float) -> SmppLink | None:
        """The link with the most room, if one has any and the pace allows it."""
        if self._pace.free_at(now) > now:
            return None
        best: SmppLink | None = None
        most = 0
        for link in self._links:
            room = link.room
            if room > most:
                best, most = link, room
        return best

    def free_at(self, now: float) -> float:
        """When the pace allows the next submit."""
        return self._pace.free_at(now)

    def submit(self, link: SmppLink, pdu: bytes, take: Callable[[Answer], None], now: float) -> None:
        """Write a submit over one of its links."""
        link.submit(pdu, take)
        self._pace.spend(now)

    # Links.

    async def _keep(self, kind: BindAs, place: int) -> None:
        failures = 0
        while not self._closing:
            try:
                link = await self._connect(kind)
            except (OSError, TimeoutError, ValueError) as error:
                failures += 1
                self._ended(place)
                if failures == 1 or isinstance(error, BindRefused):
                    _log.warning("smsc.not_bound", smsc=self.name, reason=_reason(error), failures=failures)
                await asyncio.sleep(self._pause(failures))
                continue
            _log.info("smsc.bound", smsc=self.name, bind=kind.name.lower())
            bound_at = self._loop.time()
            self._standing[link] = None
            self._came(link, kind)
            self._ended(place)
            reason = await link.lost
            self._gone(link, kind, place)
            if not self._closing:
                _log.warning("smsc.lost", smsc=self.name, bind=kind.name.lower(), reason=reason)
                failures = 1 if self._loop.time() - bound_at >= self.settings.longest_pause else failures + 1
                await asyncio.sleep(self._pause(failures))

    def _came(self, link: SmppLink, kind: BindAs) -> None:
        if kind is BindAs.RECEIVER or not link.bound:
            return
        if not self._links:
            self._up_since = self._loop.time()
        self._links.append(link)

    def _ended(self, place: int) -> None:
        self._trying.discard(place)
        self.tried = self.tried or not self._trying or self.up
        self._changed()

    def _gone(self, link: SmppLink, kind: BindAs, place: int) -> None:
        self._arrivals.link_lost(link)
        self._standing.pop(link, None)
        if kind is not BindAs.RECEIVER:
            self._trying.add(place)
        if link in self._links:
            self._links.remove(link)
            self._was_lost = self._was_lost or not self._links
            if not self._links:
                self._refusing_since = None
        self._changed()

    async def _connect(self, kind: BindAs) -> SmppLink:
        settings = self.settings
        async with asyncio.timeout(settings.connect):
            _, link = await self._loop.create_connection(
                lambda: SmppLink(settings.limits, self._arrivals.deliver, self._changed),
                settings.host,
                settings.port,
                ssl=settings.tls,
                server_hostname=(settings.server_name or settings.host) if settings.tls else None,
            )
        try:
            await link.bind(kind, settings.system_id, settings.password, settings.system_type)
        except BaseException:  # a cancelled bind too leaves no link behind
            await link.unbind(0)
            raise
        return link

    def _pause(self, failures: int) -> float:
        """Seconds before the next try: doubling, bounded, spread so that not all processes come at once."""
        pause = min(self.settings.longest_pause, self.settings.shortest_pause * 2.0 ** min(failures - 1, 10))
        return pause * (0.5 + 0.5 * self._jitter())


_TROUBLES = frozenset({0x04, 0x08, 0x0D, 0x64, 0xFF})
"""Statuses by which an SMSC says that it is not well, whatever the message."""


def _reason(error: Exception) -> str:
    if isinstance(error, BindRefused):
        return name_of(error.status)
    return type(error).__name__

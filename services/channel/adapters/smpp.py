"""Text messages over SMPP 3.4: a transport over one SMSC or several that stand in for each other."""

import asyncio
import contextlib
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence

import structlog

from services.channel.adapters.smpp_arrivals import Arrivals
from services.channel.adapters.smpp_batch import Batch
from services.channel.adapters.smpp_deliveries import Deliveries
from services.channel.adapters.smpp_settings import Patience, SmppSettings
from services.channel.adapters.smpp_smsc import SmscLinks
from services.channel.app.ports import Handed, HandOver, Inbound, Outgoing, Receipt
from services.runtime.clock import WallClock
from services.runtime.errors import UnavailableError
from services.vocabulary.words import Channel

__all__ = ["Patience", "SmppSettings", "SmppTransport", "see_bound"]

_MOST_WAITING = 10_000
_MOST_UNKNOWN = 10_000
_log = structlog.get_logger(__name__)


async def see_bound(transport: "SmppTransport") -> None:
    """UnavailableError while no session with an SMSC stands."""
    if not transport.bound:
        raise UnavailableError("no session with an SMSC stands")


class SmppTransport:
    """Transport of the channel `sms`. Several processes bind beside each other.

    The best SMSC that is up takes the messages; when it is lost, or takes nothing for long, the next does at
    once, until it is back and steady. What an SMSC may have taken is given to no other within a batch: it is
    reported as unknown, and the use case decides.
    """

    def __init__(
        self,
        *smscs: SmppSettings,
        patience: Patience | None = None,
        jitter: Callable[[], float] = random.random,
        wall_micros: Callable[[], int] | None = None,
    ) -> None:
        if not smscs or len({settings.name for settings in smscs}) < len(smscs):
            raise ValueError("name at least one SMSC, and no two alike")
        self._settings = sorted(smscs, key=lambda settings: settings.priority)
        self._patience = patience or Patience()
        self._jitter = jitter
        self._wall_micros = wall_micros or WallClock().now_micros
        self._smscs: list[SmscLinks] = []
        self._receipts = Deliveries[Receipt](_MOST_WAITING, forgets=True)
        self._inbound = Deliveries[Inbound](_MOST_WAITING, forgets=False)
        self._batches: dict[Batch, None] = {}
        self._changed = asyncio.Event()
        self._unknown: OrderedDict[str, SmscLinks] = OrderedDict()
        self._leader = ""
        self._closed = False

    @property
    def channel(self) -> Channel:
        """The channel it serves."""
        return Channel.SMS

    @property
    def provider(self) -> str:
        """Name of the first SMSC in receipts; what is handed over names its own."""
        return self._settings[0].name

    @property
    def bound(self) -> bool:
        """Whether a link for submits stands right now."""
        return any(smsc.up for smsc in self._smscs)

    @property
    def smscs(self) -> Sequence[SmscLinks]:
        """The SMSCs by priority, once they are spoken to."""
        return self._smscs

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Handed]:
        """Submit the messages through the windows; see the port."""
        await self._ready()
        work = Batch(batch, self, self._patience.write)
        self._batches[work] = None
        try:
            handed = await work.run()
        finally:
            del self._batches[work]
        self._remember(handed)
        return handed

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
        self._closed = True
        await asyncio.gather(*(smsc.close() for smsc in self._smscs))

    # Which SMSC.

    def next(self, message: Outgoing, now: float) -> SmscLinks | None:
        """The SMSC with room that gets the message; None: none has any now."""
        if message.again:
            before = self._unknown.get(message.message_id)
            if before is not None and before.up and not before.rests(now):
                # It may have it already; there the same reference shows that it is the same message.
                return before if before.link(now) is not None else None
        best: SmscLinks | None = None
        most = 0
        for smsc in self._leading(now):
            link = smsc.link(now)
            if link is not None and link.room > most:
                best, most = smsc, link.room
        return best

    def free_at(self, now: float) -> float | None:
        """When one may take a submit again by its pace; None: none is up."""
        return min((smsc.free_at(now) for smsc in self._leading(now)), default=None)

    def _leading(self, now: float) -> Sequence[SmscLinks]:
        """Those of the best priority among the usable: up and steady, else up, else none."""
        up = [smsc for smsc in self._smscs if smsc.up]
        if len(up) <= 1:
            leading = up
        else:
            willing = [smsc for smsc in up if not smsc.rests(now)] or up
            steady = [smsc for smsc in willing if smsc.steady(now)] or willing
            best = steady[0].settings.priority
            leading = [smsc for smsc in steady if smsc.settings.priority == best]
        self._say(leading)
        return leading

    def _say(self, leading: Sequence[SmscLinks]) -> None:
        if leading and leading[0].name != self._leader:
            if self._leader:
                _log.warning("smsc.takes_over", smsc=leading[0].name, before=self._leader)
            self._leader = leading[0].name

    async def _ready(self) -> None:
        """Wait for a link that is being made, unless a good one stands."""
        self._keep()
        if not self.bound:
            await asyncio.sleep(0)  # who only sends must not keep us from ever connecting
        if self._closed:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.first_bind):
                while not self._settled():
                    self._changed.clear()
                    await self._changed.wait()

    def _settled(self) -> bool:
        for smsc in self._smscs:
            if smsc.up:
                return True
            if not smsc.tried:
                return False  # a better one may come up any moment
        return all(smsc.settled for smsc in self._smscs)

    def _keep(self) -> None:
        """Begin to bind, unless that was done."""
        if self._smscs or self._closed:
            return
        for settings in self._settings:
            arrivals = Arrivals(
                settings.name, settings.dialect, self._receipts, self._inbound, self._wall_micros
            )
            smsc = SmscLinks(settings, self._patience, arrivals, self._wake, self._jitter)
            self._smscs.append(smsc)
            smsc.start()

    def _wake(self) -> None:
        self._changed.set()
        for batch in self._batches:
            batch.wake()

    def _remember(self, handed: Sequence[Handed]) -> None:
        """Keeps in mind, within bounds, which SMSC may have what was not answered."""
        by_name = {smsc.name: smsc for smsc in self._smscs}
        for item in handed:
            if item.outcome is HandOver.UNKNOWN:
                self._unknown[item.message_id] = by_name[item.provider]
            elif self._unknown:
                self._unknown.pop(item.message_id, None)
        while len(self._unknown) > _MOST_UNKNOWN:
            self._unknown.popitem(last=False)

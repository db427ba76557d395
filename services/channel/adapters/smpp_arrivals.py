"""What one SMSC delivers, sorted: receipts, what subscribers write, and what means nothing here."""

import asyncio
from collections.abc import Callable

import smpp34
import structlog

from services.channel.adapters.smpp_delivered import Dialect, Report, Written, read_delivered
from services.channel.adapters.smpp_deliveries import Deliveries, Delivery
from services.channel.adapters.smpp_link import NOT_NOW, QUEUE_FULL, REFUSED, SmppLink
from services.channel.adapters.smpp_mobile import Joining, Keys, inbound_of
from services.channel.app.ports import Inbound, Receipt

_log = structlog.get_logger(__name__)


class Arrivals:
    """Takes the deliveries of one SMSC over all its links."""

    def __init__(
        self,
        provider: str,
        dialect: Dialect,
        receipts: Deliveries[Receipt],
        inbound: Deliveries[Inbound],
        wall_micros: Callable[[], int],
    ) -> None:
        self._provider = provider
        self._dialect = dialect
        self._receipts = receipts
        self._inbound = inbound
        self._joining = Joining()
        self._keys = Keys(wall_micros)
        self._timer: asyncio.TimerHandle | None = None
        self._said_unread = False

    def deliver(self, link: SmppLink, frame: bytes, answer: Callable[[int], None]) -> None:
        """Take one deliver_sm or data_sm; it is answered here, or once it was taken."""
        try:
            delivered = read_delivered(frame, self._provider, self._dialect)
        except (smpp34.SmppError, ValueError):
            self._say_unread()
            answer(REFUSED)
            return
        if isinstance(delivered, Report):
            if delivered.receipt is None:
                answer(0)  # a message on its way needs no keeping
            elif self._receipts.full:
                answer(QUEUE_FULL)
            else:
                self._receipts.put(Delivery(delivered.receipt, link, answer))
        elif isinstance(delivered, Written):
            self._take_written(delivered, link, answer)
        else:
            answer(0)

    def link_lost(self, link: SmppLink) -> None:
        """What came over this link and was not answered will come again."""
        self._receipts.link_lost(link)
        self._keys.link_lost(link, asyncio.get_running_loop().time())

    def close(self) -> None:
        """Wait for no more parts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _take_written(self, written: Written, link: SmppLink, answer: Callable[[int], None]) -> None:
        if not self._inbound.asked or self._inbound.full:
            answer(QUEUE_FULL if self._inbound.asked else NOT_NOW)
            return
        loop = asyncio.get_running_loop()
        whole, pushed = self._joining.take(written, loop.time())
        for piece in pushed:
            self._put_late(piece)
        if whole is None:
            answer(0)  # some SMSCs send the next part only after this
            self._watch(loop)
            return
        key = self._keys.key(whole, link, loop.time())

        def taken(status: int) -> None:
            answer(status)
            self._keys.answered(key, link, loop.time())

        self._inbound.put(Delivery(inbound_of(whole, self._provider, key), link, taken))

    def _put_late(self, written: Written) -> None:
        """A message with gaps: its parts were answered when they came."""
        key = self._keys.key(written, None, 0.0)
        self._inbound.put(Delivery(inbound_of(written, self._provider, key), None, _nothing))

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        deadline = self._joining.next_deadline()
        if self._timer is None and deadline is not None:
            self._timer = loop.call_at(deadline, self._overdue)

    def _overdue(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for written in self._joining.overdue(loop.time()):
            self._put_late(written)
        self._watch(loop)

    def _say_unread(self) -> None:
        if not self._said_unread:
            self._said_unread = True
            _log.warning("smsc.delivery_unread", smsc=self._provider)


def _nothing(status: int) -> None:
    """Answered long ago."""
    del status

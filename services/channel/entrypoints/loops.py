"""What the worker does all the time: sends, listens for receipts, gives waiting messages their turn."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.channel.app.admit import Admission
from services.channel.app.due import let_go, take_due
from services.channel.app.escalate import escalate
from services.channel.app.inbound import InboundDesk
from services.channel.app.ports import Inbound, Transport
from services.channel.app.receipts import take_receipts
from services.channel.app.send import Sender
from services.channel.app.store import MessageStore
from services.channel.app.upkeep import after_jump, expire, note_unconfirmed, recover
from services.channel.domain.errors import PolicyError
from services.runtime.clock import Clock
from services.runtime.database import Database
from services.runtime.pulse import promised

_MICROS = 1_000_000
_SWEEP_SECONDS = 1.0
_CARE_SECONDS = 1.0
_WRITTEN_FIRST_SECONDS = 0.1
_WRITTEN_LONGEST_SECONDS = 5.0
_TURN_SECONDS = 180.0
"""Far longer than a provider may take to answer, and a database to take that down."""
_log = structlog.get_logger(__name__)


class SenderLoop:
    """Runs one channel's sender; a channel whose provider is away holds up no other."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def stop(self) -> None:
        """Takes up nothing new; `run` returns when what is being handed over has been kept."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Sends until stopped; while much waits one turn begins as another is at the provider."""
        beside: asyncio.Task[int] | None = None
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                handled = await self._turn("hand-over")
                if beside is not None and beside.done():
                    beside.result()
                    beside = None
                if self._sender.rest_micros:
                    await _wait(self._stopping, self._sender.rest_micros / _MICROS)
                elif not handled:
                    await _wait(self._wake, _SWEEP_SECONDS)
                elif beside is None and handled >= self._sender.batch // 2:
                    beside = asyncio.get_running_loop().create_task(self._turn("hand-over-beside"))
        except asyncio.CancelledError:
            if beside is not None:
                beside.cancel()
            raise
        finally:
            if beside is not None and not beside.cancelling():
                await asyncio.wait([beside])  # what it began is kept
        if beside is not None:
            beside.result()

    async def _turn(self, name: str) -> int:
        with promised(name, _TURN_SECONDS):
            return await self._sender.turn()


class ReceiptLoop:
    """Takes a provider's receipts; the next batch is asked for when the one before is committed."""

    def __init__(self, store: MessageStore, transport: Transport, clock: Clock) -> None:
        self._store = store
        self._transport = transport
        self._clock = clock

    async def run(self) -> None:
        """Listens until cancelled, or until the transport has no receipts to give."""
        async for receipts in self._transport.receipts():
            await take_receipts(self._store, self._clock, receipts)


class InboundLoop:
    """Takes what customers write; the next batch is asked for when the one before is committed."""

    def __init__(self, desk: InboundDesk, transport: Transport) -> None:
        self._desk = desk
        self._transport = transport

    async def run(self) -> None:
        """Listens until cancelled, or until the transport has nothing to give.

        A batch that cannot be taken, for the profile or the database is away, is taken later: the provider
        hears of it only then.
        """
        async for written in self._transport.inbound():
            failures = 0
            while not await self._try(written):
                failures += 1
                full = min(_WRITTEN_LONGEST_SECONDS, _WRITTEN_FIRST_SECONDS * 2**failures)
                await asyncio.sleep(full * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, no secret

    async def _try(self, written: Sequence[Inbound]) -> bool:
        try:
            await self._desk.take(written)
        except Exception as error:  # noqa: BLE001 - what a customer wrote is not lost, whatever goes wrong
            name = type(error).__name__
            _log.warning("replies_not_taken", provider=self._transport.provider, error=name)
            return False
        return True


class DueLoop:
    """Gives deferred messages their turn as soon as business time has come."""

    def __init__(self, store: MessageStore, admission: Admission, clock: Clock) -> None:
        self._store = store
        self._admission = admission
        self._clock = clock

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            seen_micros = self._clock.now_micros()
            done = await take_due(self._store, self._admission, self._clock)
            if not done + await escalate(self._store, self._admission, self._clock):
                await _changed(self._clock, seen_micros)


class HeldLoop:
    """Lets go what kill switches held, whenever those have changed, and once at the start."""

    def __init__(self, store: MessageStore, clock: Clock, changed: asyncio.Event) -> None:
        self._store = store
        self._clock = clock
        self._changed = changed

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._clock.wait_until(1)  # a process that has just started may not know the time yet
            messages = await let_go(self._store, self._clock)
            if messages:
                _log.info("held_messages_let_go", messages=messages)


class CareLoop:
    """Once a second: takes up what a dead sender left, ends what has expired, reads changed policies."""

    def __init__(self, store: MessageStore, clock: Clock, refresh_policies: Callable[[], bool]) -> None:
        self._store = store
        self._clock = clock
        self._refresh = refresh_policies
        self._wall_micros = 1 << 62

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            seen_micros = self._clock.now_micros()
            self._refresh_policies()
            await self._see_clock()
            lost = await recover(self._store, self._clock)
            if lost:
                _log.warning("hand_overs_recovered", messages=lost)
            silent = await note_unconfirmed(self._store, self._clock)
            if silent:
                _log.warning("receipts_never_came", messages=silent)
            if not lost + silent + await expire(self._store, self._clock):
                await _changed(self._clock, seen_micros, _CARE_SECONDS)

    async def _see_clock(self) -> None:
        """At the start, and when the wall's clock was set back."""
        wall_micros = self._clock.wall_micros()
        if wall_micros < self._wall_micros - _MICROS:
            rests = await after_jump(self._store, self._clock)
            if rests:
                _log.warning("clock_was_set_back", rests_ended=rests)
        self._wall_micros = wall_micros

    def _refresh_policies(self) -> None:
        try:
            if self._refresh():
                _log.info("policies_in_force")
        except PolicyError as error:
            _log.error("policies_not_read", reason=str(error))


async def wake_senders(database: Database, notice: str, loops: list[SenderLoop]) -> None:
    """Wakes the senders whenever a message was planned, in whichever process."""
    async for _ in database.listen(notice):
        for loop in loops:
            loop.wake()


async def ring(database: Database, notice: str, bell: Callable[[], None]) -> None:
    """Rings the bell at every notice."""
    async for _ in database.listen(notice):
        bell()


async def keep_policies(refresh: Callable[[], bool], wait: Callable[[], Awaitable[None]]) -> None:
    """Reads changed policies in a role that has no CareLoop."""
    while True:
        try:
            refresh()
        except PolicyError as error:
            _log.error("policies_not_read", reason=str(error))
        await wait()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _changed(clock: Clock, seen_micros: int, seconds: float = 0.5) -> None:
    """Until business time has moved on by so much, or so much time of the wall's has passed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await clock.wait_changed(seen_micros + int(seconds * _MICROS))

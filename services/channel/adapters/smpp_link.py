"""One bound SMPP 3.4 session: a window of submits, enquire_link both ways, deliveries answered when told.

The codec is smpp34's; the session is our own, because that library's answers every deliver_sm before the
receipt is committed, and reports a lost link, a late answer and a submit never written as one and the same.
"""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, cast

_HEADER = struct.Struct(">IIII")
_HEADER_OCTETS = 16
_MAX_FRAME_OCTETS = 70_000
_MAX_ID_OCTETS = 256
_RESPONSE = 0x8000_0000
_GENERIC_NACK = 0x8000_0000
_SUBMIT_SM = 0x04
_DELIVER_SM = 0x05
_UNBIND = 0x06
_ENQUIRE_LINK = 0x15
_ALERT_NOTIFICATION = 0x102
_DATA_SM = 0x103
_INVALID_COMMAND = 0x03
_WRONG_BIND_STATE = 0x04
_UNKNOWN_ERROR = 0xFF
_VERSION = b"\x34"
_LAST_SEQUENCE = 0x7FFF_FFFF

QUEUE_FULL = 0x14
"""Answer to a deliver_sm for which there is no room; the SMSC sends it again."""
REFUSED = 0x66
"""Answer to a deliver_sm that nobody here can take (ESME_RX_R_APPN)."""
NOT_NOW = 0x64
"""Answer to a deliver_sm that nobody here takes yet (ESME_RX_T_APPN); the SMSC sends it again."""


class BindAs(Enum):
    """What a session is for; the values are command ids (§5.1.2.1)."""

    RECEIVER = 0x01
    TRANSMITTER = 0x02
    TRANSCEIVER = 0x09


class LinkLost(ConnectionError):  # noqa: N818 - the event's name in the field
    """The link is gone or was never bound; nothing more can be written to it."""


class BindRefused(ConnectionError):  # noqa: N818 - the event's name in the field
    """The SMSC answered the bind with a command status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"bind answered with command status 0x{status:02X}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """The SMSC's answer to a submit; `status` None: it was written and no answer came."""

    status: int | None
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Bounds of a session, in seconds where not said otherwise."""

    window: int = 50
    """Submits under way at a time."""
    answer: float = 8.0
    """How long an answer to a submit may take before it counts as not coming."""
    bind: float = 5.0
    idle: float = 15.0
    """Silence after which the SMSC is asked whether it is there (enquire_link)."""
    enquire: float = 5.0
    """How long it may take to say so before the link is given up."""


NO_ANSWER = Answer(None)
OnDeliver = Callable[["SmppLink", bytes, Callable[[int], None]], None]


class SmppLink(asyncio.Protocol):
    """The session.

    `on_deliver(link, frame, answer)` is called for each deliver_sm and data_sm; it must not block. `answer`
    tells the SMSC a command status; on a lost link it does nothing, and the SMSC will send the message again.
    `on_room()` is called when submits were answered, or will not be.
    """

    def __init__(self, limits: LinkLimits, on_deliver: OnDeliver, on_room: Callable[[], None]) -> None:
        self._limits = limits
        self._on_deliver = on_deliver
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._sequence = 0
        self._bind: asyncio.Future[int] | None = None
        self._bind_answer = 0
        self._bound = False
        self._stuck = False
        self._unbound: asyncio.Future[None] | None = None
        # Submits under way in the order they were written, so that the oldest is the first to be overdue.
        self._submits: dict[int, tuple[float, Callable[[Answer], None]]] = {}
        self._drained: asyncio.Future[None] | None = None
        self._heard = self._loop.time()
        self._asked: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Done when the link is gone, with the reason for people."""

    @property
    def bound(self) -> bool:
        """Whether submits can be written."""
        return self._bound and not self.lost.done()

    @property
    def room(self) -> int:
        """How many submits may be written now; 0 also while the SMSC does not read."""
        if not self._bound or self._stuck or self.lost.done():
            return 0
        return self._limits.window - len(self._submits)

    @property
    def under_way(self) -> int:
        """Submits written and not answered."""
        return len(self._submits)

    async def bind(self, bind_as: BindAs, system_id: str, password: str, system_type: str) -> None:
        """Bind; raises BindRefused, LinkLost or TimeoutError."""
        self._bind = self._loop.create_future()
        self._bind_answer = _RESPONSE | bind_as.value
        body = b"".join(
            (
                *(field.encode("latin-1", "replace") + b"\0" for field in (system_id, password, system_type)),
                _VERSION,
                b"\0\0\0",  # type and plan of addresses served, any address
            )
        )
        self._write(_frame(bind_as.value, self._next_sequence(), 0, body))
        async with asyncio.timeout(self._limits.bind):
            status = await self._bind
        if status:
            raise BindRefused(status)
        if not self.bound:
            raise LinkLost("lost as soon as it was bound")
        self._watch = self._loop.call_later(1.0, self._look)

    def submit(self, pdu: bytes, take: Callable[[Answer], None]) -> None:
        """Write a submit_sm; `take` gets its answer, once. Raises LinkLost when nothing was written."""
        if not self.bound:
            raise LinkLost("the link was lost")
        sequence = self._next_sequence()
        self._submits[sequence] = (self._loop.time() + self._limits.answer, take)
        self._write(pdu[:12] + sequence.to_bytes(4, "big") + pdu[_HEADER_OCTETS:])

    async def unbind(self, patience: float) -> None:
        """Wait for the submits under way, say goodbye, close; at most `patience` seconds in all."""
        try:
            async with asyncio.timeout(patience):
                if self._submits:
                    self._drained = self._loop.create_future()
                    await self._drained
                if self.bound:
                    self._unbound = self._loop.create_future()
                    self._write(_frame(_UNBIND, self._next_sequence(), 0, b""))
                    ends: list[asyncio.Future[Any]] = [self._unbound, self.lost]
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass
        self._give_up("closed")

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands; nothing is bound yet."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._give_up("closed by the SMSC" if exc is None else type(exc).__name__)

    def pause_writing(self) -> None:
        """The SMSC does not read: nor do we read from it, or our answers would fill the memory."""
        self._stuck = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The SMSC reads again."""
        self._stuck = False
        if self._transport is not None and not self.lost.done():
            self._transport.resume_reading()
        self._on_room()

    def data_received(self, data: bytes) -> None:
        """Octets came."""
        self._heard = self._loop.time()
        self._asked = None
        self._buffer += data
        start, under_way = 0, len(self._submits)
        while len(self._buffer) - start >= _HEADER_OCTETS and not self.lost.done():
            length, command, status, sequence = _HEADER.unpack_from(self._buffer, start)
            if not _HEADER_OCTETS <= length <= _MAX_FRAME_OCTETS:
                self._give_up("the SMSC sent what is no SMPP")
                return
            if len(self._buffer) - start < length:
                break
            frame = bytes(self._buffer[start : start + length])
            start += length
            self._take(command, status, sequence, frame)
        del self._buffer[:start]
        if len(self._submits) < under_way:
            self._room_again()

    # The session's own.

    def _take(self, command: int, status: int, sequence: int, frame: bytes) -> None:
        if command == _RESPONSE | _SUBMIT_SM:
            self._answered(sequence, status, frame)
        elif command in {_DELIVER_SM, _DATA_SM}:
            answer = partial(self._answer_delivery, _RESPONSE | command, sequence)
            if self._bound:
                self._on_deliver(self, frame, answer)
            else:
                answer(_WRONG_BIND_STATE)
        elif command == _GENERIC_NACK:
            # One that says that all is well says nothing; it is a refusal all the same.
            if self._bound:
                self._answered(sequence, status or _UNKNOWN_ERROR, b"")
            else:
                self._bind_answered(status or _UNKNOWN_ERROR)
        elif command == self._bind_answer:
            self._bind_answered(status)
        elif command == _ENQUIRE_LINK:
            self._write(_frame(_RESPONSE | _ENQUIRE_LINK, sequence, 0, b""))
        elif command == _UNBIND:
            self._write(_frame(_RESPONSE | _UNBIND, sequence, 0, b""))
            self._flush()
            self._give_up("unbound by the SMSC")
        elif command == _RESPONSE | _UNBIND:
            if self._unbound is not None and not self._unbound.done():
                self._unbound.set_result(None)
        elif not command & _RESPONSE and command != _ALERT_NOTIFICATION:
            self._write(_frame(_GENERIC_NACK, sequence, _INVALID_COMMAND, b""))

    def _bind_answered(self, status: int) -> None:
        if self._bind is not None and not self._bind.done():
            self._bound = status == 0  # deliveries may stand right behind this answer
            self._bind.set_result(status)

    def _answer_delivery(self, response: int, sequence: int, status: int) -> None:
        if not self.lost.done():
            self._write(_frame(response, sequence, status, b"\0"))

    def _answered(self, sequence: int, status: int, frame: bytes) -> None:
        waiting = self._submits.pop(sequence, None)
        if waiting is None:
            return  # came after its time was over; it was reported as unknown
        octets = frame[_HEADER_OCTETS : _HEADER_OCTETS + _MAX_ID_OCTETS]
        waiting[1](Answer(status, octets.split(b"\0", 1)[0].decode("latin-1")))

    def _room_again(self) -> None:
        if self._drained is not None and not self._submits and not self._drained.done():
            self._drained.set_result(None)
        self._on_room()

    def _look(self) -> None:
        """Once a second: answers overdue, silence."""
        now = self._loop.time()
        overdue = [sequence for sequence, (deadline, _) in self._submits.items() if deadline <= now]
        for sequence in overdue:
            self._submits.pop(sequence)[1](NO_ANSWER)
        if overdue:
            self._room_again()
        if self._asked is not None and now - self._asked >= self._limits.enquire:
            self._give_up("the SMSC did not answer enquire_link")
            return
        if self._asked is None and (overdue or now - self._heard >= self._limits.idle):
            self._asked = now
            self._write(_frame(_ENQUIRE_LINK, self._next_sequence(), 0, b""))
        self._watch = self._loop.call_later(min(1.0, self._limits.enquire / 2), self._look)

    def _give_up(self, reason: str) -> None:
        if self.lost.done():
            return
        self.lost.set_result(reason)
        self._bound = False
        self._buffer.clear()
        if self._watch is not None:
            self._watch.cancel()
        if self._bind is not None and not self._bind.done():
            self._bind.set_exception(LinkLost(reason))
        submits, self._submits = self._submits, {}
        for _, take in submits.values():
            take(NO_ANSWER)
        self._room_again()
        if self._transport is not None:
            self._transport.abort()

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % _LAST_SEQUENCE + 1
        return self._sequence

    def _write(self, frame: bytes) -> None:
        # All that is written in one turn of the loop leaves in one call to the operating system.
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        if self._out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()


def _frame(command: int, sequence: int, status: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER_OCTETS + len(body), command, status, sequence) + body

"""One client's link to the simulated SMSC: binds, submits, and deliveries until they are confirmed."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from services.cli.providers.mobile import Mobile
from services.cli.providers.receipts import Receipt
from services.cli.providers.smpp_wire import (
    RESPONSE,
    Command,
    Frame,
    FrameReader,
    Status,
    Submit,
    Tag,
    WireError,
    read_bind,
    read_submit,
    write_frame,
    write_text,
    write_tlv,
)

_BINDS = {Command.BIND_RECEIVER, Command.BIND_TRANSMITTER, Command.BIND_TRANSCEIVER}
_RECEIPT_WINDOW = 200
_SYSTEM_ID = "rapport-smsc"


class Centre(Protocol):
    """What a link needs of the message centre behind it."""

    def opened(self, session: "Session") -> None:
        """A client has connected."""

    def closed(self, session: "Session", unconfirmed: Sequence[Receipt | Mobile]) -> None:
        """A client has gone."""

    def is_deaf(self, session: "Session") -> bool:
        """Whether this link is to read and answer nothing."""

    def bind_status(self, system_id: str, password: str) -> Status:
        """Whether these credentials may bind."""

    def take(self, submits: list[tuple[int, Submit]]) -> tuple[list[bytes], bool]:
        """Take what arrived together; returns the answers, and whether the link is to be cut after them."""

    def send_receipts(self) -> None:
        """Send what is due to the clients that may receive."""

    def refused(self, receipt: Receipt | Mobile, status: int) -> None:
        """A client would not take this now."""

    def confirmed(self, taken: list[Receipt | Mobile]) -> None:
        """A client has taken these."""


class Session(asyncio.Protocol):
    """One link to a client."""

    def __init__(self, smsc: Centre) -> None:
        self._smsc = smsc
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._bound_as: Command | None = None
        self._sequence = 0
        self._unconfirmed: dict[int, Receipt | Mobile] = {}

    @property
    def bound(self) -> bool:
        """Whether the client has given its credentials."""
        return self._bound_as is not None

    @property
    def receives(self) -> bool:
        """Whether it may be sent anything."""
        return self._bound_as in {Command.BIND_RECEIVER, Command.BIND_TRANSCEIVER}

    @property
    def room(self) -> int:
        """How much more may wait for its confirmation."""
        return _RECEIPT_WINDOW - len(self._unconfirmed)

    def abort(self) -> None:
        """Cut the link."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._smsc.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        del exc
        self._transport = None
        self._bound_as = None
        self._smsc.closed(self, list(self._unconfirmed.values()))

    def data_received(self, data: bytes) -> None:
        """Octets came."""
        if self._smsc.is_deaf(self) or self._transport is None:
            return
        submits: list[tuple[int, Submit]] = []
        confirmed: list[Receipt | Mobile] = []
        out: list[bytes] = []
        close = cut = False
        try:
            for frame in self._frames.feed(data):
                if frame.command == Command.SUBMIT_SM and self._bound_as in {
                    Command.BIND_TRANSMITTER,
                    Command.BIND_TRANSCEIVER,
                }:
                    submits.append((frame.sequence, read_submit(frame.body)))
                elif frame.command == RESPONSE | Command.DELIVER_SM:
                    receipt = self._unconfirmed.pop(frame.sequence, None)
                    if receipt is not None and frame.status == Status.OK:
                        confirmed.append(receipt)
                    elif receipt is not None:
                        self._smsc.refused(receipt, frame.status)
                else:
                    out.append(self._answer(frame))
                    close = close or frame.command == Command.UNBIND
        except WireError:
            out.append(write_frame(Command.GENERIC_NACK, 0, b"", Status.INVALID_LENGTH))
            close = True
        if submits:
            answers, cut = self._smsc.take(submits)
            out.extend(answers)
        self._transport.write(b"".join(out))
        if cut:
            self._transport.abort()
        elif close:
            self._transport.close()
        if confirmed:
            self._smsc.confirmed(confirmed)
        elif self.receives and out:
            self._smsc.send_receipts()

    def _answer(self, frame: Frame) -> bytes:
        command = frame.command
        if command in _BINDS:
            return self._bind(frame)
        if command == Command.SUBMIT_SM:
            return write_frame(RESPONSE | command, frame.sequence, b"", Status.WRONG_BIND_STATE)
        if command in {Command.ENQUIRE_LINK, Command.UNBIND}:
            if command == Command.UNBIND:
                self._bound_as = None
            return write_frame(RESPONSE | command, frame.sequence)
        if command & RESPONSE:
            return b""
        return write_frame(Command.GENERIC_NACK, frame.sequence, b"", Status.INVALID_COMMAND)

    def _bind(self, frame: Frame) -> bytes:
        command = Command(frame.command)
        if self.bound:
            return write_frame(RESPONSE | command, frame.sequence, b"", Status.ALREADY_BOUND)
        bind = read_bind(frame.body)
        status = self._smsc.bind_status(bind.system_id, bind.password)
        if status != Status.OK:
            return write_frame(RESPONSE | command, frame.sequence, b"", status)
        self._bound_as = command
        body = write_text(_SYSTEM_ID) + write_tlv(Tag.SC_INTERFACE_VERSION, b"\x34")
        return write_frame(RESPONSE | command, frame.sequence, body)

    def deliver(self, receipts: Sequence[Receipt | Mobile], now_micros: int) -> None:
        """Send receipts, or what subscribers write."""
        if self._transport is None or not receipts:
            return
        frames: list[bytes] = []
        for receipt in receipts:
            self._sequence = self._sequence % 0x7FFF_FFFF + 1
            self._unconfirmed[self._sequence] = receipt
            frames.append(receipt.frame(self._sequence, now_micros))
        self._transport.write(b"".join(frames))

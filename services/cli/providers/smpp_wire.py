"""SMPP 3.4 on the wire as an SMSC needs it: frames, requests read, answers and receipts written.

Written by itself, not with the library that the product's client uses, so that each checks the other.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

_HEADER = struct.Struct(">IIII")
_TLV = struct.Struct(">HH")

HEADER_OCTETS = 16
MAX_FRAME_OCTETS = 70_000
"""A whole message_payload (64 kB) and its fields."""

RESPONSE = 0x8000_0000


class Command(IntEnum):
    """Command ids (SMPP 3.4 §5.1.2.1)."""

    GENERIC_NACK = 0x8000_0000
    BIND_RECEIVER = 0x01
    BIND_TRANSMITTER = 0x02
    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    ENQUIRE_LINK = 0x15


class Status(IntEnum):
    """Command statuses used here (SMPP 3.4 §5.1.3)."""

    OK = 0x00
    INVALID_LENGTH = 0x02
    INVALID_COMMAND = 0x03
    WRONG_BIND_STATE = 0x04
    ALREADY_BOUND = 0x05
    SYSTEM_ERROR = 0x08
    INVALID_DESTINATION = 0x0B
    BIND_FAILED = 0x0D
    INVALID_PASSWORD = 0x0E
    INVALID_SYSTEM_ID = 0x0F
    QUEUE_FULL = 0x14
    THROTTLED = 0x58
    NOT_NOW = 0x64


class Tag(IntEnum):
    """Optional parameters used here (SMPP 3.4 §5.3.2)."""

    RECEIPTED_MESSAGE_ID = 0x001E
    USER_MESSAGE_REFERENCE = 0x0204
    SAR_MSG_REF_NUM = 0x020C
    SAR_TOTAL_SEGMENTS = 0x020E
    SAR_SEGMENT_SEQNUM = 0x020F
    SC_INTERFACE_VERSION = 0x0210
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427


class WireError(Exception):
    """A frame that cannot be read; the link cannot go on after it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One PDU: its header and the octets after it."""

    command: int
    status: int
    sequence: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Bind:
    """A bind request; the password stays out of its representation."""

    system_id: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Submit:
    """A short message as submitted (SMPP 3.4 §4.4)."""

    source: str
    destination: str
    esm_class: int
    validity: str
    registered_delivery: int
    data_coding: int
    octets: bytes
    """Short message or message_payload, its user data header included."""
    tlvs: dict[int, bytes]


class FrameReader:
    """Cuts a stream of octets into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> Iterator[Frame]:
        """The frames completed by these octets; raises WireError for a length no PDU can have."""
        self._buffer += octets
        start = 0
        try:
            while len(self._buffer) - start >= HEADER_OCTETS:
                length, command, status, sequence = _HEADER.unpack_from(self._buffer, start)
                if not HEADER_OCTETS <= length <= MAX_FRAME_OCTETS:
                    raise WireError(
                        f"command_length {length} where {HEADER_OCTETS} to {MAX_FRAME_OCTETS} is right"
                    )
                if len(self._buffer) - start < length:
                    break
                body = bytes(self._buffer[start + HEADER_OCTETS : start + length])
                start += length
                yield Frame(command, status, sequence, body)
        finally:
            del self._buffer[:start]


class _Body:
    """Reads the fields of a body in their order."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._position = 0

    def text(self) -> str:
        end = self._octets.find(b"\0", self._position)
        if end < 0:
            raise WireError("a C-octet string without its end")
        value = self._octets[self._position : end]
        self._position = end + 1
        return value.decode("latin-1")

    def integer(self) -> int:
        return self.raw(1)[0]

    def raw(self, length: int) -> bytes:
        value = self._octets[self._position : self._position + length]
        if len(value) < length:
            raise WireError("a body that ends inside a field")
        self._position += length
        return value

    def tlvs(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        while self._position < len(self._octets):
            tag, length = _TLV.unpack(self.raw(_TLV.size))
            found[tag] = self.raw(length)
        return found


def read_bind(body: bytes) -> Bind:
    """The credentials of a bind request; raises WireError."""
    fields = _Body(body)
    return Bind(system_id=fields.text(), password=fields.text())


def read_submit(body: bytes) -> Submit:
    """The short message of a submit_sm; raises WireError."""
    fields = _Body(body)
    fields.text()  # service_type
    fields.raw(2)  # type and plan of the source
    source = fields.text()
    fields.raw(2)  # type and plan of the destination
    destination = fields.text()
    esm_class = fields.integer()
    fields.raw(2)  # protocol_id, priority_flag
    fields.text()  # schedule_delivery_time
    validity = fields.text()
    registered_delivery = fields.integer()
    fields.raw(1)  # replace_if_present_flag
    data_coding = fields.integer()
    fields.raw(1)  # sm_default_msg_id
    octets = fields.raw(fields.integer())
    tlvs = fields.tlvs()
    return Submit(
        source=source,
        destination=destination,
        esm_class=esm_class,
        validity=validity,
        registered_delivery=registered_delivery,
        data_coding=data_coding,
        octets=octets or tlvs.get(Tag.MESSAGE_PAYLOAD, b""),
        tlvs=tlvs,
    )


def write_frame(command: int, sequence: int, body: bytes = b"", status: int = Status.OK) -> bytes:
    """One PDU."""
    return _HEADER.pack(HEADER_OCTETS + len(body), command, status, sequence) + body


def write_text(value: str) -> bytes:
    """A C-octet string."""
    return value.encode("latin-1") + b"\0"


def write_tlv(tag: int, value: bytes) -> bytes:
    """One optional parameter."""
    return _TLV.pack(tag, len(value)) + value


def write_receipt(
    sequence: int,
    *,
    source: str,
    destination: str,
    text: str,
    message_id: str,
    state: int,
    parameters: bool = True,
) -> bytes:
    """A deliver_sm that is a delivery receipt (SMPP 3.4 §4.6, appendix B), with its parameters or without."""
    short_message = text.encode("latin-1", errors="replace")[:254]
    body = b"".join(
        (
            b"\0",  # service_type
            b"\x01\x01",
            write_text(source),
            b"\x01\x01",
            write_text(destination),
            b"\x04",  # esm_class: delivery receipt
            b"\0\0",  # protocol_id, priority_flag
            b"\0\0",  # schedule_delivery_time, validity_period
            b"\0\0",  # registered_delivery, replace_if_present_flag
            b"\0\0",  # data_coding, sm_default_msg_id
            bytes([len(short_message)]),
            short_message,
            write_tlv(Tag.RECEIPTED_MESSAGE_ID, write_text(message_id)) if parameters else b"",
            write_tlv(Tag.MESSAGE_STATE, bytes([state])) if parameters else b"",
        )
    )
    return write_frame(Command.DELIVER_SM, sequence, body)

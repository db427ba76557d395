"""What an SMSC delivers to us, read: receipts in the forms of many SMSCs, and what subscribers write.

A receipt names its message and says what became of it in parameters (receipted_message_id, message_state),
in a text (SMPP 3.4 appendix B), or in both; parameters go first. SMSCs differ in the order and case of the
text's fields, leave some out, write dates with 10, 12 or 14 digits, and name in decimal what they answered in
hexadecimal.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import phonenumbers
import smpp34

from services.channel.adapters.smpp_texts import (
    WHOLE,
    Alphabet,
    Octets,
    Part,
    octets_of,
    part_of,
    read_header,
)
from services.channel.app.ports import Receipt, ReceiptState
from services.vocabulary.short_message import decode_gsm7
from services.vocabulary.values import time_to_micros

DATA_SM = 0x103

# Optional parameters (SMPP 3.4 §5.3.2).
_TLV_RECEIPTED_MESSAGE_ID = 0x001E
_TLV_SAR_MSG_REF_NUM = 0x020C
_TLV_SAR_TOTAL_SEGMENTS = 0x020E
_TLV_SAR_SEGMENT_SEQNUM = 0x020F
_TLV_NETWORK_ERROR_CODE = 0x0423
_TLV_MESSAGE_PAYLOAD = 0x0424
_TLV_MESSAGE_STATE = 0x0427

_UDH_INDICATOR = 0x40
_MESSAGE_TYPE_MASK = 0x3C
_WRITTEN_BY_A_SUBSCRIBER = 0x00
_DELIVERY_RECEIPT = 0x04
_UCS2 = 0x08

_INTERNATIONAL = 1
_NATIONAL = 2
_LETTERS = 5
_DIGITS = re.compile(r"[1-9][0-9]{6,14}")


class ReceiptIds(StrEnum):
    """How the texts of receipts name the message that the answer to the submit named."""

    SAME = "same"
    DECIMAL = "decimal"
    """In decimal, where the answer was hexadecimal."""
    HEX = "hex"
    """In hexadecimal, where the answer was decimal."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one SMSC writes what it delivers."""

    alphabet: Alphabet = Alphabet.GSM
    receipt_ids: ReceiptIds = ReceiptIds.SAME
    country: str = ""
    """ISO 3166 code of the country whose national numbers it may name senders by; empty: none."""

    def answered_id(self, identifier: str) -> str:
        """The id in the answer to a submit as receipts are matched by it."""
        return self._number(identifier, 10 if self.receipt_ids is ReceiptIds.HEX else 16)

    def text_id(self, identifier: str) -> str:
        """The id in the text of a receipt as it is matched."""
        return self._number(identifier, 16 if self.receipt_ids is ReceiptIds.HEX else 10)

    def _number(self, identifier: str, base: int) -> str:
        if self.receipt_ids is ReceiptIds.SAME or not identifier.isascii() or not identifier.isalnum():
            return identifier
        try:
            return str(int(identifier, base)) if len(identifier) <= 64 else identifier
        except ValueError:
            return identifier


@dataclass(frozen=True, slots=True)
class Report:
    """A receipt; None in it: it says nothing final, or nothing that can be understood."""

    receipt: Receipt | None


@dataclass(frozen=True, slots=True)
class Written:
    """What a subscriber wrote, or one part of it."""

    sender: str
    recipient: str
    pieces: tuple[Octets, ...]
    part: Part
    octets: bytes
    """As they came, header and all: the same when the message comes again."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A delivery that has no meaning for us: acknowledgements of handsets, data that is no text."""


Delivered = Report | Written | Nothing


@dataclass(frozen=True, slots=True)
class _Message:
    """The fields that deliver_sm and data_sm have in common."""

    source: str
    source_ton: int
    destination: str
    destination_ton: int
    esm_class: int
    data_coding: int
    octets: bytes
    values: Mapping[int, bytes]


def read_delivered(frame: bytes, provider: str, dialect: Dialect) -> Delivered:
    """Read a deliver_sm or data_sm; raises smpp34.SmppError or ValueError when it is neither."""
    message = _message(frame)
    kind = message.esm_class & _MESSAGE_TYPE_MASK
    states = {_TLV_RECEIPTED_MESSAGE_ID, _TLV_MESSAGE_STATE} & message.values.keys()
    if kind == _DELIVERY_RECEIPT or (kind == _WRITTEN_BY_A_SUBSCRIBER and len(states) == 2):
        return Report(_receipt(message, provider, dialect))
    if kind != _WRITTEN_BY_A_SUBSCRIBER:
        return Nothing()
    part, header = read_header(message.octets) if message.esm_class & _UDH_INDICATOR else (WHOLE, 0)
    piece = octets_of(message.octets, header, message.data_coding, dialect.alphabet)
    if piece is None:
        return Nothing()
    return Written(
        sender=_number(message.source, message.source_ton, dialect.country),
        recipient=_number(message.destination, message.destination_ton, ""),
        pieces=(piece,),
        part=part if part.total > 1 else _sar(message.values),
        octets=message.octets,
    )


def _message(frame: bytes) -> _Message:
    pdu = smpp34.decode(frame)
    if isinstance(pdu, smpp34.DeliverSm):
        values = {tlv.tag: tlv.value for tlv in pdu.tlvs}
        return _Message(
            pdu.source_addr,
            pdu.source_addr_ton,
            pdu.destination_addr,
            pdu.dest_addr_ton,
            pdu.esm_class,
            pdu.data_coding,
            pdu.short_message or values.get(_TLV_MESSAGE_PAYLOAD, b""),
            values,
        )
    if isinstance(pdu, smpp34.RawPdu) and pdu.command_id == DATA_SM:
        return _data_sm(pdu.body)
    raise ValueError("neither deliver_sm nor data_sm")


def _data_sm(body: bytes) -> _Message:
    """The fields of a data_sm (§4.7.1), which the library does not read; raises ValueError."""
    _, rest = _cut(body)
    source_ton, rest = rest[0:1], rest[2:]
    source, rest = _cut(rest)
    destination_ton, rest = rest[0:1], rest[2:]
    destination, rest = _cut(rest)
    if len(rest) < 3 or not destination_ton:
        raise ValueError("a data_sm that ends inside a field")
    esm_class, _, data_coding = rest[:3]
    values: dict[int, bytes] = {}
    rest = rest[3:]
    while rest:
        size = int.from_bytes(rest[2:4], "big")
        if len(rest) < 4 + size:
            raise ValueError("a parameter that ends outside its PDU")
        values[int.from_bytes(rest[:2], "big")] = rest[4 : 4 + size]
        rest = rest[4 + size :]
    return _Message(
        source,
        source_ton[0],
        destination,
        destination_ton[0],
        esm_class,
        data_coding,
        values.get(_TLV_MESSAGE_PAYLOAD, b""),
        values,
    )


def _cut(octets: bytes) -> tuple[str, bytes]:
    text, end, rest = octets.partition(b"\0")
    if not end:
        raise ValueError("a text without its end")
    return text.decode("latin-1"), rest


def _c_string(octets: bytes) -> str:
    return octets.split(b"\0", 1)[0][:200].decode("latin-1").strip()


def _sar(values: Mapping[int, bytes]) -> Part:
    return part_of(
        int.from_bytes(values.get(_TLV_SAR_MSG_REF_NUM, b"")[:2], "big"),
        int.from_bytes(values.get(_TLV_SAR_SEGMENT_SEQNUM, b"")[:1], "big"),
        int.from_bytes(values.get(_TLV_SAR_TOTAL_SEGMENTS, b"")[:1], "big"),
    )


def _number(address: str, ton: int, country: str) -> str:
    """E.164 with its plus sign where the address is such a number; else as it is (§5.2.5)."""
    address = address.strip()
    if ton == _LETTERS:
        return address
    digits = address.removeprefix("+").removeprefix("00")
    if _DIGITS.fullmatch(digits) and (ton == _INTERNATIONAL or digits != address):
        return f"+{digits}"
    if country and address.isdecimal() and len(address) >= 7:
        national = _national(address, country)
        if national:
            return national
    if ton != _NATIONAL and _DIGITS.fullmatch(address) and len(address) >= 10:
        return f"+{address}"
    return address


def _national(address: str, country: str) -> str:
    try:
        number = phonenumbers.parse(address, country)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_valid_number_for_region(number, country):
        return ""
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


# The text of receipts.

_ID = re.compile(r"\bid\s*[:=]\s*([^\s;,\x00-\x1f]{1,200})", re.IGNORECASE)
_STAT = re.compile(r"\bstat(?:us)?\s*[:=]\s*([A-Za-z]+)", re.IGNORECASE)
_ERR = re.compile(r"\berr(?:or)?\s*[:=]\s*([0-9A-Za-z]{1,8})\b", re.IGNORECASE)
_DONE = re.compile(r"\bdone[ _]?date\s*[:=]\s*([0-9]{10}(?:[0-9]{2}){0,2})\b", re.IGNORECASE)
_TEXT = re.compile(r"\btext\s*[:=].*\Z", re.IGNORECASE | re.DOTALL)

_FINAL_TEXTS: Mapping[str, ReceiptState] = {
    "DELIVRD": ReceiptState.DELIVERED,
    "DELIVERD": ReceiptState.DELIVERED,
    "DELIVERED": ReceiptState.DELIVERED,
    "EXPIRED": ReceiptState.EXPIRED,
    "DELETED": ReceiptState.FAILED,
    "FAILED": ReceiptState.FAILED,
    "REJECTD": ReceiptState.FAILED,
    "REJECTED": ReceiptState.FAILED,
    "SKIPPED": ReceiptState.FAILED,
    "UNDELIV": ReceiptState.FAILED,
    "UNDELIVERABLE": ReceiptState.FAILED,
    "UNDELIVERED": ReceiptState.FAILED,
    "UNDELIVRD": ReceiptState.FAILED,
}
"""Words that are final; ACCEPTD, ENROUTE, SCHEDULED, UNKNOWN and any other are not."""
_FINAL_STATES: Mapping[int, ReceiptState] = {
    2: ReceiptState.DELIVERED,
    3: ReceiptState.EXPIRED,
    4: ReceiptState.FAILED,
    5: ReceiptState.FAILED,
    8: ReceiptState.FAILED,
    9: ReceiptState.FAILED,
}


def _receipt(message: _Message, provider: str, dialect: Dialect) -> Receipt | None:
    text = _text(message)
    fields = _TEXT.sub("", text)  # what we wrote ourselves says nothing
    identifier = dialect.answered_id(_c_string(message.values.get(_TLV_RECEIPTED_MESSAGE_ID, b"")))
    if not identifier:
        found = _ID.search(fields) or _ID.search(text)
        identifier = dialect.text_id(found[1]) if found else ""
    stat_match = _STAT.search(fields) or _STAT.search(text)
    stat = stat_match[1].upper() if stat_match else ""
    state_octet = message.values.get(_TLV_MESSAGE_STATE, b"")
    state = _FINAL_STATES.get(state_octet[0]) if len(state_octet) == 1 else _FINAL_TEXTS.get(stat)
    if not identifier or state is None:
        return None
    detail = ""
    if state is not ReceiptState.DELIVERED:
        error = _error(fields, message.values)
        detail = f"receipt {stat or state.value}" + (f", error {error}" if error else "")
    return Receipt(provider, identifier, state, time_micros=_done_micros(fields), detail=detail)


def _text(message: _Message) -> str:
    octets = message.octets
    if message.esm_class & _UDH_INDICATOR:
        octets = octets[read_header(octets)[1] :]
    if message.data_coding == _UCS2 or octets[:1] == b"\0":
        return octets.decode("utf-16-be", errors="replace")
    if octets[1:2] == b"\0":
        return octets.decode("utf-16-le", errors="replace")
    # GSM 03.38 and latin-1 write a receipt's letters, digits and colons alike, but for these two.
    return decode_gsm7(octets) if octets.isascii() and b"\x11" in octets else octets.decode("latin-1")


def _error(fields: str, values: Mapping[int, bytes]) -> str:
    found = _ERR.search(fields)
    if found is not None:
        return found[1]
    network = values.get(_TLV_NETWORK_ERROR_CODE, b"")
    return f"{int.from_bytes(network[1:], 'big'):03d}" if len(network) == 3 else ""


def _done_micros(text: str) -> int:
    """The `done date`, read as UTC because receipts name no zone; 0 when there is none that exists."""
    found = _DONE.search(text)
    if found is None:
        return 0
    digits = found[1]
    form = {14: "%Y%m%d%H%M%S", 12: "%y%m%d%H%M%S"}.get(len(digits), "%y%m%d%H%M")
    try:
        return time_to_micros(datetime.strptime(digits, form).replace(tzinfo=UTC))
    except ValueError:
        return 0

"""Messages as SMPP 3.4 PDUs: submits with parts and references, and what command statuses mean."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import smpp34

from services.channel.adapters.smpp_senders import Numbering, Senders, source_of
from services.channel.adapters.smpp_texts import Alphabet
from services.channel.app.ports import HandOver, Outgoing
from services.vocabulary.short_message import Coding, decode_gsm7, split
from services.vocabulary.values import DAY, SECOND

MAX_PARTS = 255
"""The concatenation header counts parts in one octet."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_LONGEST_VALIDITY_MICROS = 28 * DAY

# Optional parameters (SMPP 3.4 §5.3.2).
_TLV_USER_MESSAGE_REFERENCE = 0x0204
_TLV_MESSAGE_PAYLOAD = 0x0424

_UDH_INDICATOR = 0x40
_NARROW_HEADER = 6
_WIDE_HEADER = 7
_DATA_CODING = {Coding.GSM7: 0x00, Coding.UCS2: 0x08}

# Command statuses after which the same submit may succeed later (SMPP 3.4 §5.1.3); all others are final.
_TRANSIENT: Mapping[int, str] = {
    0x04: "ESME_RINVBNDSTS, not bound for this",
    0x08: "ESME_RSYSERR, system error of the SMSC",
    0x14: "ESME_RMSGQFUL, message queue full",
    0x58: "ESME_RTHROTTLED, sending too fast",
    0x64: "ESME_RX_T_APPN, temporary error of the receiver",
    0xFF: "ESME_RUNKNOWNERR, unknown error",
}
_PERMANENT: Mapping[int, str] = {
    0x01: "ESME_RINVMSGLEN, message length is invalid",
    0x02: "ESME_RINVCMDLEN, command length is invalid",
    0x03: "ESME_RINVCMDID, command is not known",
    0x0A: "ESME_RINVSRCADR, source address is invalid",
    0x0B: "ESME_RINVDSTADR, destination address is invalid",
    0x0D: "ESME_RBINDFAIL, bind failed",
    0x0E: "ESME_RINVPASWD, password is wrong",
    0x0F: "ESME_RINVSYSID, system id is wrong",
    0x45: "ESME_RSUBMITFAIL, submit failed",
    0x48: "ESME_RINVSRCTON, source type of number is invalid",
    0x50: "ESME_RINVDSTTON, destination type of number is invalid",
    0x62: "ESME_RINVEXPIRY, validity period is invalid",
    0x65: "ESME_RX_P_APPN, permanent error of the receiver",
    0x66: "ESME_RX_R_APPN, refused by the receiver",
}


_SLOW_DOWN = frozenset({0x14, 0x58})


class NotSendable(ValueError):  # noqa: N818 - a mistake in the message, not a failure of ours
    """The message can never be submitted; the text says why, without address or text of the message."""


def outcome_of(status: int) -> HandOver:
    """What a command status says about the submit it answers."""
    if status == 0:
        return HandOver.ACCEPTED
    return HandOver.TRANSIENT if status in _TRANSIENT else HandOver.PERMANENT


def asks_to_slow_down(status: int | None) -> bool:
    """Whether an answer means: not so fast."""
    return status in _SLOW_DOWN


def name_of(status: int) -> str:
    """A command status for people."""
    known = _TRANSIENT.get(status) or _PERMANENT.get(status) or "a status of this SMSC's own"
    return f"command status 0x{status:02X} ({known})"


@dataclass(frozen=True, slots=True)
class SubmitRules:
    """How one SMSC wants messages written."""

    alphabet: Alphabet = Alphabet.GSM
    """What data_coding 0 means to it."""
    wide_reference: bool = False
    """Parts of long messages have a reference of 16 bits instead of 8: one letter less in each part."""
    payload: bool = False
    """Long texts go whole, in the parameter message_payload; the SMSC cuts them."""
    numbering: Numbering = field(default_factory=Numbering)
    senders: Senders = field(default_factory=Senders)


_PLAIN = SubmitRules()


def submits_of(
    message: Outgoing, default_sender: str, reference_tag: int = 0, rules: SubmitRules = _PLAIN
) -> tuple[bytes, ...]:
    """The submit_sm PDUs of one message, in the order of its parts, with sequence number 0.

    Only the last part asks for a receipt: it stands for the message. The concatenation reference derives
    from the message id, so that a second try completes, or repeats, the same message on the handset.
    `reference_tag`: a vendor parameter (0x1400 to 0x3FFF) that carries the message id; 0: none.
    Raises NotSendable.
    """
    if _E164.fullmatch(message.address) is None:
        raise NotSendable("the address is not an E.164 number: a plus sign and 7 to 15 digits")
    source, source_ton, source_npi = _source(message, default_sender, rules)
    coding, payloads = _payloads(message.text, rules)
    digest = zlib.crc32(message.message_id.encode())
    tlvs = [smpp34.Tlv(_TLV_USER_MESSAGE_REFERENCE, (digest & 0xFFFF).to_bytes(2, "big"))]
    if reference_tag:
        tlvs.append(smpp34.Tlv(reference_tag, message.message_id.encode("ascii", "replace")))
    total = len(payloads)
    whole = total > 1 and rules.payload
    if whole:
        tlvs.append(smpp34.Tlv(_TLV_MESSAGE_PAYLOAD, b"".join(payloads)))
        payloads, total = (b"",), 1
    pdus: list[bytes] = []
    for number, payload in enumerate(payloads, start=1):
        header = _header(digest, total, number, wide=rules.wide_reference) if total > 1 else b""
        pdu = smpp34.SubmitSm(
            source,
            message.address[1:],
            header + payload,
            source_addr_ton=source_ton,
            source_addr_npi=source_npi,
            dest_addr_ton=rules.numbering.destination[0],
            dest_addr_npi=rules.numbering.destination[1],
            esm_class=_UDH_INDICATOR if header else 0,
            validity_period=validity_period(message.validity_micros),
            registered_delivery=1 if number == total else 0,
            data_coding=_DATA_CODING[coding],
            tlvs=tlvs,
        )
        pdus.append(bytes(pdu.encode()))
    return tuple(pdus)


def _header(digest: int, total: int, number: int, *, wide: bool) -> bytes:
    """The user data header of one part (TS 23.040 §9.2.3.24.1, .8)."""
    if wide:
        return bytes((6, 8, 4, digest >> 8 & 0xFF, digest & 0xFF, total, number))
    return bytes((5, 0, 3, digest & 0xFF, total, number))


def _payloads(text: str, rules: SubmitRules) -> tuple[Coding, tuple[bytes, ...]]:
    """The text in the SMSC's alphabet; what it holds is counted in septets, as the handset gets it."""
    header_octets = _WIDE_HEADER if rules.wide_reference else _NARROW_HEADER
    parts = split(text, header_octets=header_octets)
    payloads = parts.payloads
    if parts.coding is Coding.GSM7 and rules.alphabet is Alphabet.LATIN_1:
        try:
            payloads = tuple(decode_gsm7(payload).encode("latin-1") for payload in payloads)
        except UnicodeEncodeError:
            parts = split(text, Coding.UCS2, header_octets=header_octets)
            payloads = parts.payloads
    if len(payloads) > MAX_PARTS:
        raise NotSendable(f"the text takes {len(payloads)} parts; at most {MAX_PARTS} can be sent")
    return parts.coding, payloads


def _source(message: Outgoing, default_sender: str, rules: SubmitRules) -> tuple[str, int, int]:
    """Address, type of number and numbering plan of the sender."""
    sender = rules.senders.sender(message.sender, default_sender, message.address)
    if sender is None:
        raise NotSendable("the recipient's country allows no sender of letters; name a number for it")
    source = source_of(sender, rules.numbering)
    if source is None:
        raise NotSendable("the sender is neither a number nor 1 to 11 letters, digits, spaces or _.-&")
    return source


def validity_period(micros: int) -> str:
    """A length of time as SMPP writes it, relative (§7.1.1), 1 second to 28 days; 0: the SMSC's default."""
    if micros <= 0:
        return ""
    seconds = -(-min(micros, _LONGEST_VALIDITY_MICROS) // SECOND)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    return f"0000{day:02d}{hour:02d}{minute:02d}{second:02d}000R"


def numbered(pdu: bytes, sequence: int) -> bytes:
    """The PDU under another sequence number."""
    return pdu[:12] + sequence.to_bytes(4, "big") + pdu[16:]

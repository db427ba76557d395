"""What SMSCs deliver: receipts of many dialects, and subscribers' messages in every alphabet."""

import json
from pathlib import Path
from typing import Any

import pytest
import smpp34
from hypothesis import example, given
from hypothesis import strategies as st

from services.channel.adapters.smpp_delivered import (
    Delivered,
    Dialect,
    Nothing,
    ReceiptIds,
    Report,
    Written,
    read_delivered,
)
from services.channel.adapters.smpp_texts import Alphabet, Part, text_of, unpack
from services.channel.app.ports import Receipt, ReceiptState
from services.cli.providers.smpp_wire import write_receipt, write_tlv
from services.vocabulary.short_message import encode_gsm7

VECTORS = Path(__file__).parents[4] / "shared" / "data" / "sms" / "smpp_pdus.json"
GSM = Dialect()


def vectors() -> Any:
    if not VECTORS.exists():
        pytest.skip("the published SMPP vectors are not on this machine")
    return json.loads(VECTORS.read_text(encoding="utf-8"))


def frame(octets: bytes, **changes: Any) -> bytes:
    fields = {"source_addr_ton": 1, "source_addr_npi": 1} | changes
    source = fields.pop("source", "33612345678")
    return bytes(smpp34.DeliverSm(source, "38080", octets, **fields).encode())


def receipt(text: str | bytes, dialect: Dialect = GSM, **changes: Any) -> Receipt | None:
    octets = text.encode() if isinstance(text, str) else text
    found = read_delivered(frame(octets, **({"esm_class": 4} | changes)), "north", dialect)
    assert isinstance(found, Report)
    return found.receipt


def needed(found: Receipt | None) -> Receipt:
    assert found is not None
    return found


def written(octets: bytes, dialect: Dialect = GSM, **changes: Any) -> Written:
    found = read_delivered(frame(octets, **changes), "north", dialect)
    assert isinstance(found, Written)
    return found


def text(octets: bytes, dialect: Dialect = GSM, **changes: Any) -> str:
    return text_of(written(octets, dialect, **changes).pieces)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("id:7 sub:001 dlvrd:001 done date:2611220153 stat:DELIVRD err:000 text:Hi", ReceiptState.DELIVERED),
        ("id:7 stat:EXPIRED err:001", ReceiptState.EXPIRED),
        ("id:7 stat:UNDELIV err:0a1", ReceiptState.FAILED),
        ("id:7 stat:REJECTD err:001", ReceiptState.FAILED),
        ("ID: 7 Stat: delivrd", ReceiptState.DELIVERED),
        ("stat:DELIVRD err:0 dlvrd:1 id:7", ReceiptState.DELIVERED),
        ("id=7;status=DELIVERED;error=000", ReceiptState.DELIVERED),
        ("text:Hello id:7 stat:UNDELIVERED", ReceiptState.FAILED),
        ("id:7 stat:DELIVRD text:id:8 stat:UNDELIV", ReceiptState.DELIVERED),
        ("id:7 stat:ENROUTE", None),
        ("id:7 stat:ACCEPTD", None),
        ("id:7 stat:UNKNOWN", None),
        ("id:7 stat:BADSTAT", None),
        ("stat:DELIVRD", None),
        ("", None),
    ],
)
def test_receipts_by_their_text(said: str, state: ReceiptState | None) -> None:
    found = receipt(said)
    assert (found and found.state) == state
    assert found is None or (found.provider, found.provider_id) == ("north", "7")


@pytest.mark.parametrize(
    ("octets", "changes"),
    [
        ("id:7 stat:DELIVRD text:déjà".encode("latin-1"), {}),
        ("id:7 stat:DELIVRD text:é".encode("latin-1"), {"data_coding": 3}),
        ("id:7 stat:DELIVRD".encode("utf-16-be"), {"data_coding": 8}),
        ("id:7 stat:DELIVRD".encode("utf-16-be"), {}),
        ("id:7 stat:DELIVRD".encode("utf-16-le"), {}),
    ],
)
def test_receipts_in_any_alphabet(octets: bytes, changes: dict[str, Any]) -> None:
    assert needed(receipt(octets, **changes)).provider_id == "7"


def test_a_receipt_in_gsm_names_underscores() -> None:
    assert needed(receipt(encode_gsm7("id:a_7 stat:DELIVRD"))).provider_id == "a_7"


def test_parameters_go_before_the_text() -> None:
    delivered = read_delivered(
        write_receipt(
            1, source="1", destination="2", text="id:59 stat:DELIVRD", message_id="38601fa", state=5
        ),
        "north",
        GSM,
    )
    assert isinstance(delivered, Report)
    found = needed(delivered.receipt)
    assert (found.provider_id, found.state) == ("38601fa", ReceiptState.FAILED)


@pytest.mark.parametrize("esm_class", [0, 4])
def test_parameters_alone_make_a_receipt(esm_class: int) -> None:
    tlvs = [smpp34.Tlv(0x1E, b"abc\0"), smpp34.Tlv(0x427, b"\x05"), smpp34.Tlv(0x423, b"\x03\x00\x1b")]
    found = needed(receipt("", tlvs=tlvs, esm_class=esm_class))
    assert (found.provider_id, found.detail) == ("abc", "receipt failed, error 027")


def test_a_receipt_that_came_as_data_sm() -> None:
    body = b"\0\1\1" + b"33612345678\0" + b"\1\1" + b"38080\0" + b"\x04\0\0"
    body += write_tlv(0x1E, b"7\0") + write_tlv(0x427, b"\2")
    found = read_delivered(_framed(0x103, body), "north", GSM)
    assert isinstance(found, Report)
    assert needed(found.receipt).state is ReceiptState.DELIVERED


@pytest.mark.parametrize(
    ("ids", "answered", "said"),
    [
        (ReceiptIds.SAME, "BC614E", "BC614E"),
        (ReceiptIds.DECIMAL, "BC614E", "12345678"),
        (ReceiptIds.DECIMAL, "00bc614e", "0012345678"),
        (ReceiptIds.HEX, "12345678", "00BC614E"),
        (ReceiptIds.DECIMAL, "not-a-number", "not-a-number"),
    ],
)
def test_ids_that_are_written_in_two_ways(ids: ReceiptIds, answered: str, said: str) -> None:
    dialect = Dialect(receipt_ids=ids)
    found = needed(receipt(f"id:{said} stat:DELIVRD", dialect))
    assert found.provider_id == dialect.answered_id(answered)
    parameter = [smpp34.Tlv(0x1E, answered.encode() + b"\0")]
    found = needed(receipt(f"id:{said} stat:DELIVRD", dialect, tlvs=parameter))
    assert found.provider_id == dialect.answered_id(answered)


@pytest.mark.parametrize(
    ("date", "micros"),
    [
        ("1102061931", 1_297_020_660_000_000),
        ("110206193110", 1_297_020_670_000_000),
        ("20110206193110", 1_297_020_670_000_000),
        ("9999999999", 0),
        ("261122015", 0),
        ("26112201530", 0),
    ],
)
def test_dates_of_receipts(date: str, micros: int) -> None:
    assert needed(receipt(f"id:7 done date:{date} stat:DELIVRD")).time_micros == micros


def test_a_subscribers_message_is_no_receipt() -> None:
    assert text(b"id:7 stat:DELIVRD") == "id:7 stat:DELIVRD"


@pytest.mark.parametrize("esm_class", [0x08, 0x10, 0x20])
def test_acknowledgements_and_notices_on_the_way_are_nothing(esm_class: int) -> None:
    assert read_delivered(frame(b"id:7 stat:DELIVRD", esm_class=esm_class), "north", GSM) == Nothing()


def test_published_receipts() -> None:
    cases = {case["case"]: case["texts"] for case in vectors()["delivery_receipts"]}
    seconds = needed(receipt(cases["parseReceiptWithTimestampIncludingSeconds"][0]))
    assert seconds.provider_id == "74e02ee1-4e2f-4a6e-a78b-4b247d756a22"
    assert seconds.time_micros == 1_297_020_670_000_000  # 2011-02-06T19:31:10Z
    century = needed(receipt(cases["parseReceiptWithMissingSubAndDlvrdFields"][0]))
    assert century.provider_id == "2E179B310EDE971B2760C72B7F026E1B"
    assert century.time_micros == 1_300_126_661_000_000  # 2011-03-14T18:17:41Z
    assert receipt(cases["toShortMessageWith9DigitLongMessageId"][0]) is None
    assert receipt(cases["toShortMessageWithFullConstructor"][0]) is None  # ENROUTE
    missing = [receipt(case) for case in cases["parseShortMessageMissingFields"]]
    # Without id or stat it says nothing; without any other field it still does.
    assert [found is None for found in missing] == [True, False, False, False, False, True, False, False]


def test_published_pdus() -> None:
    found = {case["case"]: bytes.fromhex(case["hex"][0]) for case in vectors()["pdu"] if case["hex"]}
    delivered = read_delivered(found["decodeDeliverSmAsDeliveryReceipt"], "north", GSM)
    assert isinstance(delivered, Report)
    assert needed(delivered.receipt).provider_id == "38601fa"
    accepted = read_delivered(found["decodeDeliverSmWithDeliveryReceiptThatFailedFromEndToEnd"], "north", GSM)
    assert accepted == Report(None)  # ACCEPTD is not final
    payload = read_delivered(found["decodeDeliverSmWithOptionalMessagePayload"], "north", GSM)
    assert isinstance(payload, Written)


@pytest.mark.parametrize(
    ("source", "ton", "country", "sender"),
    [
        ("33612345678", 1, "", "+33612345678"),
        ("+33612345678", 0, "", "+33612345678"),
        ("0033612345678", 0, "", "+33612345678"),
        ("33612345678", 0, "", "+33612345678"),
        ("0612345678", 2, "FR", "+33612345678"),
        ("0612345678", 0, "FR", "+33612345678"),
        ("612345678", 2, "FR", "+33612345678"),
        ("0612345678", 2, "", "0612345678"),
        ("38080", 3, "FR", "38080"),
        ("33612345678", 5, "", "33612345678"),
        ("Bank", 5, "FR", "Bank"),
        ("", 1, "FR", ""),
    ],
)
def test_senders_are_e164_where_they_are_numbers(source: str, ton: int, country: str, sender: str) -> None:
    found = written(b"Hi", Dialect(country=country), source=source, source_addr_ton=ton)
    assert found.sender == sender
    assert found.recipient == "38080"


@pytest.mark.parametrize(
    ("octets", "coding", "alphabet", "said"),
    [
        (encode_gsm7("Arrèt €[1]"), 0, Alphabet.GSM, "Arrèt €[1]"),
        ("déjà".encode("latin-1"), 0, Alphabet.LATIN_1, "déjà"),
        ("déjà".encode("latin-1"), 0, Alphabet.GSM, "déjà"),
        ("ARRÊT".encode("latin-1"), 3, Alphabet.GSM, "ARRÊT"),
        ("STOP 😀 قف".encode("utf-16-be"), 8, Alphabet.GSM, "STOP 😀 قف"),
        ("STOP".encode("utf-16-be"), 0x18, Alphabet.GSM, "STOP"),
        (b"STOP", 0xF1, Alphabet.GSM, "STOP"),
        ("стоп".encode("iso8859_5"), 6, Alphabet.GSM, "стоп"),
        (bytes.fromhex("e8329bfd4697d9ec37"), 0, Alphabet.GSM_PACKED, "hellohello"),
    ],
)
def test_texts_in_their_alphabets(octets: bytes, coding: int, alphabet: Alphabet, said: str) -> None:
    assert text(octets, Dialect(alphabet=alphabet), data_coding=coding) == said


@pytest.mark.parametrize("coding", [2, 4, 0xF5, 0x14])
def test_data_that_is_no_text_is_nothing(coding: int) -> None:
    assert read_delivered(frame(b"\x01\x02", data_coding=coding), "north", GSM) == Nothing()


def test_long_texts_come_in_a_parameter() -> None:
    payload = [smpp34.Tlv(0x424, b"x" * 400)]
    assert text(b"", tlvs=payload) == "x" * 400


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (b"\x05\x00\x03\x2a\x02\x01", Part(0x2A, 1, 2)),
        (b"\x06\x08\x04\x01\x2a\x03\x02", Part(0x12A, 2, 3)),
        (b"\x08\x01\x01\x05\x00\x03\x2a\x02\x02", Part(0x2A, 2, 2)),
        (b"\x05\x00\x03\x2a\x02\x03", Part()),
        (b"\x05\x00\x03\x2a\x00\x00", Part()),
        (b"\x03\x01\x01\x05", Part()),
    ],
)
def test_places_among_parts(header: bytes, part: Part) -> None:
    found = written(header + b"Hi", esm_class=0x40)
    assert found.part == part
    assert text_of(found.pieces) == "Hi"


def test_places_among_parts_by_parameters() -> None:
    tlvs = [smpp34.Tlv(0x20C, b"\x01\x2a"), smpp34.Tlv(0x20E, b"\x02"), smpp34.Tlv(0x20F, b"\x02")]
    assert written(b"Hi", tlvs=tlvs).part == Part(0x12A, 2, 2)


def test_packed_septets_begin_after_their_header() -> None:
    header = b"\x05\x00\x03\x2a\x02\x01"
    septets = encode_gsm7("hello")
    bits = int.from_bytes(header, "little")
    for place, septet in enumerate(septets, start=7):
        bits |= septet << (7 * place)
    packed = bits.to_bytes(11, "little")
    assert unpack(packed, len(header)) == septets


def _framed(command: int, body: bytes) -> bytes:
    return (16 + len(body)).to_bytes(4, "big") + command.to_bytes(4, "big") + b"\0\0\0\0\0\0\0\1" + body


@given(
    st.sampled_from([0x05, 0x103]),
    st.binary(max_size=120),
    st.sampled_from([Dialect(), Dialect(Alphabet.GSM_PACKED, ReceiptIds.DECIMAL, "FR")]),
)
@example(0x05, frame(b"id:7 stat:DELIVRD", esm_class=4)[16:], GSM)
@example(0x103, b"\0\1\1\0\1", GSM)
def test_no_octets_do_more_than_say_that_they_are_unreadable(
    command: int, body: bytes, dialect: Dialect
) -> None:
    _survives(_framed(command, body), dialect)


@given(st.binary(max_size=60), st.integers(0, 255), st.integers(0, 255), st.sampled_from(list(Alphabet)))
def test_any_text_in_any_coding_is_read(octets: bytes, esm: int, coding: int, alphabet: Alphabet) -> None:
    _survives(frame(octets, esm_class=esm, data_coding=coding), Dialect(alphabet=alphabet, country="FR"))


def _survives(octets: bytes, dialect: Dialect) -> None:
    try:
        found: Delivered = read_delivered(octets, "north", dialect)
    except (smpp34.SmppError, ValueError):
        return
    if isinstance(found, Written):
        assert isinstance(text_of(found.pieces), str)

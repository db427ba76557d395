"""SMPP PDUs: what a message becomes, what statuses and receipts mean, against published vectors."""

import json
from pathlib import Path
from typing import Any

import pytest
import smpp34

from services.channel.adapters.smpp_pdus import (
    NotSendable,
    name_of,
    numbered,
    outcome_of,
    read_delivered,
    submits_of,
    validity_period,
)
from services.channel.app.ports import HandOver, Outgoing, ReceiptState
from services.cli.providers.concatenation import part_of, text_of
from services.cli.providers.smpp_wire import Command, FrameReader, read_submit, write_receipt
from services.vocabulary.values import DAY, HOUR, SECOND
from services.vocabulary.words import Category

VECTORS = Path(__file__).parents[4] / "shared" / "data" / "sms" / "smpp_pdus.json"


def vectors() -> Any:
    if not VECTORS.exists():
        pytest.skip("the published SMPP vectors are not on this machine")
    return json.loads(VECTORS.read_text(encoding="utf-8"))


def message(text: str = "Hello", **changes: Any) -> Outgoing:
    fields: dict[str, Any] = {
        "message_id": "2f0c1a52-9a77-5c2e-8a44-0d9f6b8f1e01",
        "customer": 1,
        "address": "+33612345678",
        "text": text,
        "subject": "",
        "html": "",
        "sender": "",
        "category": Category.SERVICE,
        "name": "notice",
        "validity_micros": 0,
        "again": False,
    }
    return Outgoing(**(fields | changes))


def test_a_submit_reads_the_same_with_another_codec() -> None:
    (pdu,) = submits_of(
        message("Prix 3 €", validity_micros=2 * HOUR), default_sender="38080", reference_tag=0x1401
    )
    (frame,) = FrameReader().feed(numbered(pdu, 77))
    assert (frame.command, frame.status, frame.sequence) == (Command.SUBMIT_SM, 0, 77)
    submit = read_submit(frame.body)
    assert submit.destination == "33612345678"
    assert submit.source == "38080"
    assert submit.validity == "000000020000000R"
    assert submit.registered_delivery == 1
    assert text_of(submit.octets, submit.data_coding) == "Prix 3 €"
    assert submit.tlvs[0x1401] == message().message_id.encode()


def test_parts_keep_their_reference_over_tries() -> None:
    first = submits_of(message("x" * 400), "Rapport")
    again = submits_of(message("x" * 400), "Rapport")
    assert first == again
    parts = [part_of(read_submit(pdu[16:])) for pdu in first]
    assert [(part.part, part.parts) for part in parts] == [(1, 3), (2, 3), (3, 3)]
    assert len({part.reference for part in parts}) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"address": "0612345678"}, "E.164"),
        ({"address": "+0612345678"}, "E.164"),
        ({"address": "+33612345678\0"}, "E.164"),
        ({"sender": "twelve chars"}, "sender"),
        ({"sender": "Opé"}, "sender"),
        ({"text": "x" * (153 * 255 + 1)}, "256 parts"),
    ],
)
def test_what_cannot_be_sent(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotSendable, match=reason) as caught:
        submits_of(message(**changes), "")
    assert "336" not in str(caught.value)


@pytest.mark.parametrize(
    ("micros", "written"),
    [
        (0, ""),
        (1, "000000000001000R"),
        (90 * SECOND, "000000000130000R"),
        (3 * DAY + 4 * HOUR, "000003040000000R"),
        (400 * DAY, "000028000000000R"),
    ],
)
def test_validity_period(micros: int, written: str) -> None:
    assert validity_period(micros) == written


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x00, HandOver.ACCEPTED),
        (0x08, HandOver.TRANSIENT),
        (0x14, HandOver.TRANSIENT),
        (0x58, HandOver.TRANSIENT),
        (0x0B, HandOver.PERMANENT),
        (0x45, HandOver.PERMANENT),
        (0x0411, HandOver.PERMANENT),
    ],
)
def test_what_a_status_means(status: int, outcome: HandOver) -> None:
    assert outcome_of(status) is outcome
    assert f"0x{status:02X}" in name_of(status)


def receipt(text: str, **changes: Any) -> bytes:
    return bytes(
        smpp34.DeliverSm("33612345678", "38080", text.encode(), **({"esm_class": 4} | changes)).encode()
    )


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("id:7 sub:001 dlvrd:001 done date:2611220153 stat:DELIVRD err:000 text:Hi", ReceiptState.DELIVERED),
        ("id:7 stat:EXPIRED err:001", ReceiptState.EXPIRED),
        ("id:7 stat:UNDELIV err:0a1", ReceiptState.FAILED),
        ("id:7 stat:REJECTD err:001", ReceiptState.FAILED),
        ("ID: 7 Stat: delivrd", ReceiptState.DELIVERED),
        ("id:7 stat:ENROUTE", None),
        ("id:7 stat:ACCEPTD", None),
        ("stat:DELIVRD", None),
        ("", None),
    ],
)
def test_receipts_by_their_text(text: str, state: ReceiptState | None) -> None:
    delivered = read_delivered(receipt(text), "smsc")
    assert delivered.is_receipt
    assert (delivered.receipt and delivered.receipt.state) == state
    if delivered.receipt is not None:
        assert delivered.receipt.provider_id == "7"


def test_parameters_go_before_the_text() -> None:
    frame = write_receipt(
        1, source="1", destination="2", text="id:59113978 stat:DELIVRD", message_id="38601fa", state=5
    )
    found = read_delivered(frame, "smsc").receipt
    assert found is not None
    assert (found.provider_id, found.state) == ("38601fa", ReceiptState.FAILED)


def test_a_subscribers_message_is_no_receipt() -> None:
    assert not read_delivered(receipt("id:7 stat:DELIVRD", esm_class=0), "smsc").is_receipt


@pytest.mark.parametrize("date", ["9999999999", "261122015", "26112201530"])
def test_a_done_date_that_does_not_exist_is_not_said(date: str) -> None:
    found = read_delivered(receipt(f"id:7 done date:{date} stat:DELIVRD"), "smsc").receipt
    assert found is not None
    assert found.time_micros == 0


def test_published_receipts() -> None:
    cases = {case["case"]: case["texts"] for case in vectors()["delivery_receipts"]}
    seconds = read_delivered(receipt(cases["parseReceiptWithTimestampIncludingSeconds"][0]), "smsc").receipt
    assert seconds is not None
    assert seconds.provider_id == "74e02ee1-4e2f-4a6e-a78b-4b247d756a22"
    assert seconds.time_micros == 1_297_020_670_000_000  # 2011-02-06T19:31:10Z
    century = read_delivered(receipt(cases["parseReceiptWithMissingSubAndDlvrdFields"][0]), "smsc").receipt
    assert century is not None
    assert century.provider_id == "2E179B310EDE971B2760C72B7F026E1B"
    assert century.time_micros == 1_300_126_661_000_000  # 2011-03-14T18:17:41Z
    bad = read_delivered(receipt(cases["toShortMessageWith9DigitLongMessageId"][0]), "smsc")
    assert bad.receipt is None


def test_published_pdus() -> None:
    found = {case["case"]: bytes.fromhex(case["hex"][0]) for case in vectors()["pdu"] if case["hex"]}
    delivered = read_delivered(found["decodeDeliverSmAsDeliveryReceipt"], "smsc").receipt
    assert delivered is not None
    assert (delivered.provider_id, delivered.state) == ("38601fa", ReceiptState.DELIVERED)
    failed = read_delivered(found["decodeDeliverSmWithDeliveryReceiptThatFailedFromEndToEnd"], "smsc")
    assert failed.is_receipt
    assert failed.receipt is None  # ACCEPTD is not final
    (frame,) = FrameReader().feed(found["decodeSubmitSm"])
    submit = read_submit(frame.body)
    assert (submit.source, submit.destination) == ("40404", "44951361920")
    assert submit.octets == bytes.fromhex("4024232125262f3a")
    assert submit.registered_delivery == 1

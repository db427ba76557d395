"""SMPP PDUs: what a message becomes and what statuses mean, against published vectors."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.channel.adapters.smpp_pdus import (
    NotSendable,
    name_of,
    numbered,
    outcome_of,
    submits_of,
    validity_period,
)
from services.channel.app.ports import HandOver, Outgoing
from services.cli.providers.concatenation import part_of, text_of
from services.cli.providers.smpp_wire import Command, FrameReader, read_submit
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


def test_published_submit() -> None:
    found = {case["case"]: bytes.fromhex(case["hex"][0]) for case in vectors()["pdu"] if case["hex"]}
    (frame,) = FrameReader().feed(found["decodeSubmitSm"])
    submit = read_submit(frame.body)
    assert (submit.source, submit.destination) == ("40404", "44951361920")
    assert submit.octets == bytes.fromhex("4024232125262f3a")
    assert submit.registered_delivery == 1

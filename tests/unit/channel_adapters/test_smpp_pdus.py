"""SMPP PDUs: what a message becomes and what statuses mean, against published vectors."""

import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.channel.adapters.smpp_pdus import (
    NotSendable,
    SubmitRules,
    name_of,
    numbered,
    outcome_of,
    submits_of,
    validity_period,
)
from services.channel.adapters.smpp_senders import CountrySender, Numbering, Senders
from services.channel.adapters.smpp_texts import Alphabet
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


def test_an_smsc_of_latin_1_gets_its_octets() -> None:
    rules = SubmitRules(alphabet=Alphabet.LATIN_1)
    for text, coding, octets in (
        ("déjà {x}", 0, "déjà {x}".encode("latin-1")),
        ("3 €", 8, "3 €".encode("utf-16-be")),
        ("ê", 8, "ê".encode("utf-16-be")),
    ):
        (pdu,) = submits_of(message(text), "", 0, rules)
        submit = read_submit(pdu[16:])
        assert (submit.data_coding, submit.octets) == (coding, octets)
    # Counted as the handset gets it: a brace takes two septets.
    assert len(submits_of(message("{" * 81), "", 0, rules)) == 2


def test_a_wide_reference_takes_an_octet_more() -> None:
    rules = SubmitRules(wide_reference=True)
    assert len(submits_of(message("x" * 304), "", 0, rules)) == 2
    assert len(submits_of(message("x" * 305), "", 0, rules)) == 3
    assert len(submits_of(message("ж" * 132), "", 0, rules)) == 2
    parts = [part_of(read_submit(pdu[16:])) for pdu in submits_of(message("ж" * 133), "", 0, rules)]
    assert [(part.part, part.parts) for part in parts] == [(1, 3), (2, 3), (3, 3)]
    assert {part.reference for part in parts} == {zlib.crc32(message().message_id.encode()) & 0xFFFF}
    assert b"".join(part.octets for part in parts).decode("utf-16-be") == "ж" * 133


def test_a_long_text_goes_whole_where_the_smsc_cuts_it() -> None:
    (pdu,) = submits_of(message("ж" * 300), "", 0, SubmitRules(payload=True))
    submit = read_submit(pdu[16:])
    assert submit.octets == ("ж" * 300).encode("utf-16-be")
    assert (submit.esm_class, submit.registered_delivery) == (0, 1)
    (short,) = submits_of(message("Hi"), "", 0, SubmitRules(payload=True))
    assert read_submit(short[16:]).tlvs.keys() == {0x0204}


def test_senders_by_country_are_typed_as_agreed() -> None:
    senders = Senders("38080", {"US": CountrySender(letters=False)})
    rules = SubmitRules(senders=senders, numbering=Numbering(short=(0, 9)))
    (pdu,) = submits_of(message(address="+12025550199"), "Rapport", 0, rules)
    assert pdu[17:19] == bytes((0, 9))
    assert read_submit(pdu[16:]).source == "38080"
    with pytest.raises(NotSendable, match="name a number"):
        submits_of(message(address="+12025550199"), "Rapport", 0, replace(rules, senders=NO_NUMBER))


NO_NUMBER = Senders("", {"US": CountrySender(letters=False)})


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

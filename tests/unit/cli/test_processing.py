"""The record of processing and the profiling notice say what the catalogue says, in each language."""

from dataclasses import replace
from pathlib import Path

import pytest
from rapport.profile.v1 import consent_pb2

from services.cli.processing.record import PROFILING, UndescribedError, record_of
from services.cli.processing.render import Document, Form, render
from services.cli.processing.tmf644 import profile_of, questions_of
from services.cli.processing.words import LOCALES, WORDS
from services.vocabulary import wire
from services.vocabulary.catalogue import Catalogue, load_catalogue
from services.vocabulary.purposes import Controller, LawfulBasis
from services.vocabulary.words import Channel, EventStage, Purpose


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(Path(__file__).parents[3] / "rules")


def test_every_language_has_every_word():
    assert {frozenset(words) for words in WORDS.values()} == {frozenset(WORDS["en"])}
    assert {basis.value for basis in LawfulBasis} <= set(WORDS["en"])
    assert all(WORDS[locale].values() for locale in LOCALES)


def test_whatever_the_catalogue_knows_of_people_stands_in_the_record_once(catalogue):
    record = record_of(catalogue, "en")
    traits = [name for one in record.activities for name in one.traits]
    events = [kept.name for one in record.activities for kept in one.events]
    assert sorted(traits) == sorted(catalogue.traits)
    assert sorted(events) == sorted(
        event.name for event in catalogue.events.values() if event.stage is not EventStage.OURS
    )
    usage = next(one for one in record.activities if one.purpose == "profiling_usage")
    assert (usage.basis, usage.letter, usage.until_objected, usage.profiling) == (
        "legitimate_interests",
        "f",
        True,
        True,
    )
    data = next(kept for kept in usage.events if kept.name == "usage.data_used")
    assert (data.days, data.sum_days) == (35, 403)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("form", list(Form))
def test_both_can_be_written_in_every_form(catalogue, locale, form):
    for document in Document:
        notice = document is Document.NOTICE
        record = record_of(catalogue, locale, profiling_only=notice)
        text = render(document, record, form)
        assert record.controller.contact in text
        assert "{" not in text or form is not Form.MD
        wanted = PROFILING if notice else Purpose
        titles = {purpose: catalogue.purposes[purpose].titles[locale] for purpose in Purpose}
        shown = {
            purpose
            for purpose, title in titles.items()
            if title.replace("'", "&#39;") in text or title in text
        }
        assert shown >= set(wanted)
        assert "http" not in text
        assert "<script" not in text


def test_what_the_operator_wrote_cannot_break_the_page(catalogue):
    record = replace(record_of(catalogue, "en"), controller=Controller("A <b> & Sons", contact="<i>"))
    page = render(Document.RECORD, record, Form.HTML)
    assert "A &lt;b&gt; &amp; Sons" in page
    assert "<i>" not in page
    assert "A <b> & Sons" in render(Document.RECORD, record, Form.MD)


def test_a_purpose_that_rests_on_nothing_is_named(catalogue):
    less = {purpose: terms for purpose, terms in catalogue.purposes.items() if purpose != "research"}
    with pytest.raises(UndescribedError, match="research"):
        record_of(replace(catalogue, purposes=less), "en")
    assert record_of(replace(catalogue, purposes=less), "en", profiling_only=True)


def test_consents_in_the_manner_of_tmf644(catalogue):
    moment = wire.timestamp(1_790_000_000_000_000)
    line = consent_pb2.ConsentLine(
        customer=7,
        number=1,
        purpose=wire.PURPOSES.to_wire(Purpose.MARKETING),
        channel=wire.CHANNELS.to_wire(Channel.SMS),
        state=1,
        by=1,
        said_time=moment,
        recorded_time=moment,
        evidence="form 7",
        hash=b"\1",
    )
    asked = questions_of([line])
    assert (Purpose.MARKETING, Channel.SMS) in asked
    assert {purpose for purpose, channel in asked if channel is None} == set(Purpose)
    granted = consent_pb2.ConsentAnswer(customer=7, allowed=True, state=1, since_time=moment, by=1)
    answers = {one: granted if one[1] else consent_pb2.ConsentAnswer(customer=7) for one in asked}
    told = profile_of(7, [line], answers, catalogue, "fr")
    assert (told["@type"], told["id"]) == ("PartyPrivacyProfile", "7")
    found = {one["id"]: one for one in told["partyPrivacyProfileCharacteristic"]}
    sms = found["marketing/sms"]
    assert (sms["value"], sms["allowed"], sms["lawfulBasis"], sms["name"]) == (
        "granted",
        True,
        "consent",
        "Offres",
    )
    assert sms["retentionPeriod"] == "P763D"
    assert found["marketing/all"]["value"] == "unknown"
    (agreement,) = told["partyPrivacyAgreement"]
    assert (agreement["id"], agreement["status"], agreement["evidence"]) == ("7/1", "granted", "form 7")

"""Subjects: identities or a thing, normalised; errors show no number and no address."""

import pytest

from services.vocabulary.identities import Identity, Thing, identity_strength, parse_subject
from services.vocabulary.values import FieldError


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("msisdn:+33612345678", (Identity("msisdn", "+33612345678"),)),
        ("msisdn:0033612345678", (Identity("msisdn", "+33612345678"),)),
        ("msisdn:+33-6.12(34)5678", (Identity("msisdn", "+33612345678"),)),
        ("email:Anna@Example.ORG", (Identity("email", "anna@example.org"),)),
        ("crm:AbC-1", (Identity("crm", "AbC-1"),)),
        ("social:net:anna", (Identity("social", "net:anna"),)),
        ("crm:1 msisdn:+33612345678", (Identity("crm", "1"), Identity("msisdn", "+33612345678"))),
        ("  crm:1   crm:1 ", (Identity("crm", "1"),)),
        ('["crm:1", "device:x"]', (Identity("crm", "1"), Identity("device", "x"))),
        (["crm:1", "device:x"], (Identity("crm", "1"), Identity("device", "x"))),
        ("cell:FR-0042", Thing("cell", "FR-0042")),
        ("country:ES", Thing("country", "ES")),
    ],
)
def test_a_subject_is_read(subject, found):
    assert parse_subject(subject) == found


@pytest.mark.parametrize(
    ("subject", "complaint"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("[]", "is empty"),
        ("+33612345678", "without a kind"),
        ("phone:+33612345678", "unknown identity kind 'phone'"),
        ("+33612345678:msisdn", "unknown identity kind (not a word)"),
        ("msisdn:", "without a value"),
        ("msisdn:0612345678", "no E.164 number"),
        ("msisdn:+33612345678901234", "no E.164 number"),
        ("email:anna", "no address"),
        ("email:a@b@c.org", "no address"),
        ("cell:", "cell that is empty"),
        ("cell:FR-1 cell:FR-2", "a thing and more"),
        ("crm:1 cell:FR-1", "a thing among identities"),
        ("crm:" + "x" * 255, "too long"),
        ('["crm:1"', "begins like a JSON list"),
        ("[1]", "neither text nor a list of texts"),
        (" ".join(f"crm:{number}" for number in range(21)), "names 21 identities"),
    ],
)
def test_a_subject_that_cannot_be_read_is_refused_without_showing_it(subject, complaint):
    with pytest.raises(FieldError) as caught:
        parse_subject(subject)
    assert caught.value.field == "subject"
    assert complaint in caught.value.message
    assert caught.value.suggestion
    assert "612345678" not in caught.value.message.replace("msisdn:+33612345678", "")
    assert "anna" not in str(caught.value)


def test_kinds_of_things_come_from_the_catalogue():
    assert parse_subject("tower:T1", {"tower"}) == Thing("tower", "T1")
    with pytest.raises(FieldError, match="unknown identity kind 'cell'"):
        parse_subject("cell:FR-1", {"tower"})


def test_an_identity_hides_its_value_when_printed():
    assert "612345678" not in repr(Identity("msisdn", "+33612345678"))
    assert Identity("msisdn", "+33612345678").text == "msisdn:+33612345678"
    assert Thing("cell", "FR-1").text == "cell:FR-1"


def test_crm_is_the_strongest_and_a_cookie_the_weakest():
    kinds = ["cookie", "msisdn", "crm", "social", "account", "device", "email"]
    ordered = sorted(kinds, key=identity_strength)
    assert ordered == ["crm", "account", "msisdn", "email", "device", "social", "cookie"]

"""The page on which a person reads what is known about them."""

import re

import orjson

from services.cli.privacy.gather import Person
from services.cli.privacy.page import render_page

TIME = "2026-10-04T09:30:00Z"


def person():
    return Person(
        customers=[7, 9],
        times={"profile": TIME, "decision": TIME, "channel": None},
        known={
            "profile": {
                "identities": [{"identity": "msisdn:+33612345678", "line": ""}],
                "traits": [
                    {"name": "plan_price", "value": {"amount": "12.50", "currency": "EUR"}, "line": ""}
                    | {"source": "billing", "since_time": TIME}
                ],
                "events": [{"time": TIME, "type": "usage.data_used", "source": "ocs", "data": {"mb": 5}}],
                "readers": [{"time": TIME, "caller": "care#eve", "method": "GetProfile", "reason": "case 1"}],
                "former_identities": [{"identity": "email:<script>alert(1)</script>@x.org"}],
                "accounts": [],
            },
            "decision": {
                "decisions": [
                    {"decided_time": TIME, "event_type": "usage.data_used"}
                    | {"actions": [{"name": "top-up", "rule_set": "a", "rule": "b", "outcome": "refused"}]}
                ]
            },
            "channel": {
                "messages": [
                    {"sent_time": TIME, "channel": "sms", "category": "sales", "state": "sent", "text": "Hi!"}
                ]
            },
        },
    )


def test_the_page_tells_every_section_in_words_and_needs_no_network():
    page = render_page(person())
    for words in ("+33612345678", "12.50 EUR", "billing", "Hi!", "mb: 5", "not done", "care#eve", "case 1"):
        assert words in page
    assert "2026-10-04 09:30" in page
    assert "7, 9" in page
    assert not re.findall(r"(?:src|href)=\"(?!#)", page), "nothing is fetched"
    assert "url(" not in page


def test_what_others_wrote_is_text_and_never_a_part_of_the_page():
    page = render_page(person())
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_sections_without_words_of_their_own_stand_in_tables_unless_they_are_empty():
    page = render_page(person())
    assert "former identities (1)" in page
    assert "accounts" not in page


def test_the_file_for_machines_has_everything():
    told = orjson.loads(person().json())
    assert told["person"]["customers"] == [7, 9]
    assert told["profile"]["accounts"] == []
    assert person().entries == 7

"""Lines of an event file become events, or an error that names the attribute."""

import json

import pytest

from services.cli.cloudevents import LineError, event_from_line

GOOD = {
    "specversion": "1.0",
    "id": "u-1",
    "source": "dpi",
    "type": "usage.data_used",
    "time": "2026-11-02T08:15:00Z",
    "subject": "msisdn:+33612345678",
    "data": {"mb": 120.5},
}


def line(**changes):
    told = {**GOOD, **changes}
    return json.dumps({name: value for name, value in told.items() if value is not ...}).encode()


def test_every_attribute_arrives():
    event = event_from_line(line(traceparent="00-abc"))
    assert (event.id, event.source, event.type, event.subject) == (
        "u-1",
        "dpi",
        "usage.data_used",
        GOOD["subject"],
    )
    assert event.time.ToJsonString() == "2026-11-02T08:15:00Z"
    assert json.loads(event.data) == {"mb": 120.5}
    assert dict(event.extensions) == {"traceparent": "00-abc"}


def test_a_time_with_an_offset_and_a_fraction_is_understood():
    assert (
        event_from_line(line(time="2026-11-02T09:15:00.25+01:00")).time.ToJsonString()
        == "2026-11-02T08:15:00.250Z"
    )


def test_several_identities_may_be_a_list():
    assert (
        event_from_line(line(subject=["crm:1", "msisdn:+33612345678"])).subject == "crm:1 msisdn:+33612345678"
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": ...}, "id"),
        ({"id": ""}, "id"),
        ({"source": 7}, "source"),
        ({"type": None}, "type"),
        ({"time": ...}, "time"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-11-02T08:15:00"}, "time"),
        ({"time": "2026-13-02T08:15:00Z"}, "time"),
        ({"specversion": "0.3"}, "specversion"),
        ({"subject": 5}, "subject"),
        ({"subject": [1]}, "subject"),
        ({"data": [1]}, "data"),
    ],
)
def test_what_is_wrong_is_named(changes, field):
    with pytest.raises(LineError) as caught:
        event_from_line(line(**changes))
    assert caught.value.field == field


@pytest.mark.parametrize("text", [b"{", b"[]", b"7", b"\xff"])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(LineError, match="JSON"):
        event_from_line(text)

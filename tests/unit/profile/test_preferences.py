"""Preferences: a fixed list of keys with checked values, the latest word by time, and what they mean."""

from datetime import UTC, datetime

import orjson
import pytest

from services.profile.adapters.packed_record import pack_record
from services.profile.adapters.packing import Kept
from services.profile.domain.customer import Customer
from services.profile.domain.errors import RejectedError, RejectionReason
from services.profile.domain.events import EventChecker, RawEvent
from services.profile.domain.preferences import check_preference, wishes_of
from services.vocabulary.values import FieldError, time_to_micros
from services.vocabulary.words import Channel
from tests.fakes.keys import sealer

TOPICS = ("plan", "network")
NOW = 1_790_000_000_000_000
HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preferred_channel", "email"),
        ("preferred_channel", "off"),
        ("language", "fr-CA"),
        ("quiet_hours", "21:00-08:00"),
        ("quiet_hours", "12:00-14:00, 20:00-09:00"),
        ("quiet_hours", "off"),
        ("pause_until", "2026-12-24"),
        ("pause_until", "2026-12-24T08:00:00Z"),
        ("topic.plan", "off"),
        ("topic.network", "on"),
    ],
)
def test_what_may_be_said(key, value):
    check_preference(key, value, TOPICS)


@pytest.mark.parametrize(
    ("key", "value", "field", "hint"),
    [
        ("quiet_hour", "21:00-08:00", "data.key", "quiet_hours"),
        ("topic.plans", "off", "data.key", "topic.plan"),
        ("topic.plan", "never", "data.value", "on or off"),
        ("preferred_channel", "task", "data.value", "email"),
        ("preferred_channel", "fax", "data.value", "sms"),
        ("language", "Francais", "data.value", "fr-CA"),
        ("quiet_hours", "21-8", "data.value", "21:00-08:00"),
        ("quiet_hours", "24:00-08:00", "data.value", "21:00-08:00"),
        ("quiet_hours", "08:00-08:00", "data.value", "21:00-08:00"),
        ("quiet_hours", ",".join(["01:00-02:00"] * 5), "data.value", "21:00-08:00"),
        ("pause_until", "tomorrow", "data.value", "2026-12-24"),
    ],
)
def test_what_may_not_be_said_is_refused_with_what_would_be_right(key, value, field, hint):
    with pytest.raises(FieldError) as caught:
        check_preference(key, value, TOPICS)
    assert caught.value.field == field
    assert hint in caught.value.suggestion
    assert value not in caught.value.message


def test_an_event_with_a_wrong_preference_is_refused_at_intake(catalogue_types):
    checker = EventChecker(catalogue_types.catalogue, orjson.loads, orjson.dumps, wall=True)
    raw = RawEvent("e", "app", "preference.changed", NOW, "crm:1", b'{"key":"topic.plan","value":"maybe"}')
    with pytest.raises(RejectedError) as caught:
        checker.check(raw, NOW)
    assert (caught.value.reason, caught.value.field) == (RejectionReason.INVALID_FIELD, "data.value")
    assert checker.check_own(raw, 1, NOW, hops=0, line="", taken=True).customer == 1
    with pytest.raises(RejectedError):
        checker.check_own(raw, 1, NOW, hops=0, line="")


def test_what_preferences_mean_where_the_person_is():
    wishes = wishes_of(
        {
            "preferred_channel": "email",
            "language": "fr",
            "quiet_hours": "12:00-14:00,21:00-08:00",
            "pause_until": "2026-12-24",
            "topic.plan": "off",
            "topic.network": "on",
        },
        "Europe/Paris",
    )
    assert (wishes.channel, wishes.language) == (Channel.EMAIL, "fr")
    assert wishes.quiet_hours == ((720, 840), (1260, 480))
    assert wishes.pause_until_micros == time_to_micros(datetime(2026, 12, 23, 23, tzinfo=UTC))
    assert wishes.topics_off == ("plan",)
    gone = dict.fromkeys(("preferred_channel", "language", "quiet_hours", "pause_until"), "off")
    assert wishes_of(gone, "Europe/Paris") == wishes_of({}, "UTC")
    assert wishes_of({"quiet_hours": "soon", "pause_until": "later", "preferred_channel": "fax"}, "UTC") == (
        wishes_of({}, "UTC")
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_latest_word_by_time_holds_in_whatever_order_it_comes(order):
    said = [("on", NOW), ("off", NOW + HOUR), ("off", NOW - HOUR)]
    customer = Customer(1, 0, Kept(b"", b""))
    for place in order:
        value, time = said[place]
        customer.set_preference("topic.plan", value, time)
    assert customer.record.preferences == {"topic.plan": "off"}
    kept = Customer(1, 0, Kept(b"", pack_record(customer.record, NOW, 1, sealer())))
    assert kept.record.preference_times == {"topic.plan": NOW + HOUR}

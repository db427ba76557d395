"""From what travels to what rules look at."""

import math

import orjson
import pytest
from rapport.types.v1 import stream_pb2, vocabulary_pb2

from services.decision.adapters.situations import situation_of, unpack_activity
from services.decision.domain.triggers import pack_happening
from services.vocabulary.values import FieldError
from services.vocabulary.words import Purpose
from tests.unit.decision.generators import catalogue


def trait(name, line="", *, withheld=False, **value):
    return stream_pb2.Trait(name=name, line=line, withheld=withheld, value=vocabulary_pb2.Value(**value))


def a_situation(event=None, **seen):
    taken = event or stream_pb2.TakenEvent(
        type="topup.received", time_micros=5, accepted_micros=6, sequence=7
    )
    if not taken.data and taken.type == "topup.received":
        taken.data = b'{"amount": {"amount": "5.00", "currency": "EUR"}}'
    return situation_of(taken, stream_pb2.Snapshot(**seen), catalogue(), arms={"x": "a"})


def test_event_fields_are_typed_by_the_catalogue():
    found = a_situation()
    assert str(found.event["amount"]) == "5.00 EUR"
    assert (found.event_micros, found.accepted_micros, found.sequence, found.now_micros) == (5, 6, 7, 5)
    with pytest.raises(FieldError, match="data"):
        a_situation(stream_pb2.TakenEvent(type="topup.received", data=b'{"amount": "much"}'))


def due(since=None, happening=""):
    data = {"rule_set": "t", "run": "1", **({"since": since} if since else {})}
    if happening:
        data["data"] = happening
    return stream_pb2.TakenEvent(type="trigger.due", time_micros=5, data=orjson.dumps(data))


def test_what_happened_to_a_thing_is_the_event_of_whoever_it_concerns():
    fields = {"cell": "FR-1", "incident": "INC7", "eta": "1970-01-01T00:00:01Z"}
    found = a_situation(due(happening=pack_happening("network.outage_started", fields)))
    assert (found.event_type, found.trigger) == ("network.outage_started", "trigger.due/t")
    assert found.event == {"cell": "FR-1", "incident": "INC7", "eta": 1_000_000}


@pytest.mark.parametrize(
    ("key", "withheld", "incident"),
    [("FR-1", False, "as it is now"), ("FR-1", True, "INC7"), ("FR-2", False, "INC7"), ("", False, "INC7")],
)
def test_the_thing_that_it_happened_to_is_meant_and_as_it_is_now_if_the_snapshot_has_it(
    key, withheld, incident
):
    things = [stream_pb2.Thing(kind="cell", key=key, withheld=withheld)] if key else []
    for thing in things:
        thing.attributes["incident"].text = "as it is now"
    fields = {"cell": "FR-1", "incident": "INC7"}
    found = a_situation(due(happening=pack_happening("network.outage_started", fields)), things=things)
    assert found.things["cell"] == {"incident": incident}


def test_what_opened_a_pair_lends_its_fields_and_is_not_counted_again():
    found = a_situation(due(happening=pack_happening("case.opened", {"case": "C1", "topic": "bill"})))
    assert (found.event_type, found.trigger) == ("trigger.due", "trigger.due/t")
    assert found.event == {"case": "C1", "topic": "bill"}


def test_an_absence_says_since_when_and_a_schedule_nothing():
    found = a_situation(due(since="1970-01-01T00:00:01Z"))
    assert (found.event_type, found.trigger, found.event) == (
        "trigger.due",
        "trigger.due/t",
        {"since": 1_000_000},
    )
    assert a_situation(due()).event == {}


def test_a_question_has_parameters_and_no_event():
    asked = stream_pb2.TakenEvent(type="ask.care-call", data=b'{"topic": "calls"}')
    found = a_situation(asked)
    assert (found.ask, found.event, found.trigger) == ({"topic": "calls"}, {}, "ask.care-call")
    with pytest.raises(FieldError, match="topik"):
        a_situation(stream_pb2.TakenEvent(type="ask.care-call", data=b'{"topik": "calls"}'))


GRANTED, DENIED = vocabulary_pb2.CONSENT_STATE_GRANTED, vocabulary_pb2.CONSENT_STATE_DENIED
PERSON, STAFF = vocabulary_pb2.CONSENT_BY_PERSON, vocabulary_pb2.CONSENT_BY_STAFF
SMS, EMAIL = vocabulary_pb2.CHANNEL_SMS, vocabulary_pb2.CHANNEL_EMAIL


@pytest.mark.parametrize(
    ("entries", "agreed"),
    [
        ([], False),
        ([(SMS, GRANTED, 1, PERSON, 0)], True),
        ([(SMS, DENIED, 1, PERSON, 0), (EMAIL, GRANTED, 1, STAFF, 0)], True),
        ([(0, GRANTED, 1, STAFF, 0), (SMS, DENIED, 2, PERSON, 0)], True),
        ([(SMS, GRANTED, 1, PERSON, 0), (0, DENIED, 2, STAFF, 0)], False),
        ([(SMS, GRANTED, 3, PERSON, 0), (0, DENIED, 2, PERSON, 0)], True),
        ([(SMS, GRANTED, 3, STAFF, 0), (0, DENIED, 2, PERSON, 0)], False),
        ([(0, GRANTED, 1, PERSON, 5)], False),
        ([(0, GRANTED, 1, PERSON, 6)], True),
        ([(0, GRANTED, 2, STAFF, 0), (SMS, DENIED, 2, STAFF, 0)], True),
    ],
)
def test_consents_are_what_is_agreed_to_now_on_some_channel(entries, agreed):
    consents = [
        stream_pb2.ConsentEntry(
            purpose=vocabulary_pb2.PURPOSE_MARKETING,
            channel=channel,
            state=state,
            time_micros=time,
            by=by,
            expiry_micros=ends,
        )
        for channel, state, time, by, ends in entries
    ]
    for order in (consents, consents[::-1]):
        traits = a_situation(consents=order).traits
        assert traits.get("consents") == (("marketing",) if agreed else None)


def test_traits_of_the_events_line_go_before_the_persons_and_withheld_ones_are_left_out():
    traits = [
        trait("plan", text="person"),
        trait("plan", line="two", text="second"),
        trait("usual_bill", line="one", text="other line"),
        trait("churn_risk", withheld=True),
    ]
    assert a_situation(traits=traits).traits == {"plan": "person"}
    for order in (traits, traits[::-1]):
        event = stream_pb2.TakenEvent(type="topup.received", line="two")
        assert a_situation(event, traits=order).traits == {"plan": "second"}


@pytest.mark.parametrize(
    ("given", "zone"), [("Europe/Lisbon", "Europe/Lisbon"), ("Mars/Olympus", None), ("", None)]
)
def test_the_persons_zone_goes_before_the_operators(given, zone):
    found = a_situation(traits=[trait("zone", text=given)] if given else [])
    assert found.zone == (zone or catalogue().default_zone)


def test_the_thing_that_the_event_names_goes_before_the_profiles_and_withheld_ones_are_unknown():
    def cell(incident, *, withheld=False):
        thing = stream_pb2.Thing(kind="cell", key="c", withheld=withheld)
        thing.attributes["incident"].text = incident
        return thing

    event = stream_pb2.TakenEvent(type="topup.received", things=[cell("of the event")])
    assert a_situation(event, things=[cell("of the profile")]).things["cell"]["incident"] == "of the event"
    assert a_situation(things=[cell("of the profile")]).things["cell"]["incident"] == "of the profile"
    assert a_situation(things=[cell("hidden", withheld=True)]).things == {}


def test_what_is_withheld_is_named_by_purpose():
    found = a_situation(withheld_purposes=[vocabulary_pb2.PURPOSE_PROFILING_USAGE])
    assert found.withheld == frozenset({Purpose.PROFILING_USAGE})


def test_activity_is_unpacked_when_looked_at():
    packed = stream_pb2.TypeActivity(
        type="usage.data_used",
        time_delta_micros=[100, 10, 0],
        sequence_deltas=[4, 1, 2],
        columns=[
            stream_pb2.ActivityColumn(field="mb", numbers=[1.5, math.nan, 3.0]),
            stream_pb2.ActivityColumn(field="country", texts=["FR", "ES"], text_indexes=[2, 0, 1]),
        ],
        day_deltas=[20_000, 1],
        day_counts=[3, 4],
        day_columns=[stream_pb2.DayColumn(field="mb", sums=[30.0, 40.0])],
    )
    found = unpack_activity(packed)
    assert (found.times, found.sequences) == ([100, 110, 110], [4, 5, 7])
    assert found.texts["country"] == ["ES", None, "FR"]
    assert math.isnan(found.numbers["mb"][1])
    assert (found.days, found.day_counts, found.day_sums) == ([20_000, 20_001], [3, 4], {"mb": [30.0, 40.0]})
    hidden = stream_pb2.TypeActivity(type="network.call_dropped", withheld=True)
    whole = a_situation(activity=[packed, hidden]).activity
    assert list(whole) == ["usage.data_used"]
    assert whole["usage.data_used"].times == found.times


def test_a_household_is_what_its_members_share_without_what_is_withheld():
    household = stream_pb2.Household(id=77, members=3, lines=2)
    household.traits.add(name="shared_data_mb", value=vocabulary_pb2.Value(int=5000))
    household.traits.add(name="shared_data_left_mb", withheld=True)
    found = a_situation(household=household)
    assert found.household == {"members": 3, "lines": 2, "shared_data_mb": 5000}
    assert found.household_id == 77
    alone = a_situation()
    assert (dict(alone.household), alone.household_id) == ({}, 0)

"""From what travels to what rules look at."""

import math

import pytest
from rapport.types.v1 import stream_pb2, vocabulary_pb2

from services.decision.adapters.situations import situation_of, unpack_activity
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

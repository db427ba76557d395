"""An event taken by mistake leaves the activity as if it had never been."""

import pytest

from services.profile.domain.activity import MICROS_PER_DAY, Retention, TypeActivity, entries_of

KEEP = Retention(each_micros=3 * MICROS_PER_DAY, by_day_micros=400 * MICROS_PER_DAY)
EVENTS = [
    # (day, sequence, fields)
    (1, 1, {"mb": 5.0, "country": "FR"}),
    (1, 2, {"mb": 7.0, "country": "ES"}),
    (9, 3, {"mb": 11.0, "country": "FR"}),
    (9, 4, {"mb": 13.0}),
    (10, 5, {"mb": 17.0, "country": "IT"}),
]


def activity(*without: int) -> TypeActivity:
    made = TypeActivity("usage.data_used")
    for day, sequence, fields in EVENTS:
        if sequence not in without:
            made.add(day * MICROS_PER_DAY, sequence, fields, KEEP, lambda micros: micros // MICROS_PER_DAY)
    return made


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event[1]))
def test_what_is_left_is_what_would_be_without_it(event):
    day, sequence, fields = event
    found = activity()
    assert found.take_back(day * MICROS_PER_DAY, sequence, fields, day)
    expected = activity(sequence)
    assert entries_of(found) == entries_of(expected)
    assert (found.days, found.day_counts) == (expected.days, expected.day_counts)
    assert found.day_sums["mb"] == expected.day_sums["mb"]


def test_the_last_of_a_day_takes_the_day_with_it():
    found = activity()
    for day, sequence, fields in EVENTS[:2]:
        assert found.take_back(day * MICROS_PER_DAY, sequence, fields, day)
    assert (found.days, found.day_counts, found.day_sums["mb"]) == ([], [], [])


def test_what_is_kept_no_more_is_not_found():
    found = activity()
    assert not found.take_back(4 * MICROS_PER_DAY, 9, {"mb": 1.0}, 4)
    assert (len(found.times), found.day_counts) == (3, [2])

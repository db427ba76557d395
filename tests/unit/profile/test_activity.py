"""Activity: order by time, retention relative to the newest, days, and the packed form."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.adapters.packing import Kept, pack_activity, unpack_activity
from services.profile.domain.activity import (
    MICROS_PER_DAY,
    SLACK_MICROS,
    Retention,
    TypeActivity,
    entries_of,
)

DAY = MICROS_PER_DAY
START = 20_000 * DAY


def day_of(micros: int) -> int:
    return micros // DAY


def add(activity: TypeActivity, time: int, sequence: int, retention: Retention, **kept) -> None:
    activity.add(time, sequence, kept, retention, day_of)


def test_entries_lie_in_order_of_time_whatever_the_order_of_arrival():
    activity = TypeActivity("t")
    keep = Retention(100 * DAY)
    for sequence, time in enumerate((3, 1, 2, 3), start=1):
        add(activity, START + time, sequence, keep, n=float(time), word=f"w{time}")
    assert [(time - START, sequence) for time, sequence, _ in entries_of(activity)] == [
        (1, 2),
        (2, 3),
        (3, 1),
        (3, 4),
    ]
    assert [kept["word"] for _, _, kept in entries_of(activity)] == ["w1", "w2", "w3", "w3"]
    assert [kept["n"] for _, _, kept in entries_of(activity)] == [1.0, 2.0, 3.0, 3.0]


def test_a_field_that_appears_later_is_missing_before():
    activity = TypeActivity("t")
    keep = Retention(100 * DAY)
    add(activity, START, 1, keep)
    add(activity, START + 1, 2, keep, n=1.0, word="a")
    add(activity, START + 2, 3, keep, word="b")
    assert [kept for _, _, kept in entries_of(activity)] == [
        {"n": None, "word": None},
        {"n": 1.0, "word": "a"},
        {"n": None, "word": "b"},
    ]


def test_what_is_older_than_kept_becomes_sums_by_day_relative_to_the_newest_event():
    activity = TypeActivity("t")
    keep = Retention(35 * DAY, 403 * DAY)
    for number in range(40):
        add(activity, START + number * DAY, number + 1, keep, mb=10.0)
        add(activity, START + number * DAY + 5, number + 100, keep, mb=1.0)
    newest = START + 39 * DAY + 5
    assert activity.times[0] >= newest - 35 * DAY - SLACK_MICROS
    assert sum(activity.day_counts) + len(activity.times) == 80
    assert activity.days == [day_of(START), day_of(START) + 1, day_of(START) + 2][: len(activity.days)]
    assert set(activity.day_sums["mb"]) <= {10.0, 11.0}
    # nothing of this depends on today: the same again far in the past gives the same
    past = TypeActivity("t")
    for number in range(40):
        add(past, START - 5000 * DAY + number * DAY, number + 1, keep, mb=10.0)
    assert len(past.times) <= len(activity.times)


def test_without_days_what_is_older_than_kept_is_dropped():
    activity = TypeActivity("t")
    keep = Retention(10 * DAY)
    add(activity, START, 1, keep)
    add(activity, START + 11 * DAY, 2, keep)
    assert len(activity.times) == 2, "within the slack"
    add(activity, START + 13 * DAY, 3, keep)
    assert activity.sequences == [2, 3]
    assert not activity.days


def test_days_go_after_the_cycles_they_are_kept_for():
    activity = TypeActivity("t")
    keep = Retention(DAY, 30 * DAY)
    for number in range(60):
        add(activity, START + number * DAY, number + 1, keep, mb=1.0)
    assert activity.days[0] == day_of(START) + 29
    assert len(activity.days) == len(activity.day_counts) == len(activity.day_sums["mb"])


def test_no_more_entries_are_kept_than_the_catalogue_allows():
    activity = TypeActivity("t")
    keep = Retention(1000 * DAY, 1000 * DAY, most=5)
    for number in range(12):
        add(activity, START + number, number + 1, keep, mb=1.0, word=f"w{number}")
    assert activity.sequences == [8, 9, 10, 11, 12]
    assert activity.day_counts == [7]
    assert activity.columns["word"].texts == ["w7", "w8", "w9", "w10", "w11"]


numbers = st.one_of(st.none(), st.floats(-1e6, 1e6))
words = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]))
entries = st.lists(st.tuples(st.integers(0, 60 * DAY), numbers, words), max_size=30)


def plain(activity: TypeActivity) -> object:
    rows = [
        (time, sequence, {k: v for k, v in kept.items() if v is not None})
        for time, sequence, kept in entries_of(activity)
    ]
    return rows, activity.days, activity.day_counts


@given(entries)
def test_appending_to_the_packed_form_is_the_same_as_adding(given_entries):
    keep = Retention(20 * DAY, 40 * DAY, most=12)
    plainly = TypeActivity("t")
    kept = Kept(b"", b"")
    for sequence, (time, number, word) in enumerate(given_entries, start=1):
        fields = {"n": number, "w": word}
        plainly.add(START + time, sequence, fields, keep, day_of)
        if not kept.append("t", START + time, sequence, fields, keep):
            opened = kept.open_activity("t") or TypeActivity("t")
            opened.add(START + time, sequence, fields, keep, day_of)
            kept.replace(opened)
        kept.settle()
        kept = Kept(kept.hot.SerializeToString(), b"")
    again = kept.open_activity("t") or TypeActivity("t")
    assert plain(again) == plain(plainly)


@given(entries)
def test_packing_loses_nothing(given_entries):
    activity = TypeActivity("t")
    for sequence, (time, number, word) in enumerate(given_entries, start=1):
        activity.add(START + time, sequence, {"n": number, "w": word}, Retention(20 * DAY, 40 * DAY), day_of)
    again = unpack_activity("t", pack_activity(activity))
    assert plain(again) == plain(activity)
    for name, sums in activity.day_sums.items():
        assert again.day_sums[name] == pytest.approx(sums)
    assert not any(math.isnan(total) for sums in again.day_sums.values() for total in sums)

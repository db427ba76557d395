"""Windows count exactly what lies in their time, judged by the event's own time."""

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.decision.domain.activity import Activity
from services.decision.domain.calendar import cycle_label, cycle_of, cycle_start, day_of, day_start
from services.decision.domain.language.ast import All, Comparison, EntryField, Literal, Window
from services.decision.domain.language.types import Kind
from services.decision.domain.plain_windows import window_value
from services.decision.domain.situation import Situation
from services.decision.domain.windows import window_function
from services.vocabulary.values import DAY, HOUR, Money, micros_to_time, time_to_micros

TYPE = "usage.data_used"
FALL_BACK = time_to_micros(datetime(2026, 10, 25, 12, tzinfo=UTC))  # the day on which Paris has 25 hours


def make_window(function: str = "count", over: str = "rolling", last: int = DAY, **more: Any) -> Window:
    field = "" if function in {"count", "since"} else more.pop("field", "mb")
    kinds = {"count": Kind.INT, "distinct": Kind.INT, "since": Kind.DURATION}
    values = {"before": 0, "this": True, "where": None, "kind": kinds.get(function, Kind.NUMBER), **more}
    return Window(function=function, type=TYPE, field=field, over=over, last=last, **values)


def make_situation(
    entries: Sequence[tuple[int, int, float | None]], now: int = FALL_BACK, **more: Any
) -> Situation:
    """Entries are (time, sequence, mb); the event being decided has sequence 100 and 7 mb."""
    entries = sorted(entries, key=lambda entry: (entry[0], entry[1]))
    activity = Activity(
        times=[time for time, _, _ in entries],
        sequences=[sequence for _, sequence, _ in entries],
        numbers={"mb": [math.nan if mb is None else mb for _, _, mb in entries]},
    )
    values = {
        "event_type": TYPE,
        "event": {"mb": 7.0},
        "event_micros": now,
        "sequence": 100,
        "accepted_micros": now,
        "now_micros": now,
        "activity": {TYPE: activity},
        "zone": "Europe/Paris",
        **more,
    }
    return Situation(**values)


def compute(window: Window, situation: Situation, *, this: bool = True) -> Any:
    return window_function(window)(situation, this)


# --- against the plainest evaluation -----------------------------------------------------------------------

OFFSETS = st.integers(-200 * 24, 48)
ENTRIES = st.lists(
    st.tuples(
        OFFSETS.map(lambda hours: FALL_BACK + hours * HOUR),
        st.integers(1, 120),
        st.one_of(st.none(), st.integers(-5, 50).map(float)),
    ),
    max_size=25,
    unique_by=lambda entry: entry[1],
)
SPANS = st.one_of(
    st.tuples(st.just("rolling"), st.integers(1, 240).map(lambda hours: hours * HOUR)),
    st.tuples(st.just("days"), st.integers(1, 30)),
    st.tuples(st.just("cycles"), st.integers(1, 6)),
)


def plainly_in_span(window: Window, time: int, end: int, zone: str, cycle_day: int) -> bool:
    if time > end:
        return False
    if window.over == "rolling":
        return time > end - window.last
    place = ZoneInfo(zone)
    day, today = (micros_to_time(micros).astimezone(place).date() for micros in (time, end))
    if window.over == "days":
        return day > today - timedelta(days=window.last)

    def cycle(moment: date) -> int:
        index = moment.year * 12 + moment.month - 1
        following = (moment.replace(day=28) + timedelta(days=4)).replace(day=1)
        starts = min(cycle_day, (following - timedelta(days=1)).day)
        return index if moment.day >= starts else index - 1

    return cycle(today) - window.last < cycle(day) <= cycle(today)


@settings(deadline=None, max_examples=200)
@given(
    entries=ENTRIES,
    span=SPANS,
    function=st.sampled_from(
        ("count", "sum", "distinct", "avg", "min", "max", "latest", "earliest", "since")
    ),
    before=st.sampled_from((0, 0, DAY, 10 * DAY)),
    counted=st.booleans(),
    stored=st.booleans(),
    cycle_day=st.sampled_from((1, 15, 28, 31)),
    zone=st.sampled_from(("Europe/Paris", "America/New_York", "Asia/Kathmandu")),
)
def test_every_window_equals_the_plainest_evaluation(
    entries: list[tuple[int, int, float | None]],
    span: tuple[str, int],
    function: str,
    before: int,
    *,
    counted: bool,
    stored: bool,
    cycle_day: int,
    zone: str,
) -> None:
    entries = [entry for entry in entries if entry[1] != 100]
    if function == "since":
        span = ("ever", 0)
    window = make_window(function, *span, before=before, this=counted)
    held = [*entries, (FALL_BACK, 100, 7.0)] if stored else entries
    situation = make_situation(held, zone=zone, cycle_day=cycle_day)

    end = FALL_BACK - before
    seen = [entry for entry in entries if entry[1] < 100]
    inside = [
        entry
        for entry in seen
        if (
            entry[0] <= end
            if function == "since"
            else plainly_in_span(window, entry[0], end, zone, cycle_day)
        )
    ]
    inside.sort(key=lambda entry: (entry[0], entry[1]))
    if counted and not before:
        inside.append((FALL_BACK, 100, 7.0))
    values = [mb for _, _, mb in inside if mb is not None]
    expected: Any = {
        "count": len(inside),
        "sum": sum(values),
        "distinct": len(set(values)),
        "avg": round(sum(values) / len(values), 9) if values else None,
        "min": min(values, default=None),
        "max": max(values, default=None),
        "latest": values[-1] if values else None,
        "earliest": values[0] if values else None,
        "since": end - inside[-1][0] if inside else None,
    }[function]
    assert compute(window, situation) == expected
    assert window_value(window, situation, this=True, where=None) == expected


# --- the edges, one by one ---------------------------------------------------------------------------------


def test_rolling_window_begins_after_its_length() -> None:
    exactly = make_situation([(FALL_BACK - DAY, 1, 1.0)])
    just_inside = make_situation([(FALL_BACK - DAY + 1, 1, 1.0)])
    assert compute(make_window(), exactly) == 1
    assert compute(make_window(), just_inside) == 2


def test_later_time_and_later_sequence_do_not_count() -> None:
    entries = [(FALL_BACK + 1, 1, 1.0), (FALL_BACK - 1, 101, 1.0), (FALL_BACK - 1, 99, 1.0)]
    assert compute(make_window(), make_situation(entries)) == 2


def test_event_that_was_not_stored_sees_all_up_to_its_time() -> None:
    entries = [(FALL_BACK - 1, 101, 1.0), (FALL_BACK, 102, 1.0)]
    assert compute(make_window(), make_situation(entries, sequence=0)) == 3


def test_event_of_another_type_is_not_counted() -> None:
    situation = make_situation([(FALL_BACK - 1, 1, 1.0)], event_type="complaint.opened", event={})
    assert compute(make_window(), situation) == 1


def test_calendar_days_follow_the_customers_zone_through_the_change_of_clocks() -> None:
    midnight = time_to_micros(datetime(2026, 10, 25, tzinfo=ZoneInfo("Europe/Paris")))
    late = time_to_micros(datetime(2026, 10, 25, 23, 59, tzinfo=ZoneInfo("Europe/Paris")))
    situation = make_situation([(midnight, 1, 1.0), (midnight - 1, 2, 1.0)], now=late)
    assert late - midnight > 24 * HOUR
    assert compute(make_window(over="days", last=1), situation) == 2
    assert compute(make_window(over="days", last=2), situation) == 3


def test_cycle_field_goes_before_the_time() -> None:
    activity = Activity(
        times=[FALL_BACK - 3 * DAY, FALL_BACK - 2 * DAY, FALL_BACK - DAY],
        sequences=[1, 2, 3],
        numbers={"mb": [1.0, 2.0, 4.0]},
        texts={"cycle": ["2026-09", None, "2026-10"]},
    )
    situation = make_situation([], activity={TYPE: activity})
    assert compute(make_window("sum", "cycles", 1), situation) == 13
    of_september = make_situation([], activity={TYPE: activity}, event={"mb": 7.0, "cycle": "2026-09"})
    assert compute(make_window("sum", "cycles", 1), of_september) == 8


def test_day_totals_count_in_calendar_windows_only() -> None:
    today = 20_751
    activity = Activity(
        times=[FALL_BACK - HOUR],
        sequences=[1],
        numbers={"mb": [1.0]},
        days=[today - 40, today - 39, today - 10],
        day_counts=[5, 6, 7],
        day_sums={"mb": [50.0, 60.0, 70.0]},
    )
    assert day_of(today).isoformat() == "2026-10-25"
    situation = make_situation([], activity={TYPE: activity})
    assert compute(make_window("count", "days", 40), situation) == 6 + 7 + 2
    assert compute(make_window("sum", "days", 41), situation) == 50 + 60 + 70 + 8
    assert compute(make_window("count", "rolling", 60 * DAY), situation) == 2
    assert compute(make_window("avg", "days", 40), situation) == pytest.approx((60 + 70 + 8) / 15)


def test_where_asks_each_entry_and_the_event_itself() -> None:
    large = All(
        (Comparison(">=", EntryField("mb", Kind.NUMBER, "mb"), Literal(5, Kind.NUMBER, "5"), "mb >= 5"),)
    )
    entries = [(FALL_BACK - 3, 1, 4.0), (FALL_BACK - 2, 2, 5.0), (FALL_BACK - 1, 3, None)]
    assert compute(make_window(where=large), make_situation(entries)) == 2
    assert compute(make_window(where=large), make_situation(entries, event={"mb": 1.0})) == 1


def test_money_is_summed_exactly_and_in_one_currency() -> None:
    activity = Activity([FALL_BACK - 2, FALL_BACK - 1], [1, 2], {"charge": [0.1, 0.2]})
    window = make_window("sum", field="charge", kind=Kind.MONEY)
    own = make_situation([], activity={TYPE: activity}, event={"charge": Money(Decimal("0.30"), "EUR")})
    foreign = make_situation([], activity={TYPE: activity}, event={"charge": Money(Decimal("9.00"), "USD")})
    assert compute(window, own) == Decimal("0.6")
    assert compute(window, foreign) == Decimal("0.3")


def test_a_time_that_comes_again_is_one_distinct_time() -> None:
    """The activity keeps times in seconds, the event in micros."""
    window = make_window("distinct", field="mb", last=2 * DAY, field_kind=Kind.TIME)
    same = make_situation([(FALL_BACK - DAY, 1, FALL_BACK / 1_000_000)], event={"mb": FALL_BACK})
    assert compute(window, same) == 1
    assert window_value(window, same, this=True, where=None) == 1


def test_without_the_event_is_what_was_before_it() -> None:
    situation = make_situation([(FALL_BACK - 1, 1, 3.0), (FALL_BACK, 100, 7.0)])
    assert compute(make_window("sum"), situation) == 10
    assert compute(make_window("sum"), situation, this=False) == 3


def test_equal_windows_share_one_function() -> None:
    assert window_function(make_window()) is window_function(make_window())


@pytest.mark.parametrize(
    ("day", "cycle_day", "label"),
    [
        ("2026-02-28", 31, "2026-02"),
        ("2026-02-27", 31, "2026-01"),
        ("2028-02-28", 30, "2028-01"),
        ("2028-02-29", 30, "2028-02"),
        ("2026-01-14", 15, "2025-12"),
        ("2026-01-15", 15, "2026-01"),
    ],
)
def test_cycles_of_short_months(day: str, cycle_day: int, label: str) -> None:
    number = (datetime.fromisoformat(day) - datetime(1970, 1, 1)).days  # noqa: DTZ001 - calendar days
    index = cycle_of(number, cycle_day)
    assert cycle_label(index) == label
    assert cycle_start(index, cycle_day) <= number < cycle_start(index + 1, cycle_day)


def test_a_day_begins_where_its_zone_says() -> None:
    assert day_start(0, "Europe/Paris") == -HOUR
    assert day_start(0, "America/New_York") == 5 * HOUR

"""A schedule runs at its local time, whatever the clocks do there."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.decision.domain.recurrence import Run, moment_of, next_run, runs_between, runs_on
from services.decision.domain.triggers import NO_AUDIENCE, Schedule
from services.vocabulary.values import DAY, HOUR, MINUTE, ValueMistake, micros_to_time, time_to_micros

# their clocks go on and back by an hour, by half an hour, at midnight, or left a whole day out
ZONES = (
    "Europe/Paris",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Asia/Kolkata",
    "UTC",
)


def schedule(minute=9 * 60, days=(), nth=None, zone=""):
    return Schedule(minute, frozenset(days), nth, zone, NO_AUDIENCE)


def at(text, zone="UTC"):
    return time_to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


@pytest.mark.parametrize(
    ("plan", "after", "runs"),
    [
        (schedule(), "2026-12-01T08:59", ["2026-12-01T09:00", "2026-12-02T09:00"]),
        (schedule(), "2026-12-01T09:00", ["2026-12-02T09:00"]),
        (schedule(600, {0, 3}), "2026-12-01T00:00", ["2026-12-03T10:00", "2026-12-07T10:00"]),
        (schedule(540, {1}, 1), "2026-12-01T09:00", ["2027-01-05T09:00", "2027-02-02T09:00"]),
        (schedule(540, {4}, -1), "2026-12-01T00:00", ["2026-12-25T09:00", "2027-01-29T09:00"]),
        (schedule(540, {3}, 4), "2026-12-01T00:00", ["2026-12-24T09:00"]),
        (schedule(0, (), 1), "2026-12-01T00:00", ["2027-01-01T00:00"]),
        (schedule(1439, (), -1), "2027-02-01T00:00", ["2027-02-28T23:59", "2027-03-31T23:59"]),
    ],
)
def test_the_next_runs_of_a_schedule(plan, after, runs):
    found = []
    moment = at(after)
    for _ in runs:
        run = next_run(plan, "UTC", moment)
        assert run.micros == at(run.name)
        found.append(run.name)
        moment = run.micros
    assert found == runs


def test_a_time_that_the_clocks_skip_runs_at_the_next_minute_there_is():
    # on 2027-03-28 in Paris 02:00 is followed by 03:00
    run = next_run(schedule(150), "Europe/Paris", at("2027-03-27T12:00", "Europe/Paris"))
    assert run == Run(at("2027-03-28T03:00", "Europe/Paris"), "2027-03-28T02:30")
    assert next_run(schedule(150), "Europe/Paris", run.micros).name == "2027-03-29T02:30"


def test_a_time_that_comes_twice_runs_once_the_first_time():
    # on 2026-10-25 in Paris 02:30 comes twice, first in summer time
    first = next_run(schedule(150), "Europe/Paris", at("2026-10-24T12:00", "Europe/Paris"))
    assert first == Run(time_to_micros(datetime(2026, 10, 25, 0, 30, tzinfo=UTC)), "2026-10-25T02:30")
    assert next_run(schedule(150), "Europe/Paris", first.micros).name == "2026-10-26T02:30"


def test_a_day_that_a_place_leaves_out_has_no_run():
    # Samoa went from 2011-12-29 to 2011-12-31
    assert moment_of(date(2011, 12, 30), 540, ZoneInfo("Pacific/Apia")) is None
    run = next_run(schedule(), "Pacific/Apia", at("2011-12-29T12:00", "Pacific/Apia"))
    assert run.name == "2011-12-31T09:00"


def test_a_schedule_with_a_zone_of_its_own_does_not_run_in_the_customers():
    assert next_run(schedule(zone="Europe/Paris"), "Asia/Tokyo", at("2026-12-01T00:00")).micros == at(
        "2026-12-01T08:00"
    )
    with pytest.raises(ValueMistake):
        next_run(schedule(), "Mars/Olympus", 0)


schedules = st.builds(
    schedule,
    st.integers(0, 24 * 60 - 1),
    st.frozensets(st.integers(0, 6), max_size=2),
    st.one_of(st.none(), st.sampled_from((1, 2, 3, 4, -1))),
)


@given(schedules, st.sampled_from(ZONES), st.integers(at("2011-12-20T00:00"), at("2036-01-01T00:00")))
def test_runs_follow_one_another_each_on_its_day_once(plan, zone, after):
    place = ZoneInfo(zone)
    run = next_run(plan, zone, after)
    assert run.micros > after
    # nothing runs between, so asking again just before gives the same run
    assert next_run(plan, zone, run.micros - 1) == run
    assert next_run(plan, zone, (after + run.micros) // 2) == run
    following = next_run(plan, zone, run.micros)
    assert following.name > run.name
    assert following.micros - run.micros >= DAY - 2 * HOUR
    day = date.fromisoformat(run.name[:10])
    assert runs_on(plan, day)
    local = micros_to_time(run.micros).astimezone(place)
    wanted = datetime.fromisoformat(run.name)
    ahead = local.replace(tzinfo=None) - wanted
    # later than written only where the clocks skip that time, and then not by more than they skip
    assert timedelta(0) <= ahead <= timedelta(hours=1)
    if ahead:
        before = micros_to_time(run.micros - MINUTE).astimezone(place).replace(tzinfo=None)
        assert before < wanted


@given(schedules, st.sampled_from(ZONES), st.integers(at("2026-01-01T00:00"), at("2027-01-01T00:00")))
def test_the_runs_between_two_moments_are_those_of_the_days_between(plan, zone, after):
    until = after + 40 * DAY
    runs = list(runs_between(plan, zone, after, until))
    place = ZoneInfo(zone)
    first = micros_to_time(after).astimezone(place).date()
    days = [first + timedelta(days=number) for number in range(-1, 43)]
    moments = [moment_of(day, plan.minute, place) for day in days if runs_on(plan, day)]
    assert [run.micros for run in runs] == [
        moment for moment in moments if moment is not None and after < moment <= until
    ]

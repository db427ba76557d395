"""Quiet hours in the recipient's zone, across weekdays and changes of the clocks."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channel.domain.quiet_hours import Override, QuietHours, QuietWindow, Week, end_of_quiet
from services.vocabulary.values import MINUTE, micros_to_time, time_to_micros
from services.vocabulary.words import Channel

PARIS = "Europe/Paris"
EVERY_NIGHT = Week(((QuietWindow(21 * 60, 8 * 60),),) * 7)


def at(text: str, zone: str = PARIS) -> int:
    return time_to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def local(micros: int | None, zone: str = PARIS) -> str:
    assert micros is not None
    return micros_to_time(micros).astimezone(ZoneInfo(zone)).strftime("%a %d %H:%M")


def week(**days: list[tuple[str, str]]) -> Week:
    names = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

    def minutes(text: str) -> int:
        hours, rest = text.split(":")
        return int(hours) * 60 + int(rest)

    return Week(
        tuple(tuple(QuietWindow(minutes(a), minutes(b)) for a, b in days.get(name, [])) for name in names)
    )


@pytest.mark.parametrize(
    ("moment", "allowed"),
    [
        ("2026-12-01T20:59:59", "Tue 01 20:59"),
        ("2026-12-01T21:00", "Wed 02 08:00"),  # the start is quiet
        ("2026-12-02T07:59:59", "Wed 02 08:00"),
        ("2026-12-02T08:00", "Wed 02 08:00"),  # the end is not
        ("2026-12-02T12:00", "Wed 02 12:00"),
    ],
)
def test_the_end_is_exclusive(moment: str, allowed: str) -> None:
    assert local(end_of_quiet(EVERY_NIGHT, PARIS, at(moment))) == allowed


def test_judged_in_the_recipients_zone() -> None:
    moment = at("2026-12-01T20:00", PARIS)
    quiet = QuietHours(EVERY_NIGHT, default_zone=PARIS)
    assert quiet.next_allowed(PARIS, Channel.SMS, moment) == moment
    assert local(quiet.next_allowed("Asia/Tokyo", Channel.SMS, moment), "Asia/Tokyo") == "Wed 02 08:00"
    assert quiet.next_allowed("", Channel.SMS, moment) == moment  # the operator's default


def test_an_overnight_window_belongs_to_the_day_on_which_it_starts() -> None:
    only_friday = week(fri=[("22:00", "10:00")])
    assert (
        local(end_of_quiet(only_friday, PARIS, at("2026-12-05T09:00"))) == "Sat 05 10:00"
    )  # saturday morning
    assert local(end_of_quiet(only_friday, PARIS, at("2026-12-04T09:00"))) == "Fri 04 09:00"  # friday morning


def test_several_windows_a_day_and_closed_days() -> None:
    one = week(mon=[("12:00", "14:00"), ("20:00", "24:00")])
    assert local(end_of_quiet(one, PARIS, at("2026-12-07T13:00"))) == "Mon 07 14:00"
    assert local(end_of_quiet(one, PARIS, at("2026-12-07T23:00"))) == "Tue 08 00:00"
    closed = Week(EVERY_NIGHT.windows, frozenset({6}))
    assert (
        local(end_of_quiet(closed, PARIS, at("2026-12-05T22:00"))) == "Mon 07 08:00"
    )  # night, sunday, night
    assert local(end_of_quiet(closed, PARIS, at("2026-12-06T12:00"))) == "Mon 07 08:00"


def test_all_days_closed_never_ends() -> None:
    moment = at("2026-12-06T12:00")
    assert end_of_quiet(Week(closed=frozenset(range(7))), PARIS, moment) is None
    all_day = Week(((QuietWindow(0, 24 * 60),),) * 7)
    assert end_of_quiet(all_day, PARIS, moment) is None


def test_a_channel_that_disturbs_nobody_has_no_quiet_hours() -> None:
    quiet = QuietHours(EVERY_NIGHT, {Channel.APP: Override.ALWAYS, Channel.EMAIL: Override.RESPECT})
    night = at("2026-12-01T23:00")
    assert quiet.next_allowed(PARIS, Channel.APP, night) == night
    assert quiet.next_allowed(PARIS, Channel.EMAIL, night) != night
    assert quiet.next_allowed(PARIS, Channel.SMS, night) != night  # unset means respect


@pytest.mark.parametrize(
    ("moment", "hours"),
    [("2027-03-27T22:00", 9), ("2026-10-24T22:00", 11), ("2026-12-01T22:00", 10)],
)
def test_across_a_change_of_the_clocks_it_ends_at_eight_local_time(moment: str, hours: int) -> None:
    start = at(moment)
    end = end_of_quiet(EVERY_NIGHT, PARIS, start)
    assert local(end).endswith("08:00")
    assert end == start + hours * 60 * MINUTE


def test_a_time_that_is_skipped_ends_when_it_is_skipped() -> None:
    night = week(sun=[("01:00", "02:30")])  # 02:30 does not exist on 2027-03-28
    assert local(end_of_quiet(night, PARIS, at("2027-03-28T01:30"))) == "Sun 28 03:00"


def test_a_time_that_comes_twice_ends_the_second_time() -> None:
    night = week(sun=[("01:00", "02:30")])  # 02:30 comes twice on 2026-10-25
    end = end_of_quiet(night, PARIS, at("2026-10-25T01:30"))
    assert end == at("2026-10-25T01:30") + 120 * MINUTE
    assert local(end) == "Sun 25 02:30"


MINUTES = st.integers(0, 24 * 60 - 1)
WINDOWS = st.lists(st.tuples(MINUTES, MINUTES).filter(lambda pair: pair[0] != pair[1]), max_size=3)


@given(
    days=st.lists(WINDOWS, min_size=7, max_size=7),
    zone=st.sampled_from([PARIS, "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]),
    minute=st.integers(0, 60 * 24 * 400),
)
def test_the_answer_is_the_first_minute_that_is_not_quiet(days, zone: str, minute: int) -> None:
    """Against the plain reading: walk minute by minute and look at the clock on the wall."""
    tested = Week(tuple(tuple(QuietWindow(a, b) for a, b in spans) for spans in days))
    start = at("2026-09-01T00:00", "UTC") + minute * MINUTE
    answer = end_of_quiet(tested, zone, start)
    clock = ZoneInfo(zone)

    def plainly_quiet(micros: int) -> bool:
        moment = micros_to_time(micros).astimezone(clock)
        now = moment.hour * 60 + moment.minute
        today, yesterday = days[moment.weekday()], days[moment.weekday() - 1]
        return any((a <= now < b) if a < b else now >= a for a, b in today) or any(
            b <= a and now < b for a, b in yesterday
        )

    if answer is None:
        assert all(plainly_quiet(start + step * 60 * MINUTE) for step in range(7 * 24))
        return
    offsets = {
        micros_to_time(micros).astimezone(clock).utcoffset()
        for micros in (start - 86_400_000_000, start, answer, answer + 86_400_000_000)
    }
    if len(offsets) > 1:
        return  # around a change of the clocks the cases above say what must hold
    assert not plainly_quiet(answer)
    if answer > start:
        assert plainly_quiet(start)
        assert plainly_quiet(answer - MINUTE)

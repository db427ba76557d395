"""Quiet hours in the recipient's zone, across weekdays and changes of the clocks."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channel.domain.quiet_hours import (
    DayHours,
    Holidays,
    LawHours,
    Override,
    OwnDay,
    OwnHours,
    QuietHours,
    QuietWindow,
    Recipient,
    Week,
    zone_name,
)
from services.vocabulary.values import MINUTE, micros_to_time, time_to_micros
from services.vocabulary.words import Category, Channel

PARIS = "Europe/Paris"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_NIGHT = Week(((QuietWindow(21 * 60, 8 * 60),),) * 7)


def at(text: str, zone: str = PARIS) -> int:
    return time_to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def next_allowed(quiet: QuietHours, zone: str, channel: Channel, now: int, **kwargs) -> int | None:
    category = kwargs.pop("category", Category.SALES)
    held = quiet.held(Recipient(channel, category, zone, **kwargs), now)
    return now if held is None else held.until_micros


def end_of_quiet(tested: Week, zone: str, now: int) -> int | None:
    return next_allowed(QuietHours(tested), zone, Channel.SMS, now)


def local(micros: int | None, zone: str = PARIS) -> str:
    assert micros is not None
    return micros_to_time(micros).astimezone(ZoneInfo(zone)).strftime("%a %d %H:%M")


def week(**days: list[tuple[str, str]]) -> Week:
    def minutes(text: str) -> int:
        hours, rest = text.split(":")
        return int(hours) * 60 + int(rest)

    return Week(
        tuple(tuple(QuietWindow(minutes(a), minutes(b)) for a, b in days.get(name, [])) for name in DAYS)
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
    assert next_allowed(quiet, PARIS, Channel.SMS, moment) == moment
    assert local(next_allowed(quiet, "Asia/Tokyo", Channel.SMS, moment), "Asia/Tokyo") == "Wed 02 08:00"
    assert next_allowed(quiet, "", Channel.SMS, moment) == moment  # the operator's default


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
    assert next_allowed(quiet, PARIS, Channel.APP, night) == night
    assert next_allowed(quiet, PARIS, Channel.EMAIL, night) != night
    assert next_allowed(quiet, PARIS, Channel.SMS, night) != night  # unset means respect


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


@given(
    days=st.lists(WINDOWS, min_size=7, max_size=7),
    minutes=st.lists(st.integers(0, 60 * 24 * 3), min_size=2, max_size=8),
)
def test_what_was_found_to_be_free_is_remembered_rightly(days, minutes: list[int]) -> None:
    """Over the change of the clocks in October; a copy remembers nothing."""
    known = QuietHours(
        Week(
            tuple(tuple(QuietWindow(a, b) for a, b in spans) for spans in days), holiday=DayHours(closed=True)
        ),
        holidays=Holidays(own=frozenset({OwnDay(10, 26)})),
    )
    asked = Recipient(Channel.SMS, Category.SALES, PARIS)
    for minute in minutes:
        now = at("2026-10-24T00:00") + minute * MINUTE
        assert known.held(asked, now) == replace(known).held(asked, now)


# --- by message, on holidays, and by law --------------------------------------------------------------------


class TwoCountries:
    """FR by number or zone, US by number; Christmas in both, and in a part of FR the day after."""

    def country_of(self, address: str, zone: str) -> str:
        if address.startswith("+"):
            return "US" if address.startswith("+1") else "FR"
        return "FR" if zone == PARIS else ""

    def is_holiday(self, country: str, subdivision: str, day: date) -> bool:
        if (day.month, day.day) == (12, 26):
            return (country, subdivision) == ("FR", "57")
        return country in {"FR", "US"} and (day.month, day.day) == (12, 25)


def test_own_hours_hold_for_the_messages_they_name() -> None:
    calls = OwnHours("calls", week(tue=[("00:00", "10:00")]), frozenset({Channel.CALL}))
    surveys = OwnHours("surveys", Week(closed=frozenset({1})), categories=frozenset({Category.SURVEY}))
    quiet = QuietHours(EVERY_NIGHT, default_zone=PARIS, own=(calls, surveys))
    nine = at("2026-12-01T09:00")
    assert next_allowed(quiet, PARIS, Channel.SMS, nine) == nine
    assert local(next_allowed(quiet, PARIS, Channel.CALL, nine)) == "Tue 01 10:00"
    late = at("2026-12-01T22:00")
    assert next_allowed(quiet, PARIS, Channel.CALL, late) == late  # in the place of the general ones
    assert local(next_allowed(quiet, PARIS, Channel.SMS, nine, category=Category.SURVEY)) == "Wed 02 00:00"
    # the first that fits
    assert local(next_allowed(quiet, PARIS, Channel.CALL, nine, category=Category.SURVEY)) == "Tue 01 10:00"


def test_holidays_are_those_of_the_recipients_country_and_part_and_the_operators_own() -> None:
    closed = replace(EVERY_NIGHT, holiday=DayHours(closed=True))
    quiet = QuietHours(closed, holidays=Holidays({"FR": ()}), world=TwoCountries())
    christmas = at("2026-12-25T12:00")
    assert local(next_allowed(quiet, PARIS, Channel.SMS, christmas)) == "Sat 26 00:00"
    # the night before belongs to the 24th, that of the holiday is closed by itself
    assert local(next_allowed(quiet, PARIS, Channel.SMS, at("2026-12-24T22:00"))) == "Sat 26 00:00"
    assert next_allowed(quiet, PARIS, Channel.SMS, christmas, address="+15550100") == christmas
    with_part = replace(quiet, holidays=Holidays({"FR": ("57",)}))
    assert local(next_allowed(with_part, PARIS, Channel.SMS, christmas)) == "Sun 27 00:00"
    own = replace(quiet, holidays=Holidays(own=frozenset({OwnDay(12, 24), OwnDay(12, 31, 2026)})))
    assert local(next_allowed(own, PARIS, Channel.SMS, at("2027-12-24T12:00"))) == "Sat 25 00:00"
    assert local(next_allowed(own, PARIS, Channel.SMS, at("2026-12-31T12:00"))) == "Fri 01 00:00"
    new_year = at("2027-12-31T12:00")
    assert next_allowed(own, PARIS, Channel.SMS, new_year) == new_year


def test_a_holiday_may_have_hours_of_its_own() -> None:
    late_start = replace(
        EVERY_NIGHT, holiday=DayHours((QuietWindow(0, 11 * 60), QuietWindow(18 * 60, 24 * 60)))
    )
    quiet = QuietHours(late_start, holidays=Holidays({"FR": ()}), world=TwoCountries())
    assert local(next_allowed(quiet, PARIS, Channel.SMS, at("2026-12-25T09:00"))) == "Fri 25 11:00"
    assert local(next_allowed(quiet, PARIS, Channel.SMS, at("2026-12-25T19:00"))) == "Sat 26 00:00"
    closed_fridays = replace(late_start, closed=frozenset({4}))
    stricter = replace(quiet, week=closed_fridays)
    assert local(next_allowed(stricter, PARIS, Channel.SMS, at("2026-12-25T12:00"))) == "Sat 26 00:00"


NINE_TO_SIX = Week(
    ((QuietWindow(0, 540), QuietWindow(1080, 1440)),) * 7, frozenset({6}), DayHours(closed=True)
)
CALLS = frozenset({Channel.CALL})
SELLING = frozenset({Category.SALES})
FRENCH = LawHours("FR", "art. 1", OwnHours("fr", NINE_TO_SIX, CALLS, SELLING))


def test_the_stricter_of_operator_and_law_holds_where_the_recipient_is() -> None:
    quiet = QuietHours(EVERY_NIGHT, law=(FRENCH,), world=TwoCountries())
    eight = at("2026-12-01T08:30")
    assert local(next_allowed(quiet, PARIS, Channel.CALL, eight)) == "Tue 01 09:00"
    held = quiet.held(Recipient(Channel.CALL, Category.SALES, PARIS), eight)
    assert held.because == "quiet hours in Europe/Paris by law in FR: art. 1"
    assert next_allowed(quiet, PARIS, Channel.SMS, eight) == eight
    assert next_allowed(quiet, PARIS, Channel.CALL, eight, category=Category.SERVICE) == eight
    assert next_allowed(quiet, PARIS, Channel.CALL, eight, address="+15550100") == eight
    # in the evening, over a sunday and over a holiday of that country
    assert local(next_allowed(quiet, PARIS, Channel.CALL, at("2026-12-05T18:00"))) == "Mon 07 09:00"
    assert local(next_allowed(quiet, PARIS, Channel.CALL, at("2026-12-24T19:00"))) == "Sat 26 09:00"
    # where the operator is stricter, the operator's hours hold
    early = replace(quiet, week=week(tue=[("00:00", "11:00")]))
    assert local(next_allowed(early, PARIS, Channel.CALL, eight)) == "Tue 01 11:00"


def test_neither_a_ground_nor_a_channel_breaks_the_law() -> None:
    quiet = QuietHours(EVERY_NIGHT, {Channel.CALL: Override.ALWAYS}, law=(FRENCH,), world=TwoCountries())
    night = at("2026-12-01T22:00")
    assert local(next_allowed(quiet, PARIS, Channel.CALL, night)) == "Wed 02 09:00"
    assert local(next_allowed(quiet, PARIS, Channel.CALL, night, any_hour=True)) == "Wed 02 09:00"
    assert local(next_allowed(quiet, PARIS, Channel.SMS, night)) == "Wed 02 08:00"
    assert next_allowed(quiet, PARIS, Channel.SMS, night, any_hour=True) == night


def test_the_day_before_a_holiday_may_end_earlier() -> None:
    evening = replace(NINE_TO_SIX, eve=DayHours((QuietWindow(0, 540), QuietWindow(15 * 60, 24 * 60))))
    quiet = QuietHours(law=(replace(FRENCH, hours=OwnHours("fr", evening)),), world=TwoCountries())
    assert local(next_allowed(quiet, PARIS, Channel.CALL, at("2026-12-24T16:00"))) == "Sat 26 09:00"
    assert local(next_allowed(quiet, PARIS, Channel.CALL, at("2026-12-23T16:00"))) == "Wed 23 16:00"


def test_an_unknown_zone_is_the_operators_then_utc() -> None:
    assert zone_name("Asia/Tokyo", PARIS) == "Asia/Tokyo"
    assert zone_name("", PARIS) == zone_name("Mars/Base", PARIS) == zone_name("../etc", PARIS) == PARIS
    assert zone_name("", "") == zone_name("Mars/Base", "Paris") == "UTC"


# --- the shared cases ------------------------------------------------------------------------------------

SHARED = Path(__file__).parents[4] / "shared/data/time/local_time.json"


@pytest.mark.skipif(not SHARED.exists(), reason="the shared cases are not beside this repository")
def test_the_shared_cases_of_walls_and_nights() -> None:
    cases = json.loads(SHARED.read_text())
    for case in cases["quiet_hours"]:
        one = week(**{day: [(case["quiet_start"], case["quiet_end"])] for day in DAYS})
        now = time_to_micros(datetime.fromisoformat(case["now_utc"]))
        allowed = next_allowed(QuietHours(one), case["zone"], Channel.SMS, now)
        assert (allowed != now) == case["quiet"], case
        assert allowed == time_to_micros(datetime.fromisoformat(case["next_allowed_utc"])), case
    for case in cases["wall_to_utc"]:
        wall = datetime.fromisoformat(case["wall"])
        day = DAYS[wall.weekday()]
        until = f"{wall:%H:%M}"
        one = week(**{day: [("00:00", until)]}) if until != "00:00" else Week()
        start = wall.replace(hour=0, minute=0, tzinfo=ZoneInfo(case["zone"]))
        begin = time_to_micros(start.astimezone(UTC))
        end = end_of_quiet(one, case["zone"], begin)
        expected = [time_to_micros(datetime.fromisoformat(case[f"fold{fold}_utc"])) for fold in (0, 1)]
        if case["kind"] == "ambiguous":
            assert end == max(expected), case  # quiet until the clock shows it for the last time
        elif case["kind"] == "gap" and until != "00:00":
            assert min(expected) <= end <= max(expected), case  # it ends when that time is skipped
            shown = micros_to_time(end).astimezone(ZoneInfo(case["zone"])).replace(tzinfo=None)
            assert shown > wall, case
        elif until != "00:00":
            assert [end] * 2 == expected, case

"""Behaviours 8 to 13: quiet hours and time.

8   test_08_quiet_hours_are_those_of_the_recipients_zone
    test_08_an_overnight_window_belongs_to_the_weekday_on_which_it_starts
9   test_09_several_windows_a_day_and_closed_weekdays
    test_09_a_channel_may_be_let_through_and_keeps_quiet_hours_unless_it_is
10  test_10_the_end_is_allowed_and_the_moment_before_is_not
11  test_11_the_operators_zone_stands_in_for_a_recipients_and_utc_for_the_operators
    test_11_the_persons_zone_then_their_places_then_the_operators_and_an_unknown_one_is_refused
12  test_12_across_a_change_of_the_clocks_a_deferred_message_leaves_inside_the_window_once
13  test_13_all_days_closed_means_nothing_is_sent
"""

import asyncio
import itertools
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from services.channel.domain.messages import Message
from services.channel.domain.policies import Policies
from services.channel.domain.quiet_hours import Override, QuietHours, QuietWindow, Week
from services.vocabulary.values import DAY
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import make_action, reachable
from tests.integration.channel.conftest import MakeRoad, Road
from tests.integration.profile.asking import event, ingest, traits
from tests.integration.profile.conftest import RULES, running_profile
from tests.integration.profile.test_consents import ask
from tests.integration.profile.test_ingest import known

PARIS = "Europe/Paris"
NIGHT = Week(((QuietWindow(21 * 60, 8 * 60),),) * 7)
FRIDAY, SUNDAY = 4, 6
_customers = itertools.count(1)


def moment(told: str, zone: str = "UTC") -> int:
    """Microseconds of a local time."""
    local = datetime.fromisoformat(told).replace(tzinfo=ZoneInfo(zone))
    return round(local.timestamp()) * 1_000_000


def local(micros: int, zone: str) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, ZoneInfo(zone))


async def at(road: Road, now: int, zone: str, number: object, **kwargs) -> Message:
    """What becomes of a sales message that comes at that moment."""
    customer = next(_customers)
    road.profile.reaches[customer] = reachable(customer, zone=zone)
    road.clock.now = now
    return await road.take_one(make_action(f"{zone}{number}", customer, category=Category.SALES, **kwargs))


async def is_quiet(road: Road, told: str, zone: str = PARIS, **kwargs) -> bool:
    message = await at(road, moment(told, zone), zone, told, **kwargs)
    assert message.state in {MessageState.PLANNED, MessageState.DEFERRED}
    assert (message.reason is RefusalReason.QUIET_HOURS) == (message.state is MessageState.DEFERRED)
    return message.state is MessageState.DEFERRED


async def test_08_quiet_hours_are_those_of_the_recipients_zone(make_road: MakeRoad) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    now = moment("2026-06-10T21:30")  # 23:30 in Paris, 17:30 in New York, 06:30 of the next day in Tokyo
    found = {zone: await at(road, now, zone, 1) for zone in (PARIS, "America/New_York", "Asia/Tokyo")}
    assert {zone: message.state.value for zone, message in found.items()} == {
        PARIS: "deferred",
        "America/New_York": "planned",
        "Asia/Tokyo": "deferred",
    }
    assert local(found[PARIS].due_micros, PARIS).isoformat() == "2026-06-11T08:00:00+02:00"
    assert local(found["Asia/Tokyo"].due_micros, "Asia/Tokyo").isoformat() == "2026-06-11T08:00:00+09:00"


async def test_08_an_overnight_window_belongs_to_the_weekday_on_which_it_starts(make_road: MakeRoad) -> None:
    friday_night = tuple((QuietWindow(22 * 60, 10 * 60),) if day == FRIDAY else () for day in range(7))
    road = make_road(Policies(quiet_hours=QuietHours(Week(friday_night))))
    assert await is_quiet(road, "2026-06-12T23:00")  # a Friday
    assert await is_quiet(road, "2026-06-13T09:00")  # the Saturday morning of Friday's window
    assert not await is_quiet(road, "2026-06-12T09:00")  # the Friday morning is of no window
    assert not await is_quiet(road, "2026-06-13T23:00")
    assert not await is_quiet(road, "2026-06-14T09:00")


async def test_09_several_windows_a_day_and_closed_weekdays(make_road: MakeRoad) -> None:
    day = (QuietWindow(0, 8 * 60), QuietWindow(12 * 60, 14 * 60), QuietWindow(20 * 60, 0))
    road = make_road(Policies(quiet_hours=QuietHours(Week((day,) * 7, frozenset({SUNDAY})))))
    weekday = [f"2026-06-10T{hour:02d}:30" for hour in (7, 9, 12, 13, 15, 21)]
    assert [await is_quiet(road, told) for told in weekday] == [True, False, True, True, False, True]
    assert await is_quiet(road, "2026-06-14T15:00")  # a Sunday
    closed = await at(road, moment("2026-06-13T21:00", PARIS), PARIS, "saturday")
    assert local(closed.due_micros, PARIS).isoformat() == "2026-06-15T08:00:00+02:00"


async def test_09_a_channel_may_be_let_through_and_keeps_quiet_hours_unless_it_is(
    make_road: MakeRoad,
) -> None:
    overrides = {Channel.EMAIL: Override.ALWAYS, Channel.APP: Override.RESPECT}
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT, overrides)))
    night = "2026-06-10T23:00"
    assert not await is_quiet(road, night, channels=(Channel.EMAIL,))
    road.profile.reaches.clear()
    found = {}
    for customer, channel in enumerate((Channel.APP, Channel.SMS), start=1):
        road.profile.reaches[customer] = reachable(customer, channels=(channel,), zone=PARIS)
        road.clock.now = moment(night, PARIS)
        action = make_action(channel.value, customer, category=Category.SALES, channels=(channel,))
        found[channel] = (await road.take_one(action)).reason
    assert found == {Channel.APP: RefusalReason.QUIET_HOURS, Channel.SMS: RefusalReason.QUIET_HOURS}


async def test_10_the_end_is_allowed_and_the_moment_before_is_not(make_road: MakeRoad) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    eight = moment("2026-06-10T08:00", PARIS)
    before = await at(road, eight - 1, PARIS, "before")
    assert (before.state, before.due_micros) == (MessageState.DEFERRED, eight)
    assert (await at(road, eight, PARIS, "sharp")).state is MessageState.PLANNED
    assert (await at(road, moment("2026-06-10T21:00", PARIS), PARIS, "begins")).state is MessageState.DEFERRED


async def test_11_the_operators_zone_stands_in_for_a_recipients_and_utc_for_the_operators(
    make_road: MakeRoad,
) -> None:
    now = moment("2026-06-10T12:00")  # 21:00 in Tokyo
    tokyo = make_road(Policies(quiet_hours=QuietHours(NIGHT, default_zone="Asia/Tokyo")))
    assert (await at(tokyo, now, "", 1)).state is MessageState.DEFERRED
    assert (await at(tokyo, now, "UTC", 1)).state is MessageState.PLANNED  # the recipient's own goes first
    nowhere = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    assert (await at(nowhere, now, "", 1)).state is MessageState.PLANNED
    assert (await at(nowhere, moment("2026-06-10T21:00"), "", 2)).state is MessageState.DEFERRED


@pytest.fixture
def rules_with_places(tmp_path: Path) -> Path:
    """The shipped rules of an operator whose cells tell in which zone they are."""
    folder = tmp_path / "rules"
    shutil.copytree(RULES, folder)
    fields = "    cell: text*\n    incident: text*\n    eta"
    for name, before, after in (
        ("things.yaml", "    incident: text ", "    zone: text\n    incident: text "),
        (
            "events.yaml",
            "  thing_sets: {incident: incident,",
            "  thing_sets: {zone: zone, incident: incident,",
        ),
        ("events.yaml", fields, fields.replace("    incident", "    zone: text\n    incident")),
    ):
        file = folder / "catalogue" / name
        told = file.read_text(encoding="utf-8")
        assert before in told
        file.write_text(told.replace(before, after, 1), encoding="utf-8")
    return folder


async def test_11_the_persons_zone_then_their_places_then_the_operators_and_an_unknown_one_is_refused(
    profile_settings, rules_with_places: Path
) -> None:
    nobody, there, moved = "email:a@example.org", "email:b@example.org", "email:c@example.org"
    agreed = {"purpose": "profiling_location", "state": "granted", "by": "person"}
    outage = {"cell": "RE-1", "incident": "I1", "zone": "Indian/Reunion"}
    async with running_profile(profile_settings(rules_folder=rules_with_places)) as profile:
        answer = await profile.profile.IngestEvents(
            ingest(
                event("o1", "network.outage_started", outage, subject="cell:RE-1"),
                event("e1", subject=nobody),
                *(event(f"c-{one}", "consent.changed", agreed, subject=one) for one in (there, moved)),
                *(
                    event(f"d-{one}", "network.call_dropped", {"cell": "RE-1"}, subject=one)
                    for one in (there, moved)
                ),
                traits("t1", subject=moved, zone="America/Martinique"),
                traits("t2", subject=nobody, zone="Europe/Pariss"),
            )
        )
        assert [result.field for result in answer.results] == [""] * 7 + ["data.traits.zone"]
        three = [(await known(profile, subject)).customer for subject in (nobody, there, moved)]
        answers = await ask(profile, *((customer, "SALES") for customer in three))
    assert [one.zone for one in answers] == ["Europe/Paris", "Indian/Reunion", "America/Martinique"]


@pytest.mark.parametrize(
    ("week", "zone", "comes", "leaves"),
    [
        (NIGHT, PARIS, "2026-03-28T23:00", "2026-03-29T08:00:00+02:00"),  # this night lacks an hour
        (NIGHT, PARIS, "2026-10-24T23:00", "2026-10-25T08:00:00+01:00"),  # this one has one more
        # the end is skipped: allowed as soon as the clocks have moved
        (Week(((QuietWindow(22 * 60, 150),),) * 7), PARIS, "2026-03-28T23:00", "2026-03-29T03:00:00+02:00"),
        # the end comes twice: quiet until the second time
        (Week(((QuietWindow(22 * 60, 150),),) * 7), PARIS, "2026-10-24T23:00", "2026-10-25T02:30:00+01:00"),
        (NIGHT, "America/New_York", "2026-03-07T22:00", "2026-03-08T08:00:00-04:00"),
    ],
)
async def test_12_across_a_change_of_the_clocks_a_deferred_message_leaves_inside_the_window_once(
    make_road: MakeRoad, week: Week, zone: str, comes: str, leaves: str
) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(week)))
    message = await at(road, moment(comes, zone), zone, 1)
    assert message.state is MessageState.DEFERRED
    half_an_hour = timedelta(minutes=30) // timedelta(microseconds=1)
    left: list[str] = []
    while road.clock.now < moment(comes, zone) + DAY // 2:  # two workers look every half an hour
        await asyncio.gather(road.due(), road.due())
        await road.sender.turn()
        left += [local(road.clock.now, zone).isoformat()] * (len(road.transport.sent) - len(left))
        road.clock.now += half_an_hour
        road.clock.wall += 60_000_000
    assert left == [leaves]


async def test_13_all_days_closed_means_nothing_is_sent(make_road: MakeRoad) -> None:
    closed = Week(closed=frozenset(range(7)))
    road = make_road(Policies(quiet_hours=QuietHours(closed)))
    message = await road.take_one(make_action(1))
    assert (message.state, message.reason) == (MessageState.REFUSED, RefusalReason.QUIET_HOURS)
    road.clock.now += 40 * DAY
    assert await road.due() == 0
    await road.sender.turn()
    assert road.transport.sent == []

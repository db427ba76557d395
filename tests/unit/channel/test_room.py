"""Whether a rule set may go on asking an audience: care desk, limits of campaigns, kill switches, paces."""

from dataclasses import replace

import pytest

from services.channel.domain.actions import Action
from services.channel.domain.campaigns import Campaign, Campaigns, CampaignUse, Limit, Measure
from services.channel.domain.controls import CareLoad, CareQueue, Controls, KillSwitch, SwitchScope
from services.channel.domain.room import Room, Stop, room_for
from services.vocabulary.values import MINUTE, SECOND
from services.vocabulary.words import ActionKind, Category, Channel

NOW = 1_000 * SECOND
SALES = Action("", 0, ActionKind.OFFER, "autumn", Category.SALES, rule_set="autumn")
SERVICE = replace(SALES, name="notice", category=Category.SERVICE)
QUEUE = CareQueue("calls", slow_above=50, slow_to=2.0, stop_above=200)
CAMPAIGN = Campaign("autumn", names=frozenset({"autumn"}), care_queue="calls", per_second=8.0)
CAMPAIGNS = Campaigns((CAMPAIGN,), {Channel.SMS: 50_000, Channel.PUSH: 0}, "EUR", {"calls": QUEUE})


def load(depth, valid=MINUTE):
    return Controls(loads={"calls": CareLoad("calls", depth, NOW - SECOND, valid)})


@pytest.mark.parametrize(
    ("controls", "expected"),
    [
        (load(10), Room(per_second=8.0)),
        (load(51), Room(per_second=2.0)),
        (load(201), Stop.CARE),
        (load(10, valid=SECOND), Stop.CARE),  # the figure counts no longer
        (Controls(), Stop.CARE),
    ],
)
def test_a_full_care_desk_stops_whoever_would_fill_it_and_a_busy_one_slows_them(controls, expected):
    found = room_for((SERVICE, SALES), CAMPAIGNS, controls, {}, NOW)
    if isinstance(expected, Stop):
        assert found.stop is expected
        assert "care queue calls" in found.detail
    else:
        assert found == expected


def test_service_messages_are_not_stopped_by_a_care_desk():
    owner = replace(CAMPAIGN, names=frozenset(), per_second=0.0)
    assert room_for((SERVICE,), replace(CAMPAIGNS, campaigns=(owner,)), load(201), {}, NOW) == Room()


def limited(*limits):
    return replace(CAMPAIGNS, campaigns=(replace(CAMPAIGN, limits=limits, care_queue=""),))


@pytest.mark.parametrize(
    ("limit", "use", "stop"),
    [
        (Limit(Measure.MESSAGES, 5), CampaignUse(4), None),
        (Limit(Measure.MESSAGES, 5), CampaignUse(5), Stop.BUDGET),
        (Limit(Measure.MONEY, 1_000_000), CampaignUse(19, 950_000), None),
        (Limit(Measure.MONEY, 1_000_000), CampaignUse(20, 950_001), Stop.BUDGET),
    ],
)
def test_a_limit_without_room_for_the_cheapest_message_stops(limit, use, stop):
    assert room_for((SALES,), limited(limit), Controls(), {"autumn": use}, NOW).stop is stop


def test_what_leaves_one_of_the_actions_does_not_stop():
    spent = limited(Limit(Measure.MESSAGES, 0))
    assert room_for((SALES,), spent, Controls(), {}, NOW).stop is Stop.BUDGET
    assert room_for((SALES, SERVICE), spent, Controls(), {}, NOW).stop is None
    killed = Controls((KillSwitch(SwitchScope.CATEGORY, "service", reason="wrong"),))
    assert room_for((SERVICE,), spent, killed, {}, NOW).stop is Stop.KILLED
    assert room_for((SERVICE, SALES), spent, killed, {}, NOW).stop is Stop.BUDGET
    assert room_for((), spent, killed, {}, NOW) == Room()


def test_a_kill_switch_stops_unless_it_has_ended_or_is_one_of_a_channel():
    thrown = KillSwitch(SwitchScope.RULE_SET, "autumn", reason="the wrong price", until_micros=NOW + 1)
    free = limited()
    found = room_for((SALES, SERVICE), free, Controls((thrown,)), {}, NOW)
    assert (found.stop, "the wrong price" in found.detail) == (Stop.KILLED, True)
    assert room_for((SALES,), free, Controls((thrown,)), {}, NOW + 1).stop is None
    one = KillSwitch(SwitchScope.CHANNEL, "sms", reason="down")
    assert room_for((SALES,), free, Controls((one,)), {}, NOW).stop is None

"""What the channel service says of room, and what a run makes of its silence."""

import grpc
import pytest
from rapport.channel.v1 import controls_pb2

from services.decision.adapters.room_peer import RoomPeer
from services.decision.app.find_room import FindRoom
from services.decision.domain.limits import Limits
from services.decision.domain.occasions import Called, Said
from services.decision.domain.run_room import Room, Spent, Wait
from services.decision.domain.triggers import NO_AUDIENCE, Schedule
from services.vocabulary.values import DAY
from services.vocabulary.words import Category
from tests.fakes.road import away

SCHEDULE = Schedule(540, frozenset(), None, "UTC", NO_AUDIENCE)
SAID = Said("plan-upgrade", Category.SALES, "plan")
CALLED = Called("autumn", 1, SCHEDULE, DAY, None, None, 5.0, says=(SAID,), limits=Limits(5.0, 10))


class Channel:
    """A connection to a ControlService that gives one answer, or raises it."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def unary_unary(self, method, **_):
        async def call(request, **options):
            assert options["timeout"]
            if isinstance(self.answer, Exception):
                raise self.answer
            self.asked.append(request)
            return self.answer

        return call if method.endswith("/GetCampaignRoom") else None

    def __getattr__(self, name):
        return lambda *_, **__: None


class Spending:
    async def spent(self, rule_set, day):
        assert (rule_set, day > 0) == ("autumn", True)
        return Spent(actions=4)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"per_second": 2}, Room(per_second=2.0)),
        ({}, Room()),
        ({"stop": controls_pb2.CAMPAIGN_STOP_CARE, "detail": "full"}, Room(Wait.CARE, "full")),
        ({"stop": controls_pb2.CAMPAIGN_STOP_BUDGET, "detail": "spent"}, Room(Wait.BUDGET, "spent")),
        ({"stop": controls_pb2.CAMPAIGN_STOP_KILLED, "detail": "no"}, Room(Wait.KILLED, "no")),
        ({"stop": 99, "detail": "of a newer version"}, Room(Wait.UNKNOWN, "of a newer version")),
    ],
)
async def test_a_run_finds_what_the_channel_says(answer, found):
    channel = Channel(controls_pb2.GetCampaignRoomResponse(**answer))
    assert await RoomPeer(channel).room(CALLED) == found
    (asked,) = channel.asked
    assert [(one.name, one.topic) for one in asked.actions] == [("plan-upgrade", "plan")]


async def test_without_the_channels_word_nobody_is_asked():
    found = await RoomPeer(Channel(away(grpc.StatusCode.DEADLINE_EXCEEDED))).room(CALLED)
    assert (found.waits, found.detail.endswith("deadline exceeded")) == (Wait.UNKNOWN, True)


async def test_the_slower_pace_counts_and_what_the_limits_leave():
    peer = RoomPeer(Channel(controls_pb2.GetCampaignRoomResponse(per_second=9)))
    assert await FindRoom(Spending(), peer).room(CALLED, 2 * DAY) == Room(per_second=5.0, most=6)

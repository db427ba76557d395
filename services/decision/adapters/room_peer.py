"""The channel service, asked over gRPC whether there is room for more of a campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from rapport.channel.v1 import controls_pb2, controls_pb2_grpc

from services.decision.domain.run_room import Room, Wait
from services.vocabulary.wire import CATEGORIES

if TYPE_CHECKING:
    from services.decision.domain.occasions import Called

_SECONDS = 2.0
_MOST = 200
_WAITS = {
    controls_pb2.CAMPAIGN_STOP_CARE: Wait.CARE,
    controls_pb2.CAMPAIGN_STOP_BUDGET: Wait.BUDGET,
    controls_pb2.CAMPAIGN_STOP_KILLED: Wait.KILLED,
}


class RoomPeer:
    """The ChannelRooms port on ControlService; fails closed: a run waits for an answer."""

    def __init__(self, grpc_channel: grpc.aio.Channel) -> None:
        self._stub = controls_pb2_grpc.ControlServiceStub(grpc_channel)

    async def room(self, called: Called) -> Room:
        """What there is for all that the rule set may say."""
        request = controls_pb2.GetCampaignRoomRequest(
            rule_set=called.rule_set,
            actions=[
                controls_pb2.CampaignAction(
                    name=said.name, category=CATEGORIES.to_wire(said.category), topic=said.topic
                )
                for said in called.says[:_MOST]
            ],
        )
        try:
            answer = await self._stub.GetCampaignRoom(request, timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            code = error.code().name.lower().replace("_", " ")
            return Room(Wait.UNKNOWN, f"the channel service does not say whether there is room: {code}")
        if answer.stop:
            return Room(_WAITS.get(answer.stop, Wait.UNKNOWN), answer.detail)
        return Room(per_second=answer.per_second or None)

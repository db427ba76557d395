"""The call of the ControlService that asks for room before more of an audience is asked."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from rapport.channel.v1 import controls_pb2

from services.channel.app.controls import PolicySource
from services.channel.domain.actions import Action
from services.channel.domain.campaigns import Campaign, CampaignUse
from services.channel.domain.room import Stop, room_for
from services.runtime.clock import Clock
from services.runtime.errors import InvalidArgumentError
from services.vocabulary import wire
from services.vocabulary.words import ActionKind

_MOST_ACTIONS = 200
_LONGEST_NAME = 200
STOPS = wire.WordTable(Stop, controls_pb2.CampaignStop, "CAMPAIGN_STOP_")
Context = grpc.aio.ServicerContext[Any, Any]


class RoomCalls:
    """Answers for one rule set; nothing is taken."""

    _policies: PolicySource
    _clock: Clock
    _uses: Callable[[Sequence[Campaign]], Awaitable[dict[str, CampaignUse]]]

    async def GetCampaignRoom(  # noqa: N802 - the proto's name
        self, request: controls_pb2.GetCampaignRoomRequest, context: Context
    ) -> controls_pb2.GetCampaignRoomResponse:
        """What there is for a rule set that may say these actions."""
        del context
        actions = _actions(request)
        policies = self._policies.current()
        owned = {one.name: one for action in actions for one in policies.campaigns.of(action)}
        uses = await self._uses(list(owned.values())) if owned else {}
        room = room_for(actions, policies.campaigns, policies.controls, uses, self._clock.now_micros())
        return controls_pb2.GetCampaignRoomResponse(
            stop=STOPS.to_wire(room.stop), detail=room.detail, per_second=room.per_second
        )


def _actions(request: controls_pb2.GetCampaignRoomRequest) -> list[Action]:
    if len(request.actions) > _MOST_ACTIONS:
        raise InvalidArgumentError(
            f"{len(request.actions)} actions are given",
            field="actions",
            suggestion=f"at most {_MOST_ACTIONS}",
        )
    if not 0 < len(request.rule_set) <= _LONGEST_NAME:
        raise InvalidArgumentError(
            "the rule set has no name, or a long one",
            field="rule_set",
            suggestion=f"1 to {_LONGEST_NAME} characters",
        )
    found = []
    for place, told in enumerate(request.actions):
        category = wire.CATEGORIES.from_wire(told.category)
        if category is None:
            raise InvalidArgumentError(
                "an action has no category",
                field=f"actions[{place}].category",
                suggestion="say the category of the rule's action",
            )
        found.append(
            Action(
                "", 0, ActionKind.MESSAGE, told.name, category, rule_set=request.rule_set, topic=told.topic
            )
        )
    return found

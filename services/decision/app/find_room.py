"""Whether there is room for more of a campaign: by the rule set's own limits, then by the channel's word."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from services.decision.domain.calendar import local_day
from services.decision.domain.run_room import Room, own_room

if TYPE_CHECKING:
    from services.decision.app.run_ports import RunControl
    from services.decision.domain.occasions import Called


class ChannelRooms(Protocol):
    """The channel service, asked what the care desk, campaigns and kill switches leave."""

    async def room(self, called: Called) -> Room:
        """What there is for all that the rule set may say; it waits where the channel does not answer."""
        ...


class FindRoom:
    """The Rooms port. A rule set that says nothing to customers needs no word of the channel's."""

    def __init__(self, control: RunControl, channel: ChannelRooms) -> None:
        self._control = control
        self._channel = channel

    async def room(self, called: Called, now_micros: int) -> Room:
        """What a run of that rule set finds now."""
        limits, own = called.limits, Room()
        if limits.any:
            own = own_room(
                called, await self._control.spent(called.rule_set, local_day(now_micros, limits.zone))
            )
            if own.waits is not None:
                return own
        if not called.says:
            return Room(per_second=called.per_second, most=own.most)
        room = (await self._channel.room(called)).paced(called.per_second)
        return replace(room, most=own.most)

"""Whether a rule set may go on asking an audience: what the care desk, campaigns and kill switches leave it.

Each message passes the gates all the same; this spares an audience that would come to nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.channel.domain.actions import Action
from services.channel.domain.campaigns import Campaign, Campaigns, CampaignState, CampaignUse, CareState
from services.channel.domain.controls import CareStage, Controls, SwitchScope
from services.channel.domain.gates import care
from services.channel.domain.gates.campaign import without_room
from services.vocabulary.words import Category, Channel

_NEVER_SLOWED = frozenset({Category.MANDATORY, Category.SERVICE})


class Stop(StrEnum):
    """Why there is no room."""

    CARE = "care"
    BUDGET = "budget"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Room:
    """What there is: none, and why; or a pace in customers a second (0: none)."""

    stop: Stop | None = None
    detail: str = ""
    per_second: float = 0.0


def room_for(
    actions: Sequence[Action],
    campaigns: Campaigns,
    controls: Controls,
    uses: Mapping[str, CampaignUse],
    now_micros: int,
) -> Room:
    """What there is for a rule set that may say these actions.

    A full care queue stops it whichever action fills it, for the calls are the harm. Limits and kill switches
    stop it only when they leave none of its actions.
    """
    paces: list[float] = []
    left: list[Room] = []
    for action in actions:
        owned = campaigns.of(action)
        room = _care(action, owned, campaigns, controls, now_micros)
        if room.stop is not None:
            return room
        paces += [room.per_second] if room.per_second else []
        paces += [one.per_second for one in owned if one.per_second]
        left.append(_kept(action, owned, campaigns, controls, uses, now_micros))
    stopped = [room for room in left if room.stop is not None]
    if stopped and len(stopped) == len(left):
        return stopped[0] if all(room.stop is Stop.KILLED for room in stopped) else _budget_first(stopped)
    return Room(per_second=min(paces, default=0.0))


def _budget_first(stopped: Sequence[Room]) -> Room:
    return next(room for room in stopped if room.stop is Stop.BUDGET)


def _care(
    action: Action, owned: Sequence[Campaign], campaigns: Campaigns, controls: Controls, now_micros: int
) -> Room:
    if action.category in _NEVER_SLOWED:
        return Room()
    slowed: list[float] = []
    for name in sorted({one.care_queue for one in owned if one.care_queue}):
        queue, load = campaigns.queues[name], controls.loads.get(name)
        stage = queue.stage(load, now_micros)
        if stage is CareStage.STOPPED:
            return Room(Stop.CARE, care.why(CareState(queue, load), stage, now_micros))
        if stage is CareStage.SLOWED:
            slowed.append(queue.slow_to)
    return Room(per_second=min(slowed, default=0.0))


def _kept(
    action: Action,
    owned: Sequence[Campaign],
    campaigns: Campaigns,
    controls: Controls,
    uses: Mapping[str, CampaignUse],
    now_micros: int,
) -> Room:
    for switch in controls.switches:
        # one for a channel leaves the others
        if switch.scope is not SwitchScope.CHANNEL and switch.stops(action, Channel.SMS, now_micros):
            return Room(Stop.KILLED, f"the kill switch {switch.title} is thrown: {switch.reason}")
    if action.category is Category.MANDATORY:
        return Room()
    cheapest = min((cost for cost in campaigns.costs.values() if cost), default=0)
    for one in owned:
        state = CampaignState(one, uses.get(one.name, CampaignUse()), cheapest, campaigns.zone)
        refused = without_room(state, now_micros)
        if refused:
            return Room(Stop.BUDGET, refused)
    return Room()

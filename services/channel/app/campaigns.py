"""What a batch of actions finds of its campaigns and care queues, and what it uses of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.channel.app.store import GateTransaction
from services.channel.domain.actions import Action
from services.channel.domain.campaigns import (
    Campaign,
    CampaignState,
    CampaignUse,
    CareState,
    Turn,
)
from services.channel.domain.controls import CareStage
from services.channel.domain.policies import Policies
from services.channel.domain.rate import Grant, Pace, Wish
from services.vocabulary.words import CATEGORY_FACTS, Category

_LINES_UP_FROM = CATEGORY_FACTS[Category.RETENTION].tier


@dataclass(slots=True)
class _Line:
    """What a shared pace granted to this batch."""

    pace: Pace
    grant: Grant
    left: int
    passed_over: int = 0

    def turn(self, action: Action, now_micros: int) -> Turn:
        """What the next action gets."""
        rest = self.grant.rests(self.passed_over, queued=_lines_up(action))
        return Turn(self.left > 0, now_micros + max(1, rest))


@dataclass(slots=True)
class Spending:
    """The campaigns of one batch, locked until its commit; empty where no campaign is defined.

    The policies are those with which it was opened: a campaign that comes into force meanwhile counts from
    the next batch on.
    """

    policies: Policies
    now_micros: int
    campaigns: dict[str, tuple[Campaign, ...]] = field(default_factory=dict)
    """By action id."""
    uses: dict[str, CampaignUse] = field(default_factory=dict)
    lines: dict[str, _Line] = field(default_factory=dict)
    """By the name of their pace."""

    async def open(self, tx: GateTransaction, actions: Sequence[Action]) -> None:
        """Locks the campaigns of these actions in name order, then reads what was used."""
        defined = self.policies.campaigns
        if not defined.campaigns:
            return
        for action in actions:
            owned = defined.of(action)
            if owned and not action.is_task:
                self.campaigns[action.action_id] = owned
        found = {one.name: one for listed in self.campaigns.values() for one in listed}
        if not found:
            return
        self.uses = await tx.lock_campaigns(
            {name: one.looks_back_to(self.now_micros, defined.zone) for name, one in found.items()}
        )
        await self._line_up(tx, actions)

    def states(
        self, action: Action, cost: Callable[[], int]
    ) -> tuple[Sequence[CampaignState], Sequence[CareState]]:
        """What the gates look at; `cost` is asked only for actions of campaigns."""
        owned = self.campaigns.get(action.action_id, ())
        if not owned:
            return (), ()
        cost_micros = cost()
        zone = self.policies.campaigns.zone
        return (
            [
                CampaignState(
                    one, self.uses[one.name], cost_micros, zone, self._turn(_campaign_line(one), action)
                )
                for one in owned
            ],
            [
                CareState(
                    queue,
                    self.policies.controls.loads.get(queue.name),
                    self._turn(f"care:{queue.name}", action),
                )
                for queue in (self.policies.campaigns.queues[name] for name in _queues(owned))
            ],
        )

    def names(self, action: Action) -> str:
        """The campaigns of the action, with blanks between; tasks have none."""
        return " ".join(sorted(one.name for one in self.campaigns.get(action.action_id, ())))

    def take(self, action: Action, cost_micros: int) -> None:
        """The action has passed: it counts for the rest of the batch."""
        for one in self.campaigns.get(action.action_id, ()):
            self.uses[one.name].take(self.now_micros, cost_micros)
        for line in self._lines_of(action):
            line.left -= 1

    def pass_over(self, action: Action) -> None:
        """The action waits for its turn: the next one comes after it."""
        for line in self._lines_of(action):
            line.passed_over += 1

    async def close(self, tx: GateTransaction) -> None:
        """Gives back what was granted and nobody took."""
        await tx.take_rates([Wish(line.pace, -line.left) for line in self.lines.values() if line.left > 0])

    async def _line_up(self, tx: GateTransaction, actions: Sequence[Action]) -> None:
        wanted: dict[Pace, list[Action]] = {}
        for action in actions:
            owned = self.campaigns.get(action.action_id, ())
            for one in owned:
                if one.per_second:
                    pace = Pace(_campaign_line(one), one.per_second, max(1, int(one.per_second)))
                    wanted.setdefault(pace, []).append(action)
            for name in _queues(owned):
                queue = self.policies.campaigns.queues[name]
                load = self.policies.controls.loads.get(name)
                if queue.stage(load, self.now_micros) is not CareStage.FREE:
                    wanted.setdefault(Pace(f"care:{name}", queue.slow_to), []).append(action)
        grants = await tx.take_rates(
            [Wish(pace, len(found), sum(map(_lines_up, found))) for pace, found in wanted.items()]
        )
        self.lines = {pace.name: _Line(pace, grants[pace.name], grants[pace.name].granted) for pace in wanted}

    def _turn(self, name: str, action: Action) -> Turn | None:
        line = self.lines.get(name)
        return None if line is None else line.turn(action, self.now_micros)

    def _lines_of(self, action: Action) -> list[_Line]:
        owned = self.campaigns.get(action.action_id, ())
        names = [_campaign_line(one) for one in owned] + [f"care:{name}" for name in _queues(owned)]
        return [self.lines[name] for name in names if name in self.lines]


def care_before_hand_over(policies: Policies, action: Action, campaigns: str) -> list[CareState]:
    """The care queues that a planned message would fill: those of its campaigns as they stand now."""
    owned = policies.campaigns.of(action, campaigns.split())
    return [
        CareState(policies.campaigns.queues[name], policies.controls.loads.get(name))
        for name in _queues(owned)
    ]


def _queues(campaigns: Sequence[Campaign]) -> list[str]:
    return sorted({one.care_queue for one in campaigns if one.care_queue})


def _campaign_line(campaign: Campaign) -> str:
    return f"campaign:{campaign.name}"


def _lines_up(action: Action) -> bool:
    return CATEGORY_FACTS[action.category].tier >= _LINES_UP_FROM

"""What an operator throws or reports while everything runs: kill switches, and how full the care desk is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.channel.domain.actions import Action
from services.vocabulary.words import Channel


class SwitchScope(StrEnum):
    """What a kill switch stops."""

    ALL = "all"
    ACTION = "action"
    """An offer, message, survey or task by its name."""
    RULE_SET = "rule_set"
    CATEGORY = "category"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """Stops what it names, whatever its category, until it is lifted or has ended. Times are of business."""

    scope: SwitchScope
    name: str = ""
    """Which of that scope; empty for all."""
    hold: bool = False
    """What it stops waits for its end; else it is refused."""
    reason: str = ""
    author: str = ""
    since_micros: int = 0
    until_micros: int = 0
    """It ends at this moment; 0: only when it is lifted."""

    @property
    def key(self) -> tuple[SwitchScope, str]:
        """There is at most one of these."""
        return self.scope, self.name

    @property
    def title(self) -> str:
        """What it stops, for people: "rule_set bill-shock"."""
        return f"{self.scope.value} {self.name}".rstrip()

    def is_on(self, now_micros: int) -> bool:
        """Whether it has not ended yet."""
        return not 0 < self.until_micros <= now_micros

    def stops(self, action: Action, channel: Channel, now_micros: int) -> bool:
        """Whether the action may not go on that channel now."""
        if not self.is_on(now_micros):
            return False
        match self.scope:
            case SwitchScope.ALL:
                return True
            case SwitchScope.ACTION:
                return action.name == self.name
            case SwitchScope.RULE_SET:
                return action.rule_set == self.name
            case SwitchScope.CATEGORY:
                return action.category.value == self.name
            case SwitchScope.CHANNEL:
                return channel.value == self.name


@dataclass(frozen=True, slots=True)
class CareLoad:
    """How many calls wait in a queue of the care desk, as reported; times are business time."""

    queue: str
    depth: int
    time_micros: int
    """When it was counted."""
    valid_micros: int
    """From then on it counts as unknown."""
    author: str = ""

    def is_known(self, now_micros: int) -> bool:
        """Whether the figure still counts."""
        return now_micros < self.time_micros + self.valid_micros


class CareStage(StrEnum):
    """What a queue does to campaigns that fill it."""

    FREE = "free"
    SLOWED = "slowed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class CareQueue:
    """From which depth on campaigns that fill the queue are slowed down, and stopped."""

    name: str
    slow_above: int
    """Over so many waiting calls `slow_to` messages a second go, of all such campaigns together."""
    slow_to: float
    stop_above: int
    """Over so many none goes."""
    when_unknown: CareStage = CareStage.STOPPED
    """Without a figure that still counts; nobody knows whether the queue is not full already."""

    def stage(self, load: CareLoad | None, now_micros: int) -> CareStage:
        """What the figure, or that there is none, does to campaigns."""
        if load is None or not load.is_known(now_micros):
            return self.when_unknown
        if load.depth > self.stop_above:
            return CareStage.STOPPED
        return CareStage.SLOWED if load.depth > self.slow_above else CareStage.FREE


@dataclass(frozen=True, slots=True)
class Controls:
    """All that was thrown and reported, as last known."""

    switches: tuple[KillSwitch, ...] = ()
    loads: Mapping[str, CareLoad] = field(default_factory=dict)
    """By queue."""
    revision: int = 0
    """Grows with every change."""

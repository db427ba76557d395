"""Campaigns: how many messages, how much money and how fast, over all workers together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from services.channel.domain.actions import Action
from services.channel.domain.controls import CareLoad, CareQueue
from services.vocabulary.values import MINUTE, micros_to_time, time_to_micros
from services.vocabulary.words import Category, Channel

BUCKET_MICROS = 5 * MINUTE
"""What was used is kept in steps of this length. Every zone's midnight falls on the start of one."""
LONGEST_WINDOW_MICROS = 31 * 24 * 60 * MINUTE


class Measure(StrEnum):
    """What a limit counts."""

    MESSAGES = "messages"
    MONEY = "money"
    """In millionths of the currency."""


class Span(StrEnum):
    """Over what time a limit counts."""

    TOTAL = "total"
    DAY = "day"
    """A calendar day in the operator's zone."""
    WINDOW = "window"
    """A sliding window: what was used leaves it up to five minutes late, never early."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so much in a span."""

    measure: Measure
    most: int
    span: Span = Span.TOTAL
    window_micros: int = 0


@dataclass(frozen=True, slots=True)
class Campaign:
    """What belongs to it (all that is said must fit; empty: anything) and what it may use."""

    name: str
    rule_sets: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    categories: frozenset[Category] = frozenset()
    topics: frozenset[str] = frozenset()
    limits: tuple[Limit, ...] = ()
    per_second: float = 0.0
    """0: as fast as it goes."""
    care_queue: str = ""
    """The queue of the care desk that its messages fill; empty: they cause no calls."""

    def owns(self, action: Action) -> bool:
        """Whether the action belongs to it."""
        return (
            (not self.rule_sets or action.rule_set in self.rule_sets)
            and (not self.names or action.name in self.names)
            and (not self.categories or action.category in self.categories)
            and (not self.topics or action.topic in self.topics)
        )

    def looks_back_to(self, now_micros: int, zone: str) -> int | None:
        """The start of the oldest bucket that its limits count; None: only totals matter."""
        starts = [_start(limit, now_micros, zone) for limit in self.limits if limit.span is not Span.TOTAL]
        return min(starts) if starts else None


@dataclass(frozen=True, slots=True)
class Campaigns:
    """The operator's campaigns, what a message costs, and the queues of the care desk."""

    campaigns: tuple[Campaign, ...] = ()
    costs: Mapping[Channel, int] = field(default_factory=dict)
    """Of one message, of one segment where the channel has those; in millionths of the currency."""
    currency: str = ""
    queues: Mapping[str, CareQueue] = field(default_factory=dict)
    zone: str = "UTC"
    """The operator's: its days are those of daily limits."""

    def of(self, action: Action, known: Iterable[str] = ()) -> tuple[Campaign, ...]:
        """The campaigns that the action belongs to, those named in `known` among them, in name order."""
        if not self.campaigns:
            return ()
        names = frozenset(known)
        return tuple(one for one in self.campaigns if one.name in names or one.owns(action))

    def cost(self, channel: Channel, segments: int) -> int:
        """What one message on that channel costs."""
        return self.costs.get(channel, 0) * max(1, segments)


@dataclass(slots=True)
class CampaignUse:
    """What a campaign has used so far: in all, and by buckets as far back as its limits look."""

    count: int = 0
    cost_micros: int = 0
    buckets: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Messages and cost by the bucket's start."""

    def take(self, now_micros: int, cost_micros: int) -> None:
        """One more message."""
        bucket = bucket_of(now_micros)
        count, cost = self.buckets.get(bucket, (0, 0))
        self.buckets[bucket] = count + 1, cost + cost_micros
        self.count += 1
        self.cost_micros += cost_micros

    def used(self, limit: Limit, now_micros: int, zone: str) -> int:
        """How much of a limit is used up."""
        money = limit.measure is Measure.MONEY
        if limit.span is Span.TOTAL:
            return self.cost_micros if money else self.count
        start = _start(limit, now_micros, zone)
        return sum(spent[money] for bucket, spent in self.buckets.items() if bucket >= start)

    def free_again(self, limit: Limit, wanted: int, now_micros: int, zone: str) -> int | None:
        """When there is room for so much more; None: never, as far as one can see."""
        if wanted > limit.most or limit.span is Span.TOTAL:
            return None
        if limit.span is Span.DAY:
            return day_start(now_micros, zone, days=1)
        over = self.used(limit, now_micros, zone) + wanted - limit.most
        start = _start(limit, now_micros, zone)
        money = limit.measure is Measure.MONEY
        for bucket in sorted(bucket for bucket in self.buckets if bucket >= start):
            over -= self.buckets[bucket][money]
            if over <= 0:
                return bucket + BUCKET_MICROS + limit.window_micros
        return None


@dataclass(frozen=True, slots=True)
class Turn:
    """What a shared pace says to one action."""

    free: bool
    next_micros: int = 0
    """Where it is not free: the business time at which to ask again."""


@dataclass(frozen=True, slots=True)
class CampaignState:
    """A campaign as the gates see it for one action on one channel."""

    campaign: Campaign
    use: CampaignUse
    cost_micros: int = 0
    """Of the message there."""
    zone: str = "UTC"
    turn: Turn | None = None
    """None: it has no pace."""


@dataclass(frozen=True, slots=True)
class CareState:
    """A queue of the care desk that the action would fill, as the gates see it."""

    queue: CareQueue
    load: CareLoad | None
    turn: Turn | None = None
    """None: it had its turn already."""


def day_start(now_micros: int, zone: str, *, days: int = 0) -> int:
    """When the calendar day began there, or so many days later begins."""
    local = micros_to_time(now_micros).astimezone(ZoneInfo(zone))
    day = local.date() + timedelta(days=days)
    return time_to_micros(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC))


def bucket_of(micros: int) -> int:
    """The start of the bucket in which that moment lies."""
    return micros - micros % BUCKET_MICROS


def names_of(campaigns: Sequence[Campaign]) -> tuple[str, ...]:
    """Their names, in the same order."""
    return tuple(campaign.name for campaign in campaigns)


def _start(limit: Limit, now_micros: int, zone: str) -> int:
    """The start of the oldest bucket that the limit still counts."""
    if limit.span is Span.DAY:
        return bucket_of(day_start(now_micros, zone))
    return bucket_of(now_micros - limit.window_micros)

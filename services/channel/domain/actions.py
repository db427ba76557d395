"""What the decision service wants said: an action, without any address."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.vocabulary.values import Value, ValueType
from services.vocabulary.words import ActionKind, Category, Channel


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """One channel that an action may use; None: the one that the customer prefers."""

    channel: Channel | None
    after_micros: int = 0
    """Only when those before it did not pass, or reach the customer, for this long; 0: at once."""


DEFAULT_CHOICES = (ChannelChoice(None), ChannelChoice(Channel.SMS), ChannelChoice(Channel.EMAIL))
"""Where an action goes whose rule names no channel."""

TASK_CHOICES = (ChannelChoice(Channel.TASK),)
"""A task has one way only."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be said to, or done for, one customer. Times are microseconds since 1970, UTC."""

    action_id: str
    customer: int
    kind: ActionKind
    name: str
    category: Category
    decision_id: str = ""
    rule_set: str = ""
    rule: str = ""
    topic: str = ""
    channels: tuple[ChannelChoice, ...] = ()
    parameters: Mapping[str, Value] = field(default_factory=dict)
    types: Mapping[str, ValueType] = field(default_factory=dict)
    """Type of each parameter, for times and durations, which are numbers here."""
    template: str = ""
    score: float = 0.0
    priority: int = 0
    decided_micros: int = 0
    event_micros: int = 0
    """Time of the event that led to it; 0: dispatched without one."""
    expires_micros: int = 0
    """Not said at or after this moment; 0: never ends."""
    hops: int = 0
    line: str = ""
    to_payer: bool = False
    language: str = ""
    """In which it is said to one whose own language is not known; empty: the operator's."""
    record: bytes = b""
    """The action as it came over the wire, kept for actions that wait."""

    @property
    def is_task(self) -> bool:
        """Work for a care agent: no contact with the customer, so neither capped nor kept for the morning."""
        return self.kind is ActionKind.TASK

    @property
    def template_name(self) -> str:
        """The template that says it."""
        return self.template or self.name

    def choices(self, preferred: Channel | None) -> tuple[ChannelChoice, ...]:
        """The channels to try, in order, each once; `preferred` stands where the action says so."""
        if self.is_task:
            return TASK_CHOICES
        found: dict[Channel, ChannelChoice] = {}
        for choice in self.channels or DEFAULT_CHOICES:
            channel = choice.channel or preferred
            if channel is not None and channel not in found:
                found[channel] = ChannelChoice(channel, choice.after_micros)
        return tuple(found.values())

"""What becomes of messages, told to all as events of our own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.channel.domain.messages import Change, Message
from services.vocabulary import ids
from services.vocabulary.words import MessageState, RefusalReason

SOURCE = "channel"

PUBLISHED: dict[MessageState, str] = {
    MessageState.DEFERRED: "action.deferred",
    MessageState.SENT: "action.sent",
    MessageState.DELIVERED: "action.delivered",
    MessageState.FAILED: "action.failed",
    MessageState.EXPIRED: "action.expired",
    MessageState.REFUSED: "action.refused",
}
"""Event type by state reached; the states in between concern nobody else."""


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """An event on its way to the profile service; the same step of the same message gives the same id."""

    event_id: str
    type: str
    customer: int
    time_micros: int
    fields: dict[str, str]
    hops: int
    """One more than those of the event that led to the action: a decision lies between them."""
    line: str


def own_events(messages: Iterable[Message]) -> Iterator[OwnEvent]:
    """One event for every new step that others must hear of."""
    for message in messages:
        for change in message.new_changes:
            if change.state in PUBLISHED and not change.noted:
                yield own_event(message, change)


def own_event(message: Message, change: Change) -> OwnEvent:
    """The event that tells of one step."""
    event_type = PUBLISHED[change.state]
    fields = {
        "action": message.action_id,
        "rule_set": message.rule_set,
        "rule": message.rule,
        "name": message.name,
        "message": message.message_id,
        "category": message.category.value,
    }
    if message.channel is not None:
        fields["channel"] = message.channel.value
    if change.reason is not None:
        fields["reason"] = change.reason.value
    return OwnEvent(
        event_id=ids.own_event_id(SOURCE, message.message_id, event_type, change.position),
        type=event_type,
        customer=message.customer,
        time_micros=change.time_micros,
        fields=fields,
        hops=message.hops + 1,
        line=message.line,
    )


def totals(messages: Iterable[Message]) -> dict[str, int]:
    """Exact counters of the new steps: states reached, hand-overs by channel, refusals by reason.

    `undelivered.…` counts those of `messages.failed` and `messages.expired` that had been sent before, and
    `handover.again` the hand-overs repeated because nobody knows what came of the one before.
    """
    counted: dict[str, int] = {}

    def count(name: str) -> None:
        counted[name] = counted.get(name, 0) + 1

    for message in messages:
        for change in message.new_changes:
            if change.noted:
                continue
            state = change.state
            if state in PUBLISHED:
                count(f"messages.{state.value}")
            if state is MessageState.SENT and message.channel is not None:
                count(f"sent.{message.channel.value}")
            if state is MessageState.PLANNED and change.reason is RefusalReason.HANDOVER_UNKNOWN:
                count("handover.again")
            if state in {MessageState.REFUSED, MessageState.EXPIRED, MessageState.FAILED}:
                if message.was_sent:
                    count(f"undelivered.{state.value}")
                if change.reason is not None:
                    count(f"refused.{change.reason.value}")
    return counted

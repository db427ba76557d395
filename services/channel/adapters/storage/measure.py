"""What the metrics count of messages: states reached, refusals, hand-overs that nobody knows the end of."""

from collections import Counter
from collections.abc import Sequence

from services.channel.domain.messages import Message
from services.runtime import metrics
from services.runtime.database import Transaction
from services.vocabulary.words import MessageState, RefusalReason

_NOT_SENT = frozenset({MessageState.REFUSED, MessageState.EXPIRED})


def measure(transaction: Transaction, messages: Sequence[Message]) -> None:
    """Count the new steps of messages, once they are committed."""
    states: Counter[tuple[str, str]] = Counter()
    refusals: Counter[tuple[str, str]] = Counter()
    again: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for message in messages:
        channel = message.channel.value if message.channel is not None else "none"
        category = message.category.value
        for change in message.new_changes:
            if change.noted:
                continue
            states[channel, change.state.value] += 1
            if change.state in _NOT_SENT and change.reason is not None and not message.was_sent:
                refusals[change.reason.name, category] += 1
            elif change.reason is RefusalReason.HANDOVER_UNKNOWN:
                (again if change.state is MessageState.PLANNED else unknown)[category] += 1

    def count() -> None:
        for labels, number in states.items():
            metrics.MESSAGES.labels(*labels).inc(number)
        for labels, number in refusals.items():
            metrics.REFUSALS.labels(*labels).inc(number)
        for category, number in again.items():
            metrics.HANDOVER_AGAIN.labels(category).inc(number)
        for category, number in unknown.items():
            metrics.HANDOVER_UNKNOWN.labels(category).inc(number)

    transaction.after_commit(count)

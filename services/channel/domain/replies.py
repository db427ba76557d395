"""What a customer said to us, told to all as an event of our own."""

from enum import StrEnum

from services.channel.domain.outcomes import SOURCE, OwnEvent
from services.vocabulary import ids

LONGEST_TEXT = 2_000
"""Characters of a reply that are kept and told: more than the longest text message has."""


class Intent(StrEnum):
    """What a customer wants, as far as the words tell; the catalogue's words."""

    YES = "yes"
    NO = "no"
    HELP = "help"
    STOP = "stop"
    START = "start"
    OTHER = "other"


def reply_event(
    *,
    customer: int,
    key: str,
    time_micros: int,
    text: str,
    intent: Intent,
    action_id: str = "",
    line: str = "",
) -> OwnEvent:
    """`message.replied`, about the person who said it; `key` names what was said, the same for a repeat.

    `action_id` and `line` are those of the message that it answers, empty where it answers none. A reply
    begins a chain of its own: somebody has spoken.
    """
    fields = {"text": text[:LONGEST_TEXT], "intent": intent.value}
    if action_id:
        fields["action"] = action_id
    return OwnEvent(
        event_id=ids.own_event_id(SOURCE, "message.replied", customer, key),
        type="message.replied",
        customer=customer,
        time_micros=time_micros,
        fields=fields,
        hops=0,
        line=line,
    )

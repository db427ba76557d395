"""One message that a customer wrote, what it answers, and whether a machine may answer it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from services.channel.domain.keywords import Heard, Keywords, keywords_of
from services.channel.domain.messages import Message
from services.channel.domain.replies import LONGEST_TEXT, Intent
from services.vocabulary import ids
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import ActionKind, Channel

ANSWERS: Mapping[Intent, str] = {
    Intent.STOP: "reply-stop",
    Intent.START: "reply-start",
    Intent.HELP: "reply-help",
}
"""The template that answers each intent by itself; the others are for the rules to answer."""

RULE_SET = "replies"
"""Names automatic answers among messages."""

ANSWERS_WITHIN_MICROS = DAY
"""The time in which automatic answers to one person are counted."""

_SHORTEST_NUMBER = 8
"""Digits of a number that a person can have (no E.164 number in use is shorter); short codes have fewer."""


@dataclass(frozen=True, slots=True)
class Replies:
    """What the operator says about what customers write; times in microseconds."""

    keywords: Keywords = field(default_factory=lambda: keywords_of({}, ()))
    answers_micros: int = 72 * HOUR
    """A reply answers the last message sent within this time."""
    answers_a_day: int = 6
    """Automatic answers to one person in 24 hours, at most."""
    never_answer: frozenset[str] = frozenset()

    def may_answer(self, sender: str, recipient: str, answered: int) -> bool:
        """Whether a machine may answer: two of them would never end.

        Short codes and names are machines, a message from the number it was sent to is our own, and so is
        whatever the operator lists; nobody gets more than so many answers a day.
        """
        number = sender.removeprefix("+")
        return (
            sender.startswith("+")
            and number.isdecimal()
            and len(number) >= _SHORTEST_NUMBER
            and number != recipient.removeprefix("+")
            and sender not in self.never_answer
            and answered < self.answers_a_day
        )


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an address is; `person`: all ids of that person, the one in use first."""

    person: tuple[int, ...]
    line: str = ""

    @property
    def customer(self) -> int:
        """The id in use."""
        return self.person[0]


@dataclass(slots=True)
class Written:
    """One message that was written to us; kept without the sender's address."""

    inbound_id: str
    provider: str
    channel: Channel
    recipient: str
    text: str
    time_micros: int
    """Business time at which it was taken."""
    customer: int = 0
    """0: nobody we know."""
    intent: Intent = Intent.OTHER
    message_id: str = ""
    """The message that it answers; empty: none."""
    action_id: str = ""
    """That message's action."""
    answer_id: str = ""
    """Our automatic answer to it; empty: none."""


def inbound_id(provider: str, key: str) -> str:
    """The id of a message, the same whenever it comes."""
    return ids.derived_id("inbound", provider, key)


def storable(text: str) -> str:
    """A text as the database takes it: without zero bytes and halves of characters, not longer than any."""
    return text[:LONGEST_TEXT].replace("\0", "").encode("utf-8", "replace").decode()


def understand(
    replies: Replies, text: str, sent: Sequence[Message], accepted: Mapping[str, Collection[str]]
) -> tuple[Heard, Message | None]:
    """What a text wants and which message it answers; `sent`: what the person got, newest first.

    Answered is the newest, but an offer whose own words the text says (`accepted`, by offer) goes before what
    came after it: between an offer and its YES there may be a notice. Not so a survey, to which a YES may be
    the answer as well. STOP, START and HELP mean the same wherever they are said.
    """
    heard = replies.keywords.hear(text)
    newest = sent[0] if sent else None
    if heard.intent in ANSWERS:
        return heard, newest
    for message in sent:
        if message.kind is ActionKind.SURVEY and heard.intent is Intent.YES:
            break
        words = accepted.get(message.name, ()) if message.kind is ActionKind.OFFER else ()
        if replies.keywords.says_one_of(text, words):
            return Heard(Intent.YES, heard.languages), message
    return heard, newest

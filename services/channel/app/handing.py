"""What becomes of one message around its hand-over: readdressed, stopped, handed over, tried again."""

import random
from dataclasses import replace

from services.channel.app.ports import Handed, HandOver, Outgoing
from services.channel.domain.backoff import wait_micros
from services.channel.domain.choice import may_wait
from services.channel.domain.contact import Permission, Reach
from services.channel.domain.gates.verdict import Refused
from services.channel.domain.messages import Message, Wording
from services.vocabulary.words import CATEGORY_FACTS, Category


def person_of(message: Message, reach: Reach | None) -> tuple[int, ...]:
    """All ids of the person, as far as they are known."""
    return (message.person, *(reach.merged if reach is not None else ()))


def reach_as_stored(message: Message) -> Reach:
    """What the profile said a moment ago, as the message remembers it."""
    address = message.wording.address if message.wording is not None else ""
    permissions = {message.channel: Permission(True, address=address)} if message.channel is not None else {}
    return Reach(True, message.asked_wall_micros, permissions, message.zone)


def goes_to_another(message: Message, reach: Reach | None) -> bool:
    """Whether somebody else is to be written to than the one for whom it was worded and counted."""
    return reach is not None and reach.recipient not in {0, message.person}


def readdress(message: Message, reach: Reach | None) -> None:
    """Takes over what the profile says now: where to, and that it was asked."""
    if reach is None or message.channel is None:
        return
    message.asked_wall_micros = reach.asked_wall_micros
    message.zone = reach.zone
    address = reach.permissions[message.channel].address
    wording = message.wording or Wording()
    if wording.address != address:
        message.word(replace(wording, address=address))


def stop_at_gate(message: Message, refused: Refused, now_micros: int) -> None:
    """Waits for a better time if its category does and there is one before it expires; else it is refused."""
    until = refused.next_micros
    in_time = until is not None and not 0 < message.expires_micros <= until
    if until is not None and in_time and may_wait(message.category, refused):
        message.wait(now_micros, until, message.channel, refused.reason, refused.detail)
    else:
        message.refuse(now_micros, message.channel, refused.reason, refused.detail)


def lines_up(message: Message) -> bool:
    """Whether it may be kept waiting where a rate has no room: what a customer need not know now."""
    return CATEGORY_FACTS[message.category].tier >= CATEGORY_FACTS[Category.RETENTION].tier


def outgoing_of(message: Message, now_micros: int) -> Outgoing:
    """As the transport takes it."""
    wording = message.wording or Wording()
    return Outgoing(
        message_id=message.message_id,
        customer=message.person,
        address=wording.address,
        text=wording.text,
        subject=wording.subject,
        html=wording.html,
        sender=wording.sender,
        category=message.category,
        name=message.name,
        validity_micros=message.expires_micros - now_micros if message.expires_micros else 0,
        again=message.resent,
    )


def take_outcome(message: Message, handed: Handed, now_micros: int, wall_micros: int) -> None:
    """What the provider's answer makes of it."""
    retry_micros = wall_micros + wait_micros(message.attempts, random.random())  # noqa: S311 - no secret
    match handed.outcome:
        case HandOver.ACCEPTED:
            message.taken_by_provider(now_micros)
        case HandOver.TRANSIENT:
            message.try_again(now_micros, retry_micros, handed.detail)
        case HandOver.PERMANENT:
            message.rejected(now_micros, handed.detail)
        case HandOver.UNKNOWN:
            message.lost_sight(now_micros, retry_micros, handed.detail)


def unanswered(outgoing: Outgoing) -> Handed:
    """No answer came."""
    return Handed(outgoing.message_id, HandOver.UNKNOWN, detail="the provider did not answer")


def too_late(message: Message) -> Handed:
    """It was not handed over, because its lease could end before."""
    return Handed(message.message_id, HandOver.TRANSIENT, detail="not handed over: the sender stood still")

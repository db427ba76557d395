"""What a customer heard of us lately: for the pressure of contacts and the share of sales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.vocabulary.words import Category, Channel

if TYPE_CHECKING:
    from services.decision.domain.situation import Situation
    from services.vocabulary.arbitration_policy import Terms
    from services.vocabulary.catalogue import Catalogue

SENT = "action.sent"
MADE = "contact.made"


def pressure_of(situation: Situation, terms: Terms) -> int:
    """How many messages press by now."""
    sent = situation.activity.get(SENT)
    if sent is None:
        return 0
    now = situation.now_micros
    return sum(1 for time in sent.times if now - terms.pressure_micros < time <= now)


def contacts_of(situation: Situation, catalogue: Catalogue, terms: Terms) -> tuple[int | None, int]:
    """How many contacts there were within the time of the share of sales, and how many of them were sales.

    Ours and those that other systems told of; a task for an agent is none, and one of no known category lends
    sales no room. None: what was sent is not known, because the customer did not agree to have it used.
    """
    contacts = sales = 0
    now = situation.now_micros
    for name in (SENT, MADE):
        known = catalogue.events.get(name)
        if known is not None and known.purpose in situation.withheld:
            return None, 0
        activity = situation.activity.get(name)
        if activity is None:
            continue
        none = [None] * len(activity.times)
        categories, channels = (activity.texts.get(field, none) for field in ("category", "channel"))
        for time, category, channel in zip(activity.times, categories, channels, strict=True):
            if now - terms.share_micros < time <= now and category and channel != Channel.TASK:
                contacts += 1
                sales += category == Category.SALES
    return contacts, sales

"""Contacts that other systems made, for frequency caps: `contact.made`, kept as activity."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from services.profile.domain.activity import MICROS_PER_DAY, TextColumn, TypeActivity
from services.profile.domain.customer import KeptCustomer
from services.vocabulary.words import Category, Channel

CONTACT_MADE: Final = "contact.made"
RECENT_MICROS: Final = 35 * MICROS_PER_DAY
"""So long ago at most."""
MOST: Final = 500
"""The latest of them; nobody has so many in earnest."""


@dataclass(frozen=True, slots=True)
class RecentContact:
    """One contact; `category` None: the other system did not say what for."""

    channel: Channel
    category: Category | None
    time_micros: int


def recent_contacts(kept: KeptCustomer, now_micros: int) -> tuple[RecentContact, ...]:
    """Those of the last 35 days, oldest first. Nothing but this type of activity is opened."""
    activity = kept.open_activity(CONTACT_MADE)
    if activity is None:
        return ()
    first = max(bisect_right(activity.times, now_micros - RECENT_MICROS), len(activity.times) - MOST)
    found = []
    for place in range(first, len(activity.times)):
        channel = _text(activity, "channel", place)
        category = _text(activity, "category", place)
        if channel in _CHANNELS:
            found.append(
                RecentContact(
                    Channel(channel),
                    Category(category) if category in _CATEGORIES else None,
                    activity.times[place],
                )
            )
    return tuple(found)


def _text(activity: TypeActivity, name: str, place: int) -> str:
    column = activity.columns.get(name)
    index = column.indexes[place] if isinstance(column, TextColumn) else 0
    return column.texts[index - 1] if isinstance(column, TextColumn) and index else ""


_CHANNELS: Final = frozenset(channel.value for channel in Channel)
_CATEGORIES: Final = frozenset(category.value for category in Category)

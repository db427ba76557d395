"""Rates that hold for all processes together: a provider's, a campaign's, a mail domain's."""

from dataclasses import dataclass

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """So many a second under a name, and how many may go at once; the same for whoever takes from it."""

    name: str
    """`provider:sms`, `campaign:<name>`, `domain:<mail domain>`."""
    per_second: float
    """Over 0; less than one a second is possible."""
    burst: int = 1
    """From 1; nothing beyond it is saved up while nobody takes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a batch asks of one pace."""

    pace: Pace
    count: int
    """A negative one gives back what was granted and not used."""
    queued: int = 0
    """How many of the last of them line up for a time of their own where there is no room."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a pace gives of what was asked. Times count from now, on whichever clock."""

    granted: int
    wait_micros: int = 0
    """Until one more may go; 0: now."""
    interval_micros: int = 0
    """Between one and the next."""
    queue_micros: int = 0
    """Until the first of those who line up may come back."""

    def rests(self, place: int, *, queued: bool) -> int:
        """How long the one at that place (from 0) among those without room waits until it asks again.

        Who lines up comes after all who did before, so that a long queue is not asked over and over; who
        does not comes as soon as there could be room.
        """
        first = self.queue_micros if queued else self.wait_micros
        return first + place * self.interval_micros


def provider_pace(channel: str, per_second: int) -> Pace | None:
    """A provider's pace, a quarter of a second's worth at once; None: it has no limit."""
    if per_second <= 0:
        return None
    return Pace(f"provider:{channel}", per_second, max(1, per_second // 4))

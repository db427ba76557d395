"""How fast a run over an audience asks, and when it will have asked everyone: from what it did of late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.vocabulary.values import SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEP = 30 * SECOND
"""The rate is that of the last one to two such spans."""


def marked(marks: Sequence[int], now_micros: int, asked: int) -> tuple[int, ...]:
    """The marks after a look at that moment: time and customers asked, of an earlier and of a later one.

    Those asked by the first page were not asked since anything: the first mark holds them.
    """
    if not marks:
        return now_micros, asked, now_micros, asked
    *_, later, then = marks
    return tuple(marks) if now_micros - later < _STEP else (later, then, now_micros, asked)


def rate(marks: Sequence[int], now_micros: int, asked: int) -> float:
    """Customers asked in a second since the earlier mark; 0: not known."""
    if not marks or now_micros <= marks[0]:
        return 0.0
    return (asked - marks[1]) * SECOND / (now_micros - marks[0])


def end_of(asked: int, walked: float, per_second: float, now_micros: int) -> int | None:
    """When everyone will have been asked at that rate, in micros; None: not to be told yet."""
    if per_second <= 0 or not asked or not 0 < walked < 1:
        return None
    return now_micros + round(asked * (1 - walked) / walked / per_second * SECOND)

"""Shares of groups, and how sure one may be of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959963984540054
"""Of 95 %."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A number, and between which two it lies with 95 % confidence."""

    value: float
    low: float
    high: float


def share(hits: int, whole: int) -> Interval | None:
    """The share of hits, with Wilson's interval (E. B. Wilson, JASA 22, 1927); None: nobody is there."""
    if whole <= 0:
        return None
    rate, spread = hits / whole, _Z * _Z / whole
    middle = (rate + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(rate * (1 - rate) / whole + spread / (4 * whole)) / (1 + spread)
    return Interval(rate, max(0.0, middle - half), min(1.0, middle + half))


def ratio(hits: int, whole: int, other_hits: int, other_whole: int) -> Interval | None:
    """How many times as large the first share is as the other, with Katz' interval of its logarithm.

    None: one of the shares is none, so that no ratio says anything (Katz et al., Biometrics 34, 1978).
    """
    if not (hits and whole and other_hits and other_whole):
        return None
    found = (hits / whole) / (other_hits / other_whole)
    error = math.sqrt(max(0.0, 1 / hits - 1 / whole + 1 / other_hits - 1 / other_whole))
    return Interval(found, found * math.exp(-_Z * error), found * math.exp(_Z * error))

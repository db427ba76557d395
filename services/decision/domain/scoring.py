"""Scores: propensity × (value − cost) × urgency − contact pressure, with every factor visible."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from services.vocabulary.values import DAY, HOUR

if TYPE_CHECKING:
    from services.vocabulary.arbitration_policy import Terms

_FAR_AWAY = 100 * DAY
"""What has no end of validity counts as valid for so long."""


class FactorSource(StrEnum):
    """Who said a number that goes into a score."""

    DEFAULT = "default"
    """Nobody: what it is then."""
    RULE = "rule"
    OFFER = "offer"
    """The catalogue, of that offer."""
    POLICY = "policy"
    """The operator, in the policy of arbitration."""


class Origin(NamedTuple):
    """Where a number came from. ``detail``: what was wrong with who should have said it."""

    source: FactorSource = FactorSource.DEFAULT
    detail: str = ""


BY_DEFAULT = Origin()
BY_RULE = Origin(FactorSource.RULE)
BY_OFFER = Origin(FactorSource.OFFER)
BY_POLICY = Origin(FactorSource.POLICY)


class Factor(NamedTuple):
    """One number of a score and where it came from."""

    value: float
    source: FactorSource = FactorSource.DEFAULT
    detail: str = ""


class Factors(NamedTuple):
    """What a score is made of. ``pressure``: what contacts of late take from it."""

    propensity: Factor
    value: Factor
    cost: Factor
    urgency: Factor
    pressure: Factor
    score: float


def factors_of(
    propensity: Factor,
    value: Factor,
    cost: Factor,
    left_micros: int | None,
    contacts: int,
    terms: Terms,
) -> Factors:
    """The factors and what they come to.

    ``left_micros``: of its validity, None: it does not end. ``contacts``: those that press.
    """
    left = (_FAR_AWAY if left_micros is None else max(left_micros, 0)) / HOUR
    halfway = terms.halfway_micros / HOUR
    urgency = 1.0 + (terms.most_urgent - 1.0) * halfway / (halfway + left)
    pressure = terms.pressure_weight * contacts
    score = propensity.value * (value.value - cost.value) * urgency - pressure
    stated = terms.stated
    return Factors(
        propensity,
        value,
        cost,
        Factor(urgency, *(BY_POLICY if "urgency" in stated else BY_DEFAULT)),
        Factor(pressure, *(BY_POLICY if "pressure" in stated else BY_DEFAULT)),
        round(score, 4),
    )

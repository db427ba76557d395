"""What the operator set about arbitration: propensities, what urgency and contacts weigh, the share of sales.

Where the operator says nothing, what every score was made of before there was such a policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.vocabulary.values import DAY, format_duration
from services.vocabulary.words import Category

ARBITRATION_FILE = "policies/arbitration.yaml"


@dataclass(frozen=True)
class Terms:
    """How scores and the share of sales are judged; recorded with each decision that differs from this.

    ``pressure_weight``: taken from a score for each contact within ``pressure_micros``. A score's urgency
    grows from 1 towards ``most_urgent`` as the end of validity comes closer, and is half way there when it
    is ``halfway_micros`` away. ``most_sales``: the share of a customer's contacts within ``share_micros``
    that may be sales; None: any. ``stated``: which of "pressure" and "urgency" the policy says.
    """

    pressure_weight: float = 0.1
    pressure_micros: int = 7 * DAY
    most_urgent: float = 2.0
    halfway_micros: int = DAY
    most_sales: float | None = None
    share_micros: int = 30 * DAY
    stated: tuple[str, ...] = ()


TERMS = Terms()


@dataclass(frozen=True)
class ArbitrationPolicy:
    """The operator's policy. Propensities from 0 to 1: of an offer, else of a category, else of any."""

    propensity: float | None = None
    by_category: Mapping[Category, float] = field(default_factory=dict)
    by_offer: Mapping[str, float] = field(default_factory=dict)
    terms: Terms = TERMS

    def propensity_of(self, offer: str, category: Category | None) -> float | None:
        """How likely a yes is by the policy; None: it is silent. ``offer`` empty: the action is none."""
        found = self.by_offer.get(offer) if offer else None
        if found is None and category is not None:
            found = self.by_category.get(category)
        return self.propensity if found is None else found


def over_share(most: float, window_micros: int, contacts: int, sales: int) -> str:
    """Why one more sales contact would be more than that share of all; empty: it would not.

    ``contacts``: those a customer had within that time, ``sales`` of them sales. Who had none may get one.
    """
    if not contacts or sales + 1 <= most * (contacts + 1):
        return ""
    return f"{share_words(most, window_micros)}; with this one {sales + 1} of {contacts + 1} would be"


def share_words(most: float, window_micros: int) -> str:
    """What the operator allows, for people."""
    return f"at most {most:.0%} of contacts in {format_duration(window_micros)} may be sales"


NO_POLICY = ArbitrationPolicy()

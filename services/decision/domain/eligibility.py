"""Whether a customer may be offered something: what the catalogue says of each offer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from services.decision.domain.errors import CatalogueConditionError
from services.decision.domain.expressions import condition_function
from services.decision.domain.language.conditions import parse_line
from services.decision.domain.language.lexer import LineError
from services.decision.domain.language.scope import Scope
from services.decision.domain.needs import leaf_needs
from services.decision.domain.program import Needs
from services.vocabulary.words import RefusalReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.decision.domain.situation import Situation
    from services.vocabulary.arbitration_policy import ArbitrationPolicy
    from services.vocabulary.catalogue import Catalogue, Offer

    _Read = tuple[str, Callable[[Situation], bool], Needs]
    """A condition as written, whether it holds, and what it looks at only with the customer's agreement."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Eligibility:
    """The offers of a catalogue with their conditions read once.

    Raises CatalogueConditionError for a condition that the rule language does not know; conditions may read
    the profile and things, not the event, windows or facts. ``policy``: what the operator says of how actions
    are judged; whoever finds that it changed puts the new one here.
    """

    policy: ArbitrationPolicy

    def __init__(self, catalogue: Catalogue) -> None:
        self.policy = catalogue.arbitration
        self._offers = catalogue.offers
        scope = Scope(
            catalogue, "", event_known=False, windows_known=False, facts_known=False, local_facts_known=False
        )
        self._conditions = {
            name: _conditions(offer, scope, catalogue) for name, offer in catalogue.offers.items()
        }

    def refusal(self, name: str, situation: Situation) -> tuple[RefusalReason | None, str]:
        """What stands against an offer on the customer's day of the event; None: nothing."""
        offer = self._offers.get(name)
        if offer is None:
            return RefusalReason.NOT_ELIGIBLE, "the catalogue no longer has this offer"
        moment = _EPOCH + timedelta(microseconds=situation.now_micros)
        if not offer.valid_on(moment.astimezone(ZoneInfo(situation.zone)).date()):
            return RefusalReason.EXPIRED, "the offer is not valid on this day"
        for line, holds, needs in self._conditions[name]:
            if needs.withheld(situation):
                detail = f"whether {line} rests on data the customer did not agree to have used"
                return RefusalReason.DATA_WITHHELD, detail
            if not holds(situation):
                return RefusalReason.NOT_ELIGIBLE, f"it does not hold that {line}"
        owned = situation.traits.get("products", ())
        clash = sorted(set(offer.excludes) & set(owned if isinstance(owned, tuple) else ()))
        if clash:
            return RefusalReason.NOT_ELIGIBLE, f"the customer has {clash[0]}, which excludes it"
        return None, ""

    def excludes(self, name: str) -> tuple[str, ...]:
        """The offers that do not go with this one, as the catalogue says under it."""
        offer = self._offers.get(name)
        return () if offer is None else offer.excludes


def _conditions(offer: Offer, scope: Scope, catalogue: Catalogue) -> tuple[_Read, ...]:
    try:
        read = [(line, parse_line(line, scope)) for line in offer.eligible]
    except LineError as error:
        raise CatalogueConditionError(f"offer {offer.name}, eligible: {error}") from error
    needs = leaf_needs([condition for _, condition in read], catalogue)
    return tuple(
        (line, condition_function(condition), needs.get(condition, Needs())) for line, condition in read
    )

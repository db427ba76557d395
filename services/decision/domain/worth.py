"""What an action is worth, by the rule's word, else by the offer's or the policy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from services.decision.domain.scoring import Factor, FactorSource
from services.vocabulary.words import ActionKind

if TYPE_CHECKING:
    from services.decision.domain.amounts import Amount
    from services.decision.domain.program import ActionSpec
    from services.decision.domain.situation import Situation
    from services.vocabulary.arbitration_policy import ArbitrationPolicy
    from services.vocabulary.catalogue import Catalogue


class Worth(NamedTuple):
    """The numbers of one action that do not change with time."""

    propensity: Factor
    value: Factor
    cost: Factor


_NOTHING = Factor(0.0)
_CERTAIN = Factor(1.0)


def worth_of(
    spec: ActionSpec, situation: Situation, catalogue: Catalogue, policy: ArbitrationPolicy
) -> Worth:
    """The numbers of an action for one customer.

    Where the rule is silent, or its formula comes to nothing, an offer is worth its price (in the operator's
    currency), and a yes is as likely as the policy of arbitration says.
    """
    return Worth(
        _said(spec.propensity, situation) or _likely(spec, situation, policy),
        _said(spec.value, situation) or _valued(spec, situation, catalogue),
        _said(spec.cost, situation) or _noted(spec.cost, situation, _NOTHING),
    )


def _said(amount: Amount | None, situation: Situation) -> Factor | None:
    value = None if amount is None else amount.of(situation)[0]
    return None if value is None else Factor(value, FactorSource.RULE)


def _likely(spec: ActionSpec, situation: Situation, policy: ArbitrationPolicy) -> Factor:
    offer = spec.name if spec.kind is ActionKind.OFFER else ""
    found = policy.propensity_of(offer, spec.category)
    default = _CERTAIN if found is None else Factor(found, FactorSource.POLICY)
    return _noted(spec.propensity, situation, default)


def _valued(spec: ActionSpec, situation: Situation, catalogue: Catalogue) -> Factor:
    offer = catalogue.offers.get(spec.name) if spec.kind is ActionKind.OFFER else None
    price = None if offer is None else offer.price
    default = _NOTHING
    if price is not None and price.currency == catalogue.currency:
        default = Factor(float(price.amount), FactorSource.OFFER)
    return _noted(spec.value, situation, default)


def _noted(amount: Amount | None, situation: Situation, default: Factor) -> Factor:
    """The default, with what is wrong with the formula that should have said it."""
    return default if amount is None else default._replace(detail=amount.of(situation)[1])

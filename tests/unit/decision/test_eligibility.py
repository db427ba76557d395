"""What the catalogue says of each offer."""

from dataclasses import replace
from datetime import date

import pytest

from services.decision.domain.eligibility import Eligibility
from services.decision.domain.errors import CatalogueConditionError
from services.decision.domain.situation import Situation
from services.vocabulary.values import parse_time
from services.vocabulary.words import Purpose, RefusalReason
from tests.unit.decision.generators import catalogue

OFFER = catalogue().offers["data-top-up"]


def asked(offer, traits=None, at="2026-12-31T23:30:00Z", zone="UTC", name="data-top-up", **more):
    now = parse_time(at)
    situation = Situation("topup.received", {}, now, 1, now, now, traits=traits or {}, zone=zone, **more)
    return Eligibility(replace(catalogue(), offers={"data-top-up": offer})).refusal(name, situation)


def test_an_offer_without_conditions_is_for_everybody():
    assert asked(OFFER) == (None, "")


def test_every_condition_must_hold_and_the_one_that_does_not_is_named():
    offer = replace(OFFER, eligible=("profile.better_plan exists", "profile.tenure_months >= 6"))
    assert asked(offer, {"better_plan": "m", "tenure_months": 6}) == (None, "")
    reason, detail = asked(offer, {"better_plan": "m", "tenure_months": 5})
    assert (reason, detail) == (
        RefusalReason.NOT_ELIGIBLE,
        "it does not hold that profile.tenure_months >= 6",
    )


def test_a_condition_on_data_that_is_withheld_is_not_taken_for_missing_data():
    offer = replace(OFFER, eligible=("profile.churn_risk missing", "profile.tenure_months >= 6"))
    assert asked(offer, {"tenure_months": 6}) == (None, "")
    reason, detail = asked(offer, {"tenure_months": 6}, withheld=frozenset({Purpose.PROFILING_USAGE}))
    assert reason is RefusalReason.DATA_WITHHELD
    assert (
        detail == "whether profile.churn_risk missing rests on data the customer did not agree to have used"
    )


def test_validity_is_judged_on_the_customers_day():
    offer = replace(OFFER, valid_from=date(2027, 1, 1))
    assert asked(offer)[0] is RefusalReason.EXPIRED
    assert asked(offer, zone="Europe/Paris") == (None, "")
    assert asked(replace(OFFER, valid_to=date(2026, 12, 31))) == (None, "")


def test_what_the_customer_has_may_exclude_it():
    offer = replace(OFFER, excludes=("unlimited",))
    assert asked(offer, {"products": ("tv", "unlimited")})[0] is RefusalReason.NOT_ELIGIBLE
    assert asked(offer, {"products": ("tv",)}) == (None, "")


def test_an_offer_that_is_gone_is_for_nobody():
    assert asked(OFFER, name="gone")[0] is RefusalReason.NOT_ELIGIBLE


def test_a_condition_that_is_none_is_told_with_its_offer():
    with pytest.raises(CatalogueConditionError, match="offer data-top-up, eligible"):
        asked(replace(OFFER, eligible=("profile.beter_plan exists",)))

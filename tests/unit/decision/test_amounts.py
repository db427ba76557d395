"""What an action is worth, costs and how likely a yes is: numbers, formulas, and what stands for them."""

from dataclasses import replace
from decimal import Decimal

import pytest

from services.decision.domain.amounts import bounds_of, divisors_of, may_be_zero
from services.decision.domain.scoring import Factor, FactorSource
from services.decision.domain.worth import worth_of
from services.vocabulary.arbitration_policy import NO_POLICY, ArbitrationPolicy
from services.vocabulary.values import Money
from services.vocabulary.words import Category, Purpose
from tests.unit.decision.generators import catalogue, compiled
from tests.unit.decision.test_language import make_situation

TEXT = """
ruleset: worth
trigger: usage.data_used
windows:
  sessions: {count: usage.data_used, last: 7d}
rules:
  - id: r
    do: %s
tests:
  - {name: t, then: {fires: [r]}}
"""
OFFER = "{offer: data-top-up, with: {gb: 2}, category: sales, expires: 24h%s}"
RULE, DEFAULT = FactorSource.RULE, FactorSource.DEFAULT
PRICE = 3.5


def spec_of(more: str):
    compilation = compiled(TEXT % OFFER % more)
    assert compilation.program is not None, compilation.problems
    return compilation.program.rule_sets[0].rules[0].actions[0]


def worth(more: str, known=None, **situation):
    known = known or catalogue()
    return worth_of(spec_of(more), make_situation(**situation), known, known.arbitration)


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("12.5", 12.5),
        ("-3", -3.0),
        ("profile.balance", 5.0),
        ("profile.usual_bill * 0.2", 4.0),
        ("profile.usual_bill - profile.balance * 2", 10.0),
        ("(profile.plan_data_mb + 1) / 2", 100.5),
        ("windows.sessions * 1.5", 4.5),
        ("event.mb", 120.5),
    ],
)
def test_a_number_or_a_formula_is_what_the_rule_says(formula, value):
    found = worth(f", value: {formula}", windows={"worth/sessions": 3})
    assert found.value == Factor(value, RULE)


@pytest.mark.parametrize(
    ("formula", "detail"),
    [
        ("profile.usual_bill / (profile.plan_data_mb - 200)", "formula divided by zero"),
        ("profile.usual_bill / profile.plan_data_mb / windows.sessions", "formula divided by zero"),
        ("profile.churn_risk * 10", "formula lacks profile.churn_risk"),
        ("profile.tenure_months * 1000000000", "formula gave 1.2e+10, not -1000000000 to 1000000000"),
    ],
)
def test_a_formula_that_comes_to_nothing_leaves_the_offers_price_and_says_why(formula, detail):
    traits = {
        "usual_bill": Money(Decimal(20), "EUR"),
        "plan_data_mb": 200,
        "tenure_months": 12,
    }
    found = worth(f", value: {formula}", traits=traits, windows={"worth/sessions": 0})
    assert found.value == Factor(PRICE, FactorSource.OFFER, detail)


def test_a_result_that_is_not_finite_is_none():
    found = worth(", value: event.mb * event.mb", event={"mb": 1e200})
    assert found.value == Factor(PRICE, FactorSource.OFFER, "formula has no finite result")
    whole = worth(", value: profile.plan_data_mb * profile.plan_data_mb", traits={"plan_data_mb": 10**200})
    assert whole.value == Factor(PRICE, FactorSource.OFFER, "formula has no finite result")


def test_withheld_data_leaves_the_default_and_does_not_keep_the_rule_from_firing():
    spec = spec_of(", propensity: profile.churn_risk, cost: profile.balance * 0.1")
    situation = make_situation(traits={"churn_risk": 0.4, "balance": Money(Decimal(5), "EUR")})
    assert worth_of(spec, situation, catalogue(), NO_POLICY).propensity == Factor(0.4, RULE)
    situation = replace(situation, withheld=frozenset({Purpose.PROFILING_USAGE}))
    found = worth_of(spec, situation, catalogue(), NO_POLICY)
    assert found.propensity.value == 1
    assert found.propensity.source is not RULE
    assert found.propensity.detail == "formula needs data the customer did not agree to have used"
    assert found.cost == Factor(0.5, RULE)
    rule = compiled(TEXT % OFFER % ", propensity: profile.churn_risk").program.rule_sets[0].rules[0]
    assert rule.purposes == frozenset()


def test_where_the_rule_is_silent_the_offer_and_the_policy_speak():
    bare = replace(catalogue(), arbitration=ArbitrationPolicy())
    silent = worth("", bare)
    assert silent == (Factor(1.0, DEFAULT), Factor(PRICE, FactorSource.OFFER), Factor(0.0, DEFAULT))
    policy = ArbitrationPolicy(0.9, {Category.SALES: 0.5}, {"data-top-up": 0.25})
    told = replace(catalogue(), arbitration=policy)
    assert worth("", told).propensity == Factor(0.25, FactorSource.POLICY)
    assert worth(", propensity: 0.75", told).propensity == Factor(0.75, RULE)
    other_money = replace(catalogue(), currency="CHF")
    assert worth("", other_money).value == Factor(0.0, DEFAULT)
    task = compiled(TEXT % "{task: call-back, category: service}").program.rule_sets[0].rules[0].actions[0]
    assert worth_of(task, make_situation(), told, policy) == (
        Factor(0.9, FactorSource.POLICY),
        Factor(0.0, DEFAULT),
        Factor(0.0, DEFAULT),
    )


@pytest.mark.parametrize(
    ("formula", "may"),
    [
        ("event.mb / profile.cycle_day", False),
        ("event.mb / (profile.cycle_day * 2)", False),
        ("event.mb / (windows.sessions + 1)", False),
        ("event.mb / household.members", False),
        ("event.mb / (event.mb / profile.cycle_day)", True),
        ("event.mb / (1 / profile.cycle_day)", False),
        ("event.mb / (profile.cycle_day - 1)", True),
        ("event.mb / windows.sessions", True),
        ("event.mb / (0 - windows.sessions - 1)", False),
    ],
)
def test_a_divisor_that_may_be_zero_is_found(formula, may):
    expression = spec_of(f", value: {formula}").value.expression
    zero = [
        divisor.source for divisor in divisors_of(expression) if may_be_zero(bounds_of(divisor, catalogue()))
    ]
    assert bool(zero) is may
    warned = [problem.check for problem in compiled(TEXT % OFFER % f", value: {formula}").problems]
    assert ("divided-by-zero" in warned) is may

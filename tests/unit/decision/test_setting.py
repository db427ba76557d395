"""What `set` writes: a value as written, or one computed from paths, typed and checked like the trait."""

from datetime import date
from typing import Any

import pytest

from services.decision.domain.arbitration import Candidate
from services.decision.domain.decide import Question, evaluate
from services.decision.domain.eligibility import Eligibility
from services.decision.domain.oracle import Oracle
from services.vocabulary.words import Purpose, RefusalReason
from tests.unit.decision.generators import catalogue
from tests.unit.decision.test_language import HEAD, make_situation, program_of


def asked_for(setting: str, **situation: Any) -> Candidate:
    text = f"{HEAD}rules:\n  - {{id: r, when: [], do: {{set: {setting}}}}}\n"
    question = Question("d", make_situation(**situation))
    evaluation, _ = evaluate(program_of(text), Oracle(), Eligibility(catalogue()), question)
    (candidate,) = evaluation.candidates
    return candidate


@pytest.mark.parametrize(
    ("setting", "written"),
    [
        ("{trait: upset, to: true}", True),
        ("{trait: contract_end, to: 2027-01-31}", "2027-01-31"),
        ("{trait: brand, to: '{profile.plan}'}", "m-20gb"),
        ("{trait: brand, to: 'on {profile.plan}, {windows.drops} drops'}", "on m-20gb, 0 drops"),
        ("{trait: usual_bill, to: '{profile.balance}'}", {"amount": "5.00", "currency": "EUR"}),
        ("{trait: churn_risk, to: '{profile.churn_risk}'}", 0.6),
        ("{trait: tenure_months, to: '{windows.drops}'}", 0),
        ("{trait: churn_risk, to: '{windows.drops}'}", 0),
        ("{trait: upset, to: '{profile.prepaid}'}", True),
        ("{trait: products, to: '{profile.products}'}", ["tv", "internet"]),
        ("{trait: contract_end, to: '{profile.contract_end}'}", "2026-06-10"),
    ],
)
def test_value_is_written_in_the_form_in_which_it_is_sent(setting: str, written: object) -> None:
    candidate = asked_for(setting)
    assert (candidate.refusal, candidate.to_value) == (None, written)


@pytest.mark.parametrize(
    ("setting", "detail"),
    [
        ("{trait: brand, to: '{profile.home_area}'}", "{profile.home_area} has no value"),
        ("{trait: cycle_day, to: '{profile.plan_data_mb}'}", "cycle_day cannot be set: 200 is out of range"),
        ("{trait: preferred_channel, to: '{profile.plan}'}", "m-20gb is none of the words allowed"),
    ],
)
def test_what_cannot_be_written_is_refused_with_the_reason(setting: str, detail: str) -> None:
    candidate = asked_for(setting)
    assert (candidate.refusal, candidate.to_value) == (RefusalReason.NOT_ELIGIBLE, None)
    assert detail in candidate.detail


def test_computed_value_needs_what_it_is_computed_from() -> None:
    withheld = frozenset({Purpose.PROFILING_USAGE})
    complaint: dict[str, Any] = {"event_type": "complaint.opened", "event": {"complaint": "c", "topic": "x"}}
    setting = "{trait: brand, to: '{profile.better_plan}'}"
    candidate = asked_for(setting, **complaint, withheld=withheld, traits={"better_plan": "m"})
    assert candidate.refusal is RefusalReason.DATA_WITHHELD
    assert asked_for(setting, **complaint, traits={"better_plan": "m"}).to_value == "m"


def test_date_is_no_text_where_a_text_is_wanted() -> None:
    candidate = asked_for(
        "{trait: brand, to: 'until {profile.contract_end}'}", traits={"contract_end": date(2026, 6, 10)}
    )
    assert candidate.to_value == "until 2026-06-10"

"""What the operator says of arbitration is what the code gets; every mistake is named with file and line."""

from pathlib import Path

import pytest

from services.vocabulary.arbitration_policy import NO_POLICY, TERMS, ArbitrationPolicy, Terms
from services.vocabulary.arbitration_reader import read_arbitration
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import Category
from services.vocabulary.yaml_section import Mistakes, read_yaml
from tests.unit.vocabulary.test_catalogue import GOOD, mistakes_of, write

WHOLE = """
    propensity: {default: 0.5, sales: 0.25, offers: {more: 0}}
    pressure: {weight: 2, within: 14d}
    urgency: {most: 3, halfway: 12h}
    sales_share: {most: 0.5, within: 30d}
    """


@pytest.fixture
def rules(tmp_path):
    return write(tmp_path / "rules", GOOD)


def read(folder: Path, text: str) -> tuple[ArbitrationPolicy, list[str]]:
    write(folder, {"arbitration.yaml": text})
    mistakes = Mistakes()
    section = read_yaml(folder / "arbitration.yaml", "policies/arbitration.yaml", mistakes)
    assert section is not None
    policy = read_arbitration(section, {"more", "less"})
    return policy, [str(mistake) for mistake in mistakes.found]


def test_a_whole_policy(tmp_path):
    policy, mistakes = read(tmp_path, WHOLE)
    assert not mistakes
    assert policy.terms == Terms(2.0, 14 * DAY, 3.0, 12 * HOUR, 0.5, 30 * DAY, ("pressure", "urgency"))
    assert policy.propensity_of("more", Category.SALES) == 0
    assert policy.propensity_of("less", Category.SALES) == 0.25
    assert policy.propensity_of("", Category.SALES) == 0.25
    assert policy.propensity_of("", Category.SURVEY) == policy.propensity_of("", None) == 0.5


def test_what_is_left_out_stands_at_its_default(tmp_path):
    assert read(tmp_path, "pressure: {weight: 1}\n")[0].terms == Terms(
        pressure_weight=1, stated=("pressure",)
    )
    policy, _ = read(tmp_path, "{}\n")
    assert policy == NO_POLICY
    assert policy.propensity_of("more", Category.SALES) is None


def test_it_stands_beside_the_catalogue_and_is_of_its_version(rules):
    without = load_catalogue(rules)
    assert without.arbitration == NO_POLICY
    write(rules, {"policies/arbitration.yaml": "propensity: {offers: {more: 0.5}}\n"})
    found = load_catalogue(rules)
    assert found.arbitration.by_offer == {"more": 0.5}
    assert found.version != without.version
    write(rules, {"policies/arbitration.yaml": "propensity: {offers: {moer: 0.5}}\n"})
    assert mistakes_of(rules) == [
        "rules/policies/arbitration.yaml:1: propensity.offers.moer is no offer; did you mean more?"
    ]


def test_the_shipped_policy_weighs_as_it_did_before_there_was_one():
    terms = load_catalogue(Path("rules")).arbitration.terms
    assert (terms.pressure_weight, terms.pressure_micros) == (TERMS.pressure_weight, TERMS.pressure_micros)
    assert (terms.most_urgent, terms.halfway_micros) == (TERMS.most_urgent, TERMS.halfway_micros)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("propensity: {sales: 1.5}\n", "1: propensity.sales is 1.5; write a number from 0 to 1"),
        ("propensity:\n  default: .nan\n", "2: propensity.default is nan; write a number from 0 to 1"),
        ("propensity: {sale: 1}\n", "1: propensity.sale is not known here; did you mean sales?"),
        ("pressure: {weight: heavy}\n", "1: pressure.weight must be a number; write it without quotes: 0.5"),
        ("pressure: {within: 7}\n", "1: pressure.within must be a length of time; write 30d, 24h or 15m"),
        ("pressure: 7\n", "1: pressure must be a mapping; write key: value lines below it"),
        ("pressure: {weight: -1}\n", "1: pressure.weight is -1; write a number from 0 to 1e+06"),
        (
            "pressure: {within: 500d}\n",
            "1: pressure.within is 500d, and contacts are known for 403d; write 30d",
        ),
        ("pressure: {within: soon}\n", "1: pressure.within is not a length of time"),
        ("urgency: {most: 0.5}\n", "1: urgency.most is 0.5; write a number from 1 to 100"),
        ("urgency: {halfway: 0h}\n", "1: urgency.halfway is no length of time; write 1d"),
        ("sales_share: {most: 0}\n", "1: sales_share.most is 0; write a number above 0 and at most 1"),
        ("sales_share: {within: 30d}\n", "1: sales_share.most is missing; write the share"),
        ("sale_share: {most: 1}\n", "1: sale_share is not known here; did you mean sales_share?"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(tmp_path, text, mistake):
    found = read(tmp_path, text)[1]
    assert [one for one in found if one.startswith(f"policies/arbitration.yaml:{mistake}")], found

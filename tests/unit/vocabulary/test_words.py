"""Words: the table of categories says what the catalogue promises."""

import pytest

from services.vocabulary.words import (
    CATEGORY_FACTS,
    CONSENT_STRICTNESS,
    UNKNOWN_MEANS_YES,
    CapsClass,
    Category,
    Channel,
    ConsentState,
    InQuietHours,
    OnStop,
    OverCap,
    Purpose,
    RefusalReason,
)


def test_every_category_has_facts_and_a_tier_of_its_own_in_the_order_of_the_list():
    assert [CATEGORY_FACTS[category].tier for category in Category] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("category", "purpose", "unknown_means_yes"),
    [
        (Category.MANDATORY, None, True),
        (Category.SERVICE, Purpose.SERVICE, True),
        (Category.RETENTION, Purpose.MARKETING, False),
        (Category.SALES, Purpose.MARKETING, False),
        (Category.SURVEY, Purpose.RESEARCH, False),
    ],
)
def test_the_category_decides_the_consent(category, purpose, unknown_means_yes):
    facts = CATEGORY_FACTS[category]
    assert facts.purpose is purpose
    assert facts.unknown_means_yes is unknown_means_yes
    assert purpose is None or (purpose in UNKNOWN_MEANS_YES) is unknown_means_yes


def test_only_mandatory_needs_a_ground_and_passes_a_stop():
    assert [c for c in Category if CATEGORY_FACTS[c].needs_ground] == [Category.MANDATORY]
    assert [c for c in Category if CATEGORY_FACTS[c].on_stop is OnStop.PASSES] == [Category.MANDATORY]
    assert CATEGORY_FACTS[Category.SERVICE].on_stop is OnStop.OWN_SWITCH


def test_retention_and_sales_share_their_caps_and_compete_for_the_conversation():
    assert {c for c in Category if CATEGORY_FACTS[c].commercial} == {Category.RETENTION, Category.SALES}
    assert {c for c in Category if CATEGORY_FACTS[c].caps is CapsClass.COMMERCIAL} == {
        Category.RETENTION,
        Category.SALES,
    }


def test_only_service_waits_when_a_cap_is_used_up():
    assert {c for c in Category if CATEGORY_FACTS[c].over_cap is OverCap.DEFER} == {Category.SERVICE}


def test_what_quiet_hours_do():
    assert {c: CATEGORY_FACTS[c].in_quiet_hours for c in Category} == {
        Category.MANDATORY: InQuietHours.GROUND_DECIDES,
        Category.SERVICE: InQuietHours.DEFER,
        Category.RETENTION: InQuietHours.DECIDE_AGAIN,
        Category.SALES: InQuietHours.DECIDE_AGAIN,
        Category.SURVEY: InQuietHours.DECIDE_AGAIN,
    }


def test_a_hand_over_that_nobody_knows_of_is_repeated_for_mandatory_and_service_only():
    assert {c for c in Category if CATEGORY_FACTS[c].resend_when_unknown} == {
        Category.MANDATORY,
        Category.SERVICE,
    }


def test_granted_is_the_least_strict_state_and_objected_the_strictest():
    order = sorted(ConsentState, key=CONSENT_STRICTNESS.__getitem__)
    assert order[0] is ConsentState.GRANTED
    assert order[-1] is ConsentState.OBJECTED
    assert len(set(CONSENT_STRICTNESS.values())) == len(ConsentState)


def test_words_read_as_in_the_catalogue():
    assert all(reason.value == reason.name for reason in RefusalReason)
    assert list(Channel) == ["sms", "email", "push", "app", "web", "call", "webhook", "task"]

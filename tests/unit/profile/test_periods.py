"""Whose an identity was when: each keeps their time, whatever order the news of it comes in."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.identities import (
    FOREVER,
    Owner,
    Period,
    handed_over,
    owner_at,
    period_at,
    resolve,
)
from services.vocabulary.identities import Identity

ALWAYS = [Period(1, "", 0)]


def test_a_number_that_is_handed_on_was_its_old_owners_until_then():
    periods = handed_over(ALWAYS, 2, "2", 50)
    assert periods == [Period(1, "", 0, 50), Period(2, "2", 50)]
    assert owner_at(periods, 49) == Owner(1, "", 0)
    assert owner_at(periods, 50) == Owner(2, "2", 50)


def test_the_same_word_again_changes_nothing():
    periods = handed_over(ALWAYS, 2, "", 50)
    assert handed_over(periods, 2, "", 70) == periods
    assert handed_over(periods, 1, "", 20) == periods


def test_news_that_come_late_are_put_where_they_belong():
    periods = handed_over(handed_over(ALWAYS, 3, "", 90), 2, "", 50)
    assert [(period.customer, period.since_micros, period.until_micros) for period in periods] == [
        (1, 0, 50),
        (2, 50, 90),
        (3, 90, FOREVER),
    ]


def test_what_is_given_up_is_nobodys_until_somebody_has_it():
    periods = handed_over(ALWAYS, 0, "", 50)
    assert owner_at(periods, 60) is None
    assert owner_at(periods, 49) == Owner(1, "", 0)
    periods = handed_over(periods, 2, "", 80)
    assert owner_at(periods, 70) is None
    assert owner_at(periods, 80) == Owner(2, "", 80)


def test_before_anything_is_known_it_is_nobodys():
    periods = handed_over([], 2, "", 50)
    assert owner_at(periods, 49) is None
    assert handed_over([], 0, "", 50) == []
    assert handed_over(periods, 1, "", 30) == [Period(1, "", 30, 50), Period(2, "", 50)]


@given(st.lists(st.integers(1, 40), unique=True, max_size=6), st.randoms())
def test_the_order_of_the_news_does_not_matter(times, chance):
    told = [(place + 10, time) for place, time in enumerate(times)]
    shuffled = chance.sample(told, len(told))
    one, other = list(ALWAYS), list(ALWAYS)
    for (customer, time), (later, its_time) in zip(told, shuffled, strict=True):
        one, other = handed_over(one, customer, "", time), handed_over(other, later, "", its_time)
    assert one == other
    assert all(a.until_micros == b.since_micros for a, b in pairwise(one))
    for customer, time in told:
        period = period_at(one, time)
        assert period is not None
        assert period.customer == customer


def test_who_is_certain_goes_before_who_may_share():
    mail, device, crm = Identity("email", "a@b.example"), Identity("device", "d"), Identity("crm", "9")
    found = resolve((device, mail, crm), {device: Owner(1), mail: Owner(2, via=7)})
    assert found is not None
    assert (found.customer, found.matched, found.via, found.unowned) == (2, mail, 7, (crm,))
    assert found.others == ((device, 1),)
    assert found.conflict

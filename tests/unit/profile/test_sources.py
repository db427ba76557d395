"""Sources of a trait: who is believed, for how long, and that the order of arrival decides nothing."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.adapters.packed_traits import pack_words, unpack_words
from services.profile.domain.traits import Trait, changed_by, trait_at, with_word
from services.vocabulary.catalogue import Precedence

ORDER = Precedence(("billing", "crm"), fresh_micros=100)


def said(source: str, time: int, value: str | None, until: int = 0) -> Trait:
    return Trait("plan", value, time, source, until_micros=until)


def heard(*words: Trait, order: Precedence | None = ORDER) -> Trait:
    trait: Trait | None = None
    for word in words:
        trait = with_word(trait, word, order) or trait
    assert trait is not None
    return trait


def test_a_lower_source_counts_while_no_higher_one_is_known():
    trait = heard(said("crm", 10, "s"), said("app", 20, "m"))
    assert trait_at(trait, 30, ORDER).value == "s"
    assert trait_at(heard(trait, said("billing", 5, "l")), 30, ORDER).value == "l"


def test_a_lower_source_counts_once_the_higher_is_stale_at_the_time_asked():
    trait = heard(said("billing", 10, "l"), said("crm", 50, "s"))
    assert trait_at(trait, 110, ORDER).value == "l"
    assert trait_at(trait, 111, ORDER).value == "s"
    assert trait_at(trait, 151, ORDER).value == "s"  # both are stale: the newest is the best there is
    assert trait_at(trait, 60, Precedence(("billing", "crm"))).value == "l"


def test_the_same_word_again_is_fresh_again():
    trait = heard(said("billing", 10, "l"), said("crm", 50, "s"), said("billing", 100, "l"))
    assert trait_at(trait, 150, ORDER).value == "l"


def test_a_correction_of_the_same_time_replaces_and_an_older_word_does_not():
    trait = heard(said("billing", 10, "l"), said("billing", 10, "xl"), said("billing", 9, "s"))
    assert (trait.value, trait.others) == ("xl", ())
    assert heard(said("app", 10, "l"), said("app", 10, "xl"), order=None).value == "xl"


def test_a_word_taken_back_gives_way_to_the_next_and_outweighs_older_ones_that_come_late():
    trait = heard(said("crm", 10, "s"), said("billing", 20, None), said("billing", 15, "l"))
    assert trait_at(trait, 30, ORDER).value == "s"
    gone = heard(trait, said("crm", 25, None))
    assert gone.value is None
    assert heard(said("app", 10, None), said("app", 5, "s"), order=None).value is None


def test_a_late_word_between_two_alike_does_not_win():
    trait = heard(said("app", 5, "m"), said("app", 9, "m"), said("app", 7, "l"), order=None)
    assert (trait.value, trait.time_micros) == ("m", 9)


def test_a_word_that_ends_gives_way_to_the_next():
    trait = heard(said("billing", 10, "l", until=40), said("crm", 5, "s"))
    assert [trait_at(trait, at, ORDER).value for at in (39, 40)] == ["l", "s"]


def test_what_does_not_count_changes_nothing_that_holds():
    known = {("plan", ""): heard(said("billing", 10, "l"))}
    assert not changed_by(known, said("crm", 20, "s"), ORDER)
    assert changed_by(known, said("billing", 20, "s"), ORDER)


WORDS = st.builds(
    said,
    st.sampled_from(["billing", "crm", "app", "shop"]),
    st.integers(1, 6).map(lambda place: place * 40),
    st.sampled_from(["s", "m", None]),
)


@given(st.lists(WORDS, min_size=1, max_size=4, unique_by=lambda word: (word.source, word.time_micros)))
def test_the_order_of_arrival_decides_nothing(words):
    found = {
        tuple(
            (at.value, at.source) for at in (trait_at(heard(*arrival), asked, ORDER) for asked in (250, 400))
        )
        for arrival in permutations(words)
    }
    assert len(found) == 1


@pytest.mark.parametrize("value", ["s", None])
def test_other_words_are_kept_as_they_were_said(value, catalogue_types):
    trait = heard(said("billing", 10, "l"), said("crm", 5, value, until=70))
    assert unpack_words(pack_words([trait], catalogue_types)) == {("plan", ""): trait.others}

"""Double opt-in: a grant that must be confirmed is no yes before, and its token stands for it alone."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.confirmation import Confirming, read_token, token_of
from services.profile.domain.consent import Consents, entries_of, project
from services.vocabulary.values import DAY, MINUTE
from services.vocabulary.words import Channel, ConsentState, Purpose
from tests.unit.profile.test_consent import EMAIL, MARKETING, SMS, said

NOW = 1_790_000_000_000_000
HELD = replace(said("granted", NOW, channel=EMAIL), held=True)
CONFIRMING = Confirming(42, MARKETING, EMAIL, NOW, NOW + 7 * DAY)


def mac(part: bytes) -> bytes:
    return sha256(b"key" + part).digest()


def test_a_token_stands_for_one_grant_until_it_ends_and_shows_no_customer():
    token = token_of(CONFIRMING, mac)
    found = read_token(token, mac, NOW)
    assert found is not None
    assert (found.customer, found.purpose, found.channel, found.said_micros) == (42, MARKETING, EMAIL, NOW)
    assert 0 <= found.until_micros - CONFIRMING.until_micros < MINUTE
    assert read_token(token, mac, found.until_micros) is None
    assert token_of(replace(CONFIRMING, customer=43), mac)[:20] == token[:20]
    assert token_of(replace(CONFIRMING, customer=43), mac)[20:] != token[20:]


@given(st.integers(0, 51), st.sampled_from("AZaz09-_"))
def test_a_token_that_was_changed_is_none_of_ours(place, letter):
    token = token_of(CONFIRMING, mac)
    changed = token[:place] + letter + token[place + 1 :]
    assert changed == token or read_token(changed, mac, NOW) is None


@pytest.mark.parametrize("token", ["", "x", "é" * 52, "=" * 52, "A" * 52])
def test_what_is_no_token_is_none(token):
    assert read_token(token, mac, NOW) is None
    assert read_token(token_of(CONFIRMING, mac), lambda part: sha256(part).digest(), NOW) is None


def test_a_grant_is_held_back_where_it_must_be_confirmed_and_nowhere_else():
    grant = said("granted", 5, channel=EMAIL)
    assert entries_of(grant, {EMAIL}, proved=False) == (replace(grant, held=True),)
    assert entries_of(grant, {EMAIL}, proved=True) == (grant,)
    assert entries_of(grant, {SMS}, proved=False) == (grant,)
    refusal = said("withdrawn", 5)
    assert entries_of(refusal, {EMAIL}, proved=False) == (refusal,)
    everywhere = project(entries_of(said("granted", 5), {EMAIL}, proved=False))
    assert not everywhere.allows(MARKETING, EMAIL, 9)
    for channel in set(Channel) - {EMAIL}:
        assert everywhere.allows(MARKETING, channel, 9)


def test_a_held_grant_is_no_yes_takes_no_yes_away_and_ends_with_the_persons_next_word():
    consents = Consents()
    assert "confirm" in consents.add(HELD)
    assert not consents.allows(MARKETING, EMAIL, NOW)
    assert consents.prevailing(MARKETING, EMAIL) is None
    assert consents.waiting(MARKETING, EMAIL) == HELD
    assert consents.all_recorded() == []
    earlier = project([said("granted", NOW - 5, channel=EMAIL), HELD])
    assert earlier.allows(MARKETING, EMAIL, NOW)
    for word in (said("granted", NOW + 1, channel=EMAIL), said("withdrawn", NOW + 1)):
        settled = project([word, HELD])
        assert settled.waiting(MARKETING, EMAIL) is None
        assert settled.all_waiting() == []
        assert settled.effective(MARKETING, EMAIL, NOW + 2) is word.state
    staff = project([said("granted", NOW + 1, by="staff", channel=SMS), HELD])
    assert staff.waiting(MARKETING, EMAIL) == HELD


def test_a_held_grant_never_lifts_a_refusal():
    consents = project([said("objected", NOW - 1), HELD])
    assert consents.effective(MARKETING, EMAIL, NOW) is ConsentState.OBJECTED
    assert not consents.allows(MARKETING, EMAIL, NOW)
    assert not Consents().allows(Purpose.MARKETING, None, NOW)
    assert Consents().allows(Purpose.SERVICE, None, NOW)

"""Values sealed and found again: only with the right keys, only where they belong, never the same twice."""

import json

import pytest

from services.runtime.errors import SettingError
from services.runtime.keys import Keyring, Sealer, SealError, UnknownDataKeyError, sealed_by
from tests.fakes.keys import RING, sealer


def test_what_was_sealed_opens_where_it_belongs_and_nowhere_else():
    sealed = sealer().seal_text("Ada Lovelace", "record/42")
    assert b"Ada" not in sealed
    assert sealer().open_text(sealed, "record/42") == "Ada Lovelace"
    with pytest.raises(SealError, match="record/43 cannot be opened"):
        sealer().open(sealed, "record/43")


@pytest.mark.parametrize("place", [0, 4, 8, 20, -1])
def test_a_value_with_one_bit_changed_does_not_open(place):
    sealed = bytearray(sealer().seal(b"secret", "record/42"))
    sealed[place] ^= 1
    with pytest.raises((SealError, UnknownDataKeyError), match="record/42"):
        sealer().open(bytes(sealed), "record/42")


@pytest.mark.parametrize("value", [b"", b"plain text that nobody sealed at all, and long"])
def test_what_was_never_sealed_is_an_error_and_no_empty_answer(value):
    with pytest.raises(SealError, match="record/42 cannot be opened: it is not a sealed value"):
        sealer().open(value, "record/42")


def test_no_two_values_have_the_same_nonce():
    one = sealer()
    sealed = {one.seal(b"x", "a")[5:17] for _ in range(1_000)} | {sealer().seal(b"x", "a")[5:17]}
    assert len(sealed) == 1_001


def test_values_of_an_older_data_key_open_and_new_ones_are_sealed_by_the_current():
    one = sealer()
    old = one.seal(b"x", "a")
    one.load({1: b"d" * 32, 2: b"e" * 32}, 2)
    assert (sealed_by(old), sealed_by(one.seal(b"x", "a"))) == (1, 2)
    assert one.open(old, "a") == b"x"
    assert not one.is_current(old)
    one.load({2: b"e" * 32}, 2)
    with pytest.raises(SealError, match="its data key is gone"):
        one.open(old, "a")


def test_a_data_key_that_another_process_knows_already_is_waited_for():
    other = sealer()
    other.load({1: b"d" * 32, 2: b"e" * 32}, 2)
    with pytest.raises(UnknownDataKeyError, match="not read yet"):
        sealer().open(other.seal(b"x", "a"), "a")


def test_a_look_up_needs_the_key_and_says_nothing():
    found = RING.lookup("msisdn:+33612345678")
    assert len(found) == 16
    assert found == Keyring.parse(RING.text()).lookup("msisdn:+33612345678")
    assert found != RING.lookup("msisdn:+33612345679")
    assert found != Keyring(b"m" * 32, RING.wrapping, RING.current).lookup("msisdn:+33612345678")
    assert RING.mac("ledger", b"x") != RING.mac("other", b"x")
    assert RING.mac("a", b"\x00b") != RING.mac("a\x00", b"b") or len(RING.mac("a", b"b")) == 32


def test_a_rotated_ring_unwraps_what_the_one_before_wrapped():
    name, wrapped = RING.wrap(b"k" * 32, "profile/data_key/1")
    after = RING.rotated()
    assert after.unwrap(name, wrapped, "profile/data_key/1") == b"k" * 32
    assert after.wrap(b"k" * 32, "x")[0] == after.current != name
    with pytest.raises(SealError, match="cannot be unwrapped"):
        after.unwrap(name, wrapped, "channel/data_key/1")
    with pytest.raises(SealError, match="has no key 'first'"):
        after.without([name, after.current]).unwrap(name, wrapped, "profile/data_key/1")


@pytest.mark.parametrize(
    "change",
    [{"current": "other"}, {"lookup": "c2hvcnQ="}, {"keys": []}, {"keys": {"first": "not base64!"}}],
)
def test_a_keys_file_that_is_wrong_is_named_without_what_it_holds(change):
    text = json.dumps(json.loads(RING.text()) | change)
    with pytest.raises(SettingError, match="keys file") as caught:
        Keyring.parse(text)
    assert "bGxs" not in str(caught.value)


def test_without_a_keys_file_nothing_starts(tmp_path):
    with pytest.raises(SettingError, match="RAPPORT_KEYS_FILE is not set"):
        Keyring.read("")
    with pytest.raises(SettingError, match="No such file"):
        Keyring.read(str(tmp_path / "none"))
    assert "bGxs" not in repr(RING)
    assert isinstance(Sealer(RING), Sealer)

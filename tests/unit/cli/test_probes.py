"""When a role counts as alive no more."""

import pytest

from services.cli.stack.probes import Liveness


class Watched:
    """A role that says that it lives, or does not, at times that the test sets."""

    def __init__(self, *, patience):
        self.alive, self.time = True, 0.0
        self.liveness = Liveness(
            "nowhere", patience, now=lambda: self.time, alive=lambda _target, _name: self.alive
        )

    def asked_at(self, time):
        self.time = time
        return self.liveness()


def test_one_that_says_that_it_lives_is_left_alone():
    watched = Watched(patience=10)
    assert [watched.asked_at(second) for second in range(0, 60, 3)] == [""] * 20


def test_silence_counts_only_when_it_lasts_and_a_word_ends_it():
    watched = Watched(patience=10)
    watched.alive = False
    assert [watched.asked_at(second) for second in (0, 3, 6, 9)] == [""] * 4
    watched.alive = True
    assert not watched.asked_at(9.5)
    watched.alive = False
    assert [watched.asked_at(second) for second in (12, 15, 18, 21)] == [""] * 4
    assert "10 s" in watched.asked_at(22)


def test_a_new_process_has_its_own_time():
    watched = Watched(patience=10)
    watched.alive = False
    assert [watched.asked_at(second) for second in (0, 3, 6, 9)] == [""] * 4
    assert watched.asked_at(12)
    assert [watched.asked_at(second) for second in (15, 18, 21)] == [""] * 3
    assert [watched.asked_at(second) for second in (60, 63)] == ["", ""], "nobody asked for a long time"


@pytest.mark.parametrize("second", [0, 1_000])
def test_without_patience_set_it_is_never_given_up(second):
    watched = Watched(patience=0)
    watched.alive = False
    assert not watched.asked_at(second)

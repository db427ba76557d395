"""Long messages of subscribers are made whole, and a message that comes again keeps its key."""

import pytest

from services.channel.adapters.smpp_delivered import Written
from services.channel.adapters.smpp_mobile import Joining, Keys
from services.channel.adapters.smpp_texts import Octets, Part, text_of

MINUTE = 60_000_000


def piece(number: int, total: int, said: str, reference: int = 7, codec: str = "utf-16-be") -> Written:
    return cut(number, total, said.encode(codec), reference, codec)


def cut(number: int, total: int, octets: bytes, reference: int = 7, codec: str = "utf-16-be") -> Written:
    whole = Octets(octets, codec)
    return Written("+33612345678", "38080", (whole,), Part(reference, number, total), octets)


def said(written: Written | None) -> str:
    assert written is not None
    return text_of(written.pieces)


def test_parts_in_any_order_make_one_message() -> None:
    joining = Joining()
    assert joining.take(piece(3, 3, "c"), 0.0) == (None, ())
    assert joining.take(piece(1, 3, "a"), 1.0) == (None, ())
    assert joining.take(piece(1, 3, "a"), 1.0) == (None, ())
    whole, pushed = joining.take(piece(2, 3, "b"), 2.0)
    assert (said(whole), pushed, len(joining)) == ("abc", (), 0)


def test_a_character_cut_in_two_is_whole_again() -> None:
    joining = Joining()
    smile = "😀".encode("utf-16-be")
    joining.take(cut(1, 2, smile[:2]), 0.0)
    assert said(joining.take(cut(2, 2, smile[2:]), 0.0)[0]) == "😀"


def test_parts_of_different_messages_do_not_mix() -> None:
    joining = Joining()
    joining.take(piece(1, 2, "a", reference=1), 0.0)
    joining.take(piece(1, 2, "b", reference=2), 0.0)
    assert said(joining.take(piece(2, 2, "2", reference=2), 0.0)[0]) == "b2"
    assert said(joining.take(piece(2, 2, "1", reference=1), 0.0)[0]) == "a1"


def test_what_is_not_whole_in_time_comes_with_its_gap() -> None:
    joining = Joining(seconds=60.0)
    joining.take(piece(2, 4, "b"), 0.0)
    joining.take(piece(1, 4, "a"), 30.0)
    assert joining.next_deadline() == 60.0
    assert joining.overdue(59.0) == ()
    (late,) = joining.overdue(60.0)
    assert said(late) == "ab..."
    assert joining.next_deadline() is None


@pytest.mark.parametrize("bounds", [{"most": 3}, {"most_octets": 3 * 400}])
def test_memory_is_bounded(bounds: dict[str, int]) -> None:
    joining = Joining(**bounds)
    pushed = [
        early
        for reference in range(50)
        for early in joining.take(piece(1, 2, "x" * 200, reference=reference), 0.0)[1]
    ]
    assert len(joining) == 3
    assert len(pushed) == 47
    assert said(pushed[0]) == "x" * 200 + "..."


def test_a_part_of_a_message_made_whole_opens_no_new_one() -> None:
    joining = Joining(seconds=60.0)
    joining.take(piece(1, 2, "a"), 0.0)
    joining.take(piece(2, 2, "b"), 1.0)
    assert joining.take(piece(2, 2, "b"), 2.0) == (None, ())
    assert len(joining) == 0
    joining.overdue(61.0)
    joining.take(piece(2, 2, "b"), 62.0)
    assert len(joining) == 1  # long after, a handset may have counted round to the same reference


class Wall:
    def __init__(self) -> None:
        self.micros = 29_000_000 * MINUTE

    def __call__(self) -> int:
        return self.micros


STOP, START = (cut(1, 1, words.encode()) for words in ("STOP", "START"))


def test_the_same_words_said_again_are_another_message() -> None:
    keys = Keys(Wall())
    given = []
    for words in (STOP, START, STOP, STOP):
        key = keys.key(words, "link", 0.0)
        keys.answered(key, "link", 0.0)
        given.append(key)
    assert len(set(given)) == 4


def test_two_that_wait_for_their_answer_are_two() -> None:
    keys = Keys(Wall())
    assert keys.key(STOP, "link", 0.0) != keys.key(STOP, "link", 0.0)


@pytest.mark.parametrize(
    ("answered", "lost", "same"), [(None, 5.0, True), (4.0, 5.0, True), (1.0, 5.0, False)]
)
def test_what_comes_again_over_the_next_link_keeps_its_key(
    answered: float | None, lost: float, *, same: bool
) -> None:
    wall = Wall()
    keys = Keys(wall)
    first = keys.key(STOP, "link", 0.0)
    if answered is not None:
        keys.answered(first, "link", answered)
    keys.link_lost("link", lost)
    wall.micros += 2 * MINUTE
    assert (keys.key(STOP, "next", 100.0) == first) is same
    assert keys.key(STOP, "next", 101.0) != first


def test_it_is_not_awaited_for_ever() -> None:
    wall = Wall()
    keys = Keys(wall)
    first = keys.key(STOP, "link", 0.0)
    keys.link_lost("link", 1.0)
    wall.micros += 20 * MINUTE
    assert keys.key(STOP, "next", 1_300.0) != first


def test_after_a_restart_the_minute_tells() -> None:
    wall = Wall()
    first = Keys(wall).key(STOP, "link", 0.0)
    assert Keys(wall).key(STOP, "link", 0.0) == first
    wall.micros += MINUTE
    assert Keys(wall).key(STOP, "link", 0.0) != first

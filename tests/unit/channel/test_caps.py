"""Frequency caps over sliding windows."""

from hypothesis import given
from hypothesis import strategies as st

from services.channel.domain.caps import Cap, exceeded, longest_window
from services.channel.domain.contact import Contact
from services.vocabulary.values import DAY, HOUR, MINUTE
from services.vocabulary.words import Category, Channel

ALL = frozenset(Category)
SALES = frozenset({Category.SALES, Category.RETENTION})


def contact(
    time_micros: int, category: Category = Category.SALES, channel: Channel = Channel.SMS, name: str = "a"
):
    return Contact(1, f"m-{time_micros}-{name}", channel, category, name, time_micros)


def cap(most: int, window: int, **kwargs):
    return Cap(
        kwargs.pop("cap_name", "c"),
        most,
        window,
        kwargs.pop("limits", SALES),
        kwargs.pop("counts", SALES),
        **kwargs,
    )


def ask(caps, contacts, now: int, category=Category.SALES, channel=Channel.SMS, name="a"):
    return exceeded(caps, contacts, category, channel, name, now)


def test_below_the_threshold_passes_and_at_it_says_which_cap_and_count() -> None:
    one = cap(2, HOUR)
    assert ask([one], [contact(0)], 1) is None
    found = ask([one], [contact(0), contact(5)], 10)
    assert found is not None
    assert (found.cap, found.count, found.next_micros) == (one, 2, HOUR)


def test_the_window_is_open_at_its_old_end() -> None:
    one = cap(1, HOUR)
    assert ask([one], [contact(0)], HOUR - 1) is not None
    assert ask([one], [contact(0)], HOUR) is None


def test_all_windows_must_pass_and_the_longest_wait_is_told() -> None:
    caps = [cap(5, MINUTE, cap_name="minute"), cap(9, HOUR, cap_name="hour")]
    nine = [contact(second * 20 * 1_000_000) for second in range(9)]
    found = ask(caps, nine, 170 * 1_000_000)
    assert found is not None
    assert (found.cap.name, found.count, found.next_micros) == ("hour", 9, HOUR)


def test_limits_and_counts_are_two_things() -> None:
    total = cap(2, DAY, limits=SALES, counts=ALL)
    contacts = [contact(0, Category.SERVICE), contact(1, Category.MANDATORY)]
    assert ask([total], contacts, 2) is not None
    assert ask([total], contacts, 2, category=Category.SERVICE) is None


def test_per_channel_and_repeat_limits() -> None:
    by_sms = cap(1, DAY, channels=frozenset({Channel.SMS}))
    assert ask([by_sms], [contact(0, channel=Channel.EMAIL)], 1) is None
    assert ask([by_sms], [contact(0)], 1, channel=Channel.EMAIL) is None
    assert ask([by_sms], [contact(0)], 1) is not None
    repeat = cap(1, DAY, same_name=True)
    assert ask([repeat], [contact(0, name="b")], 1) is None
    assert ask([repeat], [contact(0, name="a")], 1) is not None


def test_a_cap_of_nothing_never_passes() -> None:
    found = ask([cap(0, DAY)], [], 0)
    assert found is not None
    assert found.next_micros is None
    assert ask([cap(0, DAY), cap(1, DAY)], [contact(0)], 1).next_micros is None


def test_the_longest_window_says_how_far_back_matters() -> None:
    assert longest_window([cap(1, HOUR), cap(1, DAY)]) == DAY
    assert longest_window([]) == 0


CAPS = st.lists(
    st.builds(cap, st.integers(1, 4), st.integers(1, 60)),
    min_size=1,
    max_size=3,
)


@given(caps=CAPS, steps=st.lists(st.integers(0, 20), max_size=60))
def test_no_order_of_attempts_ever_passes_a_cap(caps, steps: list[int]) -> None:
    now, taken = 0, []
    for step in steps:
        now += step
        found = ask(caps, taken, now)
        if found is None:
            taken.append(contact(now, name=str(len(taken))))
        else:
            assert found.next_micros is not None
            assert found.next_micros > now
            # at the time told, this cap has room again
            assert ask([found.cap], taken, found.next_micros) is None
            assert ask([found.cap], taken, found.next_micros - 1) is not None
    for one in caps:
        for end in (known.time_micros for known in taken):
            inside = [known for known in taken if end - one.window_micros < known.time_micros <= end]
            assert len(inside) <= one.most

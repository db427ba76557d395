"""Frequency caps over sliding windows."""

from hypothesis import given
from hypothesis import strategies as st

from services.channel.domain.caps import Cap, Reserve, SalesShare, exceeded, longest_window
from services.channel.domain.contact import Contact
from services.vocabulary.values import DAY, HOUR, MINUTE
from services.vocabulary.words import Category, Channel
from tests.fakes.channel import make_action

ALL = frozenset(Category)
SALES = frozenset({Category.SALES, Category.RETENTION})


def contact(
    time_micros: int,
    category: Category | None = Category.SALES,
    channel: Channel = Channel.SMS,
    name: str = "a",
    topic: str = "",
):
    return Contact(1, f"m-{time_micros}-{name}", channel, category, name, time_micros, topic)


def cap(most: int, window: int, **kwargs):
    return Cap(
        kwargs.pop("cap_name", "c"),
        most,
        window,
        kwargs.pop("limits", SALES),
        kwargs.pop("counts", SALES),
        **kwargs,
    )


def ask(caps, contacts, now: int, category=Category.SALES, channel=Channel.SMS, name="a", **kwargs):
    action = make_action(1, category=category, name=name, **kwargs)
    return exceeded(caps, contacts, action, channel, now)


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


def test_a_cap_by_topic_or_name_leaves_the_others_alone() -> None:
    roaming = cap(1, DAY, topics=frozenset({"roaming"}))
    before = [contact(0, topic="roaming"), contact(1, topic="billing")]
    assert ask([roaming], before, 2, topic="roaming").count == 1
    assert ask([roaming], before, 2, topic="billing") is None
    assert ask([roaming], [contact(0, topic="billing")], 2, topic="roaming") is None
    named = cap(1, DAY, names=frozenset({"a", "b"}))
    assert ask([named], [contact(0, name="b")], 2, name="a") is not None
    assert ask([named], [contact(0, name="b")], 2, name="c") is None
    assert ask([named], [contact(0, name="c")], 2, name="a") is None


def test_the_last_slot_goes_only_to_what_matters() -> None:
    one = cap(2, HOUR, reserve=Reserve(1, from_priority=80))
    assert ask([one], [], 1) is None
    refused = ask([one], [contact(0)], 1, priority=79)
    assert (refused.count, refused.next_micros, refused.by_reserve) == (1, HOUR, True)
    assert ask([one], [contact(0)], 1, priority=80) is None
    full = ask([one], [contact(0), contact(5)], 10, priority=80)
    assert (full.count, full.next_micros, full.by_reserve) == (2, HOUR, False)
    # without the priority both must leave, not only one
    assert ask([one], [contact(0), contact(5)], 10).next_micros == HOUR + 5
    only_service = cap(
        1, HOUR, limits=ALL, counts=ALL, reserve=Reserve(1, categories=frozenset({Category.SERVICE}))
    )
    assert ask([only_service], [], 1).next_micros is None
    assert ask([only_service], [], 1, category=Category.SERVICE) is None


def test_a_contact_of_another_system_without_category_counts_in_total_only() -> None:
    elsewhere = contact(0, category=None, name="")
    assert ask([cap(1, DAY)], [elsewhere], 1) is None
    assert ask([cap(1, DAY, counts=ALL)], [elsewhere], 1) is not None
    by_call = cap(1, DAY, counts=ALL, channels=frozenset({Channel.CALL}))
    assert ask([by_call], [elsewhere], 1, channel=Channel.CALL) is None


ANY_CAP = st.builds(
    Cap,
    name=st.text("xyz", min_size=1, max_size=3),
    most=st.integers(0, 4),
    window_micros=st.integers(1, 40),
    limits=st.frozensets(st.sampled_from(Category), min_size=1),
    counts=st.one_of(st.just(ALL), st.frozensets(st.sampled_from(Category), min_size=1)),
    channels=st.frozensets(st.sampled_from([Channel.SMS, Channel.CALL])),
    same_name=st.booleans(),
    topics=st.frozensets(st.sampled_from(["t", "u"])),
    names=st.frozensets(st.sampled_from(["a", "b"])),
    reserve=st.none()
    | st.builds(
        Reserve, st.integers(1, 3), st.none() | st.integers(0, 2), st.frozensets(st.sampled_from(Category))
    ),
)
ANY_CONTACT = st.builds(
    contact,
    st.integers(0, 50),
    st.none() | st.sampled_from(Category),
    st.sampled_from([Channel.SMS, Channel.CALL]),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["", "t", "u"]),
)


def plainly_refuses(one: Cap, contacts, action, channel: Channel, now: int) -> int | None:
    """The plain reading of one cap: how many there are when it refuses, None when it has room."""
    if action.category not in one.limits or (one.channels and channel not in one.channels):
        return None
    if (one.topics and action.topic not in one.topics) or (one.names and action.name not in one.names):
        return None
    count = 0
    for known in contacts:
        counted = known.category in one.counts or (known.category is None and one.counts == ALL)
        counted = counted and (not one.channels or known.channel in one.channels)
        counted = counted and (not one.topics or known.topic in one.topics)
        counted = counted and (not one.names or known.name in one.names)
        counted = counted and (not one.same_name or known.name == action.name)
        count += counted and known.time_micros > now - one.window_micros
    kept = one.reserve
    if kept is not None:
        matters = action.category in kept.categories or (
            kept.from_priority is not None and action.priority >= kept.from_priority
        )
        return count if count >= (one.most if matters else max(0, one.most - kept.last)) else None
    return count if count >= one.most else None


@given(
    caps=st.lists(ANY_CAP, max_size=4),
    contacts=st.lists(ANY_CONTACT, max_size=12),
    category=st.sampled_from(Category),
    channel=st.sampled_from([Channel.SMS, Channel.CALL]),
    name=st.sampled_from(["a", "b"]),
    topic=st.sampled_from(["", "t"]),
    priority=st.integers(0, 3),
)
def test_the_quick_reading_says_what_the_plain_one_says(
    caps, contacts, category, channel, name, topic, priority
) -> None:
    action = make_action(1, category=category, name=name, topic=topic, priority=priority)
    now = 50
    found = exceeded(caps, contacts, action, channel, now)
    refusing = {id(one): plainly_refuses(one, contacts, action, channel, now) for one in caps}
    if found is None:
        assert set(refusing.values()) <= {None}
        return
    assert refusing[id(found.cap)] == found.count
    # the time told is the first at which every cap has room
    later = (
        time
        for time in range(now, now + 100)
        if all(plainly_refuses(one, contacts, action, channel, time) is None for one in caps)
    )
    assert found.next_micros == next(later, None)


def test_a_share_of_sales_counts_what_was_let_through_and_the_one_to_come() -> None:
    half = SalesShare(0.5, DAY)
    service = contact(5, Category.SERVICE)
    assert (
        half.over([], 10) == half.over([service], 10) == half.over([contact(5), service, service], 10) == ""
    )
    told = "at most 50% of contacts in 1d may be sales; with this one 2 of 2 would be"
    assert half.over([contact(5)], 10) == told
    assert half.over([contact(5), contact(6, Category.MANDATORY)], 10)
    lends_nothing = [contact(5), contact(6, None), contact(7, Category.SERVICE, Channel.TASK)]
    assert half.over(lends_nothing, 10) == told
    assert half.over([contact(10 - DAY)], 10) == "" != half.over([contact(11 - DAY)], 10)

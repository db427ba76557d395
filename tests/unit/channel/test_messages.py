"""The states of a message, and what is told of them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channel.domain.actions import Action
from services.channel.domain.backoff import FIRST_MICROS, LONGEST_MICROS, wait_micros
from services.channel.domain.errors import IllegalTransitionError
from services.channel.domain.messages import FINAL, TRANSITIONS, Message, accept, contact_of, turn_of
from services.channel.domain.outcomes import PUBLISHED, own_events, totals
from services.channel.domain.rate import Grant, Pace, provider_pace
from services.vocabulary import ids
from services.vocabulary.words import CATEGORY_FACTS, Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import NOON, make_action


def accepted(action: Action) -> Message:
    return accept(action, ids.message_id(action.action_id), NOON)


def planned(category: Category = Category.SERVICE, channel: Channel = Channel.SMS) -> Message:
    message = accepted(make_action(1, category=category))
    message.plan(NOON, channel, 0, "UTC")
    return message


STEPS = {
    "plan": lambda message: message.plan(NOON, Channel.SMS, 0, "UTC"),
    "wait": lambda message: message.wait(NOON, NOON + 1, Channel.SMS, RefusalReason.QUIET_HOURS, ""),
    "wait_for_profile": lambda message: message.wait(NOON, NOON, None, RefusalReason.CONSENT_UNKNOWN, ""),
    "refuse": lambda message: message.refuse(NOON, Channel.SMS, RefusalReason.CAPPED, ""),
    "expire": lambda message: message.refuse(NOON, Channel.SMS, RefusalReason.EXPIRED, ""),
    "start": lambda message: message.start_hand_over(NOON, 0, 1),
    "taken": lambda message: message.taken_by_provider(NOON),
    "again": lambda message: message.try_again(NOON, 1, ""),
    "rejected": lambda message: message.rejected(NOON, ""),
    "lost": lambda message: message.lost_sight(NOON, 1, ""),
    "delivered": lambda message: message.receipt(NOON, MessageState.DELIVERED, ""),
    "undelivered": lambda message: message.receipt(NOON, MessageState.FAILED, ""),
}


@given(steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=25), category=st.sampled_from(list(Category)))
def test_whatever_is_asked_of_it_a_message_keeps_to_its_states(steps: list[str], category: Category) -> None:
    message = accepted(make_action(1, category=category))
    seen = [message.state]
    for step in steps:
        before = message.state
        try:
            STEPS[step](message)
        except IllegalTransitionError:
            assert message.state is before
            continue
        if message.state is not before:
            after_all = message.was_sent and message.state is MessageState.DELIVERED and before in FINAL
            assert message.state in TRANSITIONS[before] or after_all
            seen.append(message.state)
    over = [state for state in seen if state in FINAL]
    assert over[1:] in ([], [MessageState.DELIVERED]), "only that it was delivered after all"
    assert [change.position for change in message.new_changes] == list(range(1, message.changes + 1))
    assert message.new_changes[-1].state is message.state
    sent_events = [event for event in own_events([message]) if event.type == "action.sent"]
    assert len(sent_events) <= 1
    assert len({event.event_id for event in own_events([message])}) == len(list(own_events([message])))


@pytest.mark.parametrize(
    ("category", "state"),
    [
        (Category.MANDATORY, MessageState.PLANNED),
        (Category.SERVICE, MessageState.PLANNED),
        (Category.RETENTION, MessageState.FAILED),
        (Category.SALES, MessageState.FAILED),
        (Category.SURVEY, MessageState.FAILED),
    ],
)
def test_an_unknown_hand_over_is_repeated_as_its_category_says(
    category: Category, state: MessageState
) -> None:
    message = planned(category)
    message.start_hand_over(NOON, 0, 1)
    message.lost_sight(NOON, 5, "")
    assert (message.state, message.reason) == (state, RefusalReason.HANDOVER_UNKNOWN)
    assert not message.gives_back_slot
    assert message.resent is (state is MessageState.PLANNED)


def test_what_may_be_repeated_freely_is() -> None:
    message = planned(Category.SALES, Channel.APP)
    message.start_hand_over(NOON, 0, 1)
    message.lost_sight(NOON, 5, "")
    assert message.state is MessageState.PLANNED


def test_waiting_on_for_the_same_reason_is_told_once() -> None:
    message = accepted(make_action(1))
    for until in (1, 2, 3):
        message.wait(NOON, NOON + until, Channel.SMS, RefusalReason.QUIET_HOURS, "night")
    assert message.due_micros == NOON + 3
    assert [event.type for event in own_events([message])] == ["action.deferred"]
    message.wait(NOON, NOON + 9, Channel.SMS, RefusalReason.CAPPED, "cap")
    assert [event.type for event in own_events([message])] == ["action.deferred"] * 2


def test_a_deferred_message_that_cannot_be_asked_for_stays_deferred() -> None:
    message = accepted(make_action(1))
    message.wait(NOON, NOON, None, RefusalReason.CONSENT_UNKNOWN, "")
    assert (message.state, message.reason) == (MessageState.ACCEPTED, RefusalReason.CONSENT_UNKNOWN)
    assert list(own_events([message])) == []


def test_events_name_everything_the_catalogue_asks_for() -> None:
    message = planned()
    message.hops, message.line = 2, "l"
    message.start_hand_over(NOON, 0, 1)
    message.taken_by_provider(NOON + 7)
    (event,) = own_events([message])
    assert (event.type, event.customer, event.time_micros, event.hops, event.line) == (
        "action.sent",
        1,
        NOON + 7,
        3,
        "l",
    )
    assert event.fields == {
        "action": message.action_id,
        "rule_set": "tests",
        "rule": "one",
        "name": "hello",
        "message": message.message_id,
        "category": "service",
        "channel": "sms",
    }
    again = planned()
    again.start_hand_over(NOON, 0, 1)
    again.taken_by_provider(NOON + 7)
    assert next(own_events([again])).event_id == event.event_id  # derived: the same cause, the same id


def test_totals_count_what_was_told() -> None:
    sent = planned()
    sent.start_hand_over(NOON, 0, 1)
    sent.taken_by_provider(NOON)
    sent.receipt(NOON, MessageState.FAILED, "")
    refused = accepted(make_action(2))
    refused.refuse(NOON, None, RefusalReason.CAPPED, "")
    assert totals([sent, refused]) == {
        "messages.sent": 1,
        "sent.sms": 1,
        "messages.failed": 1,
        "undelivered.failed": 1,
        "refused.PROVIDER_REJECTED": 1,
        "messages.refused": 1,
        "refused.CAPPED": 1,
    }
    assert set(PUBLISHED.values()) == {
        f"action.{state}" for state in ("deferred", "sent", "delivered", "failed", "expired", "refused")
    }


def test_a_message_without_a_channel_takes_no_slot() -> None:
    with pytest.raises(IllegalTransitionError):
        contact_of(accepted(make_action(1)), NOON)


@given(attempts=st.integers(1, 1000), chance=st.floats(0, 1, exclude_max=True))
def test_back_off_grows_to_its_bound_with_jitter(attempts: int, chance: float) -> None:
    full = min(LONGEST_MICROS, FIRST_MICROS * 2 ** (attempts - 1))
    assert full // 2 <= wait_micros(attempts, chance) <= full
    assert wait_micros(attempts, 0.0) == full // 2


def test_those_without_room_come_one_after_the_other() -> None:
    grant = Grant(granted=1, wait_micros=250, interval_micros=100, queue_micros=9_000)
    assert [grant.rests(place, queued=False) for place in range(3)] == [250, 350, 450]
    assert [grant.rests(place, queued=True) for place in range(3)] == [9_000, 9_100, 9_200]


def test_a_provider_takes_a_quarter_of_a_second_at_once() -> None:
    assert provider_pace("sms", 50) == Pace("provider:sms", 50, 12)
    assert provider_pace("sms", 1) == Pace("provider:sms", 1, 1)
    assert provider_pace("sms", 0) is None


_SCORES = st.integers(-1000, 1000).map(lambda eighths: eighths / 8)


@given(
    st.lists(
        st.tuples(st.sampled_from(list(Category)), _SCORES, st.integers(-100, 100)), min_size=2, max_size=8
    )
)
def test_what_goes_first_is_tier_then_score_then_priority(drawn: list[tuple[Category, float, int]]) -> None:
    def said(one: tuple[Category, float, int]) -> tuple[int, float, int]:
        category, score, priority = one
        return CATEGORY_FACTS[category].tier, -score, -priority

    def turn(one: tuple[Category, float, int]) -> int:
        category, score, priority = one
        return turn_of(make_action(1, category=category, score=score, priority=priority))

    assert [said(one) for one in sorted(drawn, key=turn)] == sorted(said(one) for one in drawn)
    assert all(0 <= turn(one) < 1 << 63 for one in drawn)


@pytest.mark.parametrize(("score", "priority"), [(math.inf, 1 << 40), (-math.inf, -(1 << 40))])
def test_a_score_or_priority_beyond_all_bounds_still_has_a_place(score: float, priority: int) -> None:
    assert 0 <= turn_of(make_action(1, score=score, priority=priority)) < 1 << 63

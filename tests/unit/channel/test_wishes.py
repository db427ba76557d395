"""What a person wishes, at the gates: own quiet hours, a pause, topics switched off. It only tightens."""

from dataclasses import replace

import pytest

from services.channel.domain.contact import Reach
from services.channel.domain.gates import consent, quiet_hours
from services.channel.domain.gates.verdict import PASSED, GateState, Refused
from services.channel.domain.quiet_hours import Override, QuietHours, QuietWindow, Week
from services.vocabulary.values import DAY, HOUR, MINUTE
from services.vocabulary.words import ActionKind, Category, Channel, RefusalReason
from tests.fakes.channel import NOON, make_action, reachable

NIGHT = QuietHours(Week(((QuietWindow(21 * 60, 8 * 60),),) * 7))
SIESTA = ((11 * 60 + 30, 14 * 60),)


def state(reach: Reach, channel: Channel = Channel.SMS, **kwargs) -> GateState:
    return GateState(channel, reach, kwargs.pop("quiet", QuietHours()), **kwargs)


def utc(**wishes) -> Reach:
    return replace(reachable(1), zone="UTC", **wishes)


@pytest.mark.parametrize("category", list(Category))
def test_own_quiet_hours_hold_for_everything_whose_ground_does_not_break_them(category):
    asleep = state(utc(quiet_hours=SIESTA))
    action = make_action(1, category=category)
    verdict = quiet_hours.judge(action, asleep, NOON)
    assert isinstance(verdict, Refused)
    assert (verdict.reason, verdict.next_micros) == (RefusalReason.QUIET_HOURS, NOON + 2 * HOUR)
    assert "own" in verdict.detail
    assert quiet_hours.judge(action, asleep, NOON + 2 * HOUR) is PASSED  # the end is exclusive
    urgent = quiet_hours.judge(action, replace(asleep, breaks_quiet_hours=True), NOON)
    assert (urgent is PASSED) is (category is Category.MANDATORY)


def test_own_quiet_hours_are_the_persons_own_and_in_their_zone():
    assert quiet_hours.judge(make_action(1), state(utc()), NOON) is PASSED
    assert isinstance(quiet_hours.judge(make_action(1), state(utc(quiet_hours=SIESTA)), NOON), Refused)
    far = replace(utc(quiet_hours=SIESTA), zone="Indian/Reunion")  # 16:00 there
    assert quiet_hours.judge(make_action(1), state(far), NOON) is PASSED
    assert quiet_hours.judge(make_action(1), state(utc(quiet_hours=((0, 60),))), NOON) is PASSED


def test_own_quiet_hours_tighten_and_never_loosen_the_operators():
    late = NOON + 10 * HOUR
    early_bird = utc(quiet_hours=((5 * 60, 6 * 60),))
    verdict = quiet_hours.judge(make_action(1), state(early_bird, quiet=NIGHT), late)
    assert isinstance(verdict, Refused)
    assert verdict.next_micros == NOON + 20 * HOUR
    always = QuietHours(NIGHT.week, {Channel.SMS: Override.ALWAYS})
    assert quiet_hours.judge(make_action(1), state(early_bird, quiet=always), late) is PASSED
    asleep = utc(quiet_hours=((21 * 60, 9 * 60),))
    held = quiet_hours.judge(make_action(1), state(asleep, quiet=always), late)
    assert isinstance(held, Refused)
    assert held.next_micros == NOON + 21 * HOUR
    both = quiet_hours.judge(make_action(1), state(asleep, quiet=NIGHT), late)
    assert isinstance(both, Refused)
    assert both.next_micros == NOON + 21 * HOUR


@pytest.mark.parametrize("category", list(Category))
def test_in_a_pause_only_what_is_mandatory_or_serves_passes(category):
    paused = state(utc(paused_until_micros=NOON + 3 * DAY))
    verdict = quiet_hours.judge(make_action(1, category=category), paused, NOON)
    if category in {Category.MANDATORY, Category.SERVICE}:
        assert verdict is PASSED
    else:
        assert verdict == Refused(RefusalReason.QUIET_HOURS, "the customer wants a pause", NOON + 3 * DAY)
    assert quiet_hours.judge(make_action(1, category=category), paused, NOON + 3 * DAY) is PASSED


@pytest.mark.parametrize("category", list(Category))
def test_a_topic_switched_off_is_refused_for_all_but_what_is_mandatory(category):
    off = state(utc(topics_off=frozenset({"plan"})))
    action = replace(make_action(1, category=category), topic="plan")
    verdict = consent.judge(action, off, NOON)
    if category is Category.MANDATORY:
        assert verdict is PASSED
    else:
        assert isinstance(verdict, Refused)
        assert verdict.reason is RefusalReason.NO_CONSENT
        assert "plan" in verdict.detail
    assert consent.judge(replace(action, topic="network"), off, NOON) is PASSED
    assert consent.judge(replace(action, topic=""), off, NOON) is PASSED


def test_a_task_that_sells_obeys_a_topic_and_one_that_serves_does_not():
    off = state(utc(topics_off=frozenset({"plan"})), Channel.TASK)
    task = replace(make_action(1, kind=ActionKind.TASK, channels=()), topic="plan")
    assert consent.judge(task, off, NOON) is PASSED
    assert isinstance(consent.judge(replace(task, category=Category.SALES), off, NOON), Refused)


def test_who_has_wishes_is_asked_again_before_the_hand_over():
    assert not utc().has_wishes
    for wish in ({"quiet_hours": SIESTA}, {"paused_until_micros": MINUTE}, {"topics_off": frozenset({"a"})}):
        assert utc(**wish).has_wishes

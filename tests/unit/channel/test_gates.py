"""Each gate by itself, and the channel that an action takes."""

from dataclasses import replace

import pytest

from services.channel.domain.actions import Action, ChannelChoice
from services.channel.domain.caps import Cap, Reserve
from services.channel.domain.choice import Chosen, Dropped, Waits, choose
from services.channel.domain.contact import Contact, Permission, Reach, SuppressedFor
from services.channel.domain.gates import (
    address,
    caps,
    consent,
    duplicate,
    quiet_hours,
    rate,
    suppression,
    validity,
)
from services.channel.domain.gates.order import GATES, pass_gates
from services.channel.domain.gates.verdict import PASSED, GateState, Refused
from services.channel.domain.quiet_hours import QuietHours, QuietWindow, Week
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import ActionKind, Category, Channel, RefusalReason
from tests.fakes.channel import NOON, make_action, reachable

NIGHT = QuietHours(Week(((QuietWindow(21 * 60, 8 * 60),),) * 7))
LATE = NOON + 10 * HOUR
TASK = make_action(1, kind=ActionKind.TASK, channels=())


def state(channel: Channel = Channel.SMS, reach: Reach | None = None, **kwargs) -> GateState:
    quiet = kwargs.pop("quiet", QuietHours())
    return GateState(channel, reach or reachable(1, channels=(channel,)), quiet, **kwargs)


def refused(verdict) -> RefusalReason | None:
    return verdict.reason if isinstance(verdict, Refused) else None


def test_duplicate() -> None:
    assert refused(duplicate.judge(make_action(1), state(taken=True), NOON)) is RefusalReason.DUPLICATE
    assert duplicate.judge(make_action(1), state(), NOON) is PASSED


def test_address() -> None:
    no_phone = reachable(1, channels=(Channel.EMAIL,))
    empty = Reach(True, 0, {Channel.APP: Permission(True)})
    unknown = replace(reachable(1), known=False)
    assert refused(address.judge(make_action(1), state(reach=no_phone), NOON)) is RefusalReason.NO_ADDRESS
    assert refused(address.judge(make_action(1), state(Channel.APP, empty), NOON)) is RefusalReason.NO_ADDRESS
    assert refused(address.judge(make_action(1), state(reach=unknown), NOON)) is RefusalReason.NO_ADDRESS
    assert address.judge(TASK, state(Channel.TASK, no_phone), NOON) is PASSED
    device = reachable(1, channels=(Channel.APP,))
    assert address.judge(make_action(1), state(Channel.APP, device), NOON) is PASSED


@pytest.mark.parametrize(
    ("category", "stopped_by"),
    [
        (Category.MANDATORY, {SuppressedFor.BOUNCED, SuppressedFor.MANUAL}),
        (Category.SERVICE, {SuppressedFor.BOUNCED, SuppressedFor.MANUAL, SuppressedFor.COMPLAINED}),
        (Category.SALES, set(SuppressedFor)),
        (Category.RETENTION, set(SuppressedFor)),
        (Category.SURVEY, set(SuppressedFor)),
    ],
)
def test_suppression(category: Category, stopped_by: set[SuppressedFor]) -> None:
    action = make_action(1, category=category)
    found = {
        why
        for why in SuppressedFor
        if refused(suppression.judge(action, state(suppressed=frozenset({why})), NOON))
        is RefusalReason.SUPPRESSED
    }
    assert found == stopped_by


def test_of_several_reasons_the_strictest_for_the_category_is_told() -> None:
    standing = frozenset({SuppressedFor.UNSUBSCRIBED, SuppressedFor.BOUNCED})
    for category in (Category.MANDATORY, Category.SERVICE, Category.SALES):
        verdict = suppression.judge(make_action(1, category=category), state(suppressed=standing), NOON)
        assert isinstance(verdict, Refused)
        assert verdict.detail.endswith("bounced")
    complained = frozenset({SuppressedFor.UNSUBSCRIBED, SuppressedFor.COMPLAINED})
    service = suppression.judge(make_action(1), state(suppressed=complained), NOON)
    assert isinstance(service, Refused)
    assert service.detail.endswith("complained")
    notice = make_action(1, category=Category.MANDATORY)
    assert suppression.judge(notice, state(suppressed=complained), NOON) is PASSED


def test_consent_fails_closed() -> None:
    nobody = GateState(Channel.SMS, None, QuietHours())
    for category in Category:
        verdict = consent.judge(make_action(1, category=category), nobody, NOON)
        assert refused(verdict) is RefusalReason.CONSENT_UNKNOWN
        assert verdict.next_micros == NOON  # may be asked again at any moment
    unlisted = Reach(True, 0, {})
    verdict = consent.judge(make_action(1), state(reach=unlisted), NOON)
    assert (refused(verdict), verdict.next_micros) == (RefusalReason.CONSENT_UNKNOWN, None)
    reasonless = Reach(True, 0, {Channel.SMS: Permission(False)})
    assert (
        refused(consent.judge(make_action(1), state(reach=reasonless), NOON)) is RefusalReason.CONSENT_UNKNOWN
    )


def test_consent_said_no() -> None:
    no = Reach(True, 0, {Channel.SMS: Permission(False, RefusalReason.NO_CONSENT, "a")})
    assert refused(consent.judge(make_action(1), state(reach=no), NOON)) is RefusalReason.NO_CONSENT
    blocked = replace(reachable(1), service_blocked=True)
    assert refused(consent.judge(make_action(1), state(reach=blocked), NOON)) is RefusalReason.NO_CONSENT
    notice = make_action(1, category=Category.MANDATORY)
    assert consent.judge(notice, state(reach=blocked), NOON) is PASSED


def test_a_task_that_serves_needs_no_consent_and_one_that_sells_does() -> None:
    nobody = GateState(Channel.TASK, None, QuietHours())
    assert consent.judge(TASK, nobody, NOON) is PASSED
    selling = replace(TASK, category=Category.RETENTION)
    assert refused(consent.judge(selling, nobody, NOON)) is RefusalReason.CONSENT_UNKNOWN
    no_calls = Reach(
        True,
        0,
        {Channel.SMS: Permission(True, None, "a"), Channel.CALL: Permission(False, RefusalReason.NO_CONSENT)},
    )
    assert refused(consent.judge(selling, state(Channel.TASK, no_calls), NOON)) is RefusalReason.NO_CONSENT
    only_sms = reachable(1, channels=(Channel.SMS,))
    assert consent.judge(selling, state(Channel.TASK, only_sms), NOON) is PASSED


def test_validity_ends_at_its_moment() -> None:
    action = make_action(1, expires_micros=NOON)
    assert validity.judge(action, state(), NOON - 1) is PASSED
    assert refused(validity.judge(action, state(), NOON)) is RefusalReason.EXPIRED
    assert validity.judge(make_action(1), state(), NOON) is PASSED


def test_quiet_hours() -> None:
    action = make_action(1)
    verdict = quiet_hours.judge(action, state(quiet=NIGHT), LATE)
    assert (refused(verdict), verdict.next_micros) == (RefusalReason.QUIET_HOURS, NOON + 20 * HOUR)
    assert quiet_hours.judge(TASK, state(Channel.TASK, quiet=NIGHT), LATE) is PASSED
    mandatory = make_action(1, category=Category.MANDATORY)
    assert refused(quiet_hours.judge(mandatory, state(quiet=NIGHT), LATE)) is RefusalReason.QUIET_HOURS
    assert quiet_hours.judge(mandatory, state(quiet=NIGHT, breaks_quiet_hours=True), LATE) is PASSED
    sales = make_action(1, category=Category.SALES)  # no other category has such a ground
    assert (
        refused(quiet_hours.judge(sales, state(quiet=NIGHT, breaks_quiet_hours=True), LATE))
        is RefusalReason.QUIET_HOURS
    )


def test_caps_tell_threshold_count_and_whether_the_reserve_refused() -> None:
    kept = Reserve(1, 80, frozenset({Category.MANDATORY, Category.SERVICE}))
    limits = frozenset({Category.SALES})
    one = Cap("day", 2, DAY, limits, limits, reserve=kept)
    taken = [Contact(1, "m", Channel.SMS, Category.SALES, "x", NOON - HOUR)]
    sales = make_action(1, category=Category.SALES)
    verdict = caps.judge(sales, state(caps=(one,), contacts=taken), NOON)
    assert verdict == Refused(
        RefusalReason.CAPPED,
        "cap day: 1 of at most 2 in 1d; the last 1 kept for priority 80 and above or mandatory or service",
        NOON + 23 * HOUR,
    )
    urgent = make_action(1, category=Category.SALES, priority=80)
    assert caps.judge(urgent, state(caps=(one,), contacts=taken), NOON) is PASSED
    verdict = caps.judge(urgent, state(caps=(one,), contacts=taken * 2), NOON)
    assert verdict.detail == "cap day: 2 of at most 2 in 1d"


def test_rate() -> None:
    verdict = rate.judge(make_action(1), state(rate_free_micros=NOON + 5), NOON)
    assert (refused(verdict), verdict.next_micros) == (RefusalReason.RATE_LIMITED, NOON + 5)
    assert rate.judge(make_action(1), state(rate_free_micros=NOON), NOON) is PASSED


def test_the_first_gate_that_refuses_is_told() -> None:
    no = Reach(True, 0, {Channel.SMS: Permission(False, RefusalReason.NO_CONSENT, "a")})
    everything = GateState(
        Channel.SMS,
        no,
        NIGHT,
        suppressed=frozenset({SuppressedFor.BOUNCED}),
        taken=True,
        rate_free_micros=LATE + 1,
    )
    action = make_action(1, expires_micros=LATE)
    found = []
    for clear in (
        {},
        {"taken": False},
        {"suppressed": frozenset()},
        {"reach": reachable(1)},
    ):
        everything = replace(everything, **clear)
        verdict, _ = pass_gates(action, everything, LATE)
        found.append(refused(verdict))
    assert found == [
        RefusalReason.DUPLICATE,
        RefusalReason.SUPPRESSED,
        RefusalReason.NO_CONSENT,
        RefusalReason.EXPIRED,
    ]
    assert pass_gates(make_action(1), state(), NOON) == (PASSED, len(GATES))


def decide(action: Action, states: dict[Channel, GateState], now: int = NOON, missing: dict | None = None):
    preferred = next((one.reach.preferred for one in states.values() if one.reach), None)
    lacking = missing or {}
    return choose(
        action, action.choices(preferred), states.__getitem__, lambda channel: lacking.get(channel, ""), now
    )


def both(**kwargs) -> dict[Channel, GateState]:
    return {channel: state(channel, **kwargs) for channel in (Channel.SMS, Channel.EMAIL)}


def test_the_first_listed_channel_that_passes_wins() -> None:
    action = make_action(1, channels=(Channel.SMS, Channel.EMAIL))
    states = both()
    assert decide(action, states) == Chosen(Channel.SMS)
    assert decide(make_action(1, channels=(Channel.EMAIL, Channel.SMS)), states) == Chosen(Channel.EMAIL)
    states[Channel.SMS].suppressed = frozenset({SuppressedFor.BOUNCED})
    assert decide(action, states) == Chosen(Channel.EMAIL)
    states[Channel.EMAIL].suppressed = frozenset({SuppressedFor.BOUNCED})
    dropped = decide(action, states)
    assert isinstance(dropped, Dropped)
    assert dropped.reason is RefusalReason.SUPPRESSED


def test_no_channel_named_means_preferred_then_sms_then_email() -> None:
    action = make_action(1, channels=())
    liked = [choice.channel for choice in action.choices(Channel.EMAIL)]
    assert liked == [Channel.EMAIL, Channel.SMS]
    assert [choice.channel for choice in action.choices(None)] == [Channel.SMS, Channel.EMAIL]
    assert [choice.channel for choice in TASK.choices(Channel.SMS)] == [Channel.TASK]
    preferred_only = make_action(1, channels=(None,))
    assert preferred_only.choices(None) == ()
    dropped = decide(preferred_only, both())
    assert isinstance(dropped, Dropped)
    assert dropped.reason is RefusalReason.NO_ADDRESS


def test_waiting_for_the_earliest_goes_before_a_refusal() -> None:
    action = make_action(1, channels=(Channel.SMS, Channel.EMAIL))
    states = both(quiet=NIGHT)
    states[Channel.EMAIL] = state(Channel.EMAIL, Reach(True, 0, {}), quiet=NIGHT)
    assert decide(action, states, LATE) == Waits(
        Channel.SMS, RefusalReason.QUIET_HOURS, "quiet hours in UTC", NOON + 20 * HOUR
    )


def test_the_refusal_that_came_furthest_is_told() -> None:
    full = (Cap("day", 1, DAY, frozenset(Category), frozenset(Category)),)
    taken = [Contact(1, "m", Channel.SMS, Category.SALES, "x", NOON - 1)]
    sms = state(Channel.SMS, caps=full, contacts=taken)
    email = state(Channel.EMAIL, Reach(True, 0, {}))
    action = make_action(1, category=Category.SALES, channels=(Channel.EMAIL, Channel.SMS))
    dropped = decide(action, {Channel.SMS: sms, Channel.EMAIL: email})
    assert isinstance(dropped, Dropped)
    assert (dropped.channel, dropped.reason) == (Channel.SMS, RefusalReason.CAPPED)
    assert dropped.next_micros == NOON - 1 + DAY
    service = replace(action, category=Category.SERVICE)
    assert isinstance(decide(service, {Channel.SMS: sms, Channel.EMAIL: email}), Waits)


def test_what_would_expire_first_is_not_kept_waiting() -> None:
    action = make_action(1, expires_micros=NOON + 20 * HOUR)  # exactly when the night ends
    dropped = decide(action, both(quiet=NIGHT), LATE)
    assert isinstance(dropped, Dropped)
    assert dropped.reason is RefusalReason.QUIET_HOURS
    later = replace(action, expires_micros=NOON + 20 * HOUR + 1)
    assert isinstance(decide(later, both(quiet=NIGHT), LATE), Waits)


def test_a_channel_without_words_gives_way_to_the_next() -> None:
    action = make_action(1, channels=(Channel.SMS, Channel.EMAIL))
    assert decide(action, both(), missing={Channel.SMS: "none"}) == Chosen(Channel.EMAIL)
    nothing = decide(action, both(), missing={Channel.SMS: "none", Channel.EMAIL: "none"})
    assert isinstance(nothing, Dropped)
    assert nothing.reason is RefusalReason.NO_TEMPLATE


def test_a_channel_has_its_turn_only_later() -> None:
    choices = (ChannelChoice(Channel.EMAIL), ChannelChoice(Channel.SMS, 2 * HOUR))
    action = replace(make_action(1, decided_micros=NOON), channels=choices)
    states = both()
    states[Channel.EMAIL] = state(Channel.EMAIL, Reach(True, 0, {}))
    assert decide(action, states) == Waits(
        Channel.SMS, RefusalReason.NO_ADDRESS, "sms has its turn later", NOON + 2 * HOUR
    )
    assert decide(action, states, NOON + 2 * HOUR) == Chosen(Channel.SMS)

"""What every gate promises: it is pure, lets tasks pass, and explains what it refuses."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channel.domain.caps import Cap
from services.channel.domain.contact import Contact, Permission, Reach, SuppressedFor
from services.channel.domain.gates.order import GATES, HAND_OVER_GATES
from services.channel.domain.gates.verdict import Gate, GateState, Passed, Refused
from services.channel.domain.quiet_hours import QuietHours, QuietWindow, Week
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import ActionKind, Category, Channel, RefusalReason
from tests.fakes.channel import NOON, make_action, reachable

NIGHT = QuietHours(Week(((QuietWindow(21 * 60, 8 * 60),),) * 7))
CAPS = (Cap("day", 1, DAY, frozenset(Category), frozenset(Category)),)
EVERY_GATE = pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__module__.rpartition(".")[2])

ACTIONS = st.builds(
    make_action,
    st.integers(1, 3),
    category=st.sampled_from(Category),
    kind=st.sampled_from([ActionKind.MESSAGE, ActionKind.OFFER, ActionKind.SURVEY, ActionKind.TASK]),
    expires_micros=st.sampled_from([0, NOON, NOON + 12 * HOUR]),
)
REACHES = st.sampled_from(
    [
        None,
        reachable(1),
        Reach(True, 0, {}),
        Reach(False, 0),
        Reach(True, 0, {Channel.SMS: Permission(False, RefusalReason.NO_CONSENT, "a")}),
    ]
)
STATES = st.builds(
    GateState,
    channel=st.sampled_from([Channel.SMS, Channel.TASK]),
    reach=REACHES,
    quiet=st.sampled_from([QuietHours(), NIGHT]),
    caps=st.sampled_from([(), CAPS]),
    contacts=st.sampled_from([[], [Contact(1, "m", Channel.SMS, Category.SALES, "n", NOON - HOUR)]]),
    suppressed=st.frozensets(st.sampled_from(SuppressedFor)),
    taken=st.booleans(),
    breaks_quiet_hours=st.booleans(),
    rate_free_micros=st.sampled_from([0, NOON + HOUR]),
)
NOWS = st.sampled_from([NOON, NOON + 11 * HOUR])


@EVERY_GATE
@given(action=ACTIONS, state=STATES, now=NOWS)
def test_the_same_question_gets_the_same_answer_and_changes_nothing(
    gate: Gate, action, state, now: int
) -> None:
    before = deepcopy(state)
    first = gate(action, state, now)
    assert state == before
    assert gate(action, state, now) == first
    assert isinstance(first, Passed | Refused)


@EVERY_GATE
@given(action=ACTIONS, state=STATES, now=NOWS)
def test_a_refusal_has_a_reason_words_and_no_time_gone_by(gate: Gate, action, state, now: int) -> None:
    verdict = gate(action, state, now)
    if isinstance(verdict, Refused):
        assert verdict.detail
        assert "sms-address" not in verdict.detail
        assert verdict.next_micros is None or verdict.next_micros >= now


@EVERY_GATE
@given(state=STATES, now=NOWS)
def test_work_for_an_agent_that_serves_passes_all_but_duplicate(gate: Gate, state, now: int) -> None:
    state.taken = False
    task = make_action(1, kind=ActionKind.TASK, channels=())
    assert isinstance(gate(task, state, now), Passed)


def test_before_the_hand_over_the_same_gates_stand_in_the_same_order() -> None:
    left_out = [gate for gate in GATES if gate not in HAND_OVER_GATES]
    assert [gate.__module__.rpartition(".")[2] for gate in left_out] == [
        "duplicate",
        "campaign",
        "caps",
        "campaign_rate",
    ]
    assert [gate for gate in GATES if gate in HAND_OVER_GATES] == list(HAND_OVER_GATES)

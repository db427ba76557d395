"""The account of a crash run finds whatever is lost, doubled or made up, and names what is ambiguous."""

import dataclasses
from collections import Counter

import pytest

from services.channel.domain.messages import Change
from services.channel.domain.outcomes import PUBLISHED, SOURCE
from services.vocabulary import ids
from services.vocabulary.words import Category, MessageState, RefusalReason
from tests.system.crash.reconcile import Books, Decided, Said, Taken, reconcile

UNKNOWN = RefusalReason.HANDOVER_UNKNOWN
SENT_AND_DELIVERED = [
    MessageState.ACCEPTED,
    MessageState.PLANNED,
    MessageState.SENDING,
    MessageState.SENT,
    MessageState.DELIVERED,
]


def history(*states, unknown=()):
    """Steps from 1; those at the positions given for want of an answer."""
    return [
        Change(position, 0, state, UNKNOWN if position in unknown else None)
        for position, state in enumerate(states, start=1)
    ]


def said(category=Category.SERVICE, states=SENT_AND_DELIVERED, unknown=()):
    steps = history(*states, unknown=unknown)
    last = steps[-1]
    return Said(
        message_id="m1",
        action_id="a1",
        customer=1,
        category=category,
        name="quota-50",
        channel="sms",
        state=last.state.value,
        reason=last.reason.value if last.reason else "",
        history=steps,
        holds_slot=True,
    )


def outcomes(message):
    return [
        ids.own_event_id(SOURCE, message.message_id, PUBLISHED[change.state], change.position)
        for change in message.history
        if change.state in PUBLISHED
    ]


def books(message=None, received=1):
    """One customer who passed half of the month's data, was told so, and got it."""
    message = message or said()
    own = outcomes(message)
    return Books(
        source="test",
        fed=["e1", "e2"],
        wanted=[("crm:1", "e2", "half", "quota-50")],
        subjects={1: "crm:1"},
        taken=[
            Taken(1, 1, "test", "e1"),
            Taken(1, 2, "test", "e2"),
            *(Taken(1, number, SOURCE, event_id) for number, event_id in enumerate(own, start=3)),
        ],
        sequences={1: 2 + len(own)},
        decisions=[(1, "test", "e2")],
        actions=[Decided(1, "d1", "e2", "a1", "half", "dispatched")],
        open_plans=[],
        said=[message],
        received=Counter({"m1": received}) if received else Counter(),
        totals={
            "events.accepted": 2,
            "events.own": len(own),
            "events.seen": 2 + len(own),
            "actions.taken": 1,
            "handover.again": message.planned_again,
            "dead letters": 0,
            "outbox": 0,
        },
    )


def kinds(told):
    return {finding.kind for finding in reconcile(told).findings}


def test_a_run_in_which_all_went_well_holds():
    account = reconcile(books())
    assert account.holds
    assert account.ambiguous == []
    assert account.figures["received"] == 1
    assert "received" in account.table()


def lose_event(told):
    del told.taken[1]


def take_event_twice(told):
    told.taken.append(Taken(1, 5, "test", "e2"))
    told.sequences[1] = 5


def skip_a_sequence(told):
    told.taken[-1] = dataclasses.replace(told.taken[-1], sequence=9)


def forget_the_last_sequence(told):
    told.sequences[1] = 7


def decide_twice(told):
    told.decisions *= 2


def lose_decision(told):
    told.actions.clear()


def decide_on_another_event(told):
    told.actions[0] = dataclasses.replace(told.actions[0], event_id="e1")


def lose_action(told):
    told.actions.append(Decided(1, "d2", "e1", "a2", "one-off-top-up", "dispatched"))


def make_up_a_message(told):
    told.said.append(dataclasses.replace(told.said[0], message_id="m2", action_id="a2"))


def leave_it_planned(told):
    told.said[0] = said(states=SENT_AND_DELIVERED[:2])


def leave_it_without_receipt(told):
    told.said[0] = said(states=SENT_AND_DELIVERED[:4])


def free_its_slot(told):
    told.said[0] = dataclasses.replace(told.said[0], holds_slot=False)


def lose_it_on_the_way(told):
    told.received.clear()


def receive_it_twice(told):
    told.received["m1"] = 2


def receive_what_nobody_sent(told):
    told.received["m9"] = 1


def receive_what_is_refused(told):
    told.said[0] = said(states=[MessageState.ACCEPTED, MessageState.REFUSED])


def lose_outcome(told):
    told.taken.pop()
    told.sequences[1] -= 1


def make_up_an_outcome(told):
    told.taken.append(Taken(1, 5, SOURCE, "x"))
    told.sequences[1] = 5


def leave_a_plan(told):
    told.open_plans.append("a7")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lose_event, "event lost"),
        (take_event_twice, "event taken twice"),
        (skip_a_sequence, "gap in a customer's sequence"),
        (forget_the_last_sequence, "sequence differs from events"),
        (decide_twice, "event decided twice"),
        (lose_decision, "decision lost"),
        (decide_on_another_event, "decided what must not be"),
        (lose_action, "action lost"),
        (make_up_a_message, "message that nobody decided"),
        (leave_it_planned, "message stuck"),
        (leave_it_without_receipt, "message stuck"),
        (free_its_slot, "slot under the caps is wrong"),
        (lose_it_on_the_way, "message lost on the way to its provider"),
        (receive_it_twice, "message doubled"),
        (receive_what_nobody_sent, "received and sent by nobody"),
        (receive_what_is_refused, "received and not known as sent"),
        (lose_outcome, "outcome lost"),
        (make_up_an_outcome, "outcome that nobody told"),
        (leave_a_plan, "plan not taken up"),
    ],
)
def test_what_is_wrong_is_found(spoil, kind):
    told = books()
    spoil(told)
    assert kind in kinds(told)


@pytest.mark.parametrize("name", ["events.accepted", "events.seen", "actions.taken", "handover.again"])
def test_a_total_that_does_not_fit_is_found(name):
    told = books()
    told.totals[name] += 1
    assert "total is wrong" in kinds(told)


@pytest.mark.parametrize("name", ["dead letters", "outbox"])
def test_what_lies_about_is_found(name):
    told = books()
    told.totals[name] = 1
    assert kinds(told) == {"total is wrong"}


AGAIN = [*SENT_AND_DELIVERED[:3], MessageState.PLANNED, MessageState.SENDING, *SENT_AND_DELIVERED[3:]]


def test_a_service_message_may_come_once_more_for_each_hand_over_of_unknown_outcome():
    account = reconcile(books(said(states=AGAIN, unknown=[4]), received=2))
    assert account.holds
    assert account.ambiguous == ["m1 service: delivered, received 2 times"]
    assert kinds(books(said(states=AGAIN, unknown=[4]), received=3)) == {"message doubled"}


@pytest.mark.parametrize("received", [0, 1])
def test_a_commercial_message_of_unknown_outcome_is_named_and_comes_once_at_most(received):
    failed = [*SENT_AND_DELIVERED[:3], MessageState.FAILED]
    account = reconcile(books(said(Category.SALES, failed, unknown=[4]), received=received))
    assert account.holds
    assert account.ambiguous == [f"m1 sales: failed, received {received} times"]
    assert kinds(books(said(Category.SALES, failed, unknown=[4]), received=2)) == {"message doubled"}

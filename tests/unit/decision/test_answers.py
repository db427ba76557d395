"""Which answer to an offer may follow which, and what an acceptance asks for."""

import itertools
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from services.decision.domain.answers import (
    Answer,
    Noted,
    NotRecorded,
    cannot_follow,
    cannot_have_answer,
    events_of,
    fulfilment_id,
    fulfilment_of,
    killed,
)
from services.decision.domain.arbitration import Candidate, DecidedAction
from services.vocabulary.catalogue import Offer, load_catalogue
from services.vocabulary.values import Money, ValueType
from services.vocabulary.words import ActionKind, ActionOutcome, Category, RefusalReason

CATALOGUE = load_catalogue(Path(__file__).parents[3] / "rules")
OFFER = Candidate("a-1", "shop", 1, "sell", 0, ActionKind.OFFER, "data-top-up", Category.SALES, 0, value=3.0)
P, A, D, N = Answer.PRESENTED, Answer.ACCEPTED, Answer.DECLINED, Answer.NOT_NOW


def noted(answer, reason=""):
    return Noted(1, "a-1", "d-1", answer, "data-top-up", reason, "desk", "", 1)


def taken(answers):
    """Those of these answers, said one after the other, that are recorded."""
    kept = []
    for answer in answers:
        if cannot_follow(kept, answer) is None:
            kept.append(noted(answer))
    return tuple(one.answer for one in kept)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ((P, A), (P, A)),
        ((P, D), (P, D)),
        ((P, N, A), (P, N, A)),
        ((N, D), (N, D)),
        ((A,), (A,)),
        ((A, A), (A,)),
        ((A, D), (A,)),
        ((D, A), (D,)),
        ((A, P), (A,)),
        ((D, N), (D,)),
        ((N, P), (N,)),
        ((P, N, A, D), (P, N, A)),
    ],
)
def test_yes_and_no_are_the_last_word_and_not_now_leaves_both_open(said, kept):
    assert taken(said) == kept


def test_whatever_is_said_in_any_order_at_most_one_of_yes_and_no_is_recorded():
    for said in itertools.product((P, A, D, N), repeat=4):
        kept = taken(said)
        assert len({A, D} & set(kept)) <= 1
        assert len(kept) == len(set(kept))
        assert kept[0] is said[0]


def test_the_same_again_is_told_from_the_opposite():
    why, _, earlier = cannot_follow([noted(P), noted(A)], A)
    assert (why, earlier.answer) == (NotRecorded.RECORDED_BEFORE, A)
    why, detail, earlier = cannot_follow([noted(P), noted(A)], D)
    assert (why, earlier.answer) == (NotRecorded.CONTRADICTS, A)
    assert "accepted" in detail


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (DecidedAction(OFFER, ActionOutcome.DISPATCHED), None),
        (DecidedAction(OFFER, ActionOutcome.PLANNED), NotRecorded.NOT_SAID),
        (
            DecidedAction(OFFER, ActionOutcome.REFUSED, reason=RefusalReason.CAPPED),
            NotRecorded.NOT_SAID,
        ),
        (
            DecidedAction(replace(OFFER, kind=ActionKind.TASK), ActionOutcome.DISPATCHED),
            NotRecorded.NOT_AN_OFFER,
        ),
    ],
)
def test_only_an_offer_that_was_let_through_can_be_answered(action, why):
    found = cannot_have_answer(action)
    assert (found and found[0]) == why
    if action.reason is not None:
        assert "CAPPED" in found[1]


def test_an_answer_is_told_as_the_events_of_the_catalogue():
    for answer, reason, event_type, told in (
        (P, "", "offer.presented", None),
        (A, "", "offer.accepted", None),
        (D, "too dear", "offer.declined", "too dear"),
        (N, "on the train", "offer.declined", "not_now"),
    ):
        ((_, found, data),) = events_of(noted(answer, reason))
        assert (found, data.get("reason")) == (event_type, told)
        CATALOGUE.event_type(found).coerce(data)
    ids = {events_of(noted(answer))[0][0] for answer in (P, A, D, N)}
    assert len(ids) == 4
    assert events_of(noted(A)) == events_of(noted(A))


def test_what_an_acceptance_asks_for_is_told_after_it():
    accepted = replace(noted(A), fulfil="order.placed", data={"order": "a-1", "product": "x"})
    (_, first, _), (named, second, data) = events_of(accepted)
    assert (first, second, named) == ("offer.accepted", "order.placed", fulfilment_id("a-1"))
    CATALOGUE.event_type(second).coerce(data)


def test_a_plan_taken_back_ends_as_refused():
    back = replace(noted(Answer.CANCELLED), data=killed(OFFER))
    ((_, event_type, data),) = events_of(back)
    assert (event_type, data["reason"]) == ("action.refused", "KILLED")
    CATALOGUE.event_type(event_type).coerce(data)


def test_an_acceptance_asks_for_the_event_that_the_offer_names():
    wanted = fulfilment_of(OFFER, CATALOGUE.offers["data-top-up"], CATALOGUE)
    assert wanted.type == "order.placed"
    assert wanted.data == {
        "order": "a-1",
        "action": "a-1",
        "product": "data-top-up",
        "price": {"amount": "3.50", "currency": "EUR"},
    }
    assert wanted == fulfilment_of(OFFER, CATALOGUE.offers["data-top-up"], CATALOGUE)


def test_what_was_offered_goes_before_what_is_known_of_the_offer():
    given = {
        "product": (ValueType.TEXT, "giga-5"),
        "price": (ValueType.MONEY, Money(Decimal("2.00"), "EUR")),
        "colour": (ValueType.TEXT, "red"),
    }
    wanted = fulfilment_of(replace(OFFER, parameters=given), CATALOGUE.offers["data-top-up"], CATALOGUE)
    assert wanted.data["product"] == "giga-5"
    assert wanted.data["price"] == {"amount": "2.00", "currency": "EUR"}
    assert "colour" not in wanted.data


def test_what_lacks_a_field_asks_for_no_event_and_says_which():
    lacking = fulfilment_of(OFFER, Offer("x", "X", fulfil="case.opened"), CATALOGUE)
    assert lacking.type == ""
    assert "data.case is missing" in lacking.lacking
    gone = fulfilment_of(OFFER, Offer("x", "X", fulfil="nothing.known"), CATALOGUE)
    assert "nothing.known" in gone.lacking
    assert fulfilment_of(OFFER, None, CATALOGUE).lacking == ""

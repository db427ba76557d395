"""Decide's answer to whoever talks to the customer: ranked, with reasons, and with what to leave alone."""

from dataclasses import replace

from rapport.types.v1 import vocabulary_pb2

from services.decision.app.ask import Answer
from services.decision.app.outcome_ports import Waiting
from services.decision.app.ports import Decided
from services.decision.domain.arbitration import Circumstances, Standing, arbitrate
from services.decision.domain.decide import Evaluation
from services.decision.domain.once import Taken
from services.decision.entrypoints.advice import answer_to_wire
from services.vocabulary.values import HOUR
from services.vocabulary.words import ActionKind, Category
from tests.unit.decision.test_arbitration import NOW, offer

BECAUSE = {name: (f"because of {name}",) for name in ("cheap", "dear", "notice", "sorry", "hush")}
SORRY = replace(offer("sorry", None, kind=ActionKind.SAY), name="", say="Sorry for yesterday.")
HUSH = replace(offer("hush", None, kind=ActionKind.AVOID), name="", avoid=(Category.SURVEY,))


def told(*candidates, waiting=(), slots=None, **circumstances):
    """The answer to a question for which these were asked for."""
    evaluation = Evaluation((), candidates, Circumstances(NOW, **circumstances), {})
    standing = Standing(slots or {})
    decided = Decided(
        decision_id="d-1",
        customer=1,
        event_id="e-1",
        source="decide",
        event_type="ask.care-call",
        event_micros=NOW,
        sequence=1,
        decided_micros=NOW,
        program=1,
        line="",
        hops=0,
        evaluation=evaluation,
        standing=standing,
        arbitration=arbitrate(candidates, evaluation.circumstances, standing),
        material=b"",
    )
    return answer_to_wire(Answer(decided, BECAUSE, reserved=True, waiting=waiting))


def test_what_is_best_stands_first_each_with_why_and_its_factors():
    service = offer("notice", Category.SERVICE, kind=ActionKind.MESSAGE)
    answer = told(offer("cheap", value=1.0), service, offer("dear", value=9.0), SORRY)
    actions = answer.decision.actions
    # of two that sell one wins; who lost comes last, and says to whom
    names = [one.name for one in actions if one.name]
    assert names == ["notice", "dear", "cheap"]
    refused = actions[-1]
    assert refused.outcome == vocabulary_pb2.ACTION_OUTCOME_REFUSED
    assert refused.reason == vocabulary_pb2.REFUSAL_REASON_OUTRANKED
    dear = next(one for one in actions if one.name == "dear")
    assert list(dear.because) == ["because of dear"]
    assert dear.factors.value.value == 9.0
    assert answer.reserved


def test_sentences_and_what_to_leave_alone_come_with_why():
    answer = told(SORRY, HUSH)
    (saying,) = answer.say
    assert (saying.text, list(saying.because), saying.rule) == (
        "Sorry for yesterday.",
        ["because of sorry"],
        "sorry",
    )
    (avoid,) = answer.avoid
    assert (avoid.category, list(avoid.because)) == (
        vocabulary_pb2.CATEGORY_SURVEY,
        ["because of hush"],
    )


def test_what_was_asked_to_be_left_alone_earlier_is_told_once():
    before = {("", "avoid", "survey"): Taken(NOW - HOUR, ("a-0",), NOW + HOUR)}
    (avoid,) = told(SORRY, slots=before).avoid
    assert list(avoid.because) == ["asked for earlier in this conversation"]
    (avoid,) = told(HUSH, slots=before).avoid
    assert list(avoid.because) == ["because of hush"]


def test_whatever_rules_ask_nothing_is_to_be_sold_during_a_complaint_or_to_the_vulnerable():
    (avoid,) = told(service_first="a complaint is open", vulnerable=True).avoid
    assert avoid.category == vocabulary_pb2.CATEGORY_SALES
    assert list(avoid.because) == ["a complaint is open", "the customer is marked as vulnerable"]
    assert not told().avoid


def test_what_was_planned_earlier_is_told_beside():
    plan = Waiting(1, "dear", "d-0", NOW + HOUR, "", offer("dear", planned_micros=NOW + HOUR))
    (waiting,) = told(waiting=(plan,)).waiting
    assert (waiting.name, waiting.outcome) == ("dear", vocabulary_pb2.ACTION_OUTCOME_PLANNED)
    assert waiting.planned_time.ToMicroseconds() == NOW + HOUR

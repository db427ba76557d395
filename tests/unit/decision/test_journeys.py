"""Journeys: what may be written, the rules that come of it, and how customers go through them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.decision.adapters.checking import arbitrator
from services.decision.domain.activity import Activity
from services.decision.domain.decide import (
    Planned,
    Question,
    decide,
    evaluate,
    evaluation_of,
    standing_that_counts,
)
from services.decision.domain.eligibility import Eligibility
from services.decision.domain.journeys import CAME, KEY, REACHED, STEP, Position, key_text
from services.decision.domain.ledger import Account, Ledger
from services.decision.domain.oracle import Oracle
from services.decision.domain.program import Program
from services.decision.domain.run import Outcome, run_program
from services.decision.domain.situation import Situation
from services.decision.domain.trial import run_tests
from services.decision.domain.triggers import JOURNEY_DUE, due_key
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import ActionKind, ActionOutcome, Purpose, RefusalReason
from tests.unit.decision.generators import NOW, catalogue, compiled
from tests.unit.decision.test_language import program_of, run

SAY = "{task: call-back, category: service}"
HEAD = "ruleset: j\njourney:\n  start: order.activated\n"
WELCOME = f"""
ruleset: j
windows: {{used: {{count: usage.data_used, last: 24h}}}}
infer: [{{fact: dear, when: [event.price > 100 EUR]}}]
journey:
  key: event.order
  start: order.activated
  exit: [subscription.ended happened]
  steps:
    - do: {SAY}
    - id: settle
      wait: 3d
    - if: [windows.used is 0, event.product is fibre]
      do: {SAY}
    - await: [survey.answered, message.replied]
      within: 5d
      then:
        - if: [event.type is survey.answered, event.score >= 8]
          do: {SAY}
        - wait: 1d
        - if: [event.product is fibre]
          do: {SAY}
      nothing:
        - do: {{task: call-back, with: {{note: "{{event.order}}"}}, category: service}}
    - if: [fact dear]
      do: {{survey: ces-after-care, category: survey}}
tests:
  - name: it begins
    when: {{order: o-1}}
    then: {{fires: [step-1], wins: [step-1]}}
  - name: three days later
    given: {{windows: {{used: 0}}}}
    when: {{step: settle, product: fibre}}
    then: {{fires: [step-3], wins: [step-3]}}
  - name: three days later, and in use
    given: {{windows: {{used: 1}}}}
    when: {{step: settle, product: fibre}}
    then: {{fires: []}}
  - name: a good answer
    when: {{type: survey.answered, score: 9}}
    then: {{fires: [step-4.then-1], wins: [step-4.then-1]}}
  - name: another answer
    when: {{type: message.replied, step: step-4}}
    then: {{fires: []}}
  - name: a day after the answer event.… is the start event again
    when: {{step: step-4.then-2, product: fibre, price: 120 EUR}}
    then: {{fires: [step-4.then-3, step-5], wins: [step-4.then-3, step-5]}}
  - name: no answer
    when: {{step: step-4, price: 99 EUR}}
    then: {{fires: [step-4.nothing-1]}}
  - name: gone meanwhile
    given: {{history: [{{type: subscription.ended, ago: 1h}}]}}
    when: {{step: step-4}}
    then: {{fires: []}}
"""


def steps(*written: str, head: str = HEAD) -> str:
    return head + "  steps:\n" + "".join(f"    - {step}\n" for step in written)


def due(program: Program, step: str, **more: Any) -> Situation:
    """The moment at which a step of the journey is due."""
    fields = {"order": "o-1", **more.pop("event", {}), STEP: step, KEY: "o-1", REACHED: NOW - DAY}
    return Situation(
        **{
            "event_type": JOURNEY_DUE,
            "event": fields,
            "event_micros": NOW,
            "sequence": 0,
            "accepted_micros": NOW,
            "now_micros": NOW,
            "trigger": due_key(JOURNEY_DUE, program.rule_sets[0].name),
            **more,
        }
    )


# --- what may be written ----------------------------------------------------------------------------------


def test_its_own_tests_pass() -> None:
    program = program_of(WELCOME)
    results = run_tests(program, program.rule_sets[0], Oracle(), arbitrator(program, catalogue()))
    assert [(result.name, result.message) for result in results if not result.passed] == []
    assert len(results) == 8


def test_it_needs_no_more_tests_than_steps_that_say_something() -> None:
    assert compiled(WELCOME).problems == ()


def test_what_calls_for_it_are_its_start_its_answers_and_its_own_time() -> None:
    program = program_of(WELCOME)
    assert program.rule_sets[0].triggers == (
        "order.activated",
        "survey.answered",
        "message.replied",
        "journey.due/j",
    )
    assert program.listened == {"order.activated", "survey.answered", "message.replied", "journey.due"}


def test_only_what_its_steps_look_at_is_remembered_of_the_start_event() -> None:
    journey = program_of(WELCOME).rule_sets[0].journey
    assert journey is not None
    assert sorted(journey.fields) == ["order", "price", "product"]


# --- the rules that come of it -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["settle", "step-4", "step-4.then-2", "step-1", "step-5", "nowhere"])
@pytest.mark.parametrize("product", ["fibre", "copper"])
def test_engine_rules_come_to_what_is_written(step: str, product: str) -> None:
    program = program_of(WELCOME)
    outcome = run(program, due(program, step, event={"product": product}))
    assert bool(outcome.rules) is (step != "nowhere")


def test_withheld_data_keeps_a_step_from_being_said_and_not_the_journey_from_going_on() -> None:
    program = program_of(WELCOME)
    situation = due(
        program, "settle", event={"product": "fibre"}, withheld=frozenset({Purpose.PROFILING_USAGE})
    )
    outcome = run_program(program, Oracle(), situation)
    assert [rule.rule for rule in outcome.withheld] == ["step-3"]
    assert [rule.rule for rule in outcome.rules] == ["step-4"]


# --- going through it --------------------------------------------------------------------------------------


class Road:
    """One customer of the decision service without its stream and its database."""

    def __init__(self, text: str) -> None:
        self.program = program_of(text)
        self.rule_set = self.program.rule_sets[0].name
        self.ledger = Ledger({1: Account()})
        self.said: list[tuple[int, str]] = []
        self._number = 0

    def decide(self, situation: Situation) -> list[str]:
        """Decides one event; the rules that said something."""
        self._number += 1
        outcome: Outcome = run_program(self.program, Oracle(), situation)
        question = Question(f"d{self._number}", situation)
        evaluation = evaluation_of(self.program, Eligibility(catalogue()), question, outcome)
        standing = standing_that_counts(self.ledger.standing((1,)), evaluation)
        arbitration = decide(evaluation, standing)
        assert decide(evaluation, standing) == arbitration
        self.ledger.enter(1, arbitration, {})
        self.ledger.move((1,), arbitration.moves)
        said = [
            action.candidate.rule
            for action in arbitration.actions
            if action.outcome is ActionOutcome.DISPATCHED and action.candidate.kind is not ActionKind.STEP
        ]
        self.said += [(situation.now_micros, rule) for rule in said]
        return said

    def event(self, event_type: str, at: int, **more: Any) -> list[str]:
        fields = more.pop("event", {})
        return self.decide(Situation(event_type, fields, at, more.pop("sequence", 1), at, at, **more))

    def pass_time(self, until: int, **more: Any) -> None:
        """Lets everything fall due that does until then, in its order."""
        while True:
            waiting = [
                (position.due_micros, key, position)
                for (_, key), position in self.ledger.standing((1,)).positions.items()
                if not position.ended and position.due_micros <= until
            ]
            if not waiting:
                return
            _, key, position = min(waiting, key=lambda each: each[:2])
            self.due(key, position, **more)

    def due(self, key: str, position: Position, **more: Any) -> list[str]:
        at = position.due_micros
        fields = {STEP: position.step, KEY: key, REACHED: position.reached_micros}
        trigger = due_key(JOURNEY_DUE, self.rule_set)
        return self.decide(Situation(JOURNEY_DUE, fields, at, 0, at, at, trigger=trigger, **more))

    def place(self, key: str = "") -> Position | None:
        return self.ledger.standing((1,)).positions.get((self.rule_set, key))


TWO_AWAITS = steps(
    f"{{id: hello, do: {SAY}}}",
    f"{{await: message.replied, within: 2d, then: [{{id: first, do: {SAY}}}], nothing: [{{wait: 1d}}]}}",
    f"{{await: message.replied, within: 2d, then: [{{id: second, do: {SAY}}}]}}",
    f"{{id: bye, do: {SAY}}}",
)


def test_an_answer_belongs_to_the_await_at_which_the_customer_stands() -> None:
    road = Road(TWO_AWAITS)
    road.event("order.activated", NOW)
    assert road.event("message.replied", NOW + HOUR) == ["first"]
    road.pass_time(NOW + HOUR)
    assert road.event("message.replied", NOW + 2 * HOUR) == ["second"]
    road.pass_time(NOW + 2 * HOUR)
    assert [rule for _, rule in road.said] == ["hello", "first", "second", "bye"]
    assert road.place() is None


def test_an_answer_with_the_key_answers_its_own_journey_and_one_without_answers_all() -> None:
    keyed = steps(
        f"{{await: order.delivered, within: 9d, then: [{{id: there, do: {SAY}}}]}}",
        f"{{await: message.replied, within: 9d, then: [{{id: reply, do: {SAY}}}]}}",
        head=HEAD + "  key: event.order\n",
    )
    road = Road(keyed)
    for order in ("a", "b"):
        assert road.event("order.activated", NOW, event={"order": order}) == []
    assert road.event("order.delivered", NOW + 1, event={"order": "b"}) == ["there"]
    assert road.event("order.delivered", NOW + 2, event={"order": "c"}) == []
    assert road.event("order.delivered", NOW + 3, event={}) == []
    road.pass_time(NOW + 3)
    assert road.event("message.replied", NOW + 4) == ["reply"]
    places = {key: place.step for (_, key), place in road.ledger.standing((1,)).positions.items()}
    assert places == {"a": "step-1", "b": ""}
    road.event("order.delivered", NOW + 5, event={"order": "a"})
    road.event("order.activated", NOW + 6, event={"order": "d"})
    road.event("order.delivered", NOW + 7, event={"order": "d"})
    road.pass_time(NOW + 7)
    assert road.event("message.replied", NOW + 8) == ["reply"]
    assert all(place.ended for place in road.ledger.standing((1,)).positions.values())


def test_without_its_key_no_journey_begins() -> None:
    road = Road(steps(f"do: {SAY}", head=HEAD + "  key: event.tracking\n"))
    assert road.event("order.activated", NOW, event={"order": "a"}) == []
    assert road.event("order.activated", NOW, event={"order": "a", "tracking": "t"}) == ["step-1"]
    assert road.event("order.activated", NOW, event={"order": "b", "tracking": "t"}) == []


def test_holdout_keeps_silent_and_goes_on() -> None:
    text = steps(f"do: {SAY}", "wait: 1d", "do: {offer: goodwill-1gb, category: retention, expires: 7d}")
    text += "experiment: {id: x, holdout: 10%}\n"
    road = Road(text)
    road.event("order.activated", NOW, arms={"x": "holdout"})
    road.pass_time(NOW + DAY, arms={"x": "holdout"})
    assert [rule for _, rule in road.said] == ["step-1"]
    assert road.place() is None


def test_an_outage_does_not_hurry_the_steps_that_follow() -> None:
    road = Road(steps(f"do: {SAY}", "wait: 1d", f"do: {SAY}", "wait: 1d", f"do: {SAY}"))
    road.event("order.activated", NOW)
    at = NOW + DAY

    def came(later: int) -> Position | None:
        fields = {STEP: "step-2", KEY: "", REACHED: NOW, CAME: at + later}
        trigger = due_key(JOURNEY_DUE, "j")
        road.decide(Situation(JOURNEY_DUE, fields, at, 0, at, at, trigger=trigger))
        return road.place()

    other = came(2 * DAY)
    assert other is not None
    assert (other.reached_micros, other.due_micros) == (at + 2 * DAY, at + 3 * DAY)


@pytest.mark.parametrize(
    ("happened", "sequence", "ends"),
    [(NOW - 1, 2, False), (NOW, 1, False), (NOW, 2, True), (NOW + DAY, 2, True), (NOW + DAY + 1, 2, False)],
)
def test_only_what_happened_since_the_start_and_until_now_ends_a_journey(
    happened: int, sequence: int, *, ends: bool
) -> None:
    text = steps(
        f"do: {SAY}", "wait: 1d", f"do: {SAY}", head=HEAD + "  exit: [subscription.ended happened]\n"
    )
    road = Road(text)
    road.event("order.activated", NOW, sequence=1)
    activity = {"subscription.ended": Activity([NOW - DAY, happened], [0, sequence])}
    road.pass_time(NOW + DAY, activity=activity)
    assert [rule for _, rule in road.said] == (["step-1"] if ends else ["step-1", "step-3"])


@pytest.mark.parametrize(
    ("after", "answers"), [(-1, False), (0, True), (2 * DAY, True), (2 * DAY + 1, False)]
)
def test_an_answer_counts_while_the_customer_stands_there(after: int, *, answers: bool) -> None:
    road = Road(TWO_AWAITS)
    road.event("order.activated", NOW)
    assert road.event("message.replied", NOW + after) == (["first"] if answers else [])


def test_a_planned_action_of_a_step_is_done_though_the_journey_has_gone_on() -> None:
    road = Road(steps("do: {task: call-back, category: service, after: 1d}", "wait: 1h"))
    situation = Situation("order.activated", {}, NOW, 1, NOW, NOW)
    outcome = run_program(road.program, Oracle(), situation)
    eligibility = Eligibility(catalogue())
    evaluation = evaluation_of(road.program, eligibility, Question("d", situation), outcome)
    planned = decide(evaluation, Ledger({}).standing((1,))).actions[0]
    assert planned.outcome is ActionOutcome.PLANNED
    at = NOW + DAY
    later = Situation("action.due", {}, at, 2, at, at)
    again, _ = evaluate(
        road.program, Oracle(), eligibility, Question("e", later, Planned(planned.candidate, NOW, 1))
    )
    outcomes = [action.outcome for action in decide(again, Ledger({}).standing((1,))).actions]
    assert outcomes == [ActionOutcome.DISPATCHED]


def test_a_step_that_is_due_at_once_stays_in_the_chain_of_our_own_events() -> None:
    at_once = Position("step-2.then", NOW, NOW, NOW, 1)
    for hops, expected in ((0, 1), (4, 5), (5, 5)):
        ledger = Ledger({1: Account()})
        ledger.move((1,), {("j", ""): at_once, ("j", "k"): replace(at_once, due_micros=NOW + 1)}, "", hops)
        places = ledger.standing((1,)).positions
        assert (places["j", ""].hops, places["j", "k"].hops) == (expected, 0)


def test_a_key_is_never_longer_than_an_index_takes() -> None:
    assert key_text("o-1") == "o-1"
    assert key_text(None) == ""
    assert len(key_text("x" * 50_000)) == 36
    assert key_text("x" * 500) != key_text("x" * 501)


def test_a_merged_customer_goes_on_where_somebody_still_goes() -> None:
    ended = Position("", NOW + 5, NOW + 5, NOW, 1)
    going = Position("step-2", NOW, NOW + DAY, NOW, 1, line="l")
    ledger = Ledger({1: Account(positions={("j", "k"): ended}), 2: Account(positions={("j", "k"): going})})
    assert ledger.standing((1, 2)).positions == {("j", "k"): going}
    later = replace(going, step="step-3")
    ledger.move((1, 2), {("j", "k"): later}, "other", 1)
    assert ledger.positions_written == {(1, ("j", "k")): later, (2, ("j", "k")): None}


def test_refusals_of_a_journey_that_is_not_there_are_none() -> None:
    program = program_of(
        steps(
            f"do: {SAY}", "wait: 1d", "do: {offer: data-top-up, with: {gb: 1}, category: sales, expires: 1h}"
        )
    )
    situation = due(program, "step-2", traits={"vulnerable": True})
    outcome = run_program(program, Oracle(), situation)
    evaluation = evaluation_of(program, Eligibility(catalogue()), Question("d", situation), outcome)
    assert decide(evaluation, Ledger({}).standing((1,))).actions == ()
    there = Position("step-2", NOW - DAY, NOW, NOW - DAY, 1)
    standing = Ledger({1: Account(positions={("j", "o-1"): there})}).standing((1,))
    reasons = [action.reason for action in decide(evaluation, standing).actions]
    assert RefusalReason.VULNERABLE in reasons or RefusalReason.NOT_ELIGIBLE in reasons


# --- a simple model of the same journey ---------------------------------------------------------------------

MODELLED = steps(
    f"{{id: hello, do: {SAY}}}",
    "wait: 2h",
    f"{{await: message.replied, within: 3h, then: [{{id: thanks, do: {SAY}}}, {{wait: 1h}}, "
    f"{{id: more, do: {SAY}}}], nothing: [{{id: silent, do: {SAY}}}]}}",
    f"{{id: bye, do: {SAY}}}",
)


def model(events: list[tuple[int, str]], until: int) -> list[tuple[int, str]]:
    """What is said when, written down as one would tell it."""
    said: list[tuple[int, str]] = []
    free_from = -1
    for start, kind in events:
        if kind != "order.activated" or start < free_from:
            continue
        asked = start + 2 * HOUR
        answers = [
            time for time, what in events if what == "message.replied" and asked <= time < asked + 3 * HOUR
        ]
        said.append((start, "hello"))
        if answers:
            last = answers[0] + HOUR
            said += [(answers[0], "thanks"), (last, "more"), (last, "bye")]
        else:
            last = asked + 3 * HOUR
            said += [(last, "silent"), (last, "bye")]
        free_from = last
    return sorted(each for each in said if each[0] <= until)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40).map(lambda number: number * 30), st.sampled_from(("start", "reply")))
    ),
    st.data(),
)
def test_customers_go_through_it_as_the_model_says(drawn: list[tuple[int, str]], data: st.DataObject) -> None:
    names = {"start": "order.activated", "reply": "message.replied"}
    minutes = {minute: names[kind] for minute, kind in drawn}
    events = [(NOW + minute * 60_000_000, kind) for minute, kind in sorted(minutes.items())]
    road = Road(MODELLED)
    stale: list[Position] = []
    for number, (at, kind) in enumerate(events, 1):
        road.pass_time(at)
        place = road.place()
        if stale and data.draw(st.booleans()):  # a step that was due comes back a second time
            assert road.due("", data.draw(st.sampled_from(stale))) == []
            assert road.place() == place
        if place is not None and not place.ended:
            stale.append(place)
        road.event(kind, at, sequence=number)
        if road.place() in stale:
            stale.remove(road.place())  # type: ignore[arg-type]
    until = NOW + 100 * HOUR
    road.pass_time(until)
    assert sorted(road.said) == model(events, until)

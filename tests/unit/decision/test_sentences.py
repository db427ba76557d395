"""A rule set in plain English: everything that was written is said."""

import json
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings

from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.language.lexer import cut
from services.decision.domain.language.nodes import Block, Listing, Scalar
from services.decision.domain.phrases import joined, length_words, path_words
from services.decision.domain.sentences import sentences_of
from tests.unit.decision.generators import RULES, compiled, rule_sets

WHOLE = """ruleset: whole
title: All of it
owner: somebody
stage: buy
active: {from: 2026-01-01, to: 2026-06-30, tz: Europe/Lisbon}
trigger: [usage.data_used, complaint.opened]
late: 6h
choose: first
windows:
  spent:
    sum: usage.data_used.mb
    last: 7 days
    where: [country is ES or PT, none: [mb < 1]]
    before: 9d
  quiet: {since: complaint.opened, this: excluded}
  mb: {sum: usage.data_used.mb, last: 1 cycle}
infer:
  - fact: torn
    when:
      - any:
          - profile.plan is not m-5gb
          - all: [profile.balance < profile.usual_bill * 1.5 - profile.plan_price, today is not sat or sun]
    because: "has {profile.plan} since long"
    priority: 7
rules:
  - id: told
    when:
      - fact torn
      - profile.products contains tv or phone
      - profile.plan starts with m
      - profile.contract_end within next 61d
      - now between 22:00 and 06:00
      - event.type is usage.data_used
      - windows.mb crosses profile.plan_data_mb * 0.8
      - profile.contract_end > 2027-01-31
      - windows.spent >= 3
      - windows.quiet > 30d
      - arm is short
    do:
      - message: quota-50
        category: service
        topic: plan
        channels: [preferred, sms after 2h]
        to: payer
        cost: 1.25
        after: 47h
        unless: [complaint.opened happened]
        keep: [profile.prepaid is true]
        arms: {short: {template: quota-80, with: {size: 3}}, long: {}}
      - {set: {trait: upset, to: true, for: 14d}}
      - {say: "Greetings {profile.plan}"}
      - {avoid: [sales, survey]}
    once: {per: 8d, by: event.topic}
  - id: called
    priority: 70
    when: [profile.prepaid missing, event.type is complaint.opened]
    do: {task: call-back, category: service, due: 4h}
    once: cycle
experiment:
  id: lengths
  holdout: 12%
  arms: {short: 20%, long: 21%}
  metric: {event: plan.activated, within: 61d}
  guardrail: {event: subscription.ended, within: 13d}
tests:
  - name: the plain case
    given:
      profile: {prepaid: false}
      context: {cell: {incident: INC7}}
      windows: {spent: 11}
      facts: [torn]
      consents: {marketing: granted}
      withheld: [location]
      history: [{type: complaint.opened, ago: 3d, complaint: C-77, topic: calls}]
      arm: long
    when: {type: usage.data_used, mb: 17}
    then: {fires: [], facts: [], wins: [], refused: {told: ONCE}}
"""
SAID_OTHERWISE = {
    "payer": "pays",
    "excluded": "without",
    "first": "only the first",
    "sms": "SMS",
    "email": "e-mail",
    "missing": "not known",
    "cycle": "billing cycle",
    "preferred": "prefers",
    "sat": "Saturday",
    "sun": "Sunday",
    "happened": "happens",
    "contains": "contain",
    "starts": "begins",
    "within": "lies within",
    "crosses": "reaches",
    "exists": "known",
}


def told(*texts):
    compilation = compiled(*texts)
    assert compilation.program is not None, [problem.sentence() for problem in compilation.errors]
    root = read_yaml(texts[0]).root
    assert isinstance(root, Block)
    return sentences_of(compilation.program, compilation.program.rule_sets[0], root)


def whole_text(*texts):
    return "\n".join(sentence for section in told(*texts) for sentence in section.sentences)


def scalars(node, *, keys=()):
    """Every value written, with the keys that stand above it."""
    match node:
        case Scalar():
            yield node.text, keys
        case Listing(items=items):
            for item in items:
                yield from scalars(item, keys=keys)
        case Block(entries=entries):
            for key, value in entries:
                yield from scalars(value, keys=(*keys, key.text))


@pytest.mark.parametrize("text", [WHOLE, *(path.read_text() for path in sorted(RULES.glob("*.yaml")))])
def test_every_value_that_was_written_is_said(text):
    others = [path.read_text() for path in RULES.glob("open-*.yaml") if path.read_text() != text]
    said = whole_text(text, *others)
    for written, keys in scalars(read_yaml(text).root):
        if keys[-1:] == ("shared",):
            continue
        words = re.findall(r"[A-Za-z_]+(?:\.[A-Za-z_]+)+|[0-9]+(?:[.:-][0-9]+)*|[A-Za-z]+", written)
        for word in words:
            if word in {"h", "d", "m", "s", "is", "fact", "or", "and"}:
                continue
            assert occurs(word, said), (word, written, keys)


def occurs(word, said):
    event, _, field = word.rpartition(".")
    forms = {word, word.replace("_", " "), SAID_OTHERWISE.get(word, word), path_words(word).strip("“”")}
    if event:
        forms.add(f"{field.replace('_', ' ')} among the {event} events")
    return any(form in said for form in forms)


@settings(max_examples=4, suppress_health_check=list(HealthCheck), deadline=None)
@given(rule_sets())
def test_every_path_and_literal_of_a_condition_occurs_in_its_rule(text):
    compilation = compiled(text)
    assume(compilation.program is not None)
    sections = {section.heading: section.sentences for section in told(text)}
    glossary = "\n".join(sections.get("Words", ()))
    spoken = {sentence.partition(" ")[0].rstrip(":"): sentence for sentence in sections["What it does"]}
    for rule in json.loads(text)["rules"]:
        for line in lines(rule["when"]):
            for token in cut(line):
                if token.is_path and not (line.startswith("event.type ") and token.offset):
                    assert f"is written {token.text}." in glossary, (line, glossary)
                elif token.kind == "quoted" or re.match(r"-?[0-9]", token.text):
                    number = re.match(r"-?[0-9.]*[0-9]", token.text)
                    said = number[0] if number and token.kind != "quoted" else token.text
                    assert said in spoken[rule["id"]], (line, spoken[rule["id"]])


def lines(conditions):
    for condition in conditions:
        if isinstance(condition, str):
            yield condition
        else:
            for inside in condition.values():
                yield from lines(inside)


@pytest.mark.parametrize(
    ("condition", "phrase"),
    [
        ("profile.better_plan exists", "the customer's better plan is known"),
        ("profile.plan is not a", "the customer's plan is not a (or is not known)"),
        ("profile.plan is not a or b", "the customer's plan is neither a nor b (or is not known)"),
        ("profile.churn_risk >= 0.6", "the customer's churn risk is at least 0.6"),
        ("profile.churn_risk <= 0.6", "the customer's churn risk is at most 0.6"),
        ("profile.churn_risk > 0.6", "the customer's churn risk is more than 0.6"),
        ("profile.churn_risk < 0.6", "the customer's churn risk is less than 0.6"),
        ("profile.contract_end >= 2027-01-01", "the customer's contract end is no earlier than 2027-01-01"),
        ("profile.contract_end <= 2027-01-01", "the customer's contract end is no later than 2027-01-01"),
        ("profile.contract_end < 2027-01-01", "the customer's contract end is before 2027-01-01"),
        (
            "profile.balance > profile.usual_bill * 1.5",
            "the customer's balance is more than the customer's usual bill times 1.5",
        ),
        ("today is mon", "today is a Monday where the customer is"),
        (
            "any: [profile.plan is a, today is mon]",
            "either (the customer's plan is a or today is a Monday where",
        ),
        ("none: [profile.plan is a]", "it is not so that the customer's plan is a"),
        ("profile.plan is profile.better_plan", "the customer's plan is the customer's better plan"),
    ],
)
def test_conditions_as_phrases(condition, phrase):
    line = condition if not condition.startswith(("any", "none")) else f"{{{condition}}}"
    said = whole_text(
        "ruleset: t\ntrigger: usage.data_used\nrules:\n"
        f"  - {{id: r, when: [{line}], do: {{task: call-back, category: service}}}}\n"
    )
    assert f"r: if {phrase}" in said


def test_rules_are_told_in_the_order_in_which_they_fire():
    (does,) = [section for section in told(WHOLE) if section.heading == "What it does"]
    assert [sentence.partition(" ")[0] for sentence in does.sentences] == ["called", "told:"]


def test_a_table_is_told_row_by_row():
    said = whole_text(
        "ruleset: t\ntrigger: usage.data_used\n"
        "table:\n  columns: [event.country, profile.plan_data_mb, do]\n  rows:\n"
        "    - [ES or PT, under 5000, {message: quota-50, category: service}]\n"
        "    - [any, any, {message: quota-80, category: service}]\n"
    )
    assert "Of the table only the first row that fits counts." in said
    assert (
        "row-1: if the event's country is ES or PT and the customer's plan data mb is less than 5000, then"
        in said
    )
    assert "row-2: in all other cases send the message “quota-80”, as a service action." in said


JOURNEY = """ruleset: welcome
windows: {screens: {count: app.screen_viewed, last: 7d}}
journey:
  key: event.order
  start: order.activated
  exit: [subscription.ended happened]
  steps:
    - do: {message: quota-50, category: service}
    - wait: 3d
    - if: [windows.screens is 0, profile.plan exists]
      do: {message: quota-80, category: service}
    - await: survey.answered
      within: 5d
      then: [{do: {message: quota-100, category: service}}]
      nothing: [{id: called, do: {task: call-back, category: service, with: {queue: care, note: x}}}]
tests:
  - {name: begins, when: {order: o1}, then: {fires: [step-1]}}
  - name: later
    given: {windows: {screens: 0}, profile: {plan: m}}
    when: {step: step-2}
    then: {fires: [step-3]}
"""


CALLED = "give a care agent the task “call-back”, as a service action, with queue care and note x"


def test_a_journey_is_told_step_by_step():
    said = whole_text(JOURNEY).splitlines()
    begin = said.index(
        "A journey begins when order.activated happens, one for each value of the event's order."
    )
    asked = "if “screens” is 0 and the customer's plan is known, then"
    assert said[begin + 1 : begin + 8] == [
        "It ends early when subscription.ended happens.",
        "step-1: send the message “quota-50”, as a service action.",
        "step-2: wait for 3 days.",
        f"step-3: {asked} send the message “quota-80”, as a service action.",
        "step-4: wait until survey.answered happens, but for at most 5 days.",
        "step-4.then-1 (when it came): send the message “quota-100”, as a service action.",
        f"called (when it did not come): {CALLED}.",
    ]
    assert said[-3] == (
        "later: given “screens” 0 and the customer's plan m, when the time of step-2 has come, step-3 fires."
    )
    assert said[-2:] == [
        "“screens” is written windows.screens.",
        "The customer's plan is written profile.plan.",
    ]


def test_small_phrases():
    assert [joined(["a"]), joined(["a", "b"]), joined(["a", "b", "c"], "or")] == [
        "a",
        "a and b",
        "a, b, or c",
    ]
    assert joined(["a, b", "c"]) == "a, b; and c"
    assert [length_words(text) for text in ("1d", "72h", "6 cycles", "1 day", "soon")] == [
        *("1 day", "72 hours", "6 billing cycles", "1 calendar day", "soon"),
    ]
    assert path_words("context.cell.incident") == "the cell's incident"

"""Two versions of a rule set: what differs in words, and for whom the outcome does."""

import pytest

from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.customers import Customer, CustomerMistake, Version
from services.decision.domain.differences import differences
from services.decision.domain.generated_customers import generated_customers
from services.decision.domain.language.report import Report
from services.decision.domain.language.rule_set_reader import read_rule_set, shared_facts_of
from services.decision.domain.oracle import Oracle
from services.decision.domain.outcomes import Change, Comparison
from services.decision.domain.program import RuleSetText
from services.vocabulary.values import parse_time
from tests.unit.decision.generators import catalogue, compiled
from tests.unit.decision.test_sentences import JOURNEY

SHARED = """ruleset: always-there
shared: true
windows: {opened: {count: complaint.opened, last: 30d}}
infer: [{fact: cross, when: [windows.opened >= 1]}]
"""
TEXT = """ruleset: t
title: One
active: {from: 2026-03-02, to: 2026-06-30, tz: Europe/Paris}
trigger: [usage.data_used, plan.activated]
windows:
  used: {sum: usage.data_used.mb, last: 1 cycle}
  abroad: {count: usage.data_used, last: 7d, where: [country is ES or PT]}
infer:
  - fact: heavy
    when: [windows.used > 1000]
  - fact: torn
    when:
      - any:
          - profile.tenure_months < 12
          - profile.churn_risk >= 0.6
rules:
  - id: much
    priority: 60
    when: [fact heavy, profile.prepaid is not true, not fact cross]
    do: {offer: data-top-up, with: {gb: 2}, category: sales, value: 3.5, expires: 24h}
  - id: costly
    when: [profile.balance > profile.usual_bill * 1.5, now between 09:00 and 18:00]
    do: {task: call-back, category: service, with: {queue: care, note: "{profile.plan}"}, due: 4h}
  - id: leaving
    when: [fact torn, profile.contract_end within next 60d, profile.products contains tv]
    do: {task: call-back, category: service, with: {queue: save, note: x}}
    once: 30d
  - id: travels
    when: [windows.abroad >= 2, event.country is ES or PT]
    do: {set: {trait: upset, to: true, for: 14d}}
  - id: marks
    when: [windows.used crosses profile.plan_data_mb * 0.8, today is not sun, arm is one]
    do: [{message: quota-80, category: service, arms: {one: {}, two: {}}}, {avoid: [sales]}]
experiment: {id: x, arms: {one: 50%, two: 50%}}
"""


def version(text, *beside):
    compilation = compiled(*beside, text)
    assert compilation.program is not None, [problem.sentence() for problem in compilation.errors]
    root = read_yaml(text).root
    facts = [name for each in (*beside, text) for name in shared_facts_of(read_yaml(each).root)]
    draft = read_rule_set(RuleSetText("x", text), root, catalogue(), facts, Report("x"))
    return Version(compilation.program, compilation.program.rule_sets[-1], draft.scope)


def both(*edits, text=TEXT):
    changed = text
    for before, after in edits:
        assert before in changed, before
        changed = changed.replace(before, after, 1)
    return version(text, SHARED), version(changed, SHARED)


def tally(old, new, count=300, seed=0):
    comparison = Comparison(old, new, Oracle())
    return comparison.tally(generated_customers((old, new), count, seed), strict=False)


TRAVELS = TEXT[TEXT.index("  - id: travels") : TEXT.index("  - id: marks")]
EDITS = {
    "a window's bound": ("windows.used > 1000", "windows.used > 1001"),
    "at least, not more than": ("windows.used > 1000", "windows.used >= 1000"),
    "a number": ("churn_risk >= 0.6", "churn_risk >= 0.61"),
    "a whole number": ("tenure_months < 12", "tenure_months < 13"),
    "a factor": ("usual_bill * 1.5", "usual_bill * 1.4"),
    "an hour": ("09:00 and 18:00", "10:00 and 18:00"),
    "a date": ("within next 60d", "within next 59d"),
    "a choice": ("event.country is ES or PT", "event.country is ES"),
    "a list": ("contains tv", "contains internet"),
    "a negation": ("profile.prepaid is not true", "profile.prepaid is false"),
    "a shared fact": (", not fact cross]", "]"),
    "a mark": ("plan_data_mb * 0.8", "plan_data_mb * 0.9"),
    "a weekday": ("today is not sun", "today is not mon"),
    "an arm": ("arm is one", "arm is two"),
    "a value": ("value: 3.5,", "value: 3.6,"),
    "a parameter": ("note: x}", 'note: "{profile.plan}"}'),
    "an expiry": ("expires: 24h", "expires: 25h"),
    "once": ("once: 30d", "once: 31d"),
    "how long a trait is set": ("for: 14d", "for: 15d"),
    "any and all": ("- any:", "- all:"),
    "the span of a window": ("last: 7d", "last: 3d"),
    "the where of a window": ("[country is ES or PT]", "[country is ES]"),
    "the last day": ("to: 2026-06-30", "to: 2026-06-29"),
    "only the first": ("trigger:", "choose: first\ntrigger:"),
    "a trigger": ("trigger: [usage.data_used, plan.activated]", "trigger: [usage.data_used]"),
    "an order": ("priority: 60", "priority: 40"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_small_change_is_said_and_meets_a_customer_for_whom_it_matters(name):
    old, new = both(EDITS[name])
    assert differences(old.rule_set, new.rule_set)
    tallies = (tally(old, new, 300, seed) for seed in range(5))
    found = next((each for each in tallies if each.differs or each.unread), None)
    assert found is not None, "no customer for whom it matters"
    assert found.unread == 0
    comparison = Comparison(old, new, Oracle())
    for met in found.examples:
        assert comparison.meet(met.customer).change is met.change


@pytest.mark.parametrize(
    "edit",
    [
        ("title: One\n", "title: One    # a note\n"),
        ("[windows.used > 1000]", "\n      - windows.used   >   1000"),
        (
            "{offer: data-top-up, with: {gb: 2}, category: sales,",
            "{category: sales, offer: data-top-up, with: {gb: 2},",
        ),
        ("experiment:", "tests: [{name: a, when: {type: usage.data_used}, then: {fires: []}}]\nexperiment:"),
    ],
)
def test_how_it_is_written_does_not_count(edit):
    old, new = both(edit)
    assert differences(old.rule_set, new.rule_set) == ()
    assert not tally(old, new).differs


def test_most_rules_fire_for_some_customer():
    old, _ = both()
    fired = {
        asked.rule
        for customer in generated_customers((old, old), 300, 1)
        for asked in old.meets(Oracle(), customer, old)
    }
    assert fired == {"much", "costly", "leaving", "travels", "marks"}


def test_the_same_seed_makes_the_same_customers():
    old, new = both(EDITS["a number"])
    first, again, other = (list(generated_customers((old, new), 50, seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_an_example_has_no_more_than_it_needs():
    old, new = both(EDITS["a window's bound"])
    first = tally(old, new, 600).examples[0]
    assert first.change is Change.LESS
    assert list(first.customer.given) == ["windows"]
    assert 1000 < first.customer.given["windows"]["used"] <= 1001
    assert [asked.rule for asked in first.old] == ["much"]
    assert first.new == ()


@pytest.mark.parametrize(
    ("edit", "sentences"),
    [
        (("title: One", "title: Two"), ["its title: One became Two"]),
        (EDITS["only the first"], ["whether only the first rule counts: no became yes"]),
        (
            EDITS["a window's bound"],
            [
                "the fact “heavy”: no longer asks that “used” is more than 1000",
                "the fact “heavy”: asks that “used” is more than 1001",
            ],
        ),
        (EDITS["once"], ["the rule leaving: once in 30 days became once in 31 days"]),
        (EDITS["an order"], ["the rule much: its priority 60 became 40"]),
        (EDITS["an expiry"], ["the rule much: expires of offer data-top-up: 1 day became 25 hours"]),
        (EDITS["the span of a window"], ["the window “abroad” changed: last 7 days became 3 days"]),
        (("id: travels", "id: goes-abroad"), ["the rule travels is now called goes-abroad"]),
        (
            (TRAVELS, ""),
            ["the rule travels was removed"],
        ),
        (
            (TRAVELS, f"  - {{id: new, when: [profile.plan exists], do: {{avoid: [sales]}}}}\n{TRAVELS}"),
            ["the rule new was added: if the customer's plan is known, avoid"],
        ),
        (
            (", {avoid: [sales]}]", "]"),
            ["the rule marks: it does message quota-80 instead of message quota-80 and avoid"],
        ),
    ],
)  # fmt: skip
def test_differences_in_words(edit, sentences):
    old, new = both(edit)
    assert list(differences(old.rule_set, new.rule_set)) == sentences


def test_a_window_that_is_new_is_met_with_a_history():
    old, new = both(("last: 7d", "last: 3d"))
    histories = [customer.given.get("history") for customer in generated_customers((old, new), 100, 0)]
    assert any(histories)
    assert all(
        "abroad" not in customer.given.get("windows", {})
        for customer in generated_customers((old, new), 100, 0)
    )


def test_what_only_one_version_knows_is_left_out_for_the_other():
    old, new = both(
        ("used: {sum", "spent: {sum"),
        ("windows.used > 1000", "windows.spent > 1000"),
        ("windows.used crosses", "windows.spent crosses"),
    )
    customer = Customer({"windows": {"used": 2000, "spent": 10}}, {"type": "usage.data_used"})
    met = Comparison(old, new, Oracle()).meet(customer)
    assert (met.change, [asked.rule for asked in met.old], met.new) == (Change.LESS, ["much"], ())


def test_an_event_that_calls_for_one_version_only():
    old, new = both(EDITS["a trigger"])
    met = Comparison(old, new, Oracle()).meet(
        Customer({"windows": {"used": 2000}}, {"type": "plan.activated"})
    )
    assert met.change is Change.LESS
    with pytest.raises(CustomerMistake, match="does not trigger"):
        Comparison(old, new, Oracle()).meet(Customer({}, {"type": "complaint.closed"}))


@pytest.mark.parametrize(
    ("edit", "change"),
    [
        (("windows.used > 1000", "windows.used > 999"), Change.MORE),
        (("windows.used > 1000", "windows.used > 1001"), Change.LESS),
        (EDITS["a value"], Change.OTHER),
        (("id: much", "id: renamed"), Change.SAME),
    ],
)
def test_by_what_is_asked_for_a_change_is_more_less_or_another(edit, change):
    old, new = both(edit)
    used = 1000 if change is Change.MORE else 1001
    customer = Customer({"windows": {"used": used}}, {"type": "plan.activated"})
    assert Comparison(old, new, Oracle()).meet(customer).change is change


def test_an_order_that_changes_is_another_outcome():
    old, new = both(EDITS["an order"])
    given = {"windows": {"used": 2000}, "profile": {"balance": "20", "usual_bill": "5"}}
    met = Comparison(old, new, Oracle()).meet(Customer(given, {"type": "plan.activated"}))
    assert [asked.rule for asked in met.new] == ["costly", "much"]
    assert met.change is Change.OTHER


def test_a_customer_has_a_time_of_their_own():
    old, new = both(EDITS["an hour"])
    given = {"profile": {"balance": "20", "usual_bill": "5"}}
    comparison = Comparison(old, new, Oracle())
    for time, change in (("09:30:00", Change.LESS), ("10:30:00", Change.SAME)):
        at = parse_time(f"2026-03-02T{time}+01:00")
        assert comparison.meet(Customer(given, {"type": "plan.activated"}, at)).change is change


def test_shared_sets_are_compared_by_the_facts_they_infer():
    old, new = version(SHARED), version(SHARED.replace("opened >= 1", "opened >= 2"))
    found = tally(old, new, 100)
    assert found.counts[Change.LESS]
    assert found.examples[0].old[0].text == "infers cross"


DO = "do: {task: call-back, category: service, with: {queue: care, note: x}}"
OCCASIONS = {
    "a schedule": "trigger: {every: day at 09:00, audience: [profile.plan is m-5gb]}\n"
    f"rules: [{{id: r, when: [profile.tenure_months >= 12], {DO}}}]\n",
    "an absence": "trigger: {nothing: topup.received, for: 30d}\n"
    f"rules: [{{id: r, when: [profile.tenure_months >= 12], {DO}}}]\n",
    "a question": "trigger: {ask: care-call}\n"
    f"rules: [{{id: r, when: [ask.topic is data, profile.tenure_months >= 12], {DO}}}]\n",
    "a question or an event": "trigger: [{ask: care-call}, complaint.opened]\n"
    f"rules: [{{id: r, when: [profile.tenure_months >= 12], {DO}}}]\n",
    "several events": "trigger: [usage.data_used, complaint.opened]\n"
    f"rules: [{{id: r, when: [event.type is complaint.opened, profile.tenure_months >= 12], {DO}}}]\n",
    "a table": "trigger: usage.data_used\ntable:\n  columns: [event.country, profile.tenure_months, do]\n"
    "  rows:\n    - [ES or PT, over 12, {message: quota-50, category: service}]\n"
    "    - [any, any, {message: quota-80, category: service}]\n",
}


@pytest.mark.parametrize("name", OCCASIONS)
def test_whatever_calls_for_the_rule_set(name):
    text = "ruleset: t\n" + OCCASIONS[name]
    old, new = version(text), version(text.replace("12", "13"))
    found = tally(old, new, 200)
    assert found.unread == 0
    assert found.differs
    assert tally(old, old, 50).counts == {Change.SAME: 50}


def test_a_journey_is_met_at_each_of_its_steps():
    old = version(JOURNEY)
    waits, asks = version(JOURNEY.replace("wait: 3d", "wait: 4d")), version(JOURNEY.replace("is 0", "is 1"))
    answers = version(JOURNEY.replace("quota-100", "quota-80"))
    assert differences(old.rule_set, waits.rule_set) == (
        "the step step-2: it takes at most 4 days, not 3 days",
    )
    for new, at in ((waits, {}), (asks, {"step": "step-2"}), (answers, {"type": "survey.answered"})):
        found = tally(old, new, 300)
        assert found.unread == 0
        assert found.examples
        assert [met.customer.when for met in found.examples] == [at] * len(found.examples)
    assert tally(old, old, 50).counts == {Change.SAME: 50}


def test_an_occasion_in_place_of_an_event():
    old = version("ruleset: t\n" + OCCASIONS["an absence"])
    new = version(
        "ruleset: t\n"
        + OCCASIONS["an absence"].replace("{nothing: topup.received, for: 30d}", "topup.received")
    )
    found = tally(old, new, 100)
    assert found.differs
    assert found.unread == 0

"""The tests embedded in a rule set that no event of a customer calls for: every part of them works."""

import pytest

from services.decision.adapters.checking import check_text
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import Source
from services.decision.domain.oracle import Oracle
from tests.unit.decision.generators import catalogue

TASK = "{task: call-back, with: {queue: q, note: n}, category: service}"
SALE = "{offer: data-top-up, with: {gb: 2}, category: sales, value: %s, expires: 24h}"


def results(text):
    """How each embedded test went: empty where it passed."""
    checked = check_text(Oracle(), catalogue(), read_yaml, (), text, "t.yaml", 0, 0)
    assert checked.tests, [problem.sentence() for problem in checked.problems]
    return {test.name: test.message for test in checked.tests}


def errors(text):
    checked = check_text(Oracle(), catalogue(), read_yaml, (), text, "t.yaml", 0, 0)
    return [(problem.message, problem.suggestion) for problem in checked.problems if problem.line]


ABSENCE = f"""
ruleset: quiet
active: {{from: 2026-12-01}}
trigger: {{nothing: topup.received, for: 30d}}
windows: {{calls: {{count: network.call_dropped, last: 30d}}}}
infer: [{{fact: bothered, when: [windows.calls >= 2]}}]
rules:
  - {{id: ask, when: [not fact bothered, event.since within last 60d], do: {TASK}}}
  - {{id: sorry, priority: 60, when: [fact bothered], do: {TASK}}}
tests:
  - {{name: by itself, then: {{fires: [ask], facts: []}}}}
  - {{name: longer ago, when: {{since: "2026-09-01T00:00:00Z"}}, then: {{fires: []}}}}
  - name: history
    given: {{history: [{{type: network.call_dropped, ago: 1d}}, {{type: network.call_dropped, ago: 29d}}]}}
    then: {{fires: [sorry], facts: [bothered], wins: [sorry]}}
  - {{name: a fact, given: {{facts: [bothered]}}, then: {{fires: [sorry]}}}}
"""


def test_an_absence_is_tested_with_its_since_and_with_history():
    assert results(ABSENCE) == {"by itself": "", "longer ago": "", "history": "", "a fact": ""}
    wrong = ABSENCE.replace("fires: [ask], facts: []", "fires: [sorry]")
    assert results(wrong)["by itself"] == "expected to fire: sorry; fired: ask"


PAIR = f"""
ruleset: open
trigger: {{nothing: case.closed, after: case.opened, by: case, for: 72h}}
windows: {{cases: {{count: case.opened, last: 7d}}}}
rules:
  - id: chase
    when: [event.topic is bill, windows.cases is 1]
    do: {TASK}
    once: {{per: ever, by: event.case}}
tests:
  - name: counted once
    given: {{history: [{{type: case.opened, ago: 72h, case: C1, topic: bill}}]}}
    when: {{case: C1, topic: bill}}
    then: {{fires: [chase]}}
  - {{name: another topic, when: {{case: C1, topic: network}}, then: {{fires: []}}}}
"""


def test_a_pair_is_tested_with_the_fields_of_what_opened_it():
    assert results(PAIR) == {"counted once": "", "another topic": ""}


SCHEDULE = f"""
ruleset: monthly
trigger:
  every: first tue of month at 10:00
  audience: [profile.prepaid is true, profile.consents contains marketing]
rules:
  - {{id: small, when: [profile.plan is m-5gb], do: {SALE % "3.00"}}}
  - {{id: large, do: {SALE % "9.00"}, once: 30d}}
tests:
  - name: both ask and one wins
    given: {{profile: {{prepaid: true, plan: m-5gb}}, consents: {{marketing: granted}}}}
    then: {{fires: [small, large], wins: [large], refused: {{small: OUTRANKED}}}}
  - name: not in the audience
    given: {{profile: {{plan: m-5gb}}, consents: {{marketing: granted}}}}
    then: {{fires: []}}
  - name: said no
    given: {{profile: {{prepaid: true}}, consents: {{marketing: denied}}}}
    then: {{fires: []}}
"""


def test_a_schedule_is_tested_with_its_audience_asked_again():
    assert results(SCHEDULE) == {"both ask and one wins": "", "not in the audience": "", "said no": ""}


THING = f"""
ruleset: outage
trigger: {{thing: network.outage_started, audience: [profile.last_cell is event.cell]}}
rules:
  - id: tell
    when: [event.type is network.outage_started, event.eta exists, context.cell.incident exists]
    do: {TASK}
tests:
  - name: at the cell
    given: {{profile: {{last_cell: FR-1}}}}
    when: {{cell: FR-1, incident: INC7, eta: "2026-01-01T18:00:00Z"}}
    then: {{fires: [tell]}}
  - name: over by now
    given: {{profile: {{last_cell: FR-1}}, context: {{cell: {{}}}}}}
    when: {{cell: FR-1, incident: INC7, eta: "2026-01-01T18:00:00Z"}}
    then: {{fires: []}}
  - name: elsewhere
    given: {{profile: {{last_cell: FR-2}}, context: {{cell: {{incident: INC7}}}}}}
    when: {{cell: FR-1, incident: INC7, eta: "2026-01-01T18:00:00Z"}}
    then: {{fires: []}}
  - name: withheld
    given: {{withheld: [location], context: {{cell: {{incident: INC7}}}}}}
    when: {{cell: FR-1, incident: INC7, eta: "2026-01-01T18:00:00Z"}}
    then: {{fires: [], refused: {{tell: DATA_WITHHELD}}}}
"""


def test_a_thing_is_tested_with_the_fields_of_what_happened_to_it():
    assert results(THING) == {"at the cell": "", "over by now": "", "elsewhere": "", "withheld": ""}


QUESTION = f"""
ruleset: call
trigger: [complaint.opened, {{ask: care-call}}, {{ask: app-open}}]
rules:
  - {{id: calls, when: [ask.topic is calls], do: {{say: "Coverage at home is being repaired."}}}}
  - {{id: home, when: [event.type is ask.app-open, ask.screen is home], do: {TASK}}}
  - {{id: opened, when: [event.topic is calls], do: {TASK}}}
tests:
  - {{name: a call, when: {{ask: care-call, topic: calls}}, then: {{fires: [calls], wins: [calls]}}}}
  - {{name: the app, when: {{ask: app-open, screen: home}}, then: {{fires: [home]}}}}
  - {{name: an event, when: {{type: complaint.opened, topic: calls}}, then: {{fires: [opened]}}}}
"""


def test_a_question_is_tested_with_its_parameters():
    assert results(QUESTION) == {"a call": "", "the app": "", "an event": ""}
    alone = QUESTION.replace("[complaint.opened, {ask: care-call}, {ask: app-open}]", "{ask: care-call}")
    alone = (
        alone[: alone.index("  - {id: home")]
        + "tests: [{name: a, when: {topic: calls}, then: {fires: [calls]}}]"
    )
    assert results(alone) == {"a": ""}


@pytest.mark.parametrize(
    ("text", "was", "becomes", "message", "suggestion"),
    [
        (ABSENCE, "when: {since:", "when: {sense:", "an absence has no field `sense`", "did you mean since?"),
        (ABSENCE, '"2026-09-01T00:00:00Z"', "40d", "since is not a time of RFC 3339", "2026-11-02T08:15:00Z"),
        (
            PAIR,
            "when: {case: C1, topic: network}",
            "when: {cas: C1}",
            "case.opened has no field `cas`",
            "case?",
        ),
        (
            SCHEDULE,
            "- name: said no",
            "- name: said no\n    when: {type: x}",
            "a schedule calls for this rule set; there is no event with `type`",
            "leave `when` out",
        ),
        (
            SCHEDULE,
            "profile: {prepaid: true}, consents: {marketing: denied}",
            "profile: {consents: [marketing]}",
            "the catalogue has no trait `consents`",
            "write consents: {marketing: granted} beside `profile`",
        ),
        (THING, "when: {cell: FR-1,", "when: {sell: FR-1,", "has no field `sell`", "did you mean cell?"),
        (
            QUESTION,
            "{ask: care-call, topic: calls}",
            "{topic: calls}",
            "the test must say which",
            "add type: TYPE",
        ),
        (
            QUESTION,
            "when: {ask: care-call,",
            "when: {ask: care-cal,",
            "no question of this rule",
            "care-call?",
        ),
        (
            QUESTION,
            "{ask: care-call, topic:",
            "{ask: care-call, topik:",
            "no parameter `topik`",
            "mean topic?",
        ),
    ],
)
def test_a_test_that_cannot_be_meant_is_told_what_is_right(text, was, becomes, message, suggestion):
    assert was in text
    ((found, told),) = errors(text.replace(was, becomes, 1))
    assert message in found
    assert suggestion in told


CONSENT = f"""
ruleset: offers
trigger: topup.received
rules: [{{id: sell, do: {SALE % "3.00"}}}, {{id: note, do: {TASK}}}]
tests:
  - name: said no
    given: {{consents: {{marketing: withdrawn}}}}
    then: {{fires: [sell, note], wins: [note], refused: {{sell: NO_CONSENT}}}}
  - {{name: said yes, given: {{consents: {{marketing: granted}}}}, then: {{wins: [sell, note]}}}}
  - {{name: said nothing of it, given: {{consents: {{research: denied}}}}, then: {{wins: [sell, note]}}}}
"""


def test_what_was_not_agreed_to_is_refused_in_a_test_that_says_so():
    assert results(CONSENT) == {"said no": "", "said yes": "", "said nothing of it": ""}


RIVAL = f"""
ruleset: rival
trigger: topup.received
rules: [{{id: small, do: {SALE % "90.00"}}}]
tests: [{{name: n, then: {{fires: [small]}}}}]
"""
MINE = f"""
ruleset: mine
trigger: topup.received
rules: [{{id: small, do: {SALE % "3.00"}}}, {{id: note, do: {TASK}}}]
tests: [{{name: n, then: {{fires: [small, note], wins: [note], refused: {{small: OUTRANKED}}}}}}]
"""


def test_another_rule_set_takes_part_in_arbitration_and_its_rules_are_not_taken_for_ones_own():
    beside = Source("rival", 1, "rival.yaml", RIVAL)
    checked = check_text(Oracle(), catalogue(), read_yaml, (beside,), MINE, "t.yaml", 0, 0)
    assert [test.message for test in checked.tests] == [""]

"""Conditions mean what they say: each line on situations where it holds and where it does not."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from services.decision.domain.activity import Activity
from services.decision.domain.oracle import Oracle
from services.decision.domain.plain_rules import run_plainly
from services.decision.domain.program import Program
from services.decision.domain.run import Outcome, run_program
from services.decision.domain.situation import Situation
from services.vocabulary.values import DAY, HOUR, Money
from services.vocabulary.words import Purpose
from tests.unit.decision.generators import NOW, compiled  # 2026-05-28, a Thursday, 22:26 in Paris

HEAD = """ruleset: t
trigger: [usage.data_used, complaint.opened]
windows:
  used: {sum: usage.data_used.mb, last: 1 cycle}
  drops: {count: network.call_dropped, last: 24h}
  charged: {sum: usage.data_used.charge, last: 7 days}
"""
DO = "{task: call-back, category: service}"


def program_of(*texts: str) -> Program:
    compilation = compiled(*texts)
    assert compilation.program is not None, [problem.sentence() for problem in compilation.errors]
    return compilation.program


def make_situation(**more: Any) -> Situation:
    values: dict[str, Any] = {
        "event_type": "usage.data_used",
        "event": {"mb": 120.5, "country": "ES"},
        "event_micros": NOW,
        "sequence": 10,
        "accepted_micros": NOW,
        "now_micros": NOW,
        "zone": "Europe/Paris",
        "traits": {
            "plan": "m-20gb",
            "plan_data_mb": 200,
            "prepaid": True,
            "products": ("tv", "internet"),
            "balance": Money(Decimal("5.00"), "EUR"),
            "usual_bill": Money(Decimal("20.00"), "EUR"),
            "contract_end": date(2026, 6, 10),
            "churn_risk": 0.6,
        },
        "things": {"cell": {"incident": "INC7", "eta": NOW + HOUR}},
        "household": {"members": 3, "lines": 4, "shared_data_mb": 5000, "shared_data_left_mb": 900},
        "activity": {"usage.data_used": Activity([NOW - HOUR], [9], {"mb": [39.5], "charge": [0.25]})},
        **more,
    }
    return Situation(**values)


def run(program: Program, situation: Situation, *facts: str) -> Outcome:
    outcome = run_program(program, Oracle(), situation, facts)
    for shard in program.shards_for(situation.event_type):
        properties = shard.properties_of(replace(situation, cache={}))
        given = [
            fact for fact in facts if fact in shard.uses or fact in {f.fact for f in shard.facts.values()}
        ]
        assert run_plainly(shard, dict(properties), given) == Oracle().run(shard, properties, given)
    return outcome


def fires(line: str, situation: Situation | None = None) -> bool:
    program = program_of(f"{HEAD}rules:\n  - id: r\n    when:\n      - {line}\n    do: {DO}\n")
    return bool(run(program, situation or make_situation()).rules)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("event.mb > 120", True),
        ("event.mb >= 120.5", True),
        ("event.mb < 120.5", False),
        ("event.country is ES or PT", True),
        ("event.country is not ES or PT", False),
        ("event.country is not FR", True),
        ("event.cycle missing", True),
        ("event.cycle is not 2026-05", True),
        ("event.cycle is 2026-05", False),
        ("profile.plan starts with m or x", True),
        ("profile.plan starts with l", False),
        ("profile.products contains phone or tv", True),
        ("profile.products contains phone", False),
        ("profile.products contains profile.plan", False),
        ("profile.products contains profile.plan or tv", True),
        ("profile.products contains profile.brand or phone", False),
        ("profile.products contains profile.brand", False),
        ("profile.brand starts with profile.plan", False),
        ("profile.plan starts with profile.plan", True),
        ("profile.plan starts with profile.brand", False),
        ("profile.plan starts with l or profile.plan", True),
        ("profile.plan is l50 or profile.plan", True),
        ("profile.plan is l50 or profile.brand", False),
        ("profile.plan is m-20gb or profile.brand", True),
        ("profile.plan is not l50 or profile.plan", False),
        ("profile.plan is not l50 or profile.brand", True),
        ("profile.brand is not l50 or profile.plan", True),
        ("event.mb is 1 or event.mb * 1 or windows.used", True),
        ("event.mb is 1 or windows.used * 2 or windows.used", False),
        ("profile.home_area exists", False),
        ("profile.tenure_months < 5", False),
        ("{none: [profile.tenure_months < 5]}", True),
        ("{all: []}", True),
        ("{none: [{any: []}]}", True),
        ("profile.balance is 5", True),
        ("profile.balance < 5.01 EUR", True),
        ("profile.balance < profile.usual_bill * 0.25", False),
        ("profile.balance <= profile.usual_bill * 0.25", True),
        ("profile.usual_bill - profile.balance > 14.99", True),
        ("profile.usual_bill / profile.balance is 4", True),
        ("windows.used / 0 > 1", False),
        ("windows.charged is 0.25", True),
        ("(event.mb + windows.used) * 2 > profile.plan_data_mb * 2.8", True),
        ("profile.contract_end within next 13d", True),
        ("profile.contract_end within next 12d", False),
        ("profile.contract_end within last 30d", False),
        ("profile.contract_end > 2026-06-09", True),
        ("household.members >= 3", True),
        ("household.lines > household.members + 1", False),
        ("household.shared_data_left_mb < household.shared_data_mb * 0.2", True),
        ("household.shared_data_left_mb > profile.plan_data_mb", True),
        ("household.shared_data_mb missing", False),
        ("context.cell.incident exists", True),
        ("context.cell.eta within next 2h", True),
        ("context.cell.eta within next 30m", False),
        ("context.area.partner missing", True),
        ("now between 20:00 and 06:00", True),
        ("now between 20:00 and 22:26", False),
        ("now between 22:26 and 22:27", True),
        ("today is thu", True),
        ("today is not thursday", False),
        ("event.type is usage.data_used", True),
        ("event.type is complaint.opened", False),
        ("windows.used crosses 160", True),
        ("windows.used crosses 39.5", False),
        ("windows.used crosses 160.1", False),
        ("windows.used crosses profile.plan_data_mb * 0.8", True),
        ("windows.used crosses profile.tenure_months * 0.8", False),
        ("profile.plan is 'm-20gb' or \"l 50\"", True),
    ],
)
def test_line_means_what_it_says(line: str, *, expected: bool) -> None:
    assert fires(line) is expected


def test_money_of_another_currency_is_missing() -> None:
    foreign = make_situation(traits={"balance": Money(Decimal(1), "USD")})
    assert not fires("profile.balance < 5", foreign)
    assert fires("profile.balance missing", foreign)


def test_late_event_triggers_nothing() -> None:
    assert fires("event.mb > 1", make_situation(accepted_micros=NOW + DAY))
    assert not fires("event.mb > 1", make_situation(accepted_micros=NOW + DAY + 1))


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        ("{from: 2026-05-28}", True),
        ("{from: 2026-05-29}", False),
        ("{to: 2026-05-28}", True),
        ("{to: 2026-05-27}", False),
        ("{from: 2026-05-29, tz: Asia/Tokyo}", True),
    ],
)
def test_active_days_are_both_included_in_their_zone(active: str, *, expected: bool) -> None:
    text = f"{HEAD}active: {active}\nrules:\n  - {{id: r, when: [event.mb > 1], do: {DO}}}\n"
    assert bool(run(program_of(text), make_situation()).rules) is expected


def test_priorities_then_file_order_and_choose_first() -> None:
    rules = f"""rules:
  - {{id: low, priority: 1, when: [event.mb > 1], do: {DO}}}
  - {{id: tie-one, priority: 7, when: [event.mb > 2], do: {DO}}}
  - {{id: tie-two, priority: 7, when: [profile.prepaid is true], do: {DO}}}
  - {{id: high, priority: 999, when: [event.mb > 4], do: {DO}}}
"""
    outcome = run(program_of(HEAD + rules), make_situation())
    assert [rule.rule for rule in outcome.rules] == ["high", "tie-one", "tie-two", "low"]
    first = run(program_of(f"{HEAD}choose: first\n{rules}"), make_situation())
    assert [rule.rule for rule in first.rules] == ["high"]


def test_rule_set_of_more_rules_than_a_shard_holds_runs_whole() -> None:
    rules = "".join(
        f"  - {{id: r{number}, priority: {number}, when: [fact big, event.mb > {number}], do: {DO}}}\n"
        for number in range(150)
    )
    program = program_of(f"{HEAD}infer: [{{fact: big, when: [event.mb > 100]}}]\nrules:\n{rules}")
    shards = program.shards_for("usage.data_used")
    assert len(shards) == 3
    assert max(len(shard.engine_rules) for shard in shards) <= 60
    outcome = run(program, make_situation())
    assert [rule.rule for rule in outcome.rules] == [f"r{number}" for number in range(120, -1, -1)]
    assert outcome.facts == ("t/big",)


def test_rule_set_of_more_properties_than_the_engine_takes_runs_whole() -> None:
    def conditions(start: int) -> str:
        return ", ".join(f"profile.balance > {number}" for number in range(start, start + 10))

    rules = "".join(
        f"  - {{id: r{number}, when: [{{none: [{conditions(number * 10 + 5)}]}}], do: {DO}}}\n"
        for number in range(40)
    )
    program = program_of(f"{HEAD}rules:\n{rules}")
    shards = program.shards_for("usage.data_used")
    assert max(len(shard.properties) for shard in shards) <= 200
    assert len(run(program, make_situation()).rules) == 40


def test_shared_facts_are_seen_by_others_and_local_ones_are_not() -> None:
    shared = "ruleset: s\nshared: true\ninfer: [{fact: open, when: [event.type is usage.data_used]}]\n"
    one = f"{HEAD}infer: [{{fact: mine, when: [fact open]}}]\n"
    one += f"rules:\n  - {{id: r, when: [fact mine], do: {DO}}}\n"
    two = one.replace("ruleset: t", "ruleset: u").replace("when: [fact open]", "when: [not fact open]")
    outcome = run(program_of(shared, one, two), make_situation())
    assert outcome.facts == ("open", "t/mine")
    assert [rule.key for rule in outcome.rules] == ["t/r"]


def test_event_meets_only_the_shards_it_can_trigger() -> None:
    other = f"ruleset: o\ntrigger: topup.received\nrules:\n  - {{id: r, when: [], do: {DO}}}\n"
    program = program_of(f"{HEAD}rules:\n  - {{id: r, when: [], do: {DO}}}\n", other)
    assert program.triggers == {"usage.data_used", "complaint.opened", "topup.received"}
    assert [shard.key for shard in program.shards_for("topup.received")] == ["o#0"]
    assert program.shards_for("bill.issued") == ()
    assert program.shards_for("usage.data_used") == program.shards_for("complaint.opened")


# --- withheld is not missing -------------------------------------------------------------------------------

WITHHELD = f"""{HEAD}infer:
  - {{fact: heavy, when: [windows.used > 1000]}}
  - {{fact: faulty, when: [context.cell.incident exists]}}
rules:
  - {{id: light, when: [not fact heavy], do: {DO}}}
  - {{id: long-there, when: [profile.tenure_months > 3], do: {DO}}}
  - {{id: risky, when: [profile.churn_risk < 0.5, profile.prepaid is false], do: {DO}}}
  - {{id: sound, when: [not fact faulty], do: {DO}}}
  - {{id: told, when: [profile.prepaid is true],
     do: {{task: call-back, category: service, with: {{p: "{{profile.better_plan}}"}}}}}}
"""


def test_rule_that_needs_withheld_data_does_not_fire_and_says_so() -> None:
    traits = {"prepaid": True, "tenure_months": 12}
    situation = make_situation(
        event_type="complaint.opened",
        event={"complaint": "c", "topic": "calls"},
        traits=traits,
        activity={},
        things={},
        withheld=frozenset({Purpose.PROFILING_USAGE, Purpose.PROFILING_LOCATION}),
    )
    outcome = run(program_of(WITHHELD), situation)
    assert [rule.rule for rule in outcome.rules] == ["long-there"]
    # `risky` also asks for something known that does not hold: it would not have fired anyway.
    assert [rule.rule for rule in outcome.withheld] == ["light", "sound", "told"]


def test_thing_that_the_event_names_is_not_withheld() -> None:
    situation = make_situation(
        event_type="complaint.opened",
        event={"complaint": "c", "topic": "calls", "cell": "FR-0042"},
        things={"cell": {}},
        withheld=frozenset({Purpose.PROFILING_LOCATION}),
    )
    assert "sound" in [rule.rule for rule in run(program_of(WITHHELD), situation).rules]


def test_nothing_is_withheld_from_who_agreed() -> None:
    outcome = run(program_of(WITHHELD), make_situation(things={}))
    assert outcome.withheld == ()
    assert [rule.rule for rule in outcome.rules] == ["light", "sound", "told"]


def test_mandatory_notice_about_the_event_itself_needs_no_agreement() -> None:
    text = """ruleset: t
trigger: usage.allowance_exhausted
rules:
  - id: notice
    when: [event.surcharge_next is true]
    do: {message: surcharge-notice, category: mandatory, channels: [sms]}
  - id: same-as-service
    when: [event.surcharge_next is true]
    do: {task: call-back, category: service}
"""
    situation = make_situation(
        event_type="usage.allowance_exhausted",
        event={"cycle": "2026-05", "days_left_in_cycle": 3, "surcharge_next": True},
        withheld=frozenset({Purpose.PROFILING_USAGE}),
    )
    outcome = run(program_of(text), situation)
    assert [rule.rule for rule in outcome.rules] == ["notice"]
    assert [rule.rule for rule in outcome.withheld] == ["same-as-service"]


def test_facts_that_rest_on_each_other_are_withheld_together() -> None:
    """Either could be inferred from the risk, were it known: it does not matter which is asked for first."""
    program = compiled("""
ruleset: circle
trigger: complaint.opened
infer:
  - {fact: restless, when: [fact unhappy]}
  - {fact: restless, when: [profile.churn_risk > 0.5]}
  - {fact: unhappy, when: [fact restless]}
  - {fact: alone, when: [fact alone]}
rules:
  - {id: both, when: [fact restless, fact unhappy], do: {task: call-back, category: service}}
  - {id: never, when: [fact restless, fact alone], do: {task: call-back, category: service}}
""").program
    assert program is not None
    situation = Situation(
        event_type="complaint.opened",
        event={},
        event_micros=NOW,
        sequence=1,
        accepted_micros=NOW,
        now_micros=NOW,
        withheld=frozenset({Purpose.PROFILING_USAGE}),
    )
    assert [rule.rule for rule in run_program(program, Oracle(), situation).withheld] == ["both"]


def test_without_a_household_nothing_of_one_is_known():
    alone = make_situation(household={})
    assert not fires("household.members >= 0", alone)
    assert fires("household.members missing", alone)
    assert fires("household.lines is not 2", alone)


def test_what_a_household_shares_needs_the_customers_own_agreement():
    text = f"{HEAD}rules:\n  - id: r\n    when: [household.shared_data_left_mb < 1000]\n    do: {DO}\n"
    program = program_of(text)
    assert program.rule_sets[0].rules[0].purposes == {Purpose.PROFILING_USAGE}
    gone = make_situation(
        event_type="complaint.opened",
        event={"complaint": "c", "topic": "calls"},
        withheld=frozenset({Purpose.PROFILING_USAGE}),
        household={"members": 3, "lines": 4},
    )
    outcome = run(program, gone)
    assert [rule.rule for rule in outcome.rules] == []
    assert [rule.rule for rule in outcome.withheld] == ["r"]

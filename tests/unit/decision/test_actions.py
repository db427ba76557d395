"""What a rule asks for becomes an action for one customer."""

from dataclasses import replace
from decimal import Decimal

import pytest

from services.decision.domain.actions import fill, once_slot, still_wanted, unless_happened
from services.decision.domain.activity import Activity
from services.decision.domain.program import ActionRule, ChannelChoice
from services.vocabulary.values import DAY, HOUR, Money, ValueType
from services.vocabulary.words import ActionKind, Category, Channel, Purpose
from tests.unit.decision.generators import NOW
from tests.unit.decision.test_language import HEAD, make_situation, program_of

SHARED = """ruleset: s
shared: true
windows: {d: {count: complaint.opened, last: 7d}}
infer: [{fact: open, when: [windows.d >= 1]}]
"""
EXPERIMENT = "experiment: {id: x, arms: {plain: 50%, rich: 50%}}\n"


def rule_of(do: str, more: str = "") -> ActionRule:
    text = f"{HEAD}{EXPERIMENT}rules:\n  - id: r\n    when: [arm is plain or rich]\n    do: {do}\n{more}"
    program = program_of(SHARED, text)
    return program.rule_sets[1].rules[0]


def test_parameters_keep_their_type_and_texts_are_filled() -> None:
    do = """{task: call-back, category: service, due: 4h, expires: 3d, with: {gb: 2, deep: 0.5, yes: true,
      plan: "{profile.plan}", balance: "{profile.balance}", gone: "{profile.home_area}",
      note: "{event.mb} MB of {profile.plan_data_mb}, {{really}},
        bill {profile.usual_bill}{profile.home_area}"}}"""
    filled = fill(rule_of(do).actions[0], make_situation())
    assert filled.parameters == {
        "gb": (ValueType.INT, 2),
        "deep": (ValueType.NUMBER, 0.5),
        "yes": (ValueType.BOOL, True),
        "plan": (ValueType.TEXT, "m-20gb"),
        "balance": (ValueType.MONEY, Money(Decimal("5.00"), "EUR")),
        "note": (ValueType.TEXT, "120.5 MB of 200, {really}, bill 20.00"),
    }
    assert (filled.due_micros, filled.expires_micros, filled.planned_micros) == (
        NOW + 4 * HOUR,
        NOW + 3 * DAY,
        None,
    )


def test_arm_changes_template_and_parameters() -> None:
    do = """{message: outage-notice, category: service, with: {eta: soon, tone: dry},
      arms: {plain: {}, rich: {template: outage-notice, with: {tone: warm}}}}"""
    spec = rule_of(do).actions[0]
    assert fill(spec, make_situation(), "plain").template == ""
    rich = fill(spec, make_situation(), "rich")
    assert (rich.template, rich.parameters["tone"]) == ("outage-notice", (ValueType.TEXT, "warm"))


def test_every_kind_of_action_is_read() -> None:
    do = """
      - {offer: goodwill-1gb, category: retention, value: 6.00, cost: 1.20, expires: 7d,
         channels: [preferred, sms after 2h], to: payer}
      - {survey: ces-after-care, category: survey, after: 48h, unless: [complaint.opened happened]}
      - {task: call-back, category: service}
      - {say: "used {event.mb}"}
      - {avoid: [sales, retention]}
      - {set: {trait: upset, to: true, for: 14d}}
      - {emit: plan.activated, with: {plan: "{profile.plan}"}}"""
    specs = rule_of(do).actions
    assert [spec.kind for spec in specs] == [
        ActionKind.OFFER,
        ActionKind.SURVEY,
        ActionKind.TASK,
        ActionKind.SAY,
        ActionKind.AVOID,
        ActionKind.SET,
        ActionKind.EMIT,
    ]
    offer, survey, _, say, avoid, setting, emit = specs
    assert offer.channels == (ChannelChoice(None), ChannelChoice(Channel.SMS, 2 * HOUR))
    assert (offer.category, offer.to_payer) == (Category.RETENTION, True)
    assert (offer.value.number, offer.cost.number, offer.propensity) == (6.0, 1.2, None)
    assert (survey.after_micros, survey.unless) == (48 * HOUR, ("complaint.opened",))
    assert fill(survey, make_situation()).planned_micros == NOW + 48 * HOUR
    assert fill(say, make_situation()).say == "used 120.5"
    assert avoid.avoid == (Category.SALES, Category.RETENTION)
    assert (setting.name, setting.to_value, setting.for_micros) == ("upset", True, 14 * DAY)
    assert fill(emit, make_situation()).parameters == {"plan": (ValueType.TEXT, "m-20gb")}
    assert [spec.position for spec in specs] == list(range(7))


@pytest.mark.parametrize(
    ("once", "key", "period"),
    [
        ("30d", "", 30 * DAY),
        ("ever", "", None),
        ("cycle", "cycle=2026-05", None),
        ("{per: 7d, by: event.country}", "event.country=ES", 7 * DAY),
        ("{per: cycle, by: profile.plan}", "cycle=2026-05 profile.plan=m-20gb", None),
    ],
)
def test_once_names_its_slot(once: str, key: str, period: int | None) -> None:
    rule = rule_of("{task: call-back, category: service}", f"    once: {once}\n")
    assert rule.once is not None
    slot = once_slot(rule.once, make_situation())
    assert (slot.key, slot.period_micros) == (key, period)


def test_cycle_of_the_slot_is_the_events_own() -> None:
    rule = rule_of("{task: call-back, category: service}", "    once: cycle\n")
    assert rule.once is not None
    event = {"mb": 1.0, "cycle": "2026-04"}
    assert once_slot(rule.once, make_situation(event=event)).key == "cycle=2026-04"


def test_unless_looks_at_the_wait_only() -> None:
    spec = rule_of(
        "{task: call-back, category: service, after: 2d, unless: [complaint.opened happened]}"
    ).actions[0]

    def happened(time: int, sequence: int) -> str:
        due = make_situation(activity={"complaint.opened": Activity([time], [sequence])})
        return unless_happened(spec, due, NOW - 2 * DAY, 5)

    assert happened(NOW - DAY, 6) == "complaint.opened"
    assert happened(NOW, 6) == "complaint.opened"
    assert happened(NOW - 2 * DAY, 5) == ""  # the event that was decided
    assert happened(NOW - 2 * DAY, 6) == "complaint.opened"
    assert happened(NOW - 3 * DAY, 6) == ""
    assert happened(NOW + 1, 6) == ""


def test_keep_is_asked_when_due() -> None:
    spec = rule_of(
        "{task: call-back, category: service, after: 2d, keep: [profile.churn_risk > 0.5, not fact open]}"
    ).actions[0]
    due = make_situation()
    assert still_wanted(spec, due, ())
    assert not still_wanted(spec, due, ("open",))
    assert not still_wanted(spec, make_situation(traits={}), ())
    withheld = replace(due, withheld=frozenset({Purpose.PROFILING_USAGE}))
    assert not still_wanted(spec, withheld, ())

"""What calls for a rule set is read as written, or refused with what would be right."""

import pytest

from services.decision.domain.audience import Clause, Superset, superset_of
from services.decision.domain.explain import because_of
from services.decision.domain.language.types import Kind
from services.decision.domain.oracle import Oracle
from services.decision.domain.run import run_program
from services.decision.domain.situation import Situation
from services.decision.domain.triggers import Absence, OpenPair, Schedule, ThingEvent
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import Purpose
from tests.unit.decision.generators import NOW, compiled

DO = "{task: call-back, with: {queue: q, note: n}, category: service}"


def text_of(trigger, *when, name="t", more=""):
    conditions = ", ".join(f"'{line}'" for line in when)
    return (
        f"ruleset: {name}\ntrigger: {trigger}\n"
        "windows: {drops: {count: network.call_dropped, last: 24h}}\n"
        f"infer: [{{fact: known, when: [profile.prepaid is true]}}]\n"
        f"rules:\n  - {{id: r, when: [{conditions}], do: {DO}}}\n{more}"
    )


def program_of(*texts):
    compilation = compiled(*texts)
    assert compilation.program is not None, [problem.sentence() for problem in compilation.errors]
    return compilation.program


def errors_of(text):
    return [(problem.text, problem.message, problem.suggestion) for problem in compiled(text).errors]


AUDIENCE = "audience: [profile.prepaid is true]"


@pytest.mark.parametrize(
    ("trigger", "key", "occasion"),
    [
        ("{nothing: topup.received, for: 30d}", "trigger.due/t", Absence("topup.received", 30 * DAY)),
        (
            "{nothing: case.closed, after: case.opened, by: case, for: 72h}",
            "trigger.due/t",
            OpenPair("case.closed", "case.opened", "case", 72 * HOUR),
        ),
        ("{ask: care-call}", "ask.care-call", None),
        ("topup.received", "topup.received", None),
    ],
)
def test_each_form_is_found_by_its_key(trigger, key, occasion):
    program = program_of(text_of(trigger))
    (rule_set,) = program.rule_sets
    assert rule_set.triggers == (key,)
    assert rule_set.occasion == occasion
    assert [shard.key for shard in program.shards_for(key)] == ["t#0"]
    assert program.occasions == ((rule_set,) if occasion else ())


@pytest.mark.parametrize(
    ("every", "minute", "days", "nth"),
    [
        ("day at 09:00", 540, set(), None),
        ("mon and thu at 10:05", 605, {0, 3}, None),
        ("mon, wed and Friday at 23:59", 1439, {0, 2, 4}, None),
        ("first tue of month at 00:00", 0, {1}, 1),
        ("last friday of month at 09:30", 570, {4}, -1),
        ("last day of month at 09:30", 570, set(), -1),
    ],
)
def test_schedules_are_read(every, minute, days, nth):
    program = program_of(text_of(f"{{every: '{every}', zone: Europe/Paris, {AUDIENCE}}}"))
    found = program.rule_sets[0].occasion
    assert isinstance(found, Schedule)
    assert (found.minute, found.weekdays, found.nth, found.zone) == (minute, days, nth, "Europe/Paris")
    assert [part.source for part in found.audience.parts] == ["profile.prepaid is true"]
    assert program.schedules == program.rule_sets


def test_the_zone_is_the_customers_unless_another_is_named():
    for zone in ("", "zone: customer, "):
        program = program_of(text_of(f"{{every: 'day at 09:00', {zone}{AUDIENCE}}}"))
        assert program.rule_sets[0].occasion.zone == ""


def test_a_list_mixes_event_types_and_questions():
    program = program_of(text_of("[topup.received, {ask: care-call}, {ask: app-open}]"))
    assert program.rule_sets[0].triggers == ("topup.received", "ask.care-call", "ask.app-open")
    assert program.triggers == {"topup.received", "ask.care-call", "ask.app-open"}
    assert program.listened == {"topup.received"}  # nobody sends questions as events


def test_the_program_says_what_must_be_watched_for_its_occasions():
    program = program_of(
        text_of("{nothing: topup.received, for: 30d}", name="a"),
        text_of("{nothing: case.closed, after: case.opened, by: case, for: 72h}", name="b"),
        text_of("{thing: network.outage_started, audience: [profile.last_cell is event.cell]}", name="c"),
        text_of(f"{{every: day at 09:00, {AUDIENCE}}}", name="d"),
    )
    assert {name: [each.name for each in sets] for name, sets in program.absences.items()} == {
        "topup.received": ["a"]
    }
    assert {name: [each.name for each in sets] for name, sets in program.opens_pairs.items()} == {
        "case.opened": ["b"]
    }
    assert {name: [each.name for each in sets] for name, sets in program.thing_events.items()} == {
        "network.outage_started": ["c"]
    }
    assert [each.name for each in program.schedules] == ["d"]
    assert program.triggers == {"trigger.due"}
    assert program.listened == {"trigger.due", "case.opened", "network.outage_started"}


@pytest.mark.parametrize(
    ("trigger", "text", "message", "suggestion"),
    [
        ("topup.recieved", "topup.recieved", "no event type `topup.recieved`", "did you mean topup.received"),
        ("care-call", "care-call", "`care-call` is a question", "write {ask: care-call}"),
        ("trigger.due", "trigger.due", "how Rapport reminds itself", "{every: …, audience: […]}"),
        (
            "network.outage_started",
            "network.outage_started",
            "happens to a cell, not to a customer",
            "{thing: network.outage_started, audience: [profile.last_cell is event.cell]}",
        ),
        ("[topup.received, topup.received]", "topup.received", "stands twice", "keep one"),
        ("[]", "[]", "no trigger", "name an event type"),
        ("{evry: day at 09:00}", "evry", "this is no trigger", "did you mean every?"),
        ("{}", "{}", "this is no trigger", "{ask: …}"),
        (
            "{nothing: topup.received, thing: x}",
            "{nothing: …}",
            "`nothing` and `thing`",
            "a rule set of each",
        ),
        (
            "[topup.received, {nothing: bill.issued, for: 30d}]",
            "{nothing: …}",
            "`nothing` cannot stand",
            "own",
        ),
        ("{ask: care-cal}", "care-cal", "no question `care-cal`", "did you mean care-call?"),
        ("{ask: care-call, zone: x}", "zone", "no key `zone` here", "a trigger with `ask` has ask"),
        ("{nothing: topup.received}", "{nothing: …}", "for how long", "add for: 30d"),
        ("{nothing: topup.received, for: a month}", "a month", "not a length of time", "24h"),
        ("{nothing: topup.received, for: 3h}", "3h", "looked for once a day", "write 1d or more"),
        ("{nothing: topup.received, for: 500d}", "500d", "more than 13 cycles", "403d or less"),
        ("{nothing: topup.received, by: amount, for: 3d}", "amount", "joins two events", "after: EVENT_TYPE"),
        (
            "{nothing: case.closed, after: case.opened, for: 3d}",
            "{nothing: …}",
            "belong together",
            "by: case",
        ),
        (
            "{nothing: case.closed, after: case.opened, by: cas, for: 3d}",
            "cas",
            "no field `cas`",
            "mean case?",
        ),
        (
            "{nothing: order.delivered, after: order.placed, by: tracking, for: 3d}",
            "tracking",
            "the activity does not keep order.delivered.tracking",
            "both have order, product, price, eta",
        ),
        (
            "{nothing: network.outage_ended, after: bill.issued, by: x, for: 3d}",
            "network.outage_ended",
            "happens to a cell",
            "name an event of a customer",
        ),
        ("{every: day at 9, audience: []}", "day at 9", "`9` is no time of day", "write it as 09:00"),
        ("{every: day, audience: []}", "day", "at what time", "write day at 09:00"),
        ("{every: thuesday at 09:00, audience: []}", "thuesday at 09:00", "no weekday", "tuesday"),
        ("{every: firts tue of month at 09:00, audience: []}", None, "no place in a month", "first"),
        ("{every: first mon and tue of month at 09:00, audience: []}", None, "no single day", "first tue"),
        ("{every: at 09:00, audience: []}", "at 09:00", "on which days", "write day at 09:00"),
        (
            "{every: day at 09:00, zone: Europe/Pariss, audience: []}",
            "Europe/Pariss",
            "not a time zone",
            "as Eu",
        ),
        ("{every: day at 09:00, zone: custommer, audience: []}", "custommer", "not a time zone", "customer?"),
        ("{every: day at 09:00}", "{every: …}", "who is meant", "audience: [] for everyone"),
        (
            "{thing: topup.received, audience: []}",
            "topup.received",
            "to a customer",
            "trigger: topup.received",
        ),
    ],
)
def test_a_trigger_that_cannot_be_meant_is_refused(trigger, text, message, suggestion):
    (found,) = errors_of(text_of(trigger))
    if text is not None:
        assert found[0] == text
    assert message in found[1]
    assert suggestion in found[2]


@pytest.mark.parametrize(
    ("line", "message", "suggestion"),
    [
        ("windows.drops >= 3", "an audience cannot ask for windows.…", "in `when` of the rules"),
        ("context.cell.incident exists", "an audience cannot ask for context.…", "traits and consents"),
        ("ask.topic is x", "an audience cannot ask for ask.…", "traits and consents"),
        ("fact known", "an audience cannot ask for facts", "facts in `when`"),
        ("now between 09:00 and 10:00", "an audience cannot ask for `now`", "in `when` of the rules"),
        ("today is sat", "an audience cannot ask for `today`", "in `when` of the rules"),
        ("event.cell is x", "an audience asks about customers", "profile.last_cell is event.cell"),
        ("profile.birth_date exists", "profile.birth_date is sensitive", "profile.adult"),
        ("profile.consents contains marketting", "nothing a customer agrees to", "did you mean marketing?"),
        ("profile.last_cell is event.sell", "network.outage_started has no field `sell`", "cell"),
    ],
)
def test_an_audience_reads_traits_and_consents_only(line, message, suggestion):
    trigger = f"{{thing: network.outage_started, audience: ['{line}']}}"
    (found,) = errors_of(text_of(trigger))
    assert message in found[1]
    assert suggestion in found[2]


@pytest.mark.parametrize(
    ("trigger", "line", "message", "suggestion"),
    [
        (
            "{nothing: topup.received, for: 30d}",
            "event.amount > 3",
            "an absence has no field `amount`",
            "since",
        ),
        (
            "{nothing: topup.received, for: 30d}",
            "event.type is topup.received",
            "an absence calls for this rule set, not an event: event.type",
            "leave the condition out",
        ),
        (
            f"{{every: day at 09:00, {AUDIENCE}}}",
            "event.cell is x",
            "a schedule calls for this rule set, not an event: event.cell",
            "traits, windows or context",
        ),
        (
            "{nothing: case.closed, after: case.opened, by: case, for: 72h}",
            "event.type is case.opened",
            "a pair that stays open calls for this rule set",
            "leave the condition out",
        ),
        (
            "{nothing: case.closed, after: case.opened, by: case, for: 72h}",
            "event.topik is x",
            "case.opened has no field `topik`",
            "did you mean topic?",
        ),
        ("{ask: care-call}", "event.topic is x", "a question calls for this rule set", "read as ask.topic"),
        ("{ask: care-call}", "ask.topik is x", "care-call has no parameter `topik`", "did you mean topic?"),
        ("{ask: care-call}", "event.type is ask.app-open", "not among the triggers", "{ask: app-open}"),
        ("topup.received", "ask.topic is x", "no question calls for this rule set", "{ask: care-call}"),
        ("[topup.received, {ask: care-call}]", "event.topic is x", "has no field `topic`", "amount"),
        (
            "{nothing: network.call_dropped, for: 3d}",
            "windows.drops crosses 3",
            "which is no trigger here",
            "to `trigger`",
        ),
    ],
)
def test_paths_that_mean_nothing_under_a_trigger_are_refused(trigger, line, message, suggestion):
    (found,) = errors_of(text_of(trigger, line))
    assert message in found[1]
    assert suggestion in found[2]


def test_paths_that_a_trigger_lends_are_read():
    program_of(
        text_of("{nothing: topup.received, for: 30d}", "event.since within last 60d", name="a"),
        text_of(
            "{nothing: case.closed, after: case.opened, by: case, for: 72h}", "event.topic is bill", name="b"
        ),
        text_of(
            "{thing: network.outage_started, audience: [profile.last_cell is event.cell]}",
            "event.type is network.outage_started",
            "event.eta within next 4h",
            name="c",
        ),
        text_of(
            "[complaint.opened, {ask: care-call}, {ask: web-visit}]",
            "any: [ask.topic is bill, event.topic is bill, ask.product is tv]".replace("'", ""),
            name="d",
        )
        .replace("['any: ", "[{any: ")
        .replace("]']", "]}]"),
    )


# --- what a query can narrow an audience down to ---------------------------------------------------------


def audience_of(*lines):
    conditions = ", ".join(line if line.startswith("{") else f"'{line}'" for line in lines)
    program = program_of(text_of(f"{{thing: network.outage_started, audience: [{conditions}]}}"))
    occasion = program.rule_sets[0].occasion
    assert isinstance(occasion, ThingEvent)
    return occasion.audience


@pytest.mark.parametrize(
    ("line", "clauses"),
    [
        ("profile.plan is m-20gb", [Clause("plan", "is", Kind.TEXT, ("m-20gb",))]),
        ("profile.plan is m-20gb or l", [Clause("plan", "is", Kind.TEXT, ("m-20gb", "l"))]),
        ("profile.plan is not m or l", [Clause("plan", "is not", Kind.TEXT, ("m", "l"))]),
        ("profile.plan missing", [Clause("plan", "missing", Kind.TEXT)]),
        ("profile.tenure_months >= 12", [Clause("tenure_months", ">=", Kind.INT, (12,))]),
        ("profile.products contains tv or x", [Clause("products", "contains", Kind.LIST, ("tv", "x"))]),
        ("profile.plan starts with m", [Clause("plan", "starts with", Kind.TEXT, ("m",))]),
        ("profile.last_cell is event.cell", [Clause("last_cell", "is", Kind.TEXT, ("FR-1",))]),
        ("{all: [profile.adult is true]}", [Clause("adult", "is", Kind.BOOL, (True,))]),
        ("{none: [profile.plan exists, profile.adult is true]}", [Clause("plan", "missing", Kind.TEXT)]),
        ("{any: [profile.plan exists, profile.adult is true]}", []),
        ("profile.tenure_months * 2 > 3", []),
        ("profile.usual_bill > profile.plan_price * 2", []),
    ],
)
def test_what_can_be_a_clause_is_one_and_the_rest_is_left_to_the_snapshot(line, clauses):
    event = {"cell": "FR-1", "incident": "INC7"}
    assert superset_of(audience_of(line), event, NOW) == Superset(tuple(clauses))


def test_consents_are_their_own_kind_of_clause():
    audience = audience_of("profile.consents contains marketing or research", "profile.adult is true")
    assert superset_of(audience, {}, NOW) == Superset(
        (Clause("adult", "is", Kind.BOOL, (True,)),), (frozenset({Purpose.MARKETING, Purpose.RESEARCH}),)
    )


def test_a_field_that_is_missing_is_equal_to_nobodys_trait():
    assert superset_of(audience_of("profile.last_cell is event.cell"), {}, NOW) is None
    assert superset_of(audience_of("profile.last_cell is not event.cell"), {}, NOW) == Superset()


def test_dates_are_narrowed_with_room_for_the_zones():
    found = superset_of(audience_of("profile.contract_end within next 60d"), {}, NOW)
    assert [(clause.operator, clause.values[0].isoformat()) for clause in found.clauses] == [
        (">=", "2026-05-26"),
        ("<=", "2026-07-29"),
    ]


# --- explanations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "event", "sentence"),
    [
        ("{nothing: topup.received, for: 30d}", {}, "there was no topup.received for 30d"),
        (
            "{nothing: case.closed, after: case.opened, by: case, for: 72h}",
            {"case": "C1"},
            "there was no case.closed within 3d of case.opened (case C1)",
        ),
        (f"{{every: day at 09:00, {AUDIENCE}}}", {}, "it is said by schedule, at 09:00"),
        ("{thing: network.outage_started, audience: []}", {}, "network.outage_started happened"),
        ("topup.received", {}, ""),
    ],
)
def test_what_called_stands_first_among_the_reasons(trigger, event, sentence):
    program = program_of(text_of(trigger))
    (rule_set,) = program.rule_sets
    situation = Situation(
        event_type="trigger.due",
        event=event,
        event_micros=NOW,
        sequence=1,
        accepted_micros=NOW,
        now_micros=NOW,
        traits={"prepaid": True},
        trigger=rule_set.triggers[0],
    )
    outcome = run_program(program, Oracle(), situation)
    reasons = because_of(program, outcome, situation, outcome.rules[0])
    audience = ["profile.prepaid is true"] if "every" in trigger else []
    assert list(reasons) == ([sentence] if sentence else []) + audience

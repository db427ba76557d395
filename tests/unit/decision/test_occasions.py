"""Who is called, when, and whether there is still reason to; and what is asked of the profile for it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from services.decision.adapters.audience_peer import clauses_of
from services.decision.domain.activity import Activity
from services.decision.domain.audience import Clause, Superset
from services.decision.domain.language.types import Kind
from services.decision.domain.occasions import LONGEST_SILENCE, Called, Looked, look, pair_run, still_calls
from services.decision.domain.triggers import (
    NO_AUDIENCE,
    Absence,
    OpenPair,
    Schedule,
    ThingEvent,
    pack_happening,
)
from services.vocabulary.values import DAY, HOUR, parse_date, parse_time
from services.vocabulary.words import Purpose

NINE = Schedule(540, frozenset(), None, "", NO_AUDIENCE)
SILENT = Absence("topup.received", 30 * DAY)
PAIR = OpenPair("case.closed", "case.opened", "case", 72 * HOUR)
OUTAGE = ThingEvent("network.outage_started", NO_AUDIENCE)
START = parse_time("2026-12-10T12:00:00Z")


def called(occasion, **more):
    return replace(Called("r", 1, occasion, DAY, None, None), **more)


def test_every_run_of_a_schedule_between_two_looks_is_opened_once():
    moments = range(START, START + 10 * DAY, 7 * HOUR)
    looked, openings = Looked(START), []
    for moment in moments:
        looking = look(called(NINE), "Asia/Tokyo", looked, moment)
        assert looking.next_micros > moment
        openings += looking.openings
        looked = looking.looked
    assert [one.name for one in openings] == [f"2026-12-{day}T09:00" for day in range(11, 21)]
    assert len({one.key for one in openings}) == 10
    assert {one.zone for one in openings} == {"Asia/Tokyo"}


def test_a_schedule_with_a_zone_of_its_own_calls_customers_of_all_zones():
    here = replace(NINE, zone="Asia/Tokyo")
    (one,) = look(called(here), "Asia/Tokyo", Looked(START), START + DAY).openings
    assert one.zone == ""


def test_a_run_may_be_late_by_what_the_rule_set_says():
    due = parse_time("2026-12-11T09:00:00Z")
    just = look(called(NINE), "UTC", Looked(due - 1), due + DAY)
    assert ([one.due_micros for one in just.openings], just.missed) == ([due, due + DAY], 0)
    late = look(called(NINE), "UTC", Looked(due - 1), due + DAY + 1)
    assert ([one.due_micros for one in late.openings], late.missed) == ([due + DAY], 1)


def test_an_absence_goes_on_where_the_last_look_ended_unless_it_has_changed():
    six = parse_time("2026-12-11T06:00:00Z")
    first = look(called(SILENT), "UTC", Looked(START), six)
    (one,) = first.openings
    assert (one.after_micros, one.until_micros) == (six - LONGEST_SILENCE, six - 30 * DAY)
    (two,) = look(called(SILENT), "UTC", first.looked, six + DAY).openings
    assert (two.after_micros, two.until_micros) == (six - 30 * DAY, six - 29 * DAY)
    shorter = called(replace(SILENT, for_micros=20 * DAY))
    (three,) = look(shorter, "UTC", first.looked, six + DAY).openings
    assert three.after_micros == six + DAY - LONGEST_SILENCE
    # a day on which it is not active is made up for by the next
    pausing = called(SILENT, from_micros=six + DAY + 1)
    skipped = look(pausing, "UTC", first.looked, six + DAY)
    assert skipped.openings == ()
    (four,) = look(pausing, "UTC", skipped.looked, six + 2 * DAY).openings
    assert four.after_micros == six - 30 * DAY


def happened(kind="case.opened", **fields):
    return {"data": pack_happening(kind, fields), "since": START}


@pytest.mark.parametrize(
    ("occasion", "due", "seen", "calls"),
    [
        (NINE, {}, {}, True),
        (NINE, {"since": START}, {}, False),
        (NINE, happened(), {}, False),
        (OUTAGE, {"data": pack_happening("network.outage_started", {})}, {}, True),
        (OUTAGE, {"data": pack_happening("network.outage_ended", {})}, {}, False),
        (SILENT, {"since": START}, {}, True),
        (SILENT, {"since": START}, {"topup.received": Activity([START])}, True),
        (SILENT, {"since": START}, {"topup.received": Activity([START, START + 1])}, False),
        (SILENT, {}, {}, False),
        (PAIR, happened(case="C1"), {}, True),
        (PAIR, happened(case="C1"), {"case.closed": Activity([START], texts={"case": ["C1"]})}, False),
        (PAIR, happened(case="C1"), {"case.closed": Activity([START - 1], texts={"case": ["C1"]})}, True),
        (PAIR, happened(case="C1"), {"case.closed": Activity([START], texts={"case": ["C2"]})}, True),
        (PAIR, happened(case="C1"), {"case.closed": Activity([START], texts={"case": [None]})}, True),
        (PAIR, happened(case=7), {"case.closed": Activity([START], numbers={"case": [7.0]})}, False),
        (PAIR, happened("case.closed", case="C1"), {}, False),
        (PAIR, {"since": START}, {}, False),
        (None, {}, {}, False),
    ],
)
def test_what_was_to_be_decided_is_dropped_when_its_reason_has_gone(occasion, due, seen, calls):
    assert still_calls(occasion, due, seen) is calls


def test_a_pair_of_one_type_is_not_closed_by_what_opened_it():
    again = OpenPair("case.opened", "case.opened", "case", HOUR)
    due = happened(case="C1")
    assert still_calls(again, due, {"case.opened": Activity([START], texts={"case": ["C1"]})})
    later = Activity([START, START + 1], texts={"case": ["C1", "C1"]})
    assert not still_calls(again, due, {"case.opened": later})


def test_a_case_that_is_opened_again_is_another_run():
    assert pair_run("C1", START) == "C1 2026-12-10T12:00:00Z"


def test_the_profile_is_asked_what_it_can_tell_and_never_for_too_few():
    asked = clauses_of(
        Superset(
            (
                Clause("plan", "is", Kind.TEXT, ("a", "b")),
                Clause("plan", "is not", Kind.TEXT, ("c",)),
                Clause("plan", "missing", Kind.TEXT),
                Clause("plan", "exists", Kind.TEXT),
                Clause("name", "starts with", Kind.TEXT, ("A", "B")),
                Clause("plan_price", "<", Kind.MONEY, (Decimal("9.90"),)),
                Clause("churn_risk", ">=", Kind.NUMBER, (0.5,)),
                Clause("contract_end", "<=", Kind.DATE, (parse_date("2027-01-31"),)),
                Clause("last_seen", "<", Kind.TIME, (START,)),
                Clause("prepaid", "is", Kind.BOOL, (True,)),
            ),
            (frozenset({Purpose.MARKETING, Purpose.RESEARCH}),),
        ),
        "EUR",
    )
    told = [
        [(test.trait.trait, test.trait.operator, len(test.trait.values)) for test in clause.any_of]
        for clause in asked[:-1]
    ]
    assert told == [
        [("plan", 1, 2)],
        [("plan", 2, 0)],
        [("name", 8, 1), ("name", 8, 1)],
        [("plan_price", 3, 1)],
        [("churn_risk", 6, 1)],
        [("contract_end", 4, 1)],
        [("prepaid", 1, 1)],
    ]
    assert asked[3].any_of[0].trait.values[0].money.amount == "9.90"
    assert [test.WhichOneof("test") for test in asked[-1].any_of] == ["agreed", "agreed"]

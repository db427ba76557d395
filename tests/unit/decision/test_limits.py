"""What a rule set may do at most, and who is left out when that is done."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.decision.adapters.records import Record, pack_record, unpack_record
from services.decision.domain.arbitration import Circumstances, Standing, Won, arbitrate
from services.decision.domain.decide import Evaluation
from services.decision.domain.explain import sentence_of
from services.decision.domain.ledger import Account, Ledger, LimitAccount
from services.decision.domain.limits import Limits, Room, Use
from services.decision.domain.scoring import Origin
from services.vocabulary.values import DAY, HOUR, SECOND
from services.vocabulary.words import ActionKind, Category, RefusalReason
from tests.unit.decision.generators import compiled
from tests.unit.decision.test_arbitration import DISPATCHED, DONE, NOW, PLANNED, REFUSED, offer

TODAY = NOW // DAY
SERVICE = Category.SERVICE
TEN = Limits(per_day=10)
EUROS = Limits(budget=Decimal(10))
PACE = Limits(per_second=2)
NOT_KNOWN = Origin(detail="formula divided by zero")


def decided(room, *candidates, at=NOW, **standing):
    found = arbitrate(candidates, Circumstances(at), Standing(rooms={"set": room}, **standing))
    return [(action.outcome, action.reason) for action in found.actions], found


@pytest.mark.parametrize(
    ("room", "candidate", "outcome", "reason"),
    [
        (Room(TEN, NOW, days={TODAY: 9}), offer(), DISPATCHED, None),
        (Room(TEN, NOW, days={TODAY: 10}), offer(), REFUSED, RefusalReason.BUDGET),
        (Room(TEN, NOW, days={TODAY - 1: 10, TODAY + 1: 10}), offer(), DISPATCHED, None),
        (Room(EUROS, NOW, Decimal("8.80")), offer(cost=1.2), DISPATCHED, None),
        (Room(EUROS, NOW, Decimal("8.81")), offer(cost=1.2), REFUSED, RefusalReason.BUDGET),
        (Room(EUROS, NOW, Decimal(10)), offer(), DISPATCHED, None),
        (Room(EUROS, NOW), offer(cost_from=NOT_KNOWN), REFUSED, RefusalReason.BUDGET),
        (Room(TEN, NOW), offer(cost_from=NOT_KNOWN), DISPATCHED, None),
        (Room(TEN, NOW, days={TODAY: 10}), offer(category=Category.MANDATORY), DISPATCHED, None),
        (Room(TEN, NOW, days={TODAY: 10}), offer(rule_set="other"), DISPATCHED, None),
        (Room(TEN, NOW, days={TODAY: 10}), offer(kind=ActionKind.SAY), DONE, None),
        (Room(TEN, NOW, days={TODAY: 10}), offer(planned_micros=NOW + DAY), PLANNED, None),
        (Room(TEN, NOW, days={TODAY: 10}, holders=frozenset({"a"})), offer(), DISPATCHED, None),
        (Room(PACE, NOW, free_micros=NOW + SECOND), offer(), DISPATCHED, None),
        (Room(PACE, NOW, free_micros=NOW + SECOND + 1), offer(), PLANNED, None),
        (
            Room(PACE, NOW, free_micros=NOW + HOUR),
            offer(expires_micros=NOW + HOUR),
            REFUSED,
            RefusalReason.EXPIRED,
        ),
        (Room(PACE, NOW, free_micros=NOW + HOUR, holders=frozenset({"a"})), offer(), DISPATCHED, None),
        (
            Room(Limits(2, 10), NOW, free_micros=NOW + DAY, days={TODAY + 1: 10}),
            offer(),
            REFUSED,
            RefusalReason.BUDGET,
        ),
        (
            Room(Limits(per_day=10, zone="Asia/Tokyo"), NOW, days={TODAY: 10}),
            offer(),
            REFUSED,
            RefusalReason.BUDGET,
        ),
        (
            Room(Limits(per_day=10, zone="Asia/Tokyo"), NOW + 15 * HOUR, days={TODAY: 10}),
            offer(),
            DISPATCHED,
            None,
        ),
    ],
)
def test_an_action_passes_as_long_as_there_is_room(room, candidate, outcome, reason):
    found, arbitration = decided(room, candidate)
    assert found == [(outcome, reason)]
    if outcome is REFUSED:
        assert (arbitration.uses, arbitration.won, arbitration.taken) == ({}, (), {})
        assert arbitration.free == {"set": room.free_micros}


def test_actions_of_one_decision_share_what_is_left():
    found, arbitration = decided(
        Room(TEN, NOW, days={TODAY: 8}), *(offer(name, SERVICE) for name in ("a", "b", "c"))
    )
    assert [outcome for outcome, _ in found] == [DISPATCHED, DISPATCHED, REFUSED]
    assert arbitration.uses == {name: Use("set", TODAY, Decimal("0.0")) for name in ("a", "b")}


def test_who_has_no_room_leaves_the_conversation_to_the_next():
    best, next_best = offer("a", value=9.0, cost=5.0), offer("b", value=3.0, rule_set="other")
    found, arbitration = decided(Room(EUROS, NOW, Decimal(6)), best, next_best)
    assert found == [(REFUSED, RefusalReason.BUDGET), (DISPATCHED, None)]
    assert arbitration.won == (Won("b", NOW),)
    assert "10.00, 6.00 is spent" in arbitration.actions[0].detail


def test_a_pace_gives_each_the_next_free_moment_and_plans_what_would_wait():
    found, arbitration = decided(Room(PACE, NOW), *(offer(name, SERVICE) for name in "abcde"))
    assert [outcome for outcome, _ in found] == [DISPATCHED, DISPATCHED, DISPATCHED, PLANNED, PLANNED]
    planned = [action.candidate.planned_micros for action in arbitration.actions]
    assert planned == [None, None, None, NOW + 1_500_000, NOW + 2_000_000]
    assert arbitration.free == {"set": NOW + 2_500_000}
    assert "was planned for 1972-09-27T00:00:01.500000Z, its turn under the pace of set" in sentence_of(
        arbitration.actions[3:4], {}, {}
    )


def test_what_is_planned_by_a_pace_wins_its_conversation_and_finds_it_won_when_due():
    room = Room(PACE, NOW, free_micros=NOW + HOUR)
    found, arbitration = decided(room, offer("a", value=9.0), offer("b", value=3.0, rule_set="other"))
    assert found == [(PLANNED, None), (REFUSED, RefusalReason.OUTRANKED)]
    due = arbitration.actions[0].candidate
    later = NOW + HOUR
    again = arbitrate(
        (due,),
        Circumstances(later, was_planned=True),
        Standing(won=arbitration.won, rooms={"set": Room(PACE, later, holders=frozenset({"a"}))}),
    )
    assert again.actions[0].outcome is DISPATCHED
    assert again.uses == {}


candidates = st.lists(
    st.tuples(st.sampled_from(["0", "0.1", "1.15", "3"]), st.integers(0, 3 * SECOND), st.booleans()),
    min_size=1,
    max_size=60,
)


@given(
    candidates,
    st.one_of(st.none(), st.sampled_from((0.5, 1.0, 7.0))),
    st.one_of(st.none(), st.integers(1, 20)),
    st.one_of(st.none(), st.sampled_from(("0.3", "5", "20"))),
)
def test_no_sequence_of_decisions_and_refusals_passes_a_limit(asked, pace, per_day, budget):
    limits = Limits(pace, per_day, None if budget is None else Decimal(budget), "Europe/Paris")
    ledger = Ledger({})
    now = NOW
    held: dict[str, tuple[int, Decimal]] = {}
    for number, (cost, wait, refused) in enumerate(asked):
        now += wait
        name = f"a{number}"
        rooms = ledger.rooms({"set": limits}, now, [name])
        candidate = offer(name, SERVICE, cost=float(cost))
        arbitration = arbitrate((candidate,), Circumstances(now), Standing(rooms=rooms))
        ledger.enter(1, arbitration, {})
        (action,) = arbitration.actions
        if action.outcome is not REFUSED:
            held[name] = (action.candidate.planned_micros or now, Decimal(cost))
        if refused and held:
            gone = sorted(held)[number % len(held)]
            del held[gone]
            ledger.give_back((1,), gone)
            ledger.give_back((1,), gone)
    account = ledger.limits["set"]
    assert account.spent == sum(cost for _, cost in held.values())
    if budget is not None:
        assert account.spent <= Decimal(budget)
    assert sum(account.days.values()) == len(held)
    assert all(0 <= count <= (per_day or len(asked)) for count in account.days.values())
    if pace is not None:
        moments = sorted(moment for moment, _ in held.values())
        # in any time of that length at most as many as the pace says, and those of the second not waited for
        for first, moment in enumerate(moments):
            near = [other for other in moments[first:] if other - moment < 10 * SECOND]
            assert len(near) <= pace * 11 + 1


def test_a_merged_customers_action_is_given_back_once():
    ledger = Ledger({1: Account(), 2: Account()})
    ledger.uses = {"a": Use("set", TODAY, Decimal(2))}
    account = ledger.limits["set"] = LimitAccount(Decimal(5), 0, {TODAY: 3})
    ledger.give_back((1, 2), "a")
    assert (account.spent, account.days) == (Decimal(3), {TODAY: 2})
    assert ledger.actions_added == {("set", TODAY): -1}


def test_answers_are_spread_by_no_pace():
    ledger = Ledger({})
    (room,) = ledger.rooms({"set": Limits(2.0, 10)}, NOW, (), paced=False).values()
    assert (room.limits.per_second, room.limits.per_day) == (None, 10)


def test_the_room_that_a_decision_rested_on_is_recorded():
    room = Room(
        Limits(50.0, 20, Decimal("15000.00"), "Europe/Paris"),
        NOW,
        Decimal("1.10"),
        NOW + 5,
        {TODAY: 3},
        frozenset({"a"}),
    )
    standing = Standing(rooms={"set": room, "bare": Room(replace(TEN, zone="UTC"), NOW)})
    record = Record(Evaluation((), (), Circumstances(NOW)), standing, ())
    assert unpack_record(pack_record(record)).standing == standing


# --- as written ------------------------------------------------------------------------------------------

DO = "{offer: data-top-up, with: {gb: 2}, category: sales, value: 3, cost: 1.20, expires: 24h}"
TEXT = "ruleset: t\ntrigger: usage.data_used\nlimits: %s\nrules: [{id: r, do: " + DO + "}]\n"


@pytest.mark.parametrize(
    ("written", "limits"),
    [
        ("{pace: 50/s, per day: 20000, budget: 15000 EUR}", Limits(50.0, 20_000, Decimal(15_000))),
        ("{pace: 30/min}", Limits(0.5)),
        ("{pace: 90 / h}", Limits(0.025)),
        ("{budget: 12.50}", Limits(budget=Decimal("12.50"))),
        ("{per day: 1}", Limits(per_day=1)),
    ],
)
def test_limits_are_read(written, limits):
    program = compiled(TEXT % written).program
    assert program.rule_sets[0].limits == replace(limits, zone="Europe/Paris")
    assert ("action.due" in program.listened) is (limits.per_second is not None)

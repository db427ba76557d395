"""Arbitration as a table: who passes, who does not, and why."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.decision.domain.absent import needed_for
from services.decision.domain.arbitration import (
    Candidate,
    Circumstances,
    Standing,
    Won,
    arbitrate,
    factors_for,
    rank_of,
    score_of,
)
from services.decision.domain.decide import Evaluation, standing_that_counts
from services.decision.domain.experiments import HOLDOUT
from services.decision.domain.ledger import Ledger
from services.decision.domain.limits import Limits, Room
from services.decision.domain.once import Slot, Taken
from services.decision.domain.scoring import BY_POLICY, BY_RULE, Factor, Factors, FactorSource, Origin
from services.vocabulary.arbitration_policy import Terms
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import ActionKind, ActionOutcome, Category, RefusalReason

NOW = 1_000 * DAY
DISPATCHED, DONE = ActionOutcome.DISPATCHED, ActionOutcome.DONE
PLANNED, REFUSED = ActionOutcome.PLANNED, ActionOutcome.REFUSED
AT = Circumstances(NOW)
SLOT = Slot("set", "rule", "", 7 * DAY)


def offer(name="a", category=Category.SALES, **more):
    return Candidate(
        action_id=more.pop("action_id", name),
        rule_set=more.pop("rule_set", "set"),
        version=1,
        rule=more.pop("rule", name),
        position=0,
        kind=more.pop("kind", ActionKind.OFFER),
        name=name,
        category=category,
        priority=more.pop("priority", 0),
        **more,
    )


NOTHING = Standing()
HALF = Terms(most_sales=0.5)


def shared(contacts, sales, terms=HALF):
    return Circumstances(NOW, contacts=contacts, sales_contacts=sales, terms=terms)


def outcomes(candidates, circumstances=AT, standing=NOTHING):
    found = arbitrate(tuple(candidates), circumstances, standing).actions
    return [(action.outcome, action.reason) for action in found]


CASES = {
    "an offer without anything against it": (offer(), AT, Standing(), DISPATCHED, None),
    "sales to who had no contact at all": (offer(), shared(0, 0), Standing(), DISPATCHED, None),
    "sales that would be half of two contacts": (offer(), shared(1, 0), Standing(), DISPATCHED, None),
    "sales that would be two of three contacts": (
        offer(), shared(2, 1), Standing(), REFUSED, RefusalReason.CAPPED,
    ),
    "sales that would be two of four contacts": (offer(), shared(3, 1), Standing(), DISPATCHED, None),
    "sales when contacts may not be counted": (
        offer(), shared(None, 0), Standing(), REFUSED, RefusalReason.CAPPED,
    ),
    "retention is no sales contact": (
        offer(category=Category.RETENTION), shared(2, 2), Standing(), DISPATCHED, None,
    ),
    "a task for sales is no contact": (
        offer(kind=ActionKind.TASK), shared(2, 2), Standing(), DISPATCHED, None,
    ),
    "planned sales over the share: asked when due": (
        offer(planned_micros=NOW + DAY), shared(2, 2), Standing(), PLANNED, None,
    ),
    "what the rules already ruled out": (
        offer(refusal=RefusalReason.DATA_WITHHELD), AT, Standing(), REFUSED, RefusalReason.DATA_WITHHELD,
    ),
    "valid until a moment from now": (offer(expires_micros=NOW + 1), AT, Standing(), DISPATCHED, None),
    "valid until now": (offer(expires_micros=NOW), AT, Standing(), REFUSED, RefusalReason.EXPIRED),
    "sales while a complaint is open": (
        offer(), Circumstances(NOW, "a complaint is open"), Standing(), REFUSED, RefusalReason.SERVICE_FIRST,
    ),
    "retention while a complaint is open": (
        offer(category=Category.RETENTION), Circumstances(NOW, "a complaint is open"), Standing(),
        DISPATCHED, None,
    ),
    "sales to the vulnerable": (
        offer(), Circumstances(NOW, vulnerable=True), Standing(), REFUSED, RefusalReason.VULNERABLE,
    ),
    "service to the vulnerable": (
        offer(category=Category.SERVICE), Circumstances(NOW, vulnerable=True), Standing(), DISPATCHED, None,
    ),
    "sales in the holdout": (
        offer(experiment="x"), AT, Standing(arms={"x": HOLDOUT}), REFUSED, RefusalReason.HOLDOUT,
    ),
    "a survey in the holdout": (
        offer(category=Category.SURVEY, experiment="x"), AT, Standing(arms={"x": HOLDOUT}),
        REFUSED, RefusalReason.HOLDOUT,
    ),
    "service in the holdout": (
        offer(category=Category.SERVICE, experiment="x"), AT, Standing(arms={"x": HOLDOUT}), DISPATCHED, None,
    ),
    "mandatory in the holdout": (
        offer(category=Category.MANDATORY, experiment="x"), AT, Standing(arms={"x": HOLDOUT}),
        DISPATCHED, None,
    ),
    "the holdout of another experiment": (
        offer(experiment="x"), AT, Standing(arms={"y": HOLDOUT, "x": "arm"}), DISPATCHED, None,
    ),
    "once, taken a moment too lately": (
        offer(slot=SLOT), AT, Standing({SLOT.name: Taken(NOW - 7 * DAY + 1, ("other",))}),
        REFUSED, RefusalReason.ONCE,
    ),
    "once, taken a period ago": (
        offer(slot=SLOT), AT, Standing({SLOT.name: Taken(NOW - 7 * DAY, ("other",))}), DISPATCHED, None,
    ),
    "a conversation won less than a day ago": (
        offer(), AT, Standing(won=(Won("w", NOW - DAY + 1),)), REFUSED, RefusalReason.OUTRANKED,
    ),
    "a conversation won a day ago": (offer(), AT, Standing(won=(Won("w", NOW - DAY),)), DISPATCHED, None),
    "a conversation won later, by an event that came earlier": (
        offer(), AT, Standing(won=(Won("w", NOW + HOUR),)), REFUSED, RefusalReason.OUTRANKED,
    ),
    "service in a conversation that was won": (
        offer(category=Category.SERVICE), AT, Standing(won=(Won("w", NOW),)), DISPATCHED, None,
    ),
    "set is done at once": (offer(kind=ActionKind.SET, category=None), AT, Standing(), DONE, None),
    "planned sales during a complaint: asked when due": (
        offer(planned_micros=NOW + DAY), Circumstances(NOW, "a complaint is open"), Standing(), PLANNED, None,
    ),
    "planned sales that fell due during a complaint": (
        offer(planned_micros=NOW), Circumstances(NOW, "a complaint is open", was_planned=True), Standing(),
        REFUSED, RefusalReason.SERVICE_FIRST,
    ),
    "planned in the holdout": (
        offer(planned_micros=NOW + DAY, experiment="x"), AT, Standing(arms={"x": HOLDOUT}),
        REFUSED, RefusalReason.HOLDOUT,
    ),
    "a planned action finds its own slot free": (
        offer(slot=SLOT, planned_micros=NOW), Circumstances(NOW, was_planned=True),
        Standing({SLOT.name: Taken(NOW - HOUR, ("a",))}), DISPATCHED, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_candidate(case):
    candidate, circumstances, standing, outcome, reason = CASES[case]
    assert outcomes([candidate], circumstances, standing) == [(outcome, reason)]


@pytest.mark.parametrize(
    ("first", "second", "wins"),
    [
        (offer("a", value=5.0), offer("b", value=6.0), "b"),
        (offer("a", value=5.0, cost=4.0), offer("b", value=2.0), "b"),
        (offer("a", value=99.0), offer("b", category=Category.RETENTION, value=1.0), "b"),
        (offer("a", value=5.0), offer("b", value=5.0, priority=1), "b"),
        (offer("a", value=5.0), offer("b", value=5.0), "a"),
        (offer("a", value=5.0), offer("b", value=5.0, expires_micros=NOW + HOUR), "b"),
        (offer("a", value=9.0, refusal=RefusalReason.NOT_ELIGIBLE), offer("b", value=1.0), "b"),
    ],
)
def test_of_two_commercial_actions_one_wins_and_the_other_knows_who(first, second, wins):
    found = arbitrate((first, second), AT, Standing())
    passed = [action.candidate.name for action in found.actions if action.outcome is DISPATCHED]
    assert passed == [wins]
    assert [won.action_id for won in found.won] == [wins]
    for action in found.actions:
        if action.reason is RefusalReason.OUTRANKED:
            assert action.outranked_by == wins


def test_mandatory_service_and_surveys_pass_beside_the_winner():
    names = {"m": Category.MANDATORY, "s": Category.SERVICE, "q": Category.SURVEY, "o": Category.SALES}
    found = outcomes([offer(name, category) for name, category in names.items()])
    assert found == [(DISPATCHED, None)] * 4


def test_outcomes_come_in_the_order_asked_for():
    names = [offer(name, value=value) for name, value in (("a", 1.0), ("b", 3.0), ("c", 2.0))]
    found = arbitrate(tuple(names), AT, Standing()).actions
    assert [action.candidate.name for action in found] == ["a", "b", "c"]


def test_only_what_passed_uses_up_slots_and_actions_of_one_rule_share_theirs():
    first = offer("a", category=Category.SERVICE, slot=SLOT)
    second = replace(first, action_id="b", position=1)
    refused = offer("c", slot=Slot("set", "other", "", None), refusal=RefusalReason.NOT_ELIGIBLE)
    found = arbitrate((first, second, refused), AT, Standing())
    assert found.taken == {SLOT.name: Taken(NOW, ("a", "b"))}


def test_a_loser_does_not_use_up_its_slot():
    found = arbitrate((offer("a", value=9.0), offer("b", slot=SLOT)), AT, Standing())
    assert found.taken == {}


def test_every_factor_of_a_score_says_where_it_came_from():
    candidate = offer(
        propensity=0.5,
        propensity_from=BY_POLICY,
        value=10.0,
        value_from=BY_RULE,
        cost_from=Origin(detail="formula divided by zero"),
        expires_micros=NOW + DAY,
    )
    (action,) = arbitrate((candidate,), Circumstances(NOW, pressure=2), Standing()).actions
    assert action.factors == Factors(
        Factor(0.5, FactorSource.POLICY),
        Factor(10.0, FactorSource.RULE),
        Factor(0.0, FactorSource.DEFAULT, "formula divided by zero"),
        Factor(1.5),
        Factor(0.2),
        7.3,
    )
    assert action.score == action.factors.score


def test_what_is_not_sent_has_no_score():
    (action,) = arbitrate((offer(kind=ActionKind.SET, category=None),), AT, Standing()).actions
    assert (action.score, action.factors) == (0.0, None)


def test_the_operators_terms_weigh_urgency_and_pressure():
    terms = Terms(pressure_weight=2.0, most_urgent=4.0, halfway_micros=HOUR, stated=("pressure", "urgency"))
    found = factors_for(
        offer(value=10.0, expires_micros=NOW + HOUR), Circumstances(NOW, pressure=3, terms=terms)
    )
    assert found.urgency == Factor(2.5, FactorSource.POLICY)
    assert found.pressure == Factor(6.0, FactorSource.POLICY)
    assert found.score == 19.0


def test_a_refusal_over_the_share_of_sales_names_it():
    (action,) = arbitrate((offer(),), shared(2, 1), Standing()).actions
    assert action.detail == "at most 50% of contacts in 30d may be sales; with this one 2 of 3 would be"


def test_what_would_have_to_be_different_for_a_sale_while_there_is_trouble():
    trouble = Circumstances(NOW, "a complaint is open")
    (action,) = arbitrate((offer(),), trouble, NOTHING).actions
    assert needed_for(action, NOTHING, trouble) == "it would have to be over that a complaint is open"


def test_of_two_offers_that_exclude_each_other_the_better_one_passes():
    care = offer("care", Category.SERVICE, value=1.0, excludes=("gift",))
    gift = offer("gift", Category.SERVICE, value=2.0)
    for pair in ((care, gift), (gift, care), (replace(care, excludes=()), replace(gift, excludes=("care",)))):
        found = {action.candidate.name: action for action in arbitrate(pair, AT, Standing()).actions}
        assert found["gift"].outcome is DISPATCHED
        assert (found["care"].outcome, found["care"].reason) == (REFUSED, RefusalReason.NOT_ELIGIBLE)
        assert found["care"].detail == "gift is offered at the same time, and they exclude each other"
    lost = replace(gift, refusal=RefusalReason.NOT_ELIGIBLE)
    assert outcomes([care, lost])[0] == (DISPATCHED, None)


def test_of_equals_the_one_asked_for_first_wins_whatever_their_ids():
    first, second = offer("z", order=0), offer("a", order=1)
    assert [won.action_id for won in arbitrate((second, first), AT, Standing()).won] == ["z"]


def avoids(*categories):
    kind = ActionKind.AVOID
    return offer("own-up", None, kind=kind, rule_set="care-desk", rule="own-up", avoid=categories)


@pytest.mark.parametrize("kind", [ActionKind.OFFER, ActionKind.MESSAGE, ActionKind.SAY, ActionKind.TASK])
def test_what_one_rule_set_asks_to_avoid_no_other_does_in_the_same_decision(kind):
    sale = offer("a", kind=kind, value=99.0, priority=99, rule_set="shop")
    for pair in ((avoids(Category.SALES), sale), (sale, avoids(Category.SALES))):
        found = {action.candidate.name: action for action in arbitrate(pair, AT, NOTHING).actions}
        assert found["own-up"].outcome is DONE
        assert (found["a"].outcome, found["a"].reason) == (REFUSED, RefusalReason.SERVICE_FIRST)
        assert found["a"].detail == "care-desk/own-up asks to avoid sales"
        assert needed_for(found["a"], NOTHING, AT).startswith(
            "care-desk/own-up asks to avoid sales: it would"
        )


def test_avoiding_concerns_what_is_named_and_nothing_that_has_to_be_said():
    asked = avoids(Category.SALES, Category.SERVICE, Category.MANDATORY)
    kept = [offer("r", Category.RETENTION), offer("s", Category.SERVICE), offer("m", Category.MANDATORY)]
    assert outcomes([asked, *kept])[1:] == [(DISPATCHED, None)] * 3
    later = offer(planned_micros=NOW + DAY)
    assert outcomes([asked, later])[1] == (PLANNED, None)
    assert outcomes([replace(asked, refusal=RefusalReason.DATA_WITHHELD), offer()])[1] == (DISPATCHED, None)


def test_what_was_to_be_avoided_is_avoided_for_the_whole_conversation():
    taken = arbitrate((avoids(Category.SALES),), AT, NOTHING).taken
    standing = Standing(taken)

    def after(micros, category=Category.SALES):
        return outcomes([offer(category=category)], Circumstances(NOW + micros), standing)[0]

    assert after(DAY - 1) == after(1 - DAY) == (REFUSED, RefusalReason.SERVICE_FIRST)
    assert after(DAY) == after(HOUR, Category.RETENTION) == (DISPATCHED, None)
    ledger = Ledger({})
    ledger.enter(7, arbitrate((avoids(Category.SALES),), AT, NOTHING), {})
    assert standing_that_counts(ledger.standing((7,)), Evaluation((), (), AT)).slots == taken


def candidates():
    """Actions of a few rule sets that get into each other's way as much as possible."""
    return st.lists(
        st.builds(
            lambda number, category, kind, value, priority, out, planned, limited: offer(
                f"{number:02}",
                category,
                kind=kind,
                value=float(value),
                priority=priority,
                refusal=RefusalReason.NOT_ELIGIBLE if out else None,
                planned_micros=NOW + DAY if planned else None,
                rule_set="limited" if limited else "set",
                cost=1.0,
                excludes=(f"{number ^ 1:02}",),
                slot=SLOT if number % 3 == 0 else None,
                order=number,
            ),
            st.integers(0, 15),
            st.sampled_from(list(Category)),
            st.sampled_from([ActionKind.OFFER, ActionKind.MESSAGE, ActionKind.TASK, ActionKind.EMIT]),
            st.integers(0, 3),
            st.integers(0, 1),
            st.booleans(),
            st.sampled_from([False, False, False, True]),
            st.booleans(),
        ),
        max_size=8,
        unique_by=lambda candidate: candidate.name,
    )


ROOM = Standing(rooms={"limited": Room(Limits(budget=Decimal(2)), NOW)})
SITUATIONS = st.sampled_from([AT, shared(2, 1), Circumstances(NOW, "a complaint is open"), shared(1, 0)])


@given(candidates().flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))), SITUATIONS)
def test_the_order_in_which_candidates_are_given_changes_nothing_but_positions(pair, circumstances):
    found, again = (arbitrate(tuple(each), circumstances, ROOM) for each in pair)
    by_id = {action.candidate.action_id: action for action in again.actions}
    assert [by_id[candidate.action_id] for candidate in pair[0]] == list(found.actions)
    assert (again.taken, again.won, again.uses) == (found.taken, found.won, found.uses)
    ranks = [rank_of(action) for action in found.actions]
    assert len(set(ranks)) == len(ranks)


@given(candidates(), SITUATIONS)
def test_one_commercial_action_at_most_passes_in_a_conversation(found, circumstances):
    arbitration = arbitrate(tuple(found), circumstances, ROOM)
    passed = [
        action
        for action in arbitration.actions
        if action.candidate.commercial and action.outcome is DISPATCHED
    ]
    assert len(passed) == len(arbitration.won) <= 1
    won = arbitrate(tuple(found), circumstances, replace(ROOM, won=(Won("before", NOW - 1),)))
    assert not [a for a in won.actions if a.candidate.commercial and a.outcome is DISPATCHED]


@given(candidates(), SITUATIONS, st.integers(1, 50))
def test_one_more_action_that_ranks_last_changes_nothing_for_the_others(found, circumstances, worse):
    loser = offer("zz", value=-float(worse), order=99)
    before = arbitrate(tuple(found), circumstances, ROOM)
    after = arbitrate((loser, *found), circumstances, ROOM)
    sales = [action for action in before.actions if action.candidate.commercial]
    if sales:
        now = {action.candidate.action_id: action for action in after.actions}
        assert [now[action.candidate.action_id] for action in sales] == sales
    assert {won.action_id for won in after.won} - {"zz"} == {won.action_id for won in before.won}
    if before.won:
        assert after.won == before.won


def test_the_score_falls_with_contact_pressure_and_rises_as_the_end_comes_closer():
    far, near = offer(value=10.0, expires_micros=NOW + 10 * DAY), offer(value=10.0, expires_micros=NOW + HOUR)
    assert score_of(far, AT) < score_of(offer(value=10.0, expires_micros=NOW + DAY), AT) < score_of(near, AT)
    assert score_of(offer(value=10.0, expires_micros=NOW + DAY), AT) == 15.0
    assert score_of(far, AT) - score_of(far, Circumstances(NOW, pressure=3)) == pytest.approx(0.3)

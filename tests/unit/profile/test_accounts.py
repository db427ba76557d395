"""Accounts as their persons may see them, who pays for a line, and who is a household."""

from itertools import permutations

import pytest

from services.profile.domain.account_views import account_view
from services.profile.domain.accounts import Account, Line, Subscription, line_asked, persons_of
from services.profile.domain.errors import RejectedError
from services.profile.domain.households import MOST_MEMBERS, Household, persons_together
from services.profile.domain.traits import Trait

PAYER, MIA, TOM, STRANGER = 1, 2, 3, 4
ACCOUNT = b"account"


def subscription(name, user, *, payer=0, **fields):
    one = Subscription(name.encode(), name, account=ACCOUNT)
    told = {"msisdn": f"+3360000000{user}", "sim": f"sim-{user}", "device": f"phone-{user}", "plan": "m"}
    persons = {"user": user} | ({"payer": payer} if payer else {})
    one.take(told | fields, persons, 10)
    return one


def seen(*viewers):
    lines = [subscription("S1", MIA), subscription("S2", TOM, payer=TOM), subscription("S3", PAYER)]
    return account_view(Account(ACCOUNT, "A1"), lines, PAYER, 77, frozenset(viewers))


def test_staff_see_all_of_an_account():
    view = seen()
    assert [(one.subscription, one.user, one.payer) for one in view.subscriptions] == [
        ("S1", MIA, PAYER),
        ("S2", TOM, TOM),
        ("S3", PAYER, PAYER),
    ]
    assert (view.payer, view.household) == (PAYER, 77)


def test_the_payer_sees_what_is_paid_for_and_not_who_uses_it_nor_with_what():
    mias, own = seen(PAYER).subscriptions
    assert (mias.subscription, mias.msisdn, mias.plan, mias.payer) == ("S1", "+33600000002", "m", PAYER)
    assert (mias.user, mias.sim, mias.device) == (0, "", "")
    assert (own.user, own.device) == (PAYER, "phone-1")


def test_a_user_sees_the_own_line_and_not_who_pays_nor_the_lines_of_others():
    view = seen(MIA)
    (own,) = view.subscriptions
    assert (own.subscription, own.user, own.payer, own.device) == ("S1", MIA, 0, "phone-2")
    assert view.payer == 0


def test_an_account_is_nothing_to_a_stranger_and_all_ids_of_a_person_are_one():
    assert seen(STRANGER) is None
    assert seen(99, MIA) == seen(MIA)


@pytest.mark.parametrize("role", ["user", "payer"])
def test_a_person_that_cannot_be_read_is_refused_by_name_of_the_field(catalogue_types, role):
    event_type = catalogue_types.catalogue.events["subscription.changed"]
    with pytest.raises(RejectedError) as refused:
        persons_of(event_type, {"subscription": "S1", role: "+33600000011"})
    assert refused.value.field == f"data.{role}"
    assert "00000011" not in refused.value.text


def test_each_word_of_a_subscription_counts_by_its_time_whatever_order_they_come_in():
    words = [
        ({"plan": "s"}, {"user": MIA}, 1),
        ({"plan": "m", "status": "active"}, {}, 2),
        ({"status": "ended"}, {"user": TOM}, 3),
        ({"status": "active", "until": 90}, {}, 4),
    ]
    found = []
    for order in permutations(words):
        one = Subscription(b"s", "S")
        for fields, persons, time_micros in order:
            one.take(fields, persons, time_micros)
        found.append(one.attributes)
    assert all(attributes == found[0] for attributes in found)
    assert (one.user, one.text("plan"), one.text("status"), one.number("until")) == (TOM, "m", "active", 90)


def test_one_that_was_said_to_have_ended_ended_then():
    one = subscription("S1", MIA)
    one.take({"status": "ended"}, {}, 50)
    assert not one.counts_at(60)
    assert one.line("").counts_at(49)
    assert not one.line("").counts_at(50)


@pytest.mark.parametrize(
    ("lines", "asked", "found"),
    [
        ([], "", None),
        ([Line("", b"1", payer=1), Line("2", b"2", payer=2)], "2", b"2"),
        ([Line("", b"1", payer=1), Line("2", b"2", payer=2)], "3", None),
        ([Line("", b"1", payer=1), Line("2", b"2", payer=1)], "3", b"1"),
        ([Line("", b"1", payer=1, until_micros=100), Line("2", b"2", payer=2)], "", b"2"),
        ([Line("", b"1", payer=1, from_micros=101)], "", None),
    ],
)
def test_the_line_asked_for_is_found_where_it_can_be_told(lines, asked, found):
    line = line_asked(lines, asked, 100)
    assert (line.subscription if line else None) == found


def test_a_household_is_several_users_and_who_pays_and_no_company():
    def together(lines, now_is=lambda customer: customer):
        return persons_together(lines, PAYER, 100, now_is)

    two = [subscription("S1", MIA), subscription("S2", TOM)]
    assert together(two) == {PAYER, MIA, TOM}
    assert together(two[:1]) == frozenset()
    many = [subscription(f"S{user}", user) for user in range(2, MOST_MEMBERS + 1)]
    assert len(together(many)) == MOST_MEMBERS
    many.append(subscription("last", MOST_MEMBERS + 1))
    assert together(many) == frozenset()
    # two that turned out to be one person, and one who is gone
    assert together(two, lambda customer: {TOM: MIA}.get(customer, customer)) == frozenset()
    assert together([*two, subscription("S3", 9)], lambda customer: customer % 9) == {PAYER, MIA, TOM}


def test_what_a_household_shares_is_the_latest_word_of_any_member_and_ends_with_the_last():
    home = Household(7, b"k")
    home.join(MIA, [Line("", b"1")], said=False)
    home.take(Trait("left", 5, 20, "app"))
    assert not home.changed_by(Trait("left", 9, 10, "billing"))
    home.take(Trait("left", 9, 10, "billing"))
    assert home.traits["left"].value == 5
    home.leave(MIA)
    assert (home.members, home.traits, home.lines_at(0)) == ({}, {}, 0)

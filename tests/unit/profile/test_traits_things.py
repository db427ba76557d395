"""Traits, things and identities: time decides, and nothing is merged by itself."""

from pathlib import Path

import pytest

from services.profile.domain.identities import Owner, line_of_new, resolve
from services.profile.domain.things import ThingState
from services.profile.domain.traits import Trait, changed_by, next_end_micros
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.identities import Identity

CATALOGUE = load_catalogue(Path(__file__).parents[3] / "rules")
STARTED = CATALOGUE.events["network.outage_started"]
ENDED = CATALOGUE.events["network.outage_ended"]
CRM, EMAIL, COOKIE = Identity("crm", "1"), Identity("email", "a@example.org"), Identity("cookie", "c")


def test_older_news_of_a_trait_changes_nothing():
    known = {("plan", ""): Trait("plan", "m", 5, "crm")}
    assert not changed_by(known, Trait("plan", "s", 4, "crm"))
    assert changed_by(known, Trait("plan", "l", 6, "crm"))
    assert not changed_by(known, Trait("plan", "m", 6, "crm"))
    assert changed_by(known, Trait("plan", "l", 4, "crm", line="2"))


def test_a_trait_taken_away_outweighs_what_was_said_before():
    known = {("plan", ""): Trait("plan", None, 5, "crm")}
    assert not changed_by(known, Trait("plan", "m", 4, "crm"))
    assert changed_by(known, Trait("plan", "m", 6, "crm"))
    assert not changed_by({}, Trait("plan", None, 6, "crm"))


def test_a_flag_holds_until_its_end():
    flag = Trait("upset", value=True, time_micros=5, source="decision", until_micros=10)
    assert flag.holds_at(9)
    assert not flag.holds_at(10)
    assert next_end_micros([flag, Trait("plan", "m", 1, "crm")]) == 10


def test_one_and_true_are_not_the_same_value():
    assert changed_by(
        {("upset", ""): Trait("upset", 1, 5, "crm")}, Trait("upset", value=True, time_micros=6, source="crm")
    )


def started(incident: str) -> dict[str, object]:
    return {"cell": "c", "incident": incident, "eta": 99}


def test_an_outage_is_known_until_it_ends():
    cell = ThingState("cell", "c")
    assert cell.apply(STARTED, started("I1"), 5)
    assert cell.values() == {"incident": "I1", "eta": 99}
    assert cell.apply(ENDED, {"cell": "c", "incident": "I1"}, 6)
    assert cell.values() == {}
    assert cell.sequence == 2


def test_the_end_of_one_incident_clears_nothing_of_another():
    cell = ThingState("cell", "c")
    cell.apply(STARTED, started("I2"), 7)
    assert not cell.apply(ENDED, {"cell": "c", "incident": "I1"}, 8)
    assert cell.values()["incident"] == "I2"


def test_a_beginning_that_arrives_after_its_end_changes_nothing():
    cell = ThingState("cell", "c")
    cell.apply(ENDED, {"cell": "c", "incident": "I1"}, 6)
    assert not cell.apply(STARTED, started("I1"), 5)
    assert cell.values() == {}


def test_the_strongest_identity_that_somebody_owns_names_the_customer():
    owners = {EMAIL: Owner(2), CRM: Owner(1)}
    found = resolve((COOKIE, EMAIL, CRM), owners)
    assert found is not None
    assert (found.customer, found.matched, found.conflict, found.unowned) == (1, CRM, True, (COOKIE,))
    assert resolve((COOKIE,), owners) is None
    alone = resolve((EMAIL, COOKIE), owners)
    assert alone is not None
    assert not alone.conflict


@pytest.mark.parametrize(("held", "line"), [(0, ""), (1, "2"), (2, "3")])
def test_further_numbers_are_further_lines(held, line):
    numbers = [(Identity("msisdn", f"+3360000000{n}"), "") for n in range(held)]
    assert line_of_new(Identity("msisdn", "+33611111111"), [(CRM, ""), *numbers]) == line
    assert line_of_new(EMAIL, numbers) == ""

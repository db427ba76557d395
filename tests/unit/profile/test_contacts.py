"""What CheckContact tells beside permission: recent contacts of other systems, and whose zone."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packed_record import pack_record
from services.profile.adapters.packing import Kept, pack_hot
from services.profile.app.ports import ThingKey
from services.profile.app.questions import ContactAnswer, ContactQuestion, Questions
from services.profile.domain.activity import MICROS_PER_DAY as DAY
from services.profile.domain.consent import Consent
from services.profile.domain.contacts import RecentContact
from services.profile.domain.customer import Customer
from services.profile.domain.events import CheckedEvent
from services.profile.domain.merging import join
from services.profile.domain.things import ThingState
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.values import ValueType
from services.vocabulary.words import Category, Channel, ConsentBy, ConsentState, Purpose
from tests.fakes.keys import sealer

NOW = 1_790_000_000_000_000
SHIPPED = load_catalogue(Path(__file__).parents[3] / "rules")
CELL = SHIPPED.things["cell"]
CATALOGUE = replace(
    SHIPPED,
    things={**SHIPPED.things, "cell": replace(CELL, attributes={**CELL.attributes, "zone": ValueType.TEXT})},
)


class Reading:
    """A transaction that reads what the test put there."""

    def __init__(self) -> None:
        self.customers: dict[int, Customer] = {}
        self.cells: dict[str, str] = {}
        self.asked_things = 0

    async def read_customers(self, ids: Collection[int]) -> dict[int, Customer]:
        return {number: again(self.customers[number]) for number in ids if number in self.customers}

    async def things(
        self, keys: Collection[ThingKey], lock: Collection[ThingKey]
    ) -> dict[ThingKey, ThingState]:
        assert not lock
        self.asked_things += 1
        return {
            (kind, key): ThingState(kind, key, {"zone": (self.cells[key], 1)} if key in self.cells else {})
            for kind, key in keys
        }


def again(customer: Customer) -> Customer:
    """The same customer as read from the database."""
    hot = pack_hot(customer, Types(CATALOGUE, sealer()))
    kept = Kept(hot, pack_record(customer.record, NOW, customer.id, sealer()), customer.id, sealer())
    return Customer(customer.id, customer.sequence, kept, merged_into=customer.merged_into)


def person(number: int, *, merged: Collection[int] = (), **traits: object) -> Customer:
    customer = Customer(number, 0, Kept(b"", b""))
    customer.record.merged_customers.extend(merged)
    if traits:
        tell(customer, "profile.updated", NOW - DAY, traits=traits)
    return customer


def tell(customer: Customer, event_type: str, time_micros: int, **fields: object) -> None:
    known = CATALOGUE.events[event_type]
    event = CheckedEvent(f"e{time_micros}", "crm", known, time_micros, b"{}", fields, customer=customer.id)  # type: ignore[arg-type]
    customer.apply(event, CATALOGUE)


async def ask(*customers: Customer, cells: dict[str, str] | None = None, about: int = 1) -> ContactAnswer:
    work = Reading()
    work.customers = {customer.id: customer for customer in customers}
    work.cells = cells or {}
    questions = Questions(CATALOGUE, None)  # type: ignore[arg-type] - packs nothing here
    (answer,) = await questions.contacts(work, [ContactQuestion(about, Category.SALES)], NOW)  # type: ignore[arg-type]
    return answer


async def test_contacts_of_other_systems_are_told_for_35_days() -> None:
    anna = person(1)
    tell(anna, "contact.made", NOW - 35 * DAY, channel="sms", category="sales", by="old campaign")
    tell(anna, "contact.made", NOW - 35 * DAY + 1, channel="sms", category="sales", by="campaign")
    tell(anna, "contact.made", NOW - 5, channel="call", by="dialler")
    assert list((await ask(anna)).recent_contacts) == [
        RecentContact(Channel.SMS, Category.SALES, NOW - 35 * DAY + 1),
        RecentContact(Channel.CALL, None, NOW - 5),
    ]
    assert (await ask(person(1))).recent_contacts == []


async def test_who_was_merged_is_answered_for_as_the_person_under_all_other_ids() -> None:
    one, other = person(1, zone="Indian/Reunion"), person(2)
    tell(other, "contact.made", NOW - 7, channel="email", category="survey", by="survey tool")
    join(one, other, CATALOGUE)
    other.merged_into = 1
    for about, merged in ((1, (2,)), (2, (1,))):
        answer = await ask(again(one), other, about=about)
        assert (answer.customer, answer.known, answer.merged_customers) == (about, True, merged)
        assert answer.zone == "Indian/Reunion"
        # what was joined counts once
        assert list(answer.recent_contacts) == [RecentContact(Channel.EMAIL, Category.SURVEY, NOW - 7)]


def may_be_located(customer: Customer) -> Customer:
    customer.add_consent(
        Consent(Purpose.PROFILING_LOCATION, None, ConsentState.GRANTED, NOW - DAY, ConsentBy.PERSON)
    )
    return customer


async def test_the_zone_is_the_persons_then_that_of_their_location_then_the_operators() -> None:
    cells = {"c-7": "Asia/Tokyo", "c-8": "Nowhere/Land"}
    own = may_be_located(person(1, zone="Indian/Reunion", last_cell="c-7"))
    assert (await ask(own, cells=cells)).zone == "Indian/Reunion"
    there = may_be_located(person(1, last_cell="c-7"))
    assert (await ask(there, cells=cells)).zone == "Asia/Tokyo"
    withheld = person(1, last_cell="c-7")  # did not agree to have the location used
    assert (await ask(withheld, cells=cells)).zone == "Europe/Paris"
    unheard_of = may_be_located(person(1, last_cell="c-8"))
    assert (await ask(unheard_of, cells=cells)).zone == "Europe/Paris"
    untold = may_be_located(person(1, last_cell="c-9"))
    assert (await ask(untold, cells=cells)).zone == "Europe/Paris"


async def test_a_zone_that_held_for_a_time_holds_no_longer() -> None:
    traveller = person(1)
    tell(traveller, "profile.updated", NOW - DAY, traits={"zone": "Asia/Tokyo"}, until=NOW)
    assert (await ask(traveller)).zone == "Europe/Paris"

"""Customers found by zone, traits, consents and last times, over gRPC on a real database."""

import asyncio
from datetime import timedelta

import grpc
import pytest
from rapport.profile.v1 import audience_pb2 as asked
from rapport.profile.v1 import audience_pb2_grpc, profile_pb2

from services.profile.adapters.gathering import Gathering
from services.profile.adapters.postgres import GATHERING_CHANNEL
from services.runtime.database import Database
from services.vocabulary.wire import value_to_wire
from tests.integration.profile.asking import NOON, event, ingest, stamp, traits
from tests.integration.profile.conftest import running_profile, until

DAY = timedelta(days=1)


class Asking:
    """A running profile, the stub of its audiences, and its database."""

    def __init__(self, profile, database):
        self.profile = profile.profile
        self.stub = audience_pb2_grpc.AudienceServiceStub(profile.grpc_channel)
        self.database = database
        self.gathering = Gathering(database, channel=GATHERING_CHANNEL)

    async def take(self, *events, history=False):
        answer = await self.profile.IngestEvents(ingest(*events, history=history))
        assert not [one for one in answer.results if one.field], answer

    async def person(self, number, **values):
        await self.take(traits(f"t{number}", subject=subject(number), **values))
        return await self.customer(number)

    async def customer(self, number):
        found = await self.profile.ResolveIdentity(
            profile_pb2.ResolveIdentityRequest(subject=subject(number))
        )
        return found.customer

    async def listen(self, *absence, request_id):
        await self.profile.SetListenedTypes(
            profile_pb2.SetListenedTypesRequest(request_id=request_id, absence_types=absence)
        )

    async def page(self, **request):
        return await self.stub.ListAudience(asked.ListAudienceRequest(**request))

    async def all(self, **request):
        found, token, pages = [], "", 0
        while True:
            answer = await self.page(page_token=token, **request)
            assert not answer.filling
            found += [member.customer for member in answer.members]
            token, pages = answer.next_page_token, pages + 1
            if not token:
                return found


def subject(number):
    return f"msisdn:+3361{number:07d}"


def trait(name, operator, *values):
    test = asked.TraitTest(
        trait=name,
        operator=asked.AudienceOperator.Value(f"AUDIENCE_OPERATOR_{operator}"),
        values=[value_to_wire(value) for value in values],
    )
    return asked.AudienceTest(trait=test)


def clause(*tests):
    return asked.AudienceClause(any_of=tests)


def silent(event_type="topup.received", *, after=None, until=NOON):
    return asked.AbsenceFilter(
        type=event_type, after_time=None if after is None else stamp(after), until_time=stamp(until)
    )


@pytest.fixture
async def asking(profile_settings):
    settings = profile_settings()
    database = Database(settings.database_url, 2)
    async with running_profile(settings) as running:
        yield Asking(running, database)
    await database.close()


async def test_traits_consents_and_zones_narrow_an_audience(asking):
    await asking.gathering.gather()
    anna = await asking.person(1, plan="m-20gb", plan_data_mb=20000, zone="Europe/Paris", products=["tv"])
    ben = await asking.person(
        2, plan="s-5gb", plan_data_mb=5000, plan_price={"amount": "9.90", "currency": "EUR"}
    )
    carl = await asking.person(3, plan="s-5gb", zone="Asia/Tokyo", contract_end="2026-12-24")
    await asking.take(
        event(
            "c1",
            "consent.changed",
            {"purpose": "marketing", "channel": "sms", "state": "granted", "by": "person"},
            subject=subject(3),
        )
    )
    assert await asking.all() == [anna, ben, carl]
    for tests, members in (
        ([trait("plan", "IS", "s-5gb")], [ben, carl]),
        ([trait("plan", "IS", "m-20gb", "s-5gb")], [anna, ben, carl]),
        ([trait("plan_data_mb", "LESS", 20000)], [ben]),
        ([trait("plan_data_mb", "AT_MOST", 20000)], [anna, ben]),
        ([trait("plan_data_mb", "MORE", 5000)], [anna]),
        ([trait("plan_data_mb", "AT_LEAST", 5000)], [anna, ben]),
        ([trait("contract_end", "EXISTS")], [carl]),
        ([trait("products", "CONTAINS", "tv", "phone")], [anna]),
        ([trait("plan", "STARTS_WITH", "s-")], [ben, carl]),
        ([trait("plan", "STARTS_WITH", "s-"), trait("products", "CONTAINS", "tv")], [anna, ben, carl]),
        ([asked.AudienceTest(agreed="PURPOSE_MARKETING")], [carl]),
        ([asked.AudienceTest(agreed="PURPOSE_SERVICE")], [anna, ben, carl]),
    ):
        assert await asking.all(clauses=[clause(*tests)]) == members, tests
    dates = [clause(trait("contract_end", "LESS", NOON.date() + 60 * DAY))]
    assert await asking.all(clauses=dates) == [carl]
    assert await asking.all(clauses=[*dates, clause(trait("plan", "IS", "m-20gb"))]) == []
    money = value_to_wire(_money("10.00"))
    cheap = asked.TraitTest(trait="plan_price", operator="AUDIENCE_OPERATOR_LESS", values=[money])
    assert await asking.all(clauses=[clause(asked.AudienceTest(trait=cheap))]) == [ben]

    zones = (await asking.stub.ListZones(asked.ListZonesRequest())).zones
    default = asking_default()
    assert list(zones) == [default, *sorted({"Asia/Tokyo", "Europe/Paris"} - {default})]
    assert await asking.all(zone="Asia/Tokyo") == [carl]
    assert await asking.all(zone=default) == [anna, ben] if default == "Europe/Paris" else [ben]
    assert await asking.all(zone="Asia/Tokyo", clauses=[clause(trait("plan", "IS", "m-20gb"))]) == []
    await asking.person(4, zone="America/New_York")
    first = await asking.stub.ListZones(asked.ListZonesRequest(page_size=1))
    rest = await asking.stub.ListZones(asked.ListZonesRequest(page_token=first.next_page_token))
    assert {*first.zones, *rest.zones} == {default, "Asia/Tokyo", "America/New_York", "Europe/Paris"}


async def test_who_is_found_by_a_word_that_holds_once_another_is_old_is_asked_again(asking):
    """Billing's word is believed for 62 days, then what CRM says, with nothing written meanwhile."""
    for source, time, said in (
        ("billing", NOON, {"plan": "m-20gb", "plan_price": {"amount": "20.00", "currency": "EUR"}}),
        ("crm", NOON + DAY, {"plan": "s-5gb", "plan_price": {"amount": "9.90", "currency": "EUR"}}),
        ("billing", NOON + 2 * DAY, {"plan": "m-20gb"}),
    ):
        await asking.take(
            event(
                f"{source}-{time:%d}",
                "profile.updated",
                {"traits": said},
                subject=subject(1),
                time=time,
                source=source,
            )
        )
    anna = await asking.customer(1)
    for plan, members in (("m-20gb", [anna]), ("s-5gb", [anna]), ("xl", [])):
        assert await asking.all(clauses=[clause(trait("plan", "IS", plan))]) == members, plan
    assert await asking.all(clauses=[clause(trait("plan", "STARTS_WITH", "s-"))]) == [anna]
    assert await asking.all(clauses=[clause(trait("plan", "EXISTS"))]) == [anna]
    money = value_to_wire(_money("10.00"))
    for operator, members in (("LESS", [anna]), ("MORE", [anna])):
        price = asked.TraitTest(trait="plan_price", operator=f"AUDIENCE_OPERATOR_{operator}", values=[money])
        assert await asking.all(clauses=[clause(asked.AudienceTest(trait=price))]) == members
    # what neither says any more finds nobody
    late = {"traits": {"plan": "l"}}
    await asking.take(
        event("c2", "profile.updated", late, subject=subject(1), time=NOON + 3 * DAY, source="crm")
    )
    assert await asking.all(clauses=[clause(trait("plan", "IS", "s-5gb"))]) == []
    assert await asking.all(clauses=[clause(trait("plan", "IS", "l"))]) == [anna]


async def test_a_zone_that_changes_is_found_in_its_new_place(asking):
    await asking.gathering.gather()
    await asking.person(1, zone="Asia/Tokyo")
    assert len(await asking.all(zone="Asia/Tokyo")) == 1
    await asking.take(traits("later", subject=subject(1), time=NOON + DAY, zone="America/New_York"))
    assert await asking.all(zone="Asia/Tokyo") == []
    assert len(await asking.all(zone="America/New_York")) == 1
    await asking.take(traits("gone", subject=subject(1), time=NOON + 2 * DAY, zone=None))
    assert await asking.all(zone="America/New_York") == []
    assert len(await asking.all(zone=asking_default())) == 1


async def test_zones_of_before_are_gathered_before_they_count(asking):
    tokyo = await asking.person(1, zone="Asia/Tokyo")
    async with asking.database.transaction() as transaction:
        await transaction.execute("DELETE FROM customer_zone")  # as written by a version before
    assert (await asking.page(zone="Asia/Tokyo")).filling
    assert (await asking.stub.ListZones(asked.ListZonesRequest())).filling
    await asking.gathering.gather()
    assert await asking.all(zone="Asia/Tokyo") == [tokyo]


async def test_nobody_is_missed_or_met_twice_while_customers_come(asking, monkeypatch):
    monkeypatch.setattr("services.profile.adapters.audience._LOOKED_AT", 7)
    there = [await asking.person(number, plan="s-5gb" if number % 5 else "m-20gb") for number in range(30)]
    wanted = [clause(trait("plan", "IS", "m-20gb"))]
    assert await asking.all(page_size=3) == there
    assert await asking.all(page_size=2, clauses=wanted) == there[::5]
    walked, token = [], ""
    while not walked or token:
        answer = await asking.page(page_size=10, page_token=token)
        walked, token = [*walked, answer.walked], answer.next_page_token
    assert walked == sorted(walked)
    assert 0.2 < walked[0] < 0.5
    assert walked[-1] == 1
    found, token = [], ""
    for number in range(30, 100):
        answer = await asking.page(page_size=3, page_token=token, clauses=wanted)
        assert len(answer.members) <= 3
        found += [member.customer for member in answer.members]
        token = answer.next_page_token
        if not token:
            break
        if number < 33:
            await asking.person(number, plan="m-20gb")
    assert not token
    assert found[: len(there[::5])] == there[::5]
    assert len(found) == len(set(found)) == len(there[::5]) + 3


async def test_last_times_are_gathered_from_the_activity_and_kept_from_then_on(asking):
    await asking.take(event("e1", subject=subject(1), time=NOON - 40 * DAY))
    await asking.take(event("e2", subject=subject(1), time=NOON - 50 * DAY))
    await asking.take(event("e3", subject=subject(2), time=NOON - 10 * DAY))
    await asking.person(3)
    first, second = await asking.customer(1), await asking.customer(2)
    await asking.listen("topup.received", request_id="l1")
    assert (await asking.page(absence=silent())).filling
    # taken before the gathering came to it
    await asking.take(event("e4", subject=subject(2), time=NOON - 5 * DAY))
    await asking.gathering.gather()
    answer = await asking.page(absence=silent())
    assert [(member.customer, member.last_time) for member in answer.members] == [
        (first, stamp(NOON - 40 * DAY)),
        (second, stamp(NOON - 5 * DAY)),
    ]
    # an older one that comes late moves nothing back; a newer one counts
    await asking.take(event("e5", subject=subject(2), time=NOON - 30 * DAY))
    await asking.take(event("e6", subject=subject(1), time=NOON - 2 * DAY), history=True)
    answer = await asking.page(absence=silent())
    assert [(member.customer, member.last_time) for member in answer.members] == [
        (second, stamp(NOON - 5 * DAY)),
        (first, stamp(NOON - 2 * DAY)),
    ]
    assert await asking.all(absence=silent(after=NOON - 5 * DAY)) == [first]
    assert await asking.all(absence=silent(until=NOON - 5 * DAY)) == [second]
    first_page = await asking.page(absence=silent(), page_size=1)
    last_page = await asking.page(absence=silent(), page_size=1, page_token=first_page.next_page_token)
    assert (first_page.walked, last_page.walked) == (0, 1)  # from the longest to the shortest silence
    # by time, then customer
    assert await asking.all(absence=silent(), page_size=1) == [second, first]
    with_trait = [clause(trait("plan", "EXISTS"))]
    assert await asking.all(absence=silent(), clauses=with_trait) == []

    await asking.listen(request_id="l2")
    assert (await asking.page(absence=silent())).filling
    await asking.gathering.gather()
    async with asking.database.transaction() as transaction:
        assert await transaction.rows("SELECT * FROM last_time") == []
    await asking.listen("topup.received", request_id="l3")
    await asking.gathering.gather()
    assert await asking.all(absence=silent()) == [second, first]


async def test_many_last_times_are_gathered_in_pages_by_two_at_once(asking, monkeypatch):
    monkeypatch.setattr("services.profile.adapters.gathering._ROWS", 4)
    await asking.gathering.gather()
    for number in range(18):
        await asking.take(event(f"e{number}", subject=subject(number), time=NOON - 40 * DAY))
    await asking.listen("topup.received", request_id="l1")
    other = Gathering(asking.database, channel=GATHERING_CHANNEL)
    await asyncio.gather(asking.gathering.gather(), other.gather())

    async def filled():
        await asking.gathering.gather()
        return not (await asking.page(absence=silent())).filling

    await until(filled)
    assert len(await asking.all(absence=silent(), page_size=5)) == 18


async def test_a_worker_gathers_what_is_asked_for(profile_settings):
    async with running_profile(profile_settings(), worker=True) as running:
        asking = Asking(running, None)
        await asking.take(event("e1", subject=subject(1), time=NOON - 40 * DAY))
        await asking.listen("topup.received", request_id="l1")

        async def filled():
            return not (await asking.page(absence=silent())).filling

        await until(filled)
        assert len(await asking.all(absence=silent())) == 1


@pytest.mark.parametrize(
    ("request_of", "field"),
    [
        ({"clauses": [clause()]}, "clauses[0].any_of"),
        ({"clauses": [clause(trait("shoe_size", "EXISTS"))]}, "clauses[0].any_of[0].trait"),
        ({"clauses": [clause(trait("name", "EXISTS"))]}, "clauses[0].any_of[0].trait"),
        ({"clauses": [clause(trait("plan", "UNSPECIFIED", "x"))]}, "clauses[0].any_of[0].trait"),
        ({"clauses": [clause(trait("plan", "LESS"))]}, "clauses[0].any_of[0].trait.values"),
        ({"clauses": [clause(trait("plan", "EXISTS", "x"))]}, "clauses[0].any_of[0].trait.values"),
        ({"clauses": [clause(trait("plan", "STARTS_WITH", 3))]}, "clauses[0].any_of[0].trait.values"),
        ({"clauses": [clause(asked.AudienceTest())]}, "clauses[0].any_of[0].trait"),
        ({"clauses": [clause(asked.AudienceTest(agreed=0))]}, "clauses[0].any_of[0].agreed"),
        ({"absence": silent("no.such")}, "absence"),
        ({"absence": asked.AbsenceFilter(type="topup.received")}, "absence"),
        ({"page_token": "x"}, "page_token"),
        ({"page_size": -1}, "page_size"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_its_field(asking, request_of, field):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await asking.page(**request_of)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in str(refused.value.trailing_metadata())


def _money(amount):
    from decimal import Decimal

    from services.vocabulary.values import Money

    return Money(Decimal(amount), "EUR")


def asking_default():
    from pathlib import Path

    from services.vocabulary.catalogue import load_catalogue

    return load_catalogue(Path(__file__).parents[3] / "rules").default_zone

"""What the profile keeps for a time: events by their type, and what is known of those who went quiet."""

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.pruning import DormantActivity, EventsByType
from services.profile.domain.activity import MICROS_PER_DAY as DAY
from services.runtime.clock import EventClock
from services.runtime.prune import Pruner
from tests.fakes.keys import sealer
from tests.integration.profile.test_store import CATALOGUE, NOW, Profile, profile  # noqa: F401 - fixture


async def fill(kept: Profile, *events) -> None:
    async with kept.store.work() as work:
        await work.set_listened(frozenset(), frozenset({"topup.received"}))
    for event_id, kind, days_ago, data in events:
        taken = kept.event(event_id, "crm:1", NOW - days_ago * DAY, kind, **data)
        async with kept.store.work() as work:
            await kept.taker.take(work, [taken], taken.time_micros)


MONEY = {"amount": {"amount": "1", "currency": "EUR"}}
DATA = {"mb": 1.0}


async def activity(kept: Profile) -> dict[str, tuple[int, int]]:
    async with kept.store.work() as work:
        (customer,) = (await work.read_customers([1])).values()
    found = {name: customer.kept.open_activity(name) for name in customer.kept.event_types}
    return {name: (len(one.times), len(one.days)) for name, one in found.items() if one is not None}


async def test_events_of_a_type_go_when_its_own_period_is_over_and_no_day_is_seen_twice(profile):  # noqa: F811
    await fill(
        profile,
        ("old", "usage.data_used", 300, DATA),
        ("other", "topup.received", 300, MONEY),
        ("young", "usage.data_used", 10, DATA),
    )
    periods = {"usage.data_used": 90 * DAY}
    clock = EventClock(NOW)
    by_type = EventsByType(clock, lambda: periods)
    pruner = Pruner(profile.database, clock, [by_type], lambda: {by_type.name: by_type.shortest()})
    (seen,) = await pruner.preview()
    (gone,), more = await pruner.prune()
    assert (seen.rows["event"], gone.rows["event"], more) == (1, 1, False)
    assert await profile.rows("SELECT event_id FROM event ORDER BY 1") == [("other",), ("young",)]
    assert await profile.rows("SELECT reached_micros FROM pruned_until") == [(NOW - 90 * DAY,)]
    clock.advance_to(NOW + 100 * DAY)
    await pruner.prune()
    assert await profile.rows("SELECT event_id FROM event") == [("other",)]
    # one more type: what was passed over before is looked through again
    periods["topup.received"] = 90 * DAY
    await pruner.prune()
    assert await profile.rows("SELECT event_id FROM event") == []


async def test_what_a_dormant_customer_did_is_folded_and_goes_as_if_events_still_came(profile):  # noqa: F811
    await fill(
        profile,
        *((f"d{n}", "usage.data_used", 40 + n, DATA) for n in range(3)),
        ("t", "topup.received", 390, MONEY),
        ("b", "balance.changed", 5, {"balance": MONEY["amount"]}),
    )
    clock = EventClock(NOW)
    dormant = DormantActivity(clock, Types(CATALOGUE, sealer()))
    pruner = Pruner(profile.database, clock, [dormant], lambda: {dormant.name: dormant.shortest()})
    (seen,) = await pruner.preview()
    (gone,), _ = await pruner.prune()
    assert (seen.rows["customer"], gone.rows["customer"]) == (1, 1)
    assert await activity(profile) == {
        "usage.data_used": (0, 3),  # older than 35 days: by day
        "topup.received": (1, 0),
        "balance.changed": (1, 0),
    }
    clock.advance_to(NOW + 16 * DAY)  # the top-up is 406 days old, and 403 and two are kept
    await pruner.prune()
    assert "topup.received" not in await activity(profile)
    assert await profile.rows("SELECT count(*) FROM last_time") == [(0,)]
    # the balance's 22 days are no month: an event of its own will see to it
    assert (await pruner.prune())[0][0].rows.total() == 0
    # and whoever comes back begins anew
    clock.advance_to(NOW + 500 * DAY)
    await pruner.prune()
    assert await activity(profile) == {}
    await fill(profile, ("back", "usage.data_used", -500, DATA))
    assert await activity(profile) == {"usage.data_used": (1, 0)}

"""The demo's town: the same every time, and true to what it says of itself."""

from collections import Counter

import pytest

from services.cli.demo.town import build_town, life_of


def test_the_same_arguments_give_the_same_life():
    assert life_of(build_town(subscribers=60)) == life_of(build_town(subscribers=60))


def test_another_seed_gives_another_town():
    assert life_of(build_town(subscribers=60, seed=1)) != life_of(build_town(subscribers=60, seed=2))


def test_no_event_key_occurs_twice_and_time_never_goes_back():
    life = life_of(build_town(subscribers=200))
    assert len({(event["source"], event["id"]) for event in life}) == len(life)
    assert [event["time"] for event in life] == sorted(event["time"] for event in life)


def test_the_full_town_is_about_as_large_as_promised():
    town = build_town()
    assert len(town.subscribers) == 2000
    assert 45_000 <= len(life_of(town)) <= 60_000


def test_the_truth_is_what_the_events_say():
    town = build_town(subscribers=1000)
    exhausted = Counter(
        event["subject"] for event in life_of(town) if event["type"] == "usage.allowance_exhausted"
    )
    for subscriber in town.subscribers:
        times = exhausted[subscriber.msisdn]
        if subscriber.crm in town.habitual:
            assert times == town.months
        elif subscriber.crm in town.one_off:
            assert times == 1
        elif subscriber.crm not in town.withheld:
            assert times == 0


def test_nobody_who_objected_to_the_use_of_usage_data_is_expected_to_be_found():
    town = build_town(subscribers=2000)
    objected = {subscriber.crm for subscriber in town.subscribers if subscriber.objects_to_usage}
    assert town.withheld
    assert not objected & (town.habitual | town.one_off)


def test_who_runs_out_has_used_all_of_the_plan_and_nobody_else_half_of_it():
    town = build_town(subscribers=400)
    used: Counter[tuple[str, str]] = Counter()
    for event in life_of(town):
        if event["type"] == "usage.data_used":
            used[event["subject"], event["data"]["cycle"]] += event["data"]["mb"]
    for subscriber in town.subscribers:
        shares = [mb / subscriber.plan_data_mb for (who, _), mb in used.items() if who == subscriber.msisdn]
        if subscriber.habit == "habitual":
            assert min(shares) >= 1
        elif subscriber.habit == "modest":
            assert max(shares) < 0.5


@pytest.mark.parametrize("wrong", [{"subscribers": 0}, {"subscribers": 10_001}, {"months": 0}, {"months": 7}])
def test_a_town_that_cannot_be_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        build_town(**wrong)


def test_in_two_months_nobody_can_be_told_to_run_out_by_habit():
    town = build_town(subscribers=1000, months=2)
    assert not town.habitual
    assert {
        s.crm for s in town.subscribers if s.habit == "habitual" and not s.objects_to_usage
    } == town.one_off

"""Behaviours 23 to 25: idempotency.

23  test_23_the_same_request_id_gives_the_first_answer_again_also_when_it_was_an_error
    test_23_the_same_request_id_with_another_body_is_refused
    test_23_a_caller_is_not_promised_what_was_refused_before
24  test_24_an_event_taken_already_is_not_taken_again_whichever_replica_meets_it
    test_24_an_action_taken_already_is_not_taken_again_whichever_replica_meets_it
    test_24_an_action_taken_already_is_not_taken_again_for_another_customer
    test_24_a_keyed_journey_runs_once_per_key (names the tests that hold it)
25  test_25_a_crash_at_any_commit_between_taking_and_keeping_the_outcome_loses_and_repeats_nothing
    test_25_a_crash_anywhere_on_the_whole_road_is_accounted_for (names the tests that hold it)
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module

import pytest

from services.channel.app.upkeep import recover
from services.channel.domain.caps import Cap
from services.channel.domain.policies import Policies
from services.runtime.errors import RequestReusedError
from services.vocabulary.values import DAY
from services.vocabulary.words import Category, Channel
from tests.behaviours.asking import answer, reservation, servicer_of
from tests.behaviours.conftest import MakeReplicas
from tests.fakes.call import Call
from tests.fakes.channel import make_action, reachable
from tests.integration.channel.conftest import MakeRoad, Road
from tests.integration.profile.asking import event, ingest
from tests.integration.profile.conftest import running_profile
from tests.integration.profile.test_ingest import ACCEPTED, DUPLICATE

SALES = frozenset({Category.SALES})
ONE_A_DAY = Policies(caps=(Cap("day", 1, DAY, SALES, SALES),))


async def test_23_the_same_request_id_gives_the_first_answer_again_also_when_it_was_an_error(
    make_replicas: MakeReplicas,
) -> None:
    here, there = make_replicas(2, ONE_A_DAY)
    here.profile.reaches[1] = reachable(1, channels=(Channel.APP,))
    first = await answer(here, reservation("r1", 1))
    assert first.answers[0].passed  # type: ignore[union-attr]
    assert await here.take(make_action(9, 1, category=Category.SALES, channels=(Channel.APP,)))
    assert await answer(there, reservation("r1", 1)) == first  # though the cap has no room any more
    assert await here.slots() == 1

    refused = await answer(here, reservation("r2", 2))
    here.clock.now += 2 * DAY  # now it would pass
    assert await answer(there, reservation("r2", 2)) == refused

    wrong = reservation("r3", 3)
    wrong.actions[0].name = ""
    error = await answer(here, wrong)
    assert "name" in error  # type: ignore[operator]
    assert await answer(there, wrong) == error
    (kept,) = await here.rows("SELECT failed FROM request_key WHERE request_id = 'r3'")
    assert kept == (True,)


@pytest.mark.parametrize("first_was_wrong", [False, True])
async def test_23_the_same_request_id_with_another_body_is_refused(
    make_road: MakeRoad, *, first_was_wrong: bool
) -> None:
    road = make_road(ONE_A_DAY)
    road.profile.reaches[1] = reachable(1, channels=(Channel.APP,))
    first = reservation("r1", 1)
    if first_was_wrong:
        first.actions[0].name = ""
    await answer(road, first)
    with pytest.raises(RequestReusedError):
        await servicer_of(road).Reserve(reservation("r1", 2), Call())  # type: ignore[arg-type]
    assert await road.slots() == (0 if first_was_wrong else 1)


async def test_23_a_caller_is_not_promised_what_was_refused_before(make_road: MakeRoad) -> None:
    road = make_road(ONE_A_DAY)
    road.profile.reaches[1] = reachable(1, channels=(Channel.APP,))
    app = (Channel.APP,)
    both = [make_action(f"{number}", 1, category=Category.SALES, channels=app) for number in (1, 2)]
    await road.take(*both)
    found = await answer(road, reservation("r1", 1, 2))
    assert [one.passed for one in found.answers] == [True, False]  # type: ignore[union-attr]
    assert await road.slots() == 1


async def test_24_an_event_taken_already_is_not_taken_again_whichever_replica_meets_it(
    profile_settings,
) -> None:
    async with running_profile(profile_settings()) as here, running_profile(profile_settings()) as there:
        events = [event(f"e{number}") for number in range(20)]
        answers = await asyncio.gather(
            *(one.profile.IngestEvents(ingest(*events)) for one in (here, there, here, there))
        )
        statuses = [result.status for one in answers for result in one.results]
        assert statuses.count(ACCEPTED) == 20
        assert statuses.count(DUPLICATE) == 60


async def test_24_an_action_taken_already_is_not_taken_again_whichever_replica_meets_it(
    make_replicas: MakeReplicas,
) -> None:
    roads = make_replicas(4)
    actions = [make_action(number, number % 3 + 1) for number in range(12)]
    taken = await asyncio.gather(*(one.take(*actions) for one in roads))
    assert sum(not one.duplicate for batch in taken for one in batch) == 12
    for one in roads:
        while await one.sender.turn():
            pass
    assert sorted(one.message_id for one in roads[0].transport.sent) == sorted(
        one.message.message_id for one in taken[0]
    )


async def test_24_an_action_taken_already_is_not_taken_again_for_another_customer(
    make_road: MakeRoad,
) -> None:
    road = make_road()
    (first,) = await road.take(make_action(1, 1))
    taken = await road.take(make_action(1, 2), make_action(2, 2))
    assert [one.duplicate for one in taken] == [True, False]
    assert taken[0].message.message_id == first.message.message_id
    assert taken[0].message.customer == 1


NAMED = {
    24: {
        "tests.integration.decision.test_journeys": (
            "test_a_key_is_gone_through_once_and_each_key_by_itself",
            "test_repeats_of_all_kinds_do_each_step_once",
        ),
        "tests.system.test_journeys": ("test_each_step_reaches_the_phone_once_though_the_worker_is_killed",),
    },
    25: {
        "tests.system.test_crash_kills": ("test_parts_killed_at_random_lose_nothing_and_double_nothing",),
        "tests.integration.channel.test_sending": (
            "test_a_database_that_fails_after_the_hand_over_doubles_nothing",
            "test_what_a_dead_sender_left_is_taken_up_when_its_lease_has_ended",
        ),
    },
}
"""Tests elsewhere that hold a behaviour on the real parts, too long to be done twice."""


def held_elsewhere(number: int) -> bool:
    """Whether the tests named are there to be run."""
    return all(
        callable(getattr(import_module(module), name, None))
        for module, names in NAMED[number].items()
        for name in names
    )


def test_24_a_keyed_journey_runs_once_per_key() -> None:
    assert held_elsewhere(24)


def test_25_a_crash_anywhere_on_the_whole_road_is_accounted_for() -> None:
    assert held_elsewhere(25)


class KilledError(BaseException):
    """The process is gone: nothing catches it, nothing after it runs."""


class Mortal:
    """The store of a process that dies at its n-th commit, just before or just after it."""

    def __init__(self, road: Road, dies_at: int, *, after: bool) -> None:
        self._whole = road.store.transaction
        self._commits = itertools.count(1)
        self._dies_at = dies_at
        self._after = after
        self.died = False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator:
        if self.died:
            raise KilledError
        last = next(self._commits) == self._dies_at
        async with self._whole() as tx:
            yield tx
            if last and not self._after:
                self.died = True
                raise KilledError
        if last:
            self.died = True
            raise KilledError


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", [1, 2, 3])
async def test_25_a_crash_at_any_commit_between_taking_and_keeping_the_outcome_loses_and_repeats_nothing(
    road: Road, dies_at: int, *, after: bool
) -> None:
    """Three commits carry an action: taken, being handed over, handed over."""
    actions = [make_action(1, 1), make_action(2, 2, category=Category.SALES)]
    whole, mortal = road.store.transaction, Mortal(road, dies_at, after=after)
    road.store.transaction = mortal.transaction  # type: ignore[method-assign]
    with suppress(KilledError):
        await road.take(*actions)
        await road.sender.turn()
    assert mortal.died
    road.store.transaction = whole  # type: ignore[method-assign]

    # another process: the stream hands the batch over again, the lease of the dead sender ends
    await road.take(*actions)
    road.clock.wall += 60_000_000
    await recover(road.store, road.clock)
    while await road.sender.turn():
        road.clock.wall += 60_000_000
    service, sales = [[one for one in road.transport.sent if one.customer == customer] for customer in (1, 2)]
    states = [row[0] for row in await road.rows("SELECT state FROM message ORDER BY customer")]
    lost_sight = (dies_at, after) in {(2, True), (3, False)}
    handed_before = (dies_at, after) == (3, False)
    assert states == ["sent", "failed" if lost_sight else "sent"]
    assert len(service) == (2 if handed_before else 1)
    assert [one.again for one in service][-1] is lost_sight  # named as perhaps the second time
    assert len(sales) == (0 if lost_sight and not handed_before else 1)  # never twice
    assert await road.slots() == 2  # nobody knows: its slot stays taken

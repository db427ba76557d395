"""SimulateGates: a stream of imagined actions, its state, its bounds and its mistakes."""

import random
from collections.abc import AsyncIterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from rapport.channel.v1 import simulation_pb2
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import stream_pb2
from rapport.types.v1 import vocabulary_pb2 as words

from services.channel.adapters.policies.folder import PolicyFolder
from services.channel.adapters.profile import reach_from_wire
from services.channel.app import memory
from services.channel.app.memory import MemoryRates
from services.channel.app.simulation import SetClock as SimulatedClock
from services.channel.app.speech import Speech
from services.channel.domain.errors import PolicyError
from services.channel.domain.rate import Pace, Wish
from services.channel.entrypoints.simulation import MOST_STREAMS, SimulationServicer
from services.runtime.errors import InvalidArgumentError, OverloadedError, TooLargeError
from services.vocabulary import wire
from services.vocabulary.catalogue import Catalogue, load_catalogue
from services.vocabulary.values import DAY, HOUR, SECOND
from services.vocabulary.words import Category, Channel
from tests.fakes.channel import NOON, SaysName, SetClock, SetProfile, make_action

RULES = Path(__file__).parents[3] / "rules"
ONE_A_DAY = "caps:\n  day: {most: 1, within: 24h, limits: [sales], counts: [sales]}\n"
NO_HOURS = "quiet: {}\n"


@cache
def catalogue() -> Catalogue:
    return load_catalogue(RULES)


class Asked:
    """A servicer over the shipped policies, a profile that knows everybody, and no database."""

    def __init__(self) -> None:
        self.profile = SetProfile(SetClock())
        self.folder = PolicyFolder(RULES / "policies", "Europe/Paris", "FR")
        self.servicer = SimulationServicer(
            None,  # type: ignore[arg-type] - our own work leaves no reads in the log
            policies=self.folder.imagine,
            read_reach=reach_from_wire,
            speech=Speech(catalogue(), SaysName()),
            profile=self.profile,
            store=None,  # type: ignore[arg-type] - nothing here begins from what is stored
        )

    async def stream(self, *requests: simulation_pb2.SimulateGatesRequest):
        async def sent() -> AsyncIterator[simulation_pb2.SimulateGatesRequest]:
            for request in requests:
                yield request

        return [one async for one in self.servicer.SimulateGates(sent(), None)]  # type: ignore[arg-type]

    async def answers(self, *actions, **settings) -> list[simulation_pb2.SimulatedAnswer]:
        """Of one batch each."""
        _, *said = await self.stream(begin(**settings), *(batch(action) for action in actions))
        return [one.answers[0] for one in said]


@pytest.fixture
def asked() -> Asked:
    return Asked()


def begin(
    policies: Mapping[str, str] | None = None, *, ask_profile: bool = True
) -> simulation_pb2.SimulateGatesRequest:
    texts = {"caps.yaml": ONE_A_DAY, "quiet_hours.yaml": NO_HOURS, "law.yaml": "law: {}\n"}
    return simulation_pb2.SimulateGatesRequest(
        settings=simulation_pb2.SimulationSettings(
            ask_profile=ask_profile, policies=texts if policies is None else policies
        )
    )


def batch(*actions: simulation_pb2.SimulatedAction) -> simulation_pb2.SimulateGatesRequest:
    return simulation_pb2.SimulateGatesRequest(batch=simulation_pb2.SimulatedBatch(actions=actions))


def tried(
    number: int, time_micros: int = NOON, *, customer: int = 1, reach=None, category=Category.SALES
) -> simulation_pb2.SimulatedAction:
    action = make_action(number, customer, category=category)
    return simulation_pb2.SimulatedAction(
        action=stream_pb2.Action(
            action_id=action.action_id,
            customer=customer,
            kind=wire.ACTION_KINDS.to_wire(action.kind),
            name=action.name,
            category=wire.CATEGORIES.to_wire(category),
            channels=[stream_pb2.ChannelChoice(channel=wire.CHANNELS.to_wire(Channel.SMS))],
        ),
        try_time=wire.timestamp(time_micros),
        reach=reach,
    )


async def test_what_passes_counts_for_what_comes_later_on_the_same_stream_only(asked: Asked) -> None:
    for _ in range(2):
        first, second, again, next_day = await asked.answers(
            tried(1), tried(2, NOON + HOUR), tried(1, NOON + HOUR), tried(3, NOON + DAY)
        )
        assert (first.passed, first.channel) == (True, words.CHANNEL_SMS)
        assert (second.passed, second.reason) == (False, words.REFUSAL_REASON_CAPPED)
        assert second.detail == "cap day: 1 of at most 1 in 1d"
        assert wire.micros(second.next_time) == NOON + DAY
        assert (again.passed, again.reason) == (False, words.REFUSAL_REASON_DUPLICATE)
        assert next_day.passed


async def test_reaches_are_given_or_asked_for(asked: Asked) -> None:
    no = profile_pb2.ContactAnswer(
        customer=1,
        known=True,
        zone="UTC",
        channels=[
            profile_pb2.ChannelPermission(
                channel=words.CHANNEL_SMS, reason=words.REFUSAL_REASON_NO_CONSENT, address="+33600000001"
            )
        ],
    )
    (refused,) = await asked.answers(tried(1, reach=no))
    assert refused.reason == words.REFUSAL_REASON_NO_CONSENT
    assert asked.profile.asked == []
    (passed,) = await asked.answers(tried(1))
    assert passed.passed
    assert len(asked.profile.asked) == 1
    with pytest.raises(InvalidArgumentError, match="nobody says") as raised:
        await asked.stream(begin(ask_profile=False), batch(tried(1, reach=no), tried(2)))
    assert raised.value.field == "actions[1].reach"
    asked.profile.away = True
    (unknown,) = await asked.answers(tried(1))
    assert (unknown.waits, unknown.reason) == (True, words.REFUSAL_REASON_CONSENT_UNKNOWN)


async def test_policies_of_the_stream_or_those_in_force(asked: Asked) -> None:
    night = NOON + 11 * HOUR
    (allowed,) = await asked.answers(tried(1, night))
    assert allowed.passed
    (quiet,) = await asked.answers(tried(1, night), policies={})
    assert (quiet.waits, quiet.reason) == (True, words.REFUSAL_REASON_QUIET_HOURS)
    assert wire.micros(quiet.next_time) > night
    with pytest.raises(PolicyError, match=r"policies/caps\.yaml:1: 'cap' is unknown"):
        await asked.stream(begin({"caps.yaml": "cap: {}\n"}))
    with pytest.raises(PolicyError, match=r"retention\.yaml:1: is no policy"):
        await asked.stream(begin({"retention.yaml": ""}))
    assert asked.folder.current().caps  # nothing came into force


async def test_one_that_waits_may_come_again_when_its_time_has_come(asked: Asked) -> None:
    night = {
        "quiet_hours.yaml": "quiet: {daily: [21:00-08:00]}\n",
        "caps.yaml": ONE_A_DAY,
        "law.yaml": "law: {}",
    }
    late, early, again = await asked.answers(
        tried(1, NOON + 10 * HOUR), tried(1, NOON + 20 * HOUR), tried(1, NOON + 21 * HOUR), policies=night
    )
    assert late.waits
    assert early.passed
    assert again.reason == words.REFUSAL_REASON_DUPLICATE


async def test_mistakes_are_told_and_one_action_costs_the_others_nothing(asked: Asked) -> None:
    broken = tried(1)
    broken.action.name = ""
    timeless = tried(2)
    timeless.ClearField("try_time")
    _, said = await asked.stream(begin(), batch(broken, timeless, tried(3)))
    assert [(one.passed, one.error) for one in said.answers][2] == (True, "")
    assert "name" in said.answers[0].error
    assert "try_time" in said.answers[1].error
    for requests, told in (
        ([batch(tried(1))], "begins with its settings"),
        ([begin(), begin()], "said once"),
        ([begin(), batch()], "a batch of 0 actions"),
        ([begin(), batch(*[tried(1)] * 201)], "a batch of 201 actions"),
        ([begin(), batch(tried(1)), batch(tried(2, NOON - 1))], "before the action before it"),
    ):
        with pytest.raises(InvalidArgumentError, match=told):
            await asked.stream(*requests)


async def test_streams_and_what_each_remembers_are_bounded(asked: Asked, monkeypatch) -> None:
    open_streams = []
    for _ in range(MOST_STREAMS):
        stream = asked.servicer.SimulateGates(endless(), None)  # type: ignore[arg-type]
        await anext(stream)
        open_streams.append(stream)
    with pytest.raises(OverloadedError):
        await asked.stream(begin())
    for stream in open_streams:
        await stream.aclose()
    monkeypatch.setattr(memory, "MOST_REMEMBERED", 20)
    with pytest.raises(TooLargeError, match="too many for one stream"):
        await asked.answers(*(tried(number, customer=number) for number in range(1, 20)))
    # what has left every window is forgotten: many people may follow each other in time
    days = [tried(number, NOON + number * DAY) for number in range(9)]
    assert all(answer.passed for answer in await asked.answers(*days))


async def endless() -> AsyncIterator[simulation_pb2.SimulateGatesRequest]:
    while True:
        yield begin()


def test_rates_in_memory_never_let_more_through_than_their_pace() -> None:
    clock, drawn = SimulatedClock(), random.Random(5)
    clock.now = NOON
    rates, pace = MemoryRates(clock), Pace("campaign:x", 10, 5)
    granted = 0
    for _ in range(500):
        clock.now += drawn.randrange(0, SECOND // 4)
        wanted = drawn.randint(1, 4)
        grant = rates.take(Wish(pace, wanted))
        granted += grant.granted
        assert granted <= 5 + (clock.now - NOON) * 10 / SECOND + 1
        if grant.granted < wanted:
            assert grant.wait_micros > 0
            later = clock.now + grant.wait_micros
            assert rates.take(Wish(pace, 1)).granted == 0
            clock.now = later
            assert rates.take(Wish(pace, 1)).granted == 1
            rates.take(Wish(pace, -1))
    assert granted > 300

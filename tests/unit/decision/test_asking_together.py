"""Questions about several customers at the same time: one look, and to each what is its own."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from services.decision.app.ask import Ask
from services.decision.app.jobs import Answered, Evaluated
from services.decision.app.outcome_ports import Waiting
from services.decision.app.ports import FreshSnapshot
from services.decision.domain.arbitration import Candidate, Circumstances
from services.decision.domain.decide import Evaluation
from services.decision.domain.ledger import Account, Ledger
from services.vocabulary.words import ActionKind

NOW = 1_790_000_000_000_000


class World:
    """Database, clock, asker, standings and plans at once; customer 5 cannot be evaluated."""

    def __init__(self):
        self.looks = 0
        self.asked = []
        self.away = False

    @asynccontextmanager
    async def statements(self):
        self.looks += 1
        if self.away:
            raise ConnectionError
        yield self

    def now_micros(self):
        return NOW

    async def read(self, _transaction, customers, *_times, journeys):
        assert journeys
        return Ledger({one: Account(arms={"e": f"arm-{one}"}) for one in customers})

    async def waiting(self, _transaction, customers):
        candidate = Candidate("a", "s", 1, "r", 0, ActionKind.TASK, "call-back", None, 50)
        return [Waiting(one, f"plan-{one}", "d", NOW, "", candidate) for one in customers]

    async def ask(self, asked):
        self.asked.append(asked)
        customer = int(asked.event)
        if customer == 5:
            raise ValueError
        people = (customer, *([90] if customer == 9 else []))
        evaluation = Evaluation((), (), Circumstances(NOW), arms={"e": asked.arms["e"]})
        item = Evaluated(
            0, f"decision-{customer}", "e", "test", "t", NOW, 1, customer, people, "", 0, evaluation, b""
        )
        return Answered(item, {}, 3)


@pytest.fixture
def world():
    return World()


async def peek(world, *customers):
    asking = Ask(world, world, world, world, None, None, None, world, 86_400_000_000)
    snapshots = [
        FreshSnapshot(customer, (customer, *([90] if customer == 9 else [])), 1, b"", household=70)
        for customer in customers
    ]
    return await asyncio.gather(
        *(asking.peek(str(one.customer).encode(), one) for one in snapshots), return_exceptions=True
    )


async def test_each_is_decided_with_its_own_past_and_told_of_its_own_plans(world):
    answers = await peek(world, 1, 2, 9)
    assert [answer.decided.decision_id for answer in answers] == ["decision-1", "decision-2", "decision-9"]
    assert [asked.arms for asked in world.asked] == [{"e": "arm-1"}, {"e": "arm-2"}, {"e": "arm-9"}]
    assert [[plan.action_id for plan in answer.waiting] for answer in answers] == [
        ["plan-1"],
        ["plan-2"],
        ["plan-9", "plan-90"],
    ]
    assert world.looks == 1


async def test_what_binds_nobody_is_not_packed_to_be_written_down(world):
    await peek(world, 1)
    assert [asked.recorded for asked in world.asked] == [False]


async def test_one_that_cannot_be_decided_fails_alone(world):
    first, failed, last = await peek(world, 1, 5, 2)
    assert [one.decided.decision_id for one in (first, last)] == ["decision-1", "decision-2"]
    assert isinstance(failed, ValueError)


async def test_without_the_database_nobody_is_answered(world):
    world.away = True
    assert [type(one) for one in await peek(world, 1, 2)] == [ConnectionError] * 2
    assert world.asked == []

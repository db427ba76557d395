"""What the state machines share: channel services as several processes run them, in a loop of their own."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings

from services.channel.domain.policies import Policies
from services.runtime.database import Database
from tests.fakes.channel import SetClock, SetProfile, SetTransport
from tests.integration.channel.conftest import MIGRATIONS, Road

WRITERS = 3
_SUPPRESSED = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
settings.register_profile("soak", max_examples=500, stateful_step_count=40)
Result = TypeVar("Result")


def bounded(examples: int, steps: int) -> settings:
    """Few examples beside the other tests; many with the profile `soak` (`make soak CASE=machines`)."""
    asked = settings()
    chosen = settings.get_current_profile_name() == "soak"
    return settings(
        deadline=None,
        suppress_health_check=_SUPPRESSED,
        max_examples=asked.max_examples if chosen else examples,
        stateful_step_count=asked.stateful_step_count if chosen else steps,
    )


class Processes(ABC):
    """Several processes of a service on one database, and a loop that they share."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Does it, and waits."""
        return self._runner.run(work)

    def together(self, *works: Coroutine[Any, Any, Result]) -> list[Result]:
        """Does all of it at once."""

        async def gather() -> list[Result]:
            return list(await asyncio.gather(*works))

        return self.run(gather())

    def restart(self) -> None:
        """Every process ends and begins anew: nothing is kept but what the database holds."""
        self.run(self._close())
        self.run(self._open())

    def close(self) -> None:
        """Ends."""
        self.run(self._close())
        self._runner.close()

    @abstractmethod
    async def _open(self) -> None:
        """Begin."""

    @abstractmethod
    async def _close(self) -> None:
        """End, keeping nothing."""


class Company(Processes):
    """Several channel services on one database, with one clock, one profile and one provider."""

    def __init__(self, make_database: Callable[..., str]) -> None:
        self._url = make_database(MIGRATIONS)
        self._databases: list[Database] = []
        self.customers = 0
        """Every example has customers of its own, so that the database need not be made anew."""
        self.policies = Policies()
        self.clock, self.transport = SetClock(), SetTransport()
        self.profile = SetProfile(self.clock)
        self.roads: list[Road] = []
        super().__init__()

    def rows(self, sql: str, params: tuple[object, ...] = ()) -> list[tuple]:
        """Straight from the database."""
        return self.run(self.roads[0].rows(sql, params))

    def new_customers(self, count: int) -> list[int]:
        """Customers whom nobody has seen."""
        self.customers += count
        return list(range(self.customers - count + 1, self.customers + 1))

    async def _open(self) -> None:
        self._databases = [Database(self._url, pool_size=4) for _ in range(WRITERS)]
        self.roads = [Road(database) for database in self._databases]
        for road in self.roads:
            road.clock, road.profile, road.transport = self.clock, self.profile, self.transport
            road.policies = self.policies
            road.admission = road.another_admission()
            road.sender = road.another_sender(self.transport)

    def in_force(self, policies: Policies) -> None:
        """Other policies, in every process."""
        self.policies = policies
        for road in self.roads:
            road.policies = policies

    async def _close(self) -> None:
        for database in self._databases:
            await database.close()

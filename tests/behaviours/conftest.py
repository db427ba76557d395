"""The behaviours are shown by the use cases over a real PostgreSQL, as several processes run them."""

from collections.abc import AsyncIterator, Callable

import pytest

from services.channel.domain.policies import Policies
from services.runtime.database import Database
from tests.behaviours import machines  # noqa: F401 - brings the profile `soak`
from tests.integration.channel.conftest import MIGRATIONS, Road, make_road, road  # noqa: F401 - fixtures
from tests.integration.channel.test_web_links import web  # noqa: F401 - fixture
from tests.integration.profile.conftest import profile, profile_settings  # noqa: F401 - fixtures

MakeReplicas = Callable[..., list[Road]]


@pytest.fixture
async def make_replicas(make_database: Callable[..., str]) -> AsyncIterator[MakeReplicas]:
    """Makes channel services that share one database, a business clock and a profile, and no connection."""
    opened: list[Database] = []

    def make(count: int, policies: Policies | None = None) -> list[Road]:
        url = make_database(MIGRATIONS)
        roads: list[Road] = []
        for _ in range(count):
            database = Database(url, pool_size=4)
            opened.append(database)
            one = Road(database, policies or Policies())
            if roads:
                one.clock, one.profile = roads[0].clock, roads[0].profile
                one.transport = roads[0].transport
                one.admission = one.another_admission()
                one.sender = one.another_sender(one.transport)
            roads.append(one)
        return roads

    yield make
    for database in opened:
        await database.close()

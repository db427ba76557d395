"""The profile service as it runs, in this process, on real PostgreSQL and NATS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from rapport.operations.v1 import operations_pb2_grpc, readers_pb2_grpc
from rapport.profile.v1 import profile_pb2_grpc, timeline_pb2_grpc

from services.profile.main import MIGRATIONS, build_server_role, build_worker_role
from services.runtime.process import Role
from services.runtime.settings import Settings
from tests.fakes.trust import trust

RULES = Path(__file__).parents[3] / "rules"


class Running:
    """A running server, with stubs."""

    def __init__(
        self, settings: Settings, channel: grpc.aio.Channel, address: str, token_address: str
    ) -> None:
        self.settings = settings
        self.token_address = token_address
        self.grpc_channel = channel
        self.address = address
        self.profile = profile_pb2_grpc.ProfileServiceStub(channel)
        self.operations = operations_pb2_grpc.OperationsServiceStub(channel)
        self.timeline = timeline_pb2_grpc.TimelineServiceStub(channel)
        self.readers = readers_pb2_grpc.ReadersServiceStub(channel)


StartProfile = Callable[..., object]


@asynccontextmanager
async def running_profile(settings: Settings, *, worker: bool = False) -> AsyncIterator[Running]:
    server = Role(settings)
    helper = Role(settings)
    try:
        await build_server_role(server)
        if worker:
            await build_worker_role(helper)
        token_address = server.ready["token_address"]
        async with trust().connect(token_address) as channel:
            yield Running(settings, channel, server.ready["address"], token_address)
    finally:
        for role in (helper, server):
            role.stopping.set()
            await role.end()


@pytest.fixture
def profile_settings(make_database, fresh_streams) -> Callable[..., Settings]:
    url = make_database(MIGRATIONS)

    def make(**changes) -> Settings:
        given = {
            "service": "profile",
            "database_url": url,
            "nats_url": fresh_streams,
            "clock": "events",
            "rules_folder": RULES,
            "partitions": 4,
        } | trust().settings("profile")
        return Settings(**(given | changes))

    return make


@pytest.fixture
async def profile(profile_settings) -> AsyncIterator[Running]:
    async with running_profile(profile_settings()) as running:
        yield running


async def until(condition, seconds: float = 10.0):
    """Wait on an async condition, with a bound."""
    async with asyncio.timeout(seconds):
        while True:
            found = await condition()
            if found:
                return found
            await asyncio.sleep(0.02)

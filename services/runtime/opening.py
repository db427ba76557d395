"""Connects a role to what it needs, in whatever order things start: waited for, named in health, asked on."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.database import Database
from services.runtime.deadline import MOST_SECONDS
from services.runtime.errors import UnavailableError
from services.runtime.health import CHECK_SECONDS
from services.runtime.process import Role
from services.runtime.schema_versions import missing_migrations
from services.runtime.streams import EVENTS, Bus, connect_bus, ensure_streams

if TYPE_CHECKING:
    import psycopg


async def open_database(role: Role, migrations: Path) -> Database:
    """The role's database, once it answers and has had all `migrations` (a folder)."""
    settings = role.settings
    # a server works for callers, none of whom waits longer
    statement_seconds = int(MOST_SECONDS) if settings.role == "server" else 0
    database = Database(settings.database_url, settings.database_pool, statement_seconds=statement_seconds)
    role.on_close(database.close)
    asking = _Asking(database)
    role.on_close(asking.close)
    await role.reach("database", asking.ask)
    await role.reach("migrations", lambda: _see_migrations(database, migrations))
    role.depend("database", asking.ask)
    return database


async def open_bus(role: Role, *, needed: bool) -> Bus:
    """The log between the services, once it answers and has all streams.

    `needed=False`: once built, the role goes on without it, because what it says waits in the outbox.
    """
    settings = role.settings

    async def connect() -> Bus:
        return await connect_bus(settings, give_up_seconds=0)

    async def ensure() -> None:
        await ensure_streams(
            bus.jetstream,
            partitions=settings.partitions,
            max_bytes=settings.stream_max_bytes,
            replicas=settings.stream_replicas,
        )

    async def ask() -> None:
        if not bus.nats.is_connected:
            raise UnavailableError("not connected to NATS")
        await bus.jetstream.stream_info(EVENTS)

    bus = await role.reach("nats", connect)
    role.on_close(bus.close)
    role.end_when(bus.closed, "the connection to NATS closed for good")
    await role.reach("nats", ensure)
    role.depend("nats", ask, needed=needed)
    return bus


def depend_on_service(role: Role, name: str, grpc_channel: grpc.aio.Channel, *, needed: bool = True) -> None:
    """Another service counts as a dependency; it is there when a server of it answers that it serves."""
    stub: Any = health_pb2_grpc.HealthStub(grpc_channel)

    async def ask() -> None:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=CHECK_SECONDS)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise UnavailableError("it answers that it does not serve")

    role.depend(name, ask, needed=needed)


async def _see_migrations(database: Database, folder: Path) -> None:
    """UnavailableError while the database lacks migrations; their names are in it."""
    async with database.transaction() as transaction:
        present: list[str] = []
        if await transaction.row("SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL"):
            rows = await transaction.rows("SELECT version_num FROM alembic_version")
            present = [row[0] for row in rows]
    missing = await asyncio.to_thread(missing_migrations, folder, present)
    if missing:
        raise UnavailableError(
            f"the database has not had the migrations {', '.join(missing)}",
            suggestion="run the service with `migrate`; this role goes on by itself then",
        )


class _Asking:
    """Asks the database on a connection of its own, so that a pool in use says nothing about it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._driver: psycopg.AsyncConnection[Any] | None = None

    async def ask(self) -> None:
        try:
            if self._driver is None or self._driver.closed:
                self._driver = await self._database.connect_driver()
            await self._driver.execute("SELECT 1")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()

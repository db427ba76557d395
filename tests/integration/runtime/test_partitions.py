"""The number of partitions changes when nothing of the old one waits, and not before."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from services.runtime.audit import AuditFilter, list_audit
from services.runtime.consumer import StreamConsumer
from services.runtime.database import Database
from services.runtime.errors import SettingError
from services.runtime.outbox import Outbox
from services.runtime.partitions import settle_partitions
from services.runtime.streams import ACTIONS, EVENTS, WORK_STREAMS, Bus, ensure_streams
from tests.integration.runtime.conftest import MIGRATIONS, PARTITIONS, until


async def settle(database: Database, bus: Bus, partitions: int) -> None:
    """As a role does at its start."""
    await ensure_streams(bus.jetstream, partitions=partitions, max_bytes=64 << 20)
    await settle_partitions(database, bus.jetstream, partitions)


async def consumers(bus: Bus, stream: str = EVENTS) -> list[str]:
    return sorted(info.name for info in await bus.jetstream.consumers_info(stream))


async def agreements(database: Database) -> list[tuple[object, object]]:
    async with database.transaction() as tx:
        entries = await list_audit(tx, AuditFilter(target="configuration/partitions"))
    return [(entry.before, entry.after) for entry in reversed(entries)]


class Quiet:
    """Takes nothing."""

    def count(self, payload: bytes) -> int:
        return len(payload)

    async def handle(self, deliveries: object) -> None:
        raise AssertionError(f"nothing was sent, but {deliveries} came")

    handle_singly = handle


@asynccontextmanager
async def consuming(bus: Bus, partitions: int):
    consumer = StreamConsumer(bus, EVENTS, Quiet(), partitions=partitions)
    running = asyncio.create_task(consumer.run())

    async def asks() -> bool:
        info = await bus.jetstream.consumer_info(EVENTS, "p0")
        return bool(info.num_waiting)

    try:
        await until(asks)
        yield
    finally:
        consumer.stop()
        await running


async def test_fewer_partitions_remove_the_consumers_beyond_and_more_make_the_missing(database, bus):
    await settle(database, bus, PARTITIONS)
    await settle(database, bus, 2)
    for stream in WORK_STREAMS:
        assert await consumers(bus, stream) == ["p0", "p1"]
    await settle(database, bus, 3)
    assert await consumers(bus) == ["p0", "p1", "p2"]
    await settle(database, bus, 3)
    numbers = [None, 4, 2, 3]
    states = [None if number is None else {"partitions": number} for number in numbers]
    assert await agreements(database) == list(pairwise(states))


@pytest.mark.parametrize("partitions", [2, 8])
async def test_while_a_message_waits_on_any_stream_another_number_is_refused(database, bus, partitions):
    await settle(database, bus, PARTITIONS)
    await bus.jetstream.publish("rapport.actions.0", b"x")
    with pytest.raises(SettingError, match="1 messages of 4 partitions wait on ACTIONS, and") as caught:
        await settle(database, bus, partitions)
    assert "start with 4 again" in caught.value.suggestion
    assert {f"p{number}" for number in range(PARTITIONS)} <= set(await consumers(bus))
    await settle(database, bus, PARTITIONS)  # the way back
    assert await consumers(bus) == ["p0", "p1", "p2", "p3"]
    await bus.jetstream.purge_stream(ACTIONS)
    await settle(database, bus, partitions)
    assert len(await consumers(bus)) == partitions


async def test_while_something_waits_in_the_outbox_another_number_is_refused(database, bus):
    await settle(database, bus, PARTITIONS)
    async with database.transaction() as tx:
        await Outbox(database, partitions=PARTITIONS).put(tx, EVENTS, [(1, b"x")])
    with pytest.raises(SettingError, match="1 messages of 4 partitions wait in the outbox, and 2 are set"):
        await settle(database, bus, 2)
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM outbox")
    await settle(database, bus, 2)


@pytest.mark.parametrize("partitions", [2, 8])
async def test_while_a_role_of_the_old_number_runs_another_is_refused(database, bus, partitions):
    await settle(database, bus, PARTITIONS)
    async with consuming(bus, PARTITIONS):
        with pytest.raises(SettingError, match="a role still takes messages of EVENTS by 4 partitions"):
            await settle(database, bus, partitions)
        await settle(database, bus, PARTITIONS)

    async def free() -> bool:
        try:
            await settle(database, bus, partitions)
        except SettingError:
            return False
        return True

    await until(free)


async def test_the_other_services_follow_though_the_first_is_at_work_again(
    database: Database, bus: Bus, make_database: Callable[..., str]
):
    other = Database(make_database(MIGRATIONS), pool_size=2)
    try:
        for one in (database, other):
            await settle(one, bus, PARTITIONS)
        await settle(database, bus, 2)
        async with consuming(bus, 2):
            await bus.jetstream.publish("rapport.actions.1", b"of the new number")
            await settle(other, bus, 2)
        assert (await agreements(other))[-1] == ({"partitions": 4}, {"partitions": 2})
    finally:
        await other.close()


async def test_consumers_lost_with_the_server_are_no_change(database, bus):
    await settle(database, bus, PARTITIONS)
    await bus.jetstream.publish("rapport.events.3", b"x")
    for name in ("p1", "p3"):
        await bus.jetstream.delete_consumer(EVENTS, name)
    await settle_partitions(database, bus.jetstream, PARTITIONS)
    await settle(database, bus, PARTITIONS)
    assert len(await consumers(bus)) == PARTITIONS


async def test_an_install_that_never_wrote_its_number_down_keeps_it(database, bus):
    await bus.jetstream.publish("rapport.events.3", b"x")
    with pytest.raises(SettingError, match="1 messages of 4 partitions wait on EVENTS"):
        await settle(database, bus, 2)
    await settle(database, bus, PARTITIONS)
    assert await agreements(database) == [(None, {"partitions": 4})]


async def test_roles_that_start_together_agree(database: Database, bus: Bus):
    starts: list[Awaitable[None]] = [settle(database, bus, 2) for _ in range(4)]
    await asyncio.gather(*starts)
    assert await consumers(bus) == ["p0", "p1"]
    assert len(await agreements(database)) == 1

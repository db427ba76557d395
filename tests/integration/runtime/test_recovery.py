"""A restored database: its ids are not taken for those before, and what it hands on again comes in steps."""

import pytest

from services.runtime.database import Database
from services.runtime.errors import ConflictError, InvalidArgumentError
from services.runtime.outbox import Outbox, Relay
from services.runtime.recovery import Gap, State, begin, end, mark_restored, read_recovery
from services.runtime.replay import Replay, Step, first_number
from services.runtime.streams import EVENTS, Bus
from tests.integration.runtime.conftest import PARTITIONS, until
from tests.integration.runtime.test_outbox import empty, published, put, relaying

NOON = 1_790_000_000_000_000
HOUR = 3_600_000_000
GAP = Gap(NOON - HOUR, NOON, NOON - 2 * HOUR, NOON)


class Steps:
    """Hands on as many messages at each step as it was told, and remembers where it was asked to begin."""

    def __init__(self, database: Database, sizes: list[int]) -> None:
        self.outbox = Outbox(database, partitions=PARTITIONS)
        self.sizes = sizes
        self.asked: list[str] = []

    async def step(self, transaction, gap, position) -> Step:
        assert gap == GAP
        self.asked.append(position)
        size = self.sizes[len(self.asked) - 1]
        await self.outbox.put(transaction, EVENTS, [(0, b"again")] * size)
        return Step(f"step {len(self.asked)}" if len(self.asked) < len(self.sizes) else "", {"events": size})


async def start(database: Database, gap: Gap = GAP):
    async with database.transaction() as transaction:
        return await begin(transaction, gap)


async def look(database: Database):
    async with database.transaction() as transaction:
        return await read_recovery(transaction)


async def test_the_same_outbox_id_after_a_restore_is_another_message(
    database: Database, bus: Bus, count
) -> None:
    await put(database, [(0, b"before")])
    async with relaying(Relay("test", database, bus.jetstream, partitions=PARTITIONS)):
        await until(empty(count))
    assert await mark_restored(database) == 2
    async with database.transaction() as transaction:
        await transaction.execute("ALTER TABLE outbox ALTER COLUMN id RESTART WITH 1")
    await put(database, [(0, b"after")])
    async with relaying(Relay("test", database, bus.jetstream, partitions=PARTITIONS)):
        await until(empty(count))
    assert [payload for _, payload in await published(bus)] == [b"before", b"after"]


async def test_steps_follow_each_other_until_all_is_handed_on(database: Database, count) -> None:
    steps = Steps(database, [3, 2, 0])
    replay = Replay(database, steps)
    assert not await replay.turn()
    await start(database)
    assert not (await look(database)).replayed
    while await replay.turn():
        pass
    assert steps.asked == ["", "step 1", "step 2"]
    assert (await look(database)).replayed
    assert await count("outbox") == 5


async def test_a_step_waits_while_much_is_to_be_published(database: Database) -> None:
    await put(database, [(0, b"x")] * 2_000)
    steps = Steps(database, [1])
    await start(database)
    assert await Replay(database, steps).turn()
    assert steps.asked == []


async def test_recovery_goes_from_restored_to_recovering_to_working(database: Database) -> None:
    assert (await look(database)).state is State.WORKING
    await mark_restored(database)
    found = await look(database)
    assert (found.state, found.epoch) == (State.RESTORED, 2)
    await start(database)
    found = await look(database)
    assert (found.state, found.gap, found.number) == (State.RECOVERING, GAP, 1)
    with pytest.raises(ConflictError, match="under way"):
        await start(database)
    async with database.transaction() as transaction:
        with pytest.raises(ConflictError, match="handed on again"):
            await end(transaction)
    await Replay(database, Steps(database, [0])).turn()
    async with database.transaction() as transaction:
        assert (await end(transaction)).state is State.WORKING
    # restored again in the middle of a recovery: that one is over, and its gap with it
    await start(database)
    await mark_restored(database)
    found = await look(database)
    assert (found.state, found.epoch, found.ended_wall_micros > 0) == (State.RESTORED, 3, True)
    await start(database)


@pytest.mark.parametrize(
    ("gap", "field"),
    [
        (Gap(NOON, NOON - 1, NOON - HOUR, NOON), "gap_end_time"),
        (Gap(NOON - HOUR, NOON + 1, NOON - HOUR, NOON), "gap_end_time"),
        (Gap(NOON - HOUR, NOON, NOON, NOON), "replay_start_time"),
    ],
)
async def test_a_gap_that_cannot_be_is_refused(database: Database, gap: Gap, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        await start(database, gap)
    assert refused.value.field == field
    assert (await look(database)).gap is None


async def test_the_first_number_of_a_time_is_found_by_halving(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.execute("CREATE TABLE kept (number bigint PRIMARY KEY, micros bigint NOT NULL)")
        await transaction.execute(
            "INSERT INTO kept SELECT n, n * 10 FROM generate_series(1, 1000) AS n WHERE n % 7 <> 0"
        )
        for since, number in (
            (0, 1),
            (5, 1),
            (10, 1),
            (3_330, 333),
            (3_500, 351),
            (9_990, 999),
            (10_001, 1001),
        ):
            found = await first_number(transaction, "kept", "micros", since)
            row = await transaction.row("SELECT min(number) FROM kept WHERE number >= %s", (found,))
            assert row == (number if number <= 1_000 else None,), since
        await transaction.execute("DELETE FROM kept")
        assert await first_number(transaction, "kept", "micros", 5) == 1

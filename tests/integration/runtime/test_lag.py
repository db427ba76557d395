"""Whether events that happen now wait: seen on the real streams, and in the outbox."""

import pytest

from services.runtime.clock import WallClock
from services.runtime.lag import Lag
from services.runtime.outbox import Outbox
from services.runtime.streams import EVENTS, OUTCOMES, subject
from tests.integration.runtime.conftest import PARTITIONS

SECOND = 1_000_000


class Ahead(WallClock):
    """A clock that can be put forward."""

    def __init__(self):
        self.seconds = 0.0

    def wall_micros(self):
        return super().wall_micros() + int(self.seconds * SECOND)

    def monotonic(self):
        return super().monotonic() + self.seconds


@pytest.mark.parametrize("stream", [EVENTS, OUTCOMES])
async def test_an_old_message_is_a_lag_and_a_new_one_is_none(database, bus, stream):
    clock = Ahead()
    lag = Lag(database, bus, clock)
    assert not await lag.behind()
    await bus.jetstream.publish(subject(stream, 0), b"event")
    clock.seconds = 60
    assert await lag.behind()
    await bus.jetstream.purge_stream(stream)
    assert await lag.behind()  # it is not looked at every time
    clock.seconds = 61
    assert not await lag.behind()


async def test_a_full_outbox_is_a_lag(database, bus):
    clock = Ahead()
    lag = Lag(database, bus, clock)
    async with database.transaction() as transaction:
        await Outbox(database, partitions=PARTITIONS).put(transaction, EVENTS, [(0, b"x")] * 501)
    assert await lag.behind()
    async with database.transaction() as transaction:
        await transaction.execute("DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)")
    clock.seconds = 1
    assert not await lag.behind()

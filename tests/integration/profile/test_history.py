"""The past as it was: what a replay tells is what went out when the events were taken."""

from collections.abc import AsyncIterator

import pytest

from services.profile.main import MIGRATIONS
from tests.integration.profile.histories import History, Life, differences


@pytest.fixture
async def history(make_database) -> AsyncIterator[History]:
    made = History(make_database(MIGRATIONS))
    await made.listen()
    yield made
    await made.database.close()


async def test_a_replay_tells_what_went_out(history):
    life = Life(history, seed=1, customers=12)
    await life.go_on(400)
    sent = await history.sent()
    assert len(sent) == 400
    found = differences(sent, await history.replayed())
    assert not found, f"{len(found)} differ:\n" + "\n".join(found[:3])

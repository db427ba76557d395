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


async def test_who_was_two_is_replayed_as_two_and_then_as_one(history):
    life = Life(history, seed=2, customers=10)
    await life.go_on(300, merges=0.1)
    sent = await history.sent()
    assert sum(1 for key in sent if key[0] == "rapport.profile") >= 8
    found = differences(sent, await history.replayed())
    assert not found, f"{len(found)} differ:\n" + "\n".join(found[:3])

"""Every part is killed at random moments while events are streamed: the account of the run must hold.

A short repetition; `make soak` goes on for as long as told, with 20,000 events in each run.
"""

import pytest

from tests.system.crash.disasters import PARTS, Disasters
from tests.system.crash.run import run

SEED = 3


@pytest.mark.timeout(400)
def test_parts_killed_at_random_lose_nothing_and_double_nothing(counted):
    disasters = Disasters(counted, SEED, pause=(1.0, 4.0))
    account = run(counted, events=4_000, seconds=35, seed=SEED, breaking=lambda: disasters)
    assert account.holds, account.table()
    assert len({blow.part for blow in disasters.blows} & set(PARTS)) >= 6, disasters.counted

"""Every part is killed at random moments while events are streamed: the account of the run must hold.

A short repetition; `make soak` goes on for as long as told, with 20,000 events in each run.
"""

import pytest

from tests.system.conftest import RULE_SETS
from tests.system.crash.disasters import PARTS, Disasters
from tests.system.crash.run import run

SEED = 3


@pytest.fixture(scope="module")
def rapport(make_stack):
    """A stack of its own, so that nothing counts but what the run itself does."""
    return make_stack(rule_sets=RULE_SETS)


@pytest.mark.timeout(400)
def test_parts_killed_at_random_lose_nothing_and_double_nothing(rapport):
    disasters = Disasters(rapport, SEED, pause=(1.0, 4.0))
    account = run(rapport, events=4_000, seconds=35, seed=SEED, breaking=lambda: disasters)
    assert account.holds, account.table()
    assert len({blow.part for blow in disasters.blows} & set(PARTS)) >= 6, disasters.counted

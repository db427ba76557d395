"""A crash of the engine in C costs nothing: not while events are decided, not while a rule set is tried."""

import asyncio
import os
import signal
import sys
from collections import Counter

import pytest

from services.vocabulary.words import ActionOutcome
from tests.integration.decision.conftest import LIVE, RULES, exhausted, snapshot
from tests.integration.decision.test_rule_sets import SMALL
from tests.integration.decision.test_worker import TREATED, complaint, outcomes


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "at-the-event"
    os.mkfifo(path)
    return path


@pytest.fixture
def crashing(make_worker, pipe):
    return make_worker([sys.executable, "-m", "tests.fakes.crashing_engine", str(RULES), str(pipe)])


async def test_a_worker_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(crashing, pipe):
    await crashing.install(*LIVE)
    names = [f"e-{number}" for number in range(12)]
    names[7] = "wait-once-1"
    pairs = [
        (exhausted(event_id=name, customer=TREATED + number), snapshot(TREATED + number))
        for number, name in enumerate(names)
    ]
    batch = asyncio.create_task(crashing.take(*pairs))
    await asyncio.to_thread(pipe.read_text)  # until it stands at the eighth event
    os.kill(crashing.process.pid, signal.SIGSEGV)
    await batch
    assert crashing.process.starts == 2
    assert Counter(one.event_id for one in await crashing.decided()) == Counter(names)
    actions = await crashing.actions()
    assert len({action.action_id for action in actions}) == len(actions) >= 10  # some are held out
    totals = await crashing.totals()
    assert (totals["decisions"], totals["events.seen"]) == (12, 12)
    assert "events.set_aside" not in totals


async def test_a_rule_set_that_crashes_its_trial_is_refused_and_the_last_good_one_stays_live(crashing):
    await crashing.go_live(SMALL)
    row, _ = await crashing.put(SMALL.replace("title: Small", "title: crashes-when-tried"))
    assert row.version == 2
    tried = await crashing.activate("small")
    assert tried.ready is None
    (problem,) = tried.problems
    assert problem.check == "trial-crash"
    assert "did not survive trying this rule set" in problem.message
    assert "what is live stays" in problem.suggestion
    assert (await crashing.rule_sets.live()).sources[0].version == 1
    await crashing.take((complaint(customer=5), snapshot(5)))
    (one,) = await crashing.decided()
    assert outcomes(one) == {"call": (ActionOutcome.DISPATCHED, None)}

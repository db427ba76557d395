"""The engine's process seen from its parent: answers, failures, deaths, deadlines."""

import os
import sys
import textwrap

import pytest

from services.decision.adapters.engine_process import EngineProcess
from services.decision.domain.errors import EngineDiedError, JobFailedError

CHILD = """
import os, signal, sys
from services.decision.adapters.engine_child import serve

def make(progress):
    loaded = []

    def work(items, killer=None, stuck=None):
        for item in items:
            progress.at(item)
            if item == killer:
                os.kill(os.getpid(), signal.SIGSEGV)
            if item == stuck:
                signal.pause()
        print("what a library prints does not disturb the answers")
        return loaded + list(items)

    def fail(item):
        progress.at(item)
        raise ValueError("no such thing")

    return {"load": loaded.append, "work": work, "fail": fail}

serve(int(sys.argv[1]), make)
"""


@pytest.fixture
async def process():
    command = [sys.executable, "-c", textwrap.dedent(CHILD)]
    process = EngineProcess(command, deadline=20)
    yield process
    await process.close()


async def test_it_answers_large_questions(process):
    items = list(range(200_000))
    assert await process.call("work", items) == items
    assert process.starts == 1


async def test_a_job_that_raises_says_so_and_the_process_lives_on(process):
    with pytest.raises(JobFailedError, match="ValueError: no such thing") as caught:
        await process.call("fail", 7)
    assert caught.value.item == 7
    assert await process.call("work", [1]) == [1]
    assert process.starts == 1


async def test_a_death_names_the_item_in_work_and_the_next_job_starts_it_again(process):
    await process.set_up("load", "rules")
    with pytest.raises(EngineDiedError, match="-11") as caught:
        await process.call("work", [3, 4, 5], 4)
    assert caught.value.item == 4
    assert await process.call("work", [1]) == ["rules", 1]
    assert process.starts == 2


async def test_one_that_overruns_its_deadline_is_ended():
    process = EngineProcess([sys.executable, "-c", textwrap.dedent(CHILD)], deadline=3)
    await process.call("work", [])
    with pytest.raises(EngineDiedError, match=r"overran its 3 s") as caught:
        await process.call("work", [8], None, 8)
    assert caught.value.item == 8
    assert await process.call("work", [1]) == [1]
    await process.close()


async def test_no_child_is_left_behind(process):
    await process.call("work", [1])
    pid = process.pid
    await process.close()
    assert process.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

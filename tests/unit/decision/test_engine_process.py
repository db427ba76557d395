"""The engine's process seen from its parent: answers, failures, deaths, deadlines."""

import os
import sys
import textwrap

import pytest

from services.decision.adapters.engine_process import EngineProcess
from services.decision.domain.errors import EngineDiedError, EngineNotReadyError, JobFailedError

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


async def test_a_set_up_that_does_not_hold_is_not_repeated(process):
    await process.set_up("load", "good")
    await process.set_up("load", "bad", holds=lambda answer: answer is not None)
    with pytest.raises(EngineDiedError):
        await process.call("work", [1], 1)
    assert await process.call("work", [2]) == ["good", 2]


async def test_a_child_that_cannot_be_set_up_gets_no_job(tmp_path):
    """Without its rules it would find nothing to do for any event."""
    broken = tmp_path / "broken"
    child = textwrap.dedent(CHILD).replace(
        '"load": loaded.append',
        f'"load": lambda text: os.close(os.open({str(broken)!r}, 0)) or loaded.append(text)',
    )
    process = EngineProcess([sys.executable, "-c", child], deadline=20)
    broken.touch()
    await process.set_up("load", "rules")
    broken.unlink()
    with pytest.raises(EngineDiedError):
        await process.call("work", [1], 1)
    for _ in range(2):
        with pytest.raises(EngineNotReadyError, match="FileNotFoundError"):
            await process.call("work", [1])
    broken.touch()
    assert await process.call("work", [1]) == ["rules", 1]
    await process.close()


async def test_a_child_that_dies_while_set_up_blames_no_item(tmp_path):
    marker = tmp_path / "deadly"
    child = textwrap.dedent(CHILD).replace(
        '"load": loaded.append',
        f'"load": lambda text: os.path.exists({str(marker)!r}) and os._exit(3) or loaded.append(text)',
    )
    process = EngineProcess([sys.executable, "-c", child], deadline=20)
    await process.set_up("load", "rules")
    marker.touch()
    with pytest.raises(EngineDiedError):
        await process.call("work", [4], 4)
    with pytest.raises(EngineNotReadyError, match="code 3") as caught:
        await process.call("work", [1])
    assert caught.value.item is None
    await process.close()

"""Who is to blame when the engine's process dies: the event in work, or nobody."""

import asyncio

import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters.evaluator import ProcessEvaluator
from services.decision.app.jobs import Answered, Batch, Loaded, SetAside
from services.decision.domain.errors import EngineDiedError, EngineNotReadyError, KillsEngineError
from services.decision.domain.problems import Problem, Severity


class FragileProcess:
    """The engine's process as its evaluator sees it; it dies on events whose id begins with "kill"."""

    def __init__(self):
        self.deaths = 0
        self.starts = True
        self.hangs = False
        self.kept = None

    async def set_up(self, _job, *arguments, holds):
        answer = arguments[1][0]
        if holds(answer):
            self.kept = arguments[0]
        return answer

    async def call(self, job, *arguments):
        if not self.starts:
            raise EngineNotReadyError("no memory")
        if job == "ask":
            self._die_on([stream_pb2.TakenEvent.FromString(arguments[0])])
            return Answered(None, {}, 1)
        events = [
            event for payload in arguments[0] for event in stream_pb2.EventBatch.FromString(payload).events
        ]
        self._die_on(events)
        if self.hangs and len(events) == 1:
            await asyncio.Event().wait()
        return Batch((len(events),), (), 7)

    def _die_on(self, events):
        for position, event in enumerate(events):
            if event.id.startswith("kill"):
                self.deaths += 1
                raise EngineDiedError("ended", position)


def message(*ids):
    events = [stream_pb2.TakenEvent(id=name, source="test", customer=1) for name in ids]
    return stream_pb2.EventBatch(events=events).SerializeToString()


def killers(batch):
    return [(item.item, item.event_id) for item in batch.items if isinstance(item, SetAside)]


@pytest.fixture
def process():
    return FragileProcess()


@pytest.fixture
def evaluator(process):
    return ProcessEvaluator(process)


async def test_the_second_kill_sets_an_event_aside_and_the_rest_is_evaluated(evaluator, process):
    batch = await evaluator.evaluate([message("a", "kill-1"), message("kill-2", "b")])
    assert killers(batch) == [(1, "kill-1"), (2, "kill-2")]
    assert batch.counts == (2, 2)
    assert batch.program == 7
    assert process.deaths == 4


async def test_a_process_that_does_not_start_is_no_events_fault(evaluator, process):
    process.starts = False
    for _ in range(3):
        with pytest.raises(EngineNotReadyError):
            await evaluator.evaluate([message("a")])
    process.starts = True
    assert killers(await evaluator.evaluate([message("a")])) == []


async def test_kills_count_across_attempts_that_were_given_up(evaluator, process):
    """A killer that takes longer than a batch may take would otherwise come back for ever."""
    process.hangs = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await evaluator.evaluate([message("a", "kill-1")])
    assert process.deaths == 1
    process.hangs = False
    assert killers(await evaluator.evaluate([message("kill-1")])) == [(0, "kill-1")]
    assert process.deaths == 2


async def test_one_that_was_set_aside_is_tried_again_when_sent_again_later(process):
    now = [0.0]
    evaluator = ProcessEvaluator(process, now=lambda: now[0])
    for _ in range(2):
        assert killers(await evaluator.evaluate([message("kill-1")])) == [(0, "kill-1")]
    assert process.deaths == 2
    now[0] += 3600
    assert killers(await evaluator.evaluate([message("kill-1")])) == [(0, "kill-1")]
    assert process.deaths == 4


async def test_a_question_that_kills_twice_is_not_asked_a_third_time(evaluator, process):
    def ask(name):
        question = stream_pb2.TakenEvent(id=name, source="test", customer=1).SerializeToString()
        return evaluator.ask(question, b"", {})

    for _ in range(2):
        with pytest.raises(EngineDiedError):
            await ask("kill-1")
    with pytest.raises(KillsEngineError, match="2 times"):
        await ask("kill-1")
    assert process.deaths == 2
    await ask("a")


async def test_a_program_with_errors_is_not_the_one_to_start_again_with(evaluator, process):
    problem = Problem(Severity.ERROR, 1, 1, "x", "there is no trait x", "", "no-such-trait")
    await evaluator.load(1, (Loaded(()),))
    await evaluator.load(2, (Loaded((problem,)),))
    assert process.kept == 1

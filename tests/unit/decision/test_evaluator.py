"""Who is to blame when the engine's process dies: the event in work, or nobody."""

import asyncio

import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters.evaluator import ProcessEvaluator
from services.decision.app.jobs import Answered, AskedNow, Batch, Loaded, SetAside
from services.decision.domain.errors import (
    EngineDiedError,
    EngineNotReadyError,
    JobFailedError,
    KillsEngineError,
)
from services.decision.domain.problems import Problem, Severity


class FragileProcess:
    """The engine's process as its evaluator sees it; it dies on events whose id begins with "kill"."""

    def __init__(self):
        self.deaths = 0
        self.starts = True
        self.hangs = False
        self.knows_who = True
        self.asked = []
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
            questions = [stream_pb2.TakenEvent.FromString(asked.event) for asked in arguments[0]]
            self.asked.append([question.id for question in questions])
            self._die_on(questions)
            return tuple(
                "TypeError: broken" if question.id == "broken" else Answered(None, {"id": question.id}, 1)
                for question in questions
            )
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
                raise EngineDiedError("ended", position if self.knows_who else None)


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
    for _ in range(2):
        with pytest.raises(EngineDiedError):
            await evaluator.ask(question("kill-1"))
    with pytest.raises(KillsEngineError, match="2 times"):
        await evaluator.ask(question("kill-1"))
    assert process.deaths == 2
    await evaluator.ask(question("a"))


def question(name):
    return AskedNow(stream_pb2.TakenEvent(id=name, source="test", customer=1).SerializeToString(), b"", {})


async def answers(evaluator, *names):
    """What each came to: the id that its answer is about, or its error."""
    found = await asyncio.gather(*(evaluator.ask(question(name)) for name in names), return_exceptions=True)
    return [type(one) if isinstance(one, Exception) else one.because["id"] for one in found]


async def test_questions_asked_at_once_are_one_job_and_each_gets_its_own_answer(evaluator, process):
    assert await answers(evaluator, "a", "b", "c") == ["a", "b", "c"]
    assert process.asked == [["a", "b", "c"]]


async def test_a_question_that_cannot_be_answered_fails_alone(evaluator):
    assert await answers(evaluator, "a", "broken", "c") == ["a", JobFailedError, "c"]


async def test_of_questions_asked_at_once_only_the_one_that_killed_the_process_fails(evaluator, process):
    assert await answers(evaluator, "a", "kill-1", "c") == ["a", EngineDiedError, "c"]
    assert process.asked == [["a", "kill-1", "c"], ["a", "c"]]
    assert await answers(evaluator, "kill-1", "a") == [EngineDiedError, "a"]
    assert await answers(evaluator, "kill-1", "a") == [KillsEngineError, "a"]


async def test_where_nobody_knows_which_question_killed_the_process_each_is_asked_alone(evaluator, process):
    process.knows_who = False
    assert await answers(evaluator, "a", "kill-1", "c") == ["a", EngineDiedError, "c"]
    assert process.asked == [["a", "kill-1", "c"], ["a"], ["kill-1"], ["c"]]


async def test_an_engine_that_is_not_ready_is_told_to_all_and_no_questions_fault(evaluator, process):
    process.starts = False
    for _ in range(3):
        assert await answers(evaluator, "a", "b") == [EngineNotReadyError] * 2
    process.starts = True
    assert await answers(evaluator, "a", "b") == ["a", "b"]


async def test_who_goes_away_takes_no_answer_from_the_others(evaluator, process):
    asking = [asyncio.ensure_future(evaluator.ask(question(name))) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    asking[1].cancel()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [found[0].because, found[2].because] == [{"id": "a"}, {"id": "c"}]
    assert isinstance(found[1], asyncio.CancelledError)
    assert process.deaths == 0


async def test_a_program_with_errors_is_not_the_one_to_start_again_with(evaluator, process):
    problem = Problem(Severity.ERROR, 1, 1, "x", "there is no trait x", "", "no-such-trait")
    await evaluator.load(1, (Loaded(()),))
    await evaluator.load(2, (Loaded((problem,)),))
    assert process.kept == 1

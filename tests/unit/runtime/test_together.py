"""Questions answered together: each caller gets its own answer, its own failure, and nobody else's."""

import asyncio
import contextvars

import pytest

from services.runtime import deadline
from services.runtime.together import Together, let_go

WHO = contextvars.ContextVar("who", default="")


class Slow:
    """Answers when it is told to; remembers what was asked together."""

    def __init__(self, **how):
        self.batches = []
        self.go = asyncio.Event()
        self.fails = None
        self.saw = []
        self.together = Together(self._answer, **{"most": 3, **how})

    async def _answer(self, questions):
        self.batches.append(list(questions))
        self.saw.append((WHO.get(), deadline.seconds_left()))
        await self.go.wait()
        if self.fails is not None:
            raise self.fails
        return [ValueError(question) if question == "bad" else question.upper() for question in questions]


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_comes_in_one_turn_goes_together_and_what_comes_meanwhile_goes_next():
    slow = Slow()
    first = [slow.together.ask(name) for name in ("a", "b")]
    await settle()
    rest = [slow.together.ask(name) for name in ("c", "d", "e", "f")]
    await settle()
    assert slow.batches == [["a", "b"]]
    slow.go.set()
    assert await asyncio.gather(*first, *rest) == ["A", "B", "C", "D", "E", "F"]
    assert slow.batches == [["a", "b"], ["c", "d", "e"], ["f"]]


async def test_only_so_many_batches_are_under_way_at_once():
    slow = Slow(most=1, at_once=2)
    asked = [slow.together.ask(name) for name in ("a", "b", "c")]
    await settle()
    assert slow.batches == [["a"], ["b"]]
    slow.go.set()
    assert await asyncio.gather(*asked) == ["A", "B", "C"]


async def test_an_error_in_place_of_an_answer_fails_that_question_alone():
    slow = Slow()
    slow.go.set()
    first, bad, last = (slow.together.ask(name) for name in ("a", "bad", "c"))
    assert await asyncio.gather(first, last) == ["A", "C"]
    with pytest.raises(ValueError, match="bad"):
        await bad


async def test_what_fails_as_a_whole_fails_for_all_and_the_next_are_asked_again():
    slow = Slow()
    slow.go.set()
    slow.fails = ConnectionError()
    found = await asyncio.gather(*(slow.together.ask(name) for name in ("a", "b")), return_exceptions=True)
    assert found == [slow.fails, slow.fails]
    slow.fails = None
    assert await slow.together.ask("c") == "C"


async def test_who_goes_away_takes_nothing_from_the_others():
    slow = Slow(most=2)
    asked = [slow.together.ask(name) for name in ("a", "b", "c", "d")]
    await settle()
    let_go(asked[0])  # under way
    let_go(asked[2])  # waits
    slow.go.set()
    assert await asyncio.gather(asked[1], asked[3]) == ["B", "D"]
    assert slow.batches == [["a", "b"], ["d"]]


async def test_a_failure_that_nobody_waits_for_is_let_go_in_silence():
    slow = Slow()
    slow.go.set()
    failed = slow.together.ask("bad")
    await settle()
    let_go(failed)
    assert not failed._log_traceback  # asyncio would complain when it is collected


async def test_a_batch_runs_for_who_asked_first_but_no_callers_deadline_holds_for_it():
    slow = Slow()
    slow.go.set()

    async def ask(name):
        WHO.set(name)
        deadline._ends.set(0.0)
        return await slow.together.ask(name)

    await asyncio.gather(ask("a"), ask("b"))
    assert slow.saw == [("a", None)]


async def test_too_few_answers_are_no_answers():
    async def short(_questions):
        return ["only one"]

    together = Together(short, most=9)
    found = await asyncio.gather(together.ask("a"), together.ask("b"), return_exceptions=True)
    assert found[0] == "only one"
    assert isinstance(found[1], ValueError)


async def test_when_a_batch_is_ended_nobody_waits_for_ever():
    slow = Slow()
    asked = slow.together.ask("a")
    await settle()
    (batch,) = slow.together._batches
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked

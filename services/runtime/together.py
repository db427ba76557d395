"""Questions that come at about the same time, answered together: one round trip for several callers.

Nobody waits so that others can join: a question that finds nothing under way is answered at once, and those
that come meanwhile go together next. The more come, the more of them share a round trip.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from services.runtime.deadline import lift_deadline

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Together(Generic[Question, Answer]):
    """Asks in batches of at most `most`, so many of them `at_once`.

    `answer_all` gives an answer for each question, in order; an exception in its place fails that question
    alone. What it raises fails the whole batch. A caller that goes away takes nothing from the others: its
    question is left out, or its answer thrown away. No caller's deadline holds for a batch: what `answer_all`
    does must be bounded by itself.
    """

    def __init__(
        self,
        answer_all: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | Exception]]],
        *,
        most: int,
        at_once: int = 1,
    ) -> None:
        self._answer_all = answer_all
        self._most = most
        self._at_once = at_once
        self._waiting: deque[tuple[Question, asyncio.Future[Answer], contextvars.Context]] = deque()
        self._batches: set[asyncio.Task[None]] = set()
        self._beginning = False

    def ask(self, question: Question) -> asyncio.Future[Answer]:
        """The answer to come; await it, or `let_go` of it."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future, contextvars.copy_context()))
        self._begin()
        return future

    def _begin(self) -> None:
        """Begins one more batch if there may be one; it takes what waits once the loop comes to it."""
        if self._beginning or not self._waiting or len(self._batches) >= self._at_once:
            return
        self._beginning = True
        # in the context of who asked first, so that a trace goes on
        task = asyncio.get_running_loop().create_task(self._batch(), context=self._waiting[0][2])
        self._batches.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        if task.cancelled():
            self._beginning = False  # perhaps before it had begun
        self._begin()

    async def _batch(self) -> None:
        self._beginning = False
        questions, futures = self._taken()
        self._begin()
        if not questions:
            return
        lift_deadline()
        try:
            for future, answer in zip(futures, await self._answer_all(questions), strict=True):
                _tell(future, answer)
        except Exception as error:  # noqa: BLE001  told to all who asked
            for future in futures:
                _tell(future, error)
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def _taken(self) -> tuple[list[Question], list[asyncio.Future[Answer]]]:
        questions: list[Question] = []
        futures: list[asyncio.Future[Answer]] = []
        while self._waiting and len(questions) < self._most:
            question, future, _ = self._waiting.popleft()
            if not future.done():
                questions.append(question)
                futures.append(future)
        return questions, futures


def let_go(future: asyncio.Future[Answer]) -> None:
    """Whoever asked does not wait for the answer any more, if it has not come yet."""
    if not future.cancel() and not future.cancelled():
        future.exception()  # looked at, so that asyncio does not complain that nobody did


def _tell(future: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)

"""Evaluates events in the engine's process and finds the one that kills it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from rapport.types.v1 import stream_pb2

from services.decision.adapters.workbench import set_aside, set_due_aside
from services.decision.app.jobs import Batch, Item
from services.decision.domain.errors import (
    EngineDiedError,
    EngineNotReadyError,
    JobFailedError,
    KillsEngineError,
)
from services.runtime.together import Together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.decision.adapters.engine_process import EngineProcess
    from services.decision.app.jobs import (
        Answered,
        AskedNow,
        DueQuestion,
        Loaded,
        ProgramThen,
        Replayed,
        Source,
    )
    from services.decision.app.ports import PastEvent, Recorded
    from services.decision.domain.absent import Absence, Asking
    from services.decision.domain.care import Afterwards

_KILLS = 2
_MOST_TOGETHER = 16
"""Questions in one job: enough to share its cost, few enough that nobody waits long for the others."""
_REMEMBERED = 10_000
_REMEMBERED_SECONDS = 600.0
"""Longer than a message full of killers takes; after it, one that was sent again gets its chance."""


class Strikes:
    """How often each item was in work when the process died, since it last came through; bounded.

    It outlives a call: a batch that took too long is given up and tried again, and must not start from none.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kills: OrderedDict[tuple[Any, ...], tuple[int, float]] = OrderedDict()

    def add(self, item: tuple[Any, ...]) -> None:
        """It killed the process."""
        self._kills[item] = (self._count(item) + 1, self._now())
        self._kills.move_to_end(item)
        while len(self._kills) > _REMEMBERED:
            self._kills.popitem(last=False)

    def any(self) -> bool:
        """Whether anything killed the process lately."""
        return bool(self._kills)

    def clear(self, item: tuple[Any, ...]) -> None:
        """It came through."""
        self._kills.pop(item, None)

    def out(self, item: tuple[Any, ...]) -> int:
        """How often it killed the process, if that is too often; else 0."""
        kills = self._count(item)
        return kills if kills >= _KILLS else 0

    def _count(self, item: tuple[Any, ...]) -> int:
        kills, last = self._kills.get(item, (0, 0.0))
        return kills if self._now() - last < _REMEMBERED_SECONDS else 0


class ProcessEvaluator:
    """The evaluator of a worker or server: a batch at once, and singly once the process died in it.

    An event that was in work when the process died twice is set aside. When the process cannot even be
    started or set up, EngineNotReadyError says so and no event is to blame.
    """

    def __init__(self, process: EngineProcess, now: Callable[[], float] = monotonic) -> None:
        self._process = process
        self._strikes = Strikes(now)
        self._together = Together(self._ask_all, most=_MOST_TOGETHER)

    async def load(self, version: int, sources: Sequence[Source]) -> Loaded:
        """Makes a version of the program the live one, now and after each restart; not one with errors."""
        loaded: Loaded = await self._process.set_up("load", version, tuple(sources), holds=_compiled)
        return loaded

    async def evaluate(
        self, payloads: Sequence[bytes], stored_arms: Mapping[int, Mapping[str, str]] | None = None
    ) -> Batch:
        """Evaluates messages of EVENTS; positions count over all of them."""
        if self._strikes.any() and self._any_out(payloads):
            return await self._singly(payloads, stored_arms, None)
        try:
            batch: Batch = await self._process.call("evaluate", tuple(payloads), stored_arms)
        except EngineNotReadyError:
            raise
        except EngineDiedError as died:
            return await self._singly(payloads, stored_arms, died.item)
        return batch

    async def evaluate_due(
        self, questions: Sequence[DueQuestion], stored_arms: Mapping[int, Mapping[str, str]] | None = None
    ) -> tuple[Item, ...]:
        """Evaluates planned actions that fell due, in order."""
        try:
            items: tuple[Item, ...] = await self._process.call("evaluate_due", tuple(questions), stored_arms)
        except EngineNotReadyError:
            raise
        except EngineDiedError as died:
            if died.item is not None:
                self._strikes.add(_due_key(questions[died.item]))
            singly: list[Item] = []
            for question in questions:
                found, reason = await self._alone(
                    _due_key(question), "evaluate_due", (question,), stored_arms
                )
                aside = set_due_aside(question.fell_due, reason)
                singly.extend([replace(aside, killed_engine=True)] if found is None else found)
            return tuple(singly)
        return items

    async def ask(self, asked: AskedNow) -> Answered:
        """The live rules' answer to an event that happens now.

        EngineDiedError: it killed the process, or the process died by itself; KillsEngineError: it did so
        before, and is not tried again.
        """
        if self._strikes.any():
            key = _event_key(stream_pb2.TakenEvent.FromString(asked.event))
            if kills := self._strikes.out(key):
                raise KillsEngineError(f"this question killed the engine's process {kills} times")
        return await self._together.ask(asked)

    async def _ask_all(self, asked: Sequence[AskedNow]) -> Sequence[Answered | Exception]:
        """Several questions in one job; when the process dies in one of them, the others are asked again."""
        try:
            found: tuple[Answered | str, ...] = await self._process.call("ask", tuple(asked))
        except EngineNotReadyError:
            raise
        except EngineDiedError as died:
            if len(asked) == 1:
                self._strikes.add(_question_key(asked[0]))
                return [died]
            if died.item is None:  # it may have been any of them, or none
                return [answer for one in asked for answer in await self._ask_alone(one)]
            before, killer, after = asked[: died.item], asked[died.item], asked[died.item + 1 :]
            self._strikes.add(_question_key(killer))
            others = await self._ask_all([*before, *after])
            return [*others[: died.item], died, *others[died.item :]]
        if self._strikes.any():
            for one in asked:
                self._strikes.clear(_question_key(one))
        return [
            JobFailedError(answer, place) if isinstance(answer, str) else answer
            for place, answer in enumerate(found)
        ]

    async def _ask_alone(self, asked: AskedNow) -> Sequence[Answered | Exception]:
        try:
            return await self._ask_all([asked])
        except EngineNotReadyError as error:
            return [error]

    async def replay(
        self, then: ProgramThen, recorded: Recorded, action_id: str, afterwards: Afterwards
    ) -> Replayed:
        """A recorded decision, run again; ``action_id``: the one that is asked about, empty: all."""
        replayed: Replayed = await self._process.call("replay", then, recorded, action_id, afterwards)
        return replayed

    async def asking(self, then: ProgramThen, wanted: str) -> tuple[Asking, ...]:
        """The rules that ask for an action, and what calls for them."""
        found: tuple[Asking, ...] = await self._process.call("asking", then, wanted)
        return found

    async def absent(self, then: ProgramThen, wanted: str, event: PastEvent) -> tuple[Absence, ...]:
        """Why each of them did not ask for it, at that event."""
        found: tuple[Absence, ...] = await self._process.call(
            "absent", then, wanted, event.event, event.snapshot
        )
        return found

    async def _singly(
        self,
        payloads: Sequence[bytes],
        stored_arms: Mapping[int, Mapping[str, str]] | None,
        killer: int | None,
    ) -> Batch:
        counts: list[int] = []
        items: list[Item] = []
        position = 0
        program = 0
        batches = [stream_pb2.EventBatch.FromString(payload) for payload in payloads]
        if killer is not None:
            # noted at once: should the rest take too long, the next attempt begins with what this one learnt
            self._strikes.add(_event_key([event for batch in batches for event in batch.events][killer]))
        for batch in batches:
            counts.append(len(batch.events))
            for event in batch.events:
                alone = set_aside(position, event, batch, "")
                found, reason = await self._alone(
                    _event_key(event), "evaluate", (alone.payload,), stored_arms
                )
                if found is None:
                    items.append(replace(alone, reason=reason, killed_engine=True))
                else:
                    program = found.program
                    items.extend(replace(item, item=position) for item in found.items)
                position += 1
        return Batch(tuple(counts), tuple(items), program)

    def _any_out(self, payloads: Sequence[bytes]) -> bool:
        return any(
            self._strikes.out(_event_key(event))
            for payload in payloads
            for event in stream_pb2.EventBatch.FromString(payload).events
        )

    async def _alone(self, key: tuple[Any, ...], job: str, *arguments: Any) -> tuple[Any, str]:
        """Runs a job for one item until it has killed the process twice; then None and why."""
        why = ""
        while not (kills := self._strikes.out(key)):
            try:
                found = await self._process.call(job, *arguments)
            except EngineNotReadyError:
                raise
            except EngineDiedError as died:
                self._strikes.add(key)
                why = f": {died}"
            else:
                self._strikes.clear(key)
                return found, ""
        return None, f"killed the engine's process {kills} times{why}"


def _compiled(loaded: Loaded) -> bool:
    return not any(problem.severity == "error" for problem in loaded.problems)


def _event_key(event: stream_pb2.TakenEvent) -> tuple[Any, ...]:
    return event.source, event.id, event.customer


def _question_key(asked: AskedNow) -> tuple[Any, ...]:
    return _event_key(stream_pb2.TakenEvent.FromString(asked.event))


def _due_key(question: DueQuestion) -> tuple[Any, ...]:
    return (question.fell_due.action_id,)

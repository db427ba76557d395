"""Evaluates events in the engine's process and finds the one that kills it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rapport.types.v1 import stream_pb2

from services.decision.adapters.workbench import set_aside, set_due_aside
from services.decision.app.jobs import Batch, Item
from services.decision.domain.errors import EngineDiedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.adapters.engine_process import EngineProcess
    from services.decision.app.jobs import Answered, DueQuestion, Loaded, Replayed, Source
    from services.decision.domain.decide import Planned

_KILLS = 2


class ProcessEvaluator:
    """The evaluator of a worker or server: a batch at once, and singly once the process died in it.

    An event that was in work when the process died twice is set aside.
    """

    def __init__(self, process: EngineProcess) -> None:
        self._process = process

    async def load(self, version: int, sources: Sequence[Source]) -> Loaded:
        """Makes a version of the program the live one, now and after each restart."""
        loaded: Loaded = await self._process.set_up("load", version, tuple(sources))
        return loaded

    async def evaluate(
        self, payloads: Sequence[bytes], stored_arms: Mapping[int, Mapping[str, str]] | None = None
    ) -> Batch:
        """Evaluates messages of EVENTS; positions count over all of them."""
        try:
            batch: Batch = await self._process.call("evaluate", tuple(payloads), stored_arms)
        except EngineDiedError as died:
            return await self._singly(payloads, stored_arms, died.item)
        return batch

    async def evaluate_due(
        self, questions: Sequence[DueQuestion], stored_arms: Mapping[int, Mapping[str, str]] | None = None
    ) -> tuple[Item, ...]:
        """Evaluates planned actions that fell due, in order."""
        try:
            items: tuple[Item, ...] = await self._process.call("evaluate_due", tuple(questions), stored_arms)
        except EngineDiedError as died:
            singly: list[Item] = []
            for position, question in enumerate(questions):
                found, reason = await self._strike(
                    "evaluate_due", ((question,), stored_arms), int(position == died.item)
                )
                singly.extend([set_due_aside(question.fell_due, reason)] if found is None else found)
            return tuple(singly)
        return items

    async def ask(self, event: bytes, snapshot: bytes, arms: Mapping[str, str]) -> Answered:
        """The live rules' answer to an event that happens now."""
        answered: Answered = await self._process.call("ask", event, snapshot, dict(arms))
        return answered

    async def replay(
        self,
        version: int,
        sources: Sequence[Source],
        material: bytes,
        arms: Mapping[str, str],
        planned: Planned | None,
    ) -> Replayed:
        """A recorded decision's evaluation, run again."""
        replayed: Replayed = await self._process.call(
            "replay", version, tuple(sources), material, dict(arms), planned
        )
        return replayed

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
        for payload in payloads:
            batch = stream_pb2.EventBatch.FromString(payload)
            counts.append(len(batch.events))
            for event in batch.events:
                alone = set_aside(position, event, batch, "")
                found, reason = await self._strike(
                    "evaluate", ((alone.payload,), stored_arms), int(position == killer)
                )
                if found is None:
                    items.append(replace(alone, reason=reason))
                else:
                    program = found.program
                    items.extend(replace(item, item=position) for item in found.items)
                position += 1
        return Batch(tuple(counts), tuple(items), program)

    async def _strike(self, job: str, arguments: tuple[Any, ...], kills: int) -> tuple[Any, str]:
        """Runs a job for one item until it has killed the process twice; then None and why."""
        while True:
            try:
                return await self._process.call(job, *arguments), ""
            except EngineDiedError as died:
                kills += 1
                if kills >= _KILLS:
                    return None, f"killed the engine's process {kills} times: {died}"

"""Recorded decisions run again, all of them, on several processes: how many come out as recorded."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from services.decision.app.decisions import program_then
from services.decision.domain.errors import EngineDiedError, JobFailedError
from services.runtime.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from services.decision.app.jobs import ProgramThen, Verified
    from services.decision.app.ports import KeptCatalogues, RuleSets

MOST_ROWS = 400
"""Decisions in one job."""

_TOLD_SECONDS = 0.5
"""How often progress is told."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A recorded decision as it lies in the table."""

    number: int
    decision_id: str
    program: int
    catalogue: str
    material: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class Slice:
    """Which decisions: of these business times (0: any), up to a number."""

    since_micros: int = 0
    until_micros: int = 0
    last: int = 0


class Records(Protocol):
    """Recorded decisions, read through in order."""

    async def measure(self, since_micros: int, until_micros: int) -> tuple[Slice, int]:
        """What there is now, and how many; what is decided meanwhile is left out."""
        ...

    async def read(self, part: Slice, after: int, most: int) -> list[Kept]:
        """The next of them by number."""
        ...


class Verifier(Protocol):
    """One process that runs recorded decisions again."""

    async def verify(self, then: ProgramThen, rows: Sequence[tuple[bytes, bytes]]) -> Verified:
        """Raises EngineDiedError and JobFailedError."""
        ...

    async def close(self) -> None:
        """Ends the process."""
        ...


@dataclass(slots=True)
class Progress:
    """How far it is. ``differences``: since it was told last, ids with the first field that differs."""

    total: int
    equal: int = 0
    different: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    differences: list[tuple[str, str]] = field(default_factory=list)
    done: bool = False


class VerifyDecisions:
    """The use case; one at a time, so that it leaves cores to what is live."""

    def __init__(
        self,
        records: Records,
        rule_sets: RuleSets,
        catalogues: KeptCatalogues,
        make_verifier: Callable[[], Verifier],
        most_processes: int,
    ) -> None:
        self._records = records
        self._rule_sets = rule_sets
        self._catalogues = catalogues
        self._make_verifier = make_verifier
        self._most = most_processes
        self._one = asyncio.Lock()

    async def run(self, since_micros: int, until_micros: int, processes: int) -> AsyncGenerator[Progress]:
        """Tells the progress now and then, at last the result. Raises ConflictError while another runs."""
        if self._one.locked():
            raise ConflictError(
                "decisions are being verified already", suggestion="wait for it, or ask with narrower times"
            )
        async with self._one:
            part, total = await self._records.measure(since_micros, until_micros)
            progress = Progress(total)
            count = max(1, min(processes or 1, self._most))
            jobs: asyncio.Queue[list[Kept] | None] = asyncio.Queue(2 * count)
            tasks = [asyncio.create_task(self._read(part, jobs, count), name="verify-read")]
            tasks += [
                asyncio.create_task(self._work(jobs, progress), name=f"verify-{number}")
                for number in range(count)
            ]
            try:
                waiting = set(tasks)
                while waiting:
                    ended, waiting = await asyncio.wait(
                        waiting, timeout=_TOLD_SECONDS, return_when=asyncio.FIRST_EXCEPTION
                    )
                    for task in ended:
                        await task
                    if waiting:
                        yield progress
                        progress.differences.clear()
                progress.done = True
                yield progress
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, part: Slice, jobs: asyncio.Queue[list[Kept] | None], workers: int) -> None:
        """Puts rows into the queue, those of one program and catalogue together."""
        after = 0
        while page := await self._records.read(part, after, MOST_ROWS):
            after = page[-1].number
            page.sort(key=lambda one: (one.program, one.catalogue, one.number))
            for _, rows in groupby(page, key=lambda one: (one.program, one.catalogue)):
                await jobs.put(list(rows))
        for _ in range(workers):
            await jobs.put(None)

    async def _work(self, jobs: asyncio.Queue[list[Kept] | None], progress: Progress) -> None:
        verifier = self._make_verifier()
        then: ProgramThen | None = None
        named: tuple[int, str] | None = None
        try:
            while rows := await jobs.get():
                if then is None or named != (rows[0].program, rows[0].catalogue):
                    named = (rows[0].program, rows[0].catalogue)
                    then = await program_then(self._rule_sets, self._catalogues, *named)
                await _verify(verifier, then, rows, progress)
        finally:
            await verifier.close()


async def _verify(verifier: Verifier, then: ProgramThen, rows: Sequence[Kept], progress: Progress) -> None:
    """Runs them; where the process dies of them, each half by itself, down to the one that kills it."""
    try:
        found = await verifier.verify(then, [(row.material, row.record) for row in rows])
    except (EngineDiedError, JobFailedError):
        if len(rows) == 1:
            progress.failed["the engine's process could not run it"] += 1
            return
        middle = len(rows) // 2
        await _verify(verifier, then, rows[:middle], progress)
        await _verify(verifier, then, rows[middle:], progress)
        return
    progress.equal += found.equal
    progress.different += len(found.different)
    progress.failed.update(found.failed)
    progress.differences += [(rows[position].decision_id, name) for position, name in found.different]

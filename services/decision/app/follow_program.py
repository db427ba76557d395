"""Keeps a process at the newest live program, within two seconds and without a restart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from services.decision.domain.errors import EngineDiedError, EngineNotReadyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.decision.app.ports import Evaluator, LiveProgram, RuleSets
    from services.decision.domain.occasions import Called
    from services.runtime.database import Database

_log = structlog.get_logger(__name__)


class FollowProgram:
    """Loads what goes live into the engine's process; if it does not compile, the last good one stays."""

    def __init__(
        self,
        database: Database,
        rule_sets: RuleSets,
        evaluator: Evaluator,
        *,
        channel: str,
        sweep_seconds: float = 0.5,
    ) -> None:
        self._database = database
        self._rule_sets = rule_sets
        self._evaluator = evaluator
        self._channel = channel
        self._sweep_seconds = sweep_seconds
        self._tried = -1
        self._lock = asyncio.Lock()
        self._told: list[Callable[[], None]] = []
        self._mend: Callable[[LiveProgram, EngineDiedError | None], Awaitable[bool]] | None = None
        self.version = 0
        self.occasions: tuple[Called, ...] = ()
        """The rule sets of that version that something other than events of the customer calls for."""

    def on_load(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever another program was loaded."""
        if tell not in self._told:
            self._told.append(tell)

    def on_broken(self, mend: Callable[[LiveProgram, EngineDiedError | None], Awaitable[bool]]) -> None:
        """Call `mend` with what does not compile, or ended the engine; True: something else is live now."""
        self._mend = mend

    async def refresh(self) -> bool:
        """Loads the newest program unless it was tried already; whether it is the one that now runs."""
        async with self._lock:
            return await self._refresh()

    async def _refresh(self) -> bool:
        newest = await self._rule_sets.version()
        if newest == self._tried:
            return newest == self.version
        live = await self._rule_sets.live(newest or None)
        try:
            loaded = await self._evaluator.load(live.version, live.whole)
        except EngineNotReadyError:
            raise
        except EngineDiedError as died:
            if self._mend is None or not await self._mend(live, died):
                raise
            return await self._refresh()
        errors = [problem.sentence() for problem in loaded.problems if problem.severity == "error"]
        if errors:
            _log.error("program_not_loaded", version=newest, still_live=self.version, problems=errors[:5])
            if self._mend is not None and await self._mend(live, None):
                return await self._refresh()
        self._tried = newest
        if errors:
            return False
        self.version, self.occasions = newest, loaded.occasions
        for tell in self._told:
            tell()
        _log.info("program_loaded", version=newest, rule_sets=len(live.sources), canaries=len(live.canaries))
        return True

    async def run(self) -> None:
        """Follows until cancelled."""
        async for _ in self._database.listen(self._channel, sweep_seconds=self._sweep_seconds):
            await self.refresh()

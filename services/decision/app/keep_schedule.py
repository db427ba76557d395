"""Versions go live by themselves at the time they were scheduled for."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from services.decision.domain.release import Refused
from services.runtime.errors import NotFoundError, UnavailableError
from services.runtime.metrics import RELEASE_TROUBLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.decision.app.ports import RuleSetRow
    from services.decision.app.release import ReleaseVersions
    from services.decision.app.release_ports import Lives
    from services.runtime.clock import Clock
    from services.runtime.database import Database

_log = structlog.get_logger(__name__)


class KeepSchedule:
    """The loop that looks for versions whose time has come; several servers may run it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        lives: Lives,
        release: ReleaseVersions,
        refresh: Callable[[], Awaitable[object]],
        *,
        sweep_seconds: float = 1.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._lives = lives
        self._release = release
        self._refresh = refresh
        self._sweep_seconds = sweep_seconds

    async def look(self) -> int:
        """Has everything go live whose time has come; how many did."""
        done = 0
        for row in await self._lives.scheduled(self._clock.now_micros()):
            with suppress(NotFoundError):
                done += await self._activate(row)
        if done:
            await self._refresh()
        for kind, count in (await self._lives.trouble()).items():
            RELEASE_TROUBLE.labels(kind).set(count)
        return done

    async def _activate(self, row: RuleSetRow) -> bool:
        tried = await self._release.trial(row.name, row.version)
        if tried.ready is not None:
            comment = f"as scheduled; {tried.ready.step.comment}".removesuffix("; ")
            step = replace(tried.ready.step, comment=comment, actor=row.scheduler)
            async with self._database.transaction() as transaction:
                done = await self._release.activate_scheduled(transaction, replace(tried.ready, step=step))
            if done is None:
                return False
            if not isinstance(done, Refused):
                return True
            why = done.detail
        elif tried.refused is not None:
            why = tried.refused.detail
        else:
            why = "; ".join(problem.message for problem in tried.problems[:3])
        async with self._database.transaction() as transaction:
            if await self._release.give_up_schedule(transaction, row, why):
                _log.error("scheduled_activation_refused", rule_set=row.name, version=row.version)
        return False

    async def run(self) -> None:
        """Looks until cancelled; while the profile service or the database is away, it waits."""
        while True:
            with suppress(UnavailableError):
                await self.look()
            await asyncio.sleep(self._sweep_seconds)

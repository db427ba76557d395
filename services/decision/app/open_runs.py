"""Opens runs when the times of schedules come, and absences are looked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.decision.domain.occasions import Called, Looked, look
from services.decision.domain.triggers import Absence, Schedule
from services.runtime.totals import add_totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.follow_program import FollowProgram
    from services.decision.app.run_ports import Audiences, Runs
    from services.runtime.clock import Clock
    from services.runtime.database import Database, Transaction


class OpenRuns:
    """The loop that looks at times; several workers may run it.

    `default_zone` is the operator's. A zone in which somebody lives only now is known after `sweep_seconds`.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        runs: Runs,
        audiences: Audiences,
        follow: FollowProgram,
        default_zone: str,
        *,
        sweep_seconds: float = 30.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._runs = runs
        self._audiences = audiences
        self._follow = follow
        self._default_zone = default_zone
        self._sweep_seconds = sweep_seconds

    async def look(self) -> int | None:
        """Opens what is due; when to look next, None: nothing is on a schedule, or a newer program comes."""
        program, live = self._follow.version, self._follow.occasions
        timed = [called for called in live if isinstance(called.occasion, Schedule | Absence)]
        zones = await self._zones(timed)
        now = self._clock.now_micros()
        if not now:
            return 1  # business time is not known yet
        if not program:
            return None
        async with self._database.transaction() as transaction:
            if not await self._runs.lock_times(transaction, program):
                return None
            return await self._look(transaction, program, timed, zones, now)

    async def _look(
        self, transaction: Transaction, program: int, timed: Sequence[Called], zones: Sequence[str], now: int
    ) -> int | None:
        before = await self._runs.times(transaction)
        activated = await self._runs.activated(transaction, [called.rule_set for called in timed])
        after: dict[tuple[str, str], tuple[Looked, int]] = {}
        counts = {"runs.opened": 0, "runs.missed": 0}
        for called in timed:
            known = [looked for (name, _), looked in before.items() if name == called.timetable]
            # a zone that is new counts from when the others were looked at
            first = max(
                (looked.until_micros for looked in known), default=activated.get(called.timetable, now)
            )
            for zone in self._zones_of(called, zones):
                looking = look(
                    called, zone, before.get((called.timetable, zone), Looked(min(first, now))), now
                )
                counts["runs.opened"] += await self._runs.open(transaction, called, looking.openings)
                counts["runs.missed"] += looking.missed
                after[called.timetable, zone] = looking.looked, looking.next_micros
        await self._runs.looked(transaction, program, after)
        await add_totals(transaction, counts)
        return min((following for _, following in after.values()), default=None)

    async def _zones(self, timed: Sequence[Called]) -> Sequence[str]:
        if any(isinstance(each.occasion, Schedule) and not each.occasion.zone for each in timed):
            return await self._audiences.zones()
        return ()

    def _zones_of(self, called: Called, zones: Sequence[str]) -> Sequence[str]:
        if isinstance(called.occasion, Schedule):
            return [called.occasion.zone] if called.occasion.zone else zones
        return [self._default_zone]

    async def run(self) -> None:
        """Looks until cancelled: when the next time comes, when the program changes, and now and then."""
        wake = asyncio.Event()
        self._follow.on_load(wake.set)
        loop = asyncio.get_running_loop()
        while True:
            wake.clear()
            following = await self.look()
            sweep = loop.call_later(self._sweep_seconds, wake.set)
            try:
                if following is None:
                    await wake.wait()
                else:
                    await self._clock.wait_until(following, wake)
            finally:
                sweep.cancel()

"""Asks the audiences of open runs, page by page: everyone in it is called once, and decided about afresh."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from services.decision.app.run_ports import AudienceRun, Call, Page
from services.decision.domain.audience import Superset, superset_of
from services.decision.domain.run_pace import marked
from services.decision.domain.triggers import Schedule, ThingEvent, unpack_happening
from services.runtime.metrics import CALLED
from services.runtime.totals import add_totals
from services.vocabulary.values import SECOND, FieldError, format_time

if TYPE_CHECKING:
    from services.decision.app.follow_program import FollowProgram
    from services.decision.app.run_ports import Audiences, CallHandOver, Lag, Rooms, RunsTaken
    from services.decision.domain.occasions import Called
    from services.decision.domain.run_room import Room
    from services.runtime.clock import Clock
    from services.runtime.database import Database
    from services.vocabulary.catalogue import Catalogue

MOST = 2_000
"""Customers of one page, and so of one transaction."""
LOOK_AGAIN_MICROS = 2 * SECOND
"""After this time, a run that waits looks for room again."""
_PAUSE_SECONDS = 0.25
_log = structlog.get_logger(__name__)


class AskAudiences:
    """The loop that works on open runs; several workers may run it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        runs: RunsTaken,
        audiences: Audiences,
        hand_over: CallHandOver,
        follow: FollowProgram,
        lag: Lag,
        rooms: Rooms,
        catalogue: Catalogue,
        *,
        channel: str,
        most: int = MOST,
        sweep_seconds: float = 2.0,
    ) -> None:
        self._database = database
        self._clock = clock
        self._runs = runs
        self._audiences = audiences
        self._hand_over = hand_over
        self._follow = follow
        self._lag = lag
        self._rooms = rooms
        self._catalogue = catalogue
        self._channel = channel
        self._most = most
        self._sweep_seconds = sweep_seconds

    async def step(self) -> bool:
        """One page of one run; False: none is due, or another worker has it."""
        run = await self._runs.claim(self._clock.now_micros())
        if run is None:
            return False
        called = self._called(run)
        if called is None:
            await self._end(run, "stopped")
            return True
        now = self._clock.now_micros()
        if now - (run.waits_micros or run.next_micros) > called.late_micros:
            if run.kind != "absence":
                await self._end(run, "missed")
                return True
            # no later run finds these customers: what is silence still is told now
            run = replace(run, next_micros=now)
        room = await self._rooms.room(called, now)
        if room.waits is not None:
            await self._wait(run, room, now)
            return True
        if run.waits:
            # its pace goes on from here: what it did not ask meanwhile it does not make good at once
            run = replace(run, next_micros=now, marks=(), waits="", waits_for="", waits_micros=0)
            _log.info("run_goes_on", rule_set=run.rule_set, run=run.name, zone=run.zone)
        wanted = self._wanted(run, called)
        page = Page()
        if wanted is not None:
            page = await self._audiences.page(run, called, wanted, self._size(room))
        if page.filling:
            await self._runs.postpone(run)
            return True
        await self._call(run, called, room, page)
        return True

    async def _wait(self, run: AudienceRun, room: Room, now: int) -> None:
        await self._runs.wait(run, room, now, now + LOOK_AGAIN_MICROS)
        if room.waits is not None and run.waits != room.waits:
            _log.warning("run_waits", rule_set=run.rule_set, run=run.name, zone=run.zone, why=room.detail)

    async def _call(self, run: AudienceRun, called: Called, room: Room, page: Page) -> None:
        calls = [_call_of(run, customer, last) for customer, last in page.members if called.calls(customer)]
        asked = run.asked + len(calls)
        after = replace(
            run,
            page_token=page.token,
            state="open" if page.token else "done",
            asked=asked,
            pages=run.pages + 1,
            next_micros=run.next_micros + _takes(room, len(calls)),
            walked=max(run.walked, page.walked) if page.token else 1.0,
            marks=marked(run.marks, self._clock.now_micros(), asked),
        )
        async with self._database.transaction() as transaction:
            if not await self._runs.move(transaction, run, after):
                return
            await self._hand_over.called(transaction, calls)
            await self._runs.note_calls(transaction, run.number, calls)
            done = int(after.state == "done")
            await add_totals(transaction, {"runs.asked": len(calls), "runs.done": done})
            if calls:
                transaction.after_commit(partial(CALLED.labels(run.kind).inc, len(calls)))
        if done:
            _log.info("run_done", rule_set=run.rule_set, run=run.name, zone=run.zone, asked=after.asked)

    async def _end(self, run: AudienceRun, state: str) -> None:
        """Ends a run before its end, unless this worker is not up to date."""
        async with self._database.transaction() as transaction:
            if not await self._runs.lock_times(transaction, self._follow.version):
                return
            if await self._runs.move(transaction, run, replace(run, state=state)):
                await add_totals(transaction, {f"runs.{state}": 1})
                _log.warning("run_ended_early", rule_set=run.rule_set, run=run.name, why=state)

    def _called(self, run: AudienceRun) -> Called | None:
        found = next(
            (
                each
                for each in self._follow.occasions
                if each.rule_set == run.rule_set and bool(each.only) == run.canary
            ),
            None,
        )
        return found if found is not None and found.kind == run.kind else None

    def _wanted(self, run: AudienceRun, called: Called) -> Superset | None:
        """Whom to ask the profile for; None: nobody can be concerned."""
        if not isinstance(called.occasion, Schedule | ThingEvent):
            return Superset()
        event_type, raw = unpack_happening(run.data)
        event = {}
        if event_type:
            try:
                event = self._catalogue.event_type(event_type).coerce(raw)
            except FieldError:
                return None  # no longer in the catalogue: no rule set can know it
        return superset_of(called.occasion.audience, event, run.next_micros, self._catalogue.currency)

    def _size(self, room: Room) -> int:
        """What may be asked in a second, or all that fits a page; never more than there is room for."""
        bounds = (room.most, None if room.per_second is None else int(room.per_second))
        return max(1, min([self._most, *(bound for bound in bounds if bound is not None)]))

    async def run(self) -> None:
        """Works until cancelled; while events that happen now wait, audiences do."""
        wake = asyncio.Event()
        self._follow.on_load(wake.set)
        listener = asyncio.create_task(self._listen(wake), name="runs-listen")
        try:
            while True:
                wake.clear()
                following = await self._runs.next_page()
                if following is None:
                    await wake.wait()
                elif following > self._clock.now_micros():
                    await self._clock.wait_until(following, wake)
                elif await self._lag.behind() or not await self.step():
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            listener.cancel()

    async def _listen(self, wake: asyncio.Event) -> None:
        async for _ in self._database.listen(self._channel, sweep_seconds=self._sweep_seconds):
            wake.set()


def _call_of(run: AudienceRun, customer: int, last_micros: int) -> Call:
    # a silence is named by its beginning: whoever finds it again finds the same
    name = format_time(last_micros) if last_micros else run.name
    return Call(
        customer=customer,
        rule_set=run.rule_set,
        run=name,
        time_micros=run.next_micros,
        since_micros=last_micros,
        data=run.data,
        hops=run.hops,
    )


def _takes(room: Room, calls: int) -> int:
    """How long the run's pace gives these calls."""
    return 0 if room.per_second is None else int(calls / room.per_second * SECOND)

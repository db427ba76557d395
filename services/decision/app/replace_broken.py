"""The last good version takes the place of one that is broken, by itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from services.decision.app.release_ports import NewProgram, Step
from services.decision.app.versions import source_of
from services.decision.domain.compiler import DUE
from services.decision.domain.release import State
from services.runtime.caller import SYSTEM
from services.vocabulary.ids import derived_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.app.jobs import SetAside, Source
    from services.decision.app.ports import Listening, LiveProgram, RuleSetRow
    from services.decision.app.release_ports import Compiling, Lives, Survives
    from services.runtime.clock import Clock
    from services.runtime.database import Database

KILLERS = 2
"""So many events have to end the engine, and not the one before, until a version counts as broken."""
_log = structlog.get_logger(__name__)


class ReplaceBroken:
    """Mends what runs: a version that does not compile any more, or that ends the engine's process.

    What no other version can stand in for goes out of use. Several processes may try; one of them does it.
    """

    def __init__(
        self,
        database: Database,
        lives: Lives,
        compiling: Compiling,
        listening: Listening,
        clock: Clock,
        catalogue_version: str,
    ) -> None:
        self._database = database
        self._lives = lives
        self._compiling = compiling
        self._listening = listening
        self._clock = clock
        self._catalogue_version = catalogue_version

    async def mend(self, live: LiveProgram) -> bool:
        """Replaces what of a program does not compile; False: all of it does, or none is to blame."""
        program = NewProgram(live.version, live.sources, live.canaries)
        why: dict[tuple[str, int], str] = {}
        waiting: dict[str, list[RuleSetRow]] = {}
        while True:
            compiled = await self._compiling.compile(program.whole)
            broken = [each for each in program.whole if f"{each.name}@{each.version}" in compiled.errors]
            if not compiled.errors:
                break
            if not broken:
                return False
            for each in broken:
                problem = compiled.errors[f"{each.name}@{each.version}"][0]
                why[each.name, each.version] = f"it no longer compiles: {problem.message}"
                program = await self._without(program, each, waiting)
        if not why:
            return False
        await self._run(live, program.called_by(compiled), why)
        return True

    async def take_back_last(self, live: LiveProgram, why: str) -> bool:
        """Runs again what ran before the last change; False: nothing did."""
        before = await self._lives.before(live.version)
        if not before.version:
            return False
        kept = {(each.name, each.version, each.share) for each in before.whole}
        program = NewProgram(live.version, live.sources, live.canaries)
        blamed: dict[tuple[str, int], str] = {}
        for each in live.whole:
            if (each.name, each.version, each.share) in kept:
                continue
            blamed[each.name, each.version] = why
            old = next((one for one in before.sources if one.name == each.name), None)
            if old is not None:
                row = await self._lives.find(old.name, old.version)
                old = old if row is not None and not row.taken_back else None
            program = _with(program, each, old)
        if not blamed:
            return False
        compiled = await self._compiling.compile(program.whole)
        if compiled.errors:
            return False
        await self._run(live, program.called_by(compiled), blamed)
        return True

    async def _without(
        self, program: NewProgram, broken: Source, waiting: dict[str, list[RuleSetRow]]
    ) -> NewProgram:
        """The program with the next good version instead; without any when there is none."""
        if broken.share:
            return _with(program, broken, None)
        if broken.name not in waiting:
            waiting[broken.name] = await self._lives.good_before(broken.name)
        rows = waiting[broken.name]
        return _with(program, broken, source_of(rows.pop(0)) if rows else None)

    async def _run(self, live: LiveProgram, program: NewProgram, why: Mapping[tuple[str, int], str]) -> None:
        listened = tuple(sorted({*program.listened, *live.listened}))
        absences = tuple(sorted({*program.absences, *live.absences}))
        key = derived_id("listened", "replaced", live.version, *listened, "absences", *absences)
        await self._listening.set_listened(listened, absences, key)
        now = self._clock.now_micros()
        async with self._database.transaction() as transaction:
            # in the order of names: those who change one rule set hold it before the program
            held = [
                await self._lives.hold(transaction, each.name, each.version)
                for each in sorted(live.whole, key=lambda each: (each.name, each.version))
                if (each.name, each.version) in why
            ]
            number = await self._lives.begin(transaction, program, self._catalogue_version, now)
            if not number:
                return  # somebody else has changed what runs
            for row in held:
                was_live = row.state == State.LIVE
                step = Step("replace", why[row.name, row.version], number, SYSTEM)
                gone = replace(row, state=State.RETIRED, canary_share=0, taken_back=was_live)
                await self._lives.move(transaction, row, gone, step, now)
                instead = next((each for each in program.sources if each.name == row.name), None)
                if was_live and instead is not None:
                    good = await self._lives.hold(transaction, instead.name, instead.version)
                    after = replace(good, state=State.LIVE, activated_micros=now or 1)
                    comment = f"in the place of version {row.version}"
                    await self._lives.move(
                        transaction, good, after, replace(step, comment=comment, instead=row), now
                    )
                _log.error(
                    "rule_set_replaced",
                    rule_set=row.name,
                    version=row.version,
                    by=instead.version if instead is not None else 0,
                    program=number,
                )


class BlameKillers:
    """Finds out whether the last change is why events end the engine, and has it taken back if so.

    An event that ended the engine twice is run by itself with what is live and with the program before, in
    processes of their own: one that survives only the latter speaks against the change.
    """

    def __init__(
        self,
        lives: Lives,
        replacing: ReplaceBroken,
        survives: Survives,
    ) -> None:
        self._lives = lives
        self._replacing = replacing
        self._survives = survives
        self._killers: asyncio.Queue[SetAside] = asyncio.Queue(100)
        self._guilty: tuple[int, set[str]] = (0, set())

    def note(self, item: SetAside) -> None:
        """An event that ended the engine; what comes while many wait is left out."""
        if not self._killers.full():
            self._killers.put_nowait(item)

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            await self.judge(await self._killers.get())

    async def judge(self, item: SetAside) -> bool:
        """Whether the last change was taken back for this event and those before it."""
        live = await self._lives.live()
        before = await self._lives.before(live.version)
        if not before.version or item.event_type == DUE:
            return False  # what a plan fell due for cannot be run by itself
        if await self._survives(live, item.payload) or not await self._survives(before, item.payload):
            return False
        program, events = self._guilty
        events = events if program == live.version else set()
        self._guilty = (live.version, events | {item.event_id})
        if len(self._guilty[1]) < KILLERS:
            return False
        why = f"events of {item.event_type} ended the rules engine, and did not with what ran before"
        return await self._replacing.take_back_last(live, why)


def _with(program: NewProgram, broken: Source, instead: Source | None) -> NewProgram:
    """The program with another version in the place of a live one, or without a canary."""
    if broken.share:
        canaries = [each for each in program.canaries if each.name != broken.name]
        return replace(program, canaries=tuple(canaries))
    sources = [each for each in program.sources if each.name != broken.name]
    sources += [] if instead is None else [instead]
    return replace(program, sources=tuple(sorted(sources, key=lambda each: each.name)))

"""Decides the past again with drafts: shares of the customers in processes, then all before the gates."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from services.decision.app.simulation_gates import MOST_JUDGED, Judge
from services.decision.app.simulation_jobs import DRAFT, LIVE, CustomerPast, Prepared, Span, Walked, World
from services.decision.app.simulation_ports import KeptSimulation, WhichPast
from services.decision.app.simulation_telling import Found, Wanted, result_text
from services.decision.domain.errors import EngineDiedError, EngineNotReadyError
from services.decision.domain.problems import Severity
from services.decision.domain.simulation_result import Outcome
from services.runtime.caller import current_caller
from services.runtime.errors import OverloadedError
from services.vocabulary.ids import derived_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from services.decision.app.ports import RuleSets
    from services.decision.app.simulation_jobs import Moment
    from services.decision.app.simulation_ports import (
        GatesOfSimulation,
        History,
        Known,
        Piece,
        Process,
        Simulations,
    )
    from services.decision.domain.problems import Problem
    from services.decision.domain.simulation_funnel import Would
    from services.decision.domain.simulation_result import Verdict
    from services.runtime.clock import Clock
    from services.vocabulary.catalogue import Catalogue

MOST_AT_ONCE = 2
"""Simulations in one process: each has a stream of gates open, and the channel has four."""
_BATCH_BYTES = 400_000
_BATCH_CUSTOMERS = 200
_MOST_MOMENTS = 1_000
_MOST_ROUNDS = 400
"""How often a customer's plans may ask what was known next."""
_RETRY_SECONDS = 30.0
_TELL_SECONDS = 0.5

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it has come; ``actions`` 0: the gates are not asked yet."""

    customers_done: int
    customers: int
    events: int
    actions_done: int = 0
    actions: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """The drafts do not compile."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What came out: the result as JSON, and each world's actions with their verdicts."""

    simulation_id: str
    json: str
    outcomes: Mapping[str, Outcome]


class SimulateRules:
    """The use case. Nothing is written but the result."""

    def __init__(
        self,
        rule_sets: RuleSets,
        history: History,
        known: Known,
        gates: GatesOfSimulation,
        simulations: Simulations,
        start: Callable[[], Process],
        clock: Clock,
        catalogue: Catalogue,
        most_processes: int,
    ) -> None:
        """``start`` makes a process of a simulation."""
        self._rule_sets = rule_sets
        self._history = history
        self._known = known
        self._gates = gates
        self._simulations = simulations
        self._start = start
        self._clock = clock
        self._catalogue = catalogue
        self._most_processes = most_processes
        self._under_way = 0

    async def run(self, wanted: Wanted) -> AsyncGenerator[Refused | Progress | Done, None]:
        """Progress, then what came out; whoever stops listening ends it.

        Raises OverloadedError when too many are under way.
        """
        if self._under_way >= MOST_AT_ONCE:
            raise OverloadedError(
                f"{MOST_AT_ONCE} simulations are under way in this process",
                suggestion="try again when one has ended",
                retry_seconds=_RETRY_SECONDS,
            )
        self._under_way += 1
        count = min(wanted.processes or self._most_processes, self._most_processes)
        processes = [self._start() for _ in range(count)]
        try:
            live = (await self._rule_sets.live()).whole
            names = (DRAFT,) if wanted.alone else (DRAFT, LIVE)
            setting_up = (process.set_up("prepare", wanted.drafts, live, names) for process in processes)
            prepared: Prepared = (await asyncio.gather(*setting_up))[0]
            if any(problem.severity is Severity.ERROR for problem in prepared.problems):
                yield Refused(prepared.problems)
                return
            found = Found({name: World() for name in names})
            async with aclosing(self._decide(wanted, prepared, processes, found)) as deciding:
                async for progress in deciding:
                    yield progress
            outcomes: dict[str, Outcome] = {}
            async with aclosing(self._judge(wanted, prepared, found, outcomes)) as judging:
                async for progress in judging:
                    yield progress
            yield await self._done(wanted, prepared, found, outcomes)
        finally:
            self._under_way -= 1
            await asyncio.shield(asyncio.gather(*(process.close() for process in processes)))

    async def _decide(
        self, wanted: Wanted, prepared: Prepared, processes: Sequence[Process], found: Found
    ) -> AsyncGenerator[Progress, None]:
        """All shares at once, with a word of how far they are now and then."""
        which = [
            WhichPast(
                wanted.since_micros,
                wanted.until_micros,
                prepared.types,
                prepared.bare,
                shard,
                len(processes),
                wanted.sample,
            )
            for shard in range(len(processes))
        ]
        span = Span(wanted.since_micros, wanted.until_micros, wanted.groups)
        shares = [
            asyncio.ensure_future(self._share(process, one, span, found))
            for process, one in zip(processes, which, strict=True)
        ]
        try:
            waiting = set(shares)
            while waiting:
                ended, waiting = await asyncio.wait(
                    waiting, timeout=_TELL_SECONDS, return_when=asyncio.FIRST_EXCEPTION
                )
                for one in ended:
                    one.result()
                yield self._progress(found)
        finally:
            for one in shares:
                one.cancel()
            await asyncio.gather(*shares, return_exceptions=True)

    def _progress(self, found: Found, done: int = 0, actions: int = 0) -> Progress:
        customers = sum(header.customers for header in found.headers)
        return Progress(found.done, customers, found.events, done, actions)

    async def _share(self, process: Process, which: WhichPast, span: Span, found: Found) -> None:
        """One share of the customers; the events of one may come in several pieces."""
        waiting: list[tuple[int, list[bytes]]] = []
        size = 0
        async for piece in self._history.replay(which):
            _heard(piece, found)
            for customer, payload in piece.pasts:
                if waiting and waiting[-1][0] == customer:
                    waiting[-1][1].append(payload)
                else:
                    if size >= _BATCH_BYTES or len(waiting) >= _BATCH_CUSTOMERS:
                        await self._walk(process, waiting, span, found)
                        waiting, size = [], 0
                    waiting.append((customer, [payload]))
                size += len(payload)
        if waiting:
            await self._walk(process, waiting, span, found)

    async def _walk(
        self, process: Process, waiting: Sequence[tuple[int, list[bytes]]], span: Span, found: Found
    ) -> None:
        """Some customers' pasts; where plans fall due that did not in truth, what was known is asked for."""
        known = await self._known.before([customer for customer, _ in waiting], span.since_micros)
        pasts = [
            CustomerPast(customer, tuple(batches), {customer: known[customer]} if customer in known else {})
            for customer, batches in waiting
        ]
        moments: dict[Moment, bytes] = {}
        for _ in range(_MOST_ROUNDS):
            walked = await self._call(process, pasts, span, moments, found)
            found.add(walked)
            if not walked.missing:
                return
            pasts = [past for past in pasts if past.customer in walked.missing]
            asked = sorted({moment for each in walked.missing.values() for moment in each})
            for start in range(0, len(asked), _MOST_MOMENTS):
                part = asked[start : start + _MOST_MOMENTS]
                moments.update(dict.fromkeys(part, b""))
                moments.update(await self._history.moments(part))
        found.unfinished += len(pasts)

    async def _call(
        self,
        process: Process,
        pasts: list[CustomerPast],
        span: Span,
        moments: Mapping[Moment, bytes],
        found: Found,
    ) -> Walked:
        """One job; a customer whose events end the engine's process twice is left out, and counted.

        Once is no proof: the process may have been ended from outside.
        """
        suspects: set[int | None] = set()
        while True:
            try:
                walked: Walked = await process.call("walk", pasts, span, moments)
            except EngineNotReadyError:
                raise
            except EngineDiedError as died:
                suspect = None if died.item is None else pasts[died.item].customer
                if suspect not in suspects:
                    suspects.add(suspect)
                elif died.item is None:
                    raise
                else:
                    found.killers += 1
                    del pasts[died.item]
                _log.warning("simulation_process_lost", customers_left_out=found.killers)
            else:
                return walked

    async def _judge(
        self, wanted: Wanted, prepared: Prepared, found: Found, outcomes: dict[str, Outcome]
    ) -> AsyncGenerator[Progress, None]:
        """Each world's actions in order of time, before gates of its own."""
        whole = sum(min(len(world.would), MOST_JUDGED) for world in found.worlds.values())
        before = 0
        for name, world in found.worlds.items():
            would = sorted(world.would, key=lambda one: (one.micros, one.action_id))
            so_far = [0]
            judging = asyncio.ensure_future(self._judged(would, prepared, name, wanted.until_micros, so_far))
            try:
                while not judging.done():
                    await asyncio.wait({judging}, timeout=_TELL_SECONDS)
                    yield self._progress(found, before + so_far[0], whole)
                outcomes[name] = Outcome(world.funnel, world.asked, would, judging.result())
            finally:
                judging.cancel()
                await asyncio.gather(judging, return_exceptions=True)
            before += so_far[0]

    async def _judged(
        self, would: Sequence[Would], prepared: Prepared, name: str, until_micros: int, so_far: list[int]
    ) -> list[Verdict]:
        if not would:
            return []

        def told(count: int) -> None:
            so_far[0] = count

        async with self._gates.open() as gates:
            judge = Judge(gates, prepared.limits.get(name, {}), until_micros)
            return await judge.judge(would, told)

    async def _done(
        self, wanted: Wanted, prepared: Prepared, found: Found, outcomes: Mapping[str, Outcome]
    ) -> Done:
        """The result, kept for reviewers."""
        text = await asyncio.to_thread(result_text, wanted, prepared, found, outcomes, self._catalogue)
        now, caller = self._clock.now_micros(), current_caller().name
        simulation_id = derived_id("simulation", caller, now, text)
        await self._simulations.keep(
            KeptSimulation(
                simulation_id,
                caller,
                now,
                prepared.drafts,
                wanted.since_micros,
                wanted.until_micros,
                text,
            )
        )
        return Done(simulation_id, text, outcomes)


def _heard(piece: Piece, found: Found) -> None:
    if piece.header is not None:
        found.headers.append(piece.header)
    found.done += piece.done
    found.incomplete += piece.incomplete
    found.left_out.update(piece.left_out)

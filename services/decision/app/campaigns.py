"""People's hands on runs over audiences: started, paused, resumed, cancelled; and how far they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from services.decision.domain.occasions import Opening
from services.decision.domain.run_pace import end_of, rate
from services.decision.domain.triggers import Schedule
from services.runtime.audit import Change, write_audit
from services.runtime.caller import current_caller
from services.runtime.errors import NotFoundError
from services.vocabulary.ids import derived_id
from services.vocabulary.values import SECOND, format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.app.follow_program import FollowProgram
    from services.decision.app.run_ports import AudienceRun, RunControl
    from services.decision.domain.occasions import Called
    from services.runtime.clock import Clock
    from services.runtime.database import Database, Transaction


class RunRefusing(StrEnum):
    """Why a run is not started, paused, resumed or cancelled."""

    NOT_LIVE = "not_live"
    NO_SCHEDULE = "no_schedule"
    NOT_ACTIVE = "not_active"
    UNDER_WAY = "under_way"
    ENDED = "ended"
    ALREADY = "already"
    NOTHING_RUNS = "nothing_runs"


@dataclass(frozen=True, slots=True)
class RunRefused:
    """A step that was not taken: why, and what would be right."""

    reason: RunRefusing
    detail: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A run with what was counted of it; customers a second of business time, 0: not known, no bound."""

    run: AudienceRun
    counts: Mapping[str, int]
    per_second: float = 0.0
    most_per_second: float = 0.0
    end_micros: int | None = None


Steps = list["AudienceRun"] | RunRefused
_UNDER_WAY = frozenset({"open", "paused"})
_KEEPS_UP_MICROS = 10 * SECOND


class ControlRuns:
    """The use cases of CampaignService. Each step is one transaction with its entry in the audit log."""

    def __init__(self, database: Database, clock: Clock, control: RunControl, follow: FollowProgram) -> None:
        self._database = database
        self._clock = clock
        self._control = control
        self._follow = follow

    async def start(self, transaction: Transaction, rule_set: str, reason: str, request_id: str) -> Steps:
        """Opens a run over the audience of a schedule, unless one that asks the same people is under way."""
        now = self._clock.now_micros()
        found = [each for each in self._follow.occasions if each.rule_set == rule_set]
        if not found:
            return RunRefused(
                RunRefusing.NOT_LIVE,
                f"no live rule set {rule_set} is called for by a schedule; see `rapport rules list`",
            )
        if not any(isinstance(each.occasion, Schedule) for each in found):
            return RunRefused(
                RunRefusing.NO_SCHEDULE,
                f"{rule_set} is called for by {_CALLED_BY[found[0].kind]}, which names whom it concerns; "
                "only a rule set with a schedule has an audience to be asked at any time",
            )
        active = [each for each in found if isinstance(each.occasion, Schedule) and each.active_at(now)]
        if not active:
            return RunRefused(RunRefusing.NOT_ACTIVE, f"{rule_set} is not active now; see its `active`")
        others = await self._control.lock_under_way(transaction, rule_set)
        if others:
            return RunRefused(
                RunRefusing.UNDER_WAY,
                f"run {others[0].number} of {rule_set} is {others[0].state} and would ask the same people; "
                "wait for its end, or cancel it",
            )
        # whoever starts twice at one moment of business time starts two runs, each with its own name
        moment = format_time(now - now % SECOND)
        name = f"{moment} by hand {derived_id('hand', rule_set, request_id)[:8]}"
        done = []
        for each in active:
            run = await self._control.start(transaction, each, Opening(f"hand {name}", name, now))
            run = replace(run, actor=current_caller().name, reason=reason, changed_micros=now)
            await self._write(transaction, "campaigns.start", run, None)
            done.append(run)
        return done

    async def pause(self, transaction: Transaction, number: int, rule_set: str, reason: str) -> Steps:
        """Nobody more is asked; a page in flight finds the run moved, and is given up with all its calls."""
        return await self._step(transaction, number, rule_set, reason, "pause")

    async def resume(self, transaction: Transaction, number: int, rule_set: str, reason: str) -> Steps:
        """Goes on where it was; what it was behind by then is forgotten."""
        return await self._step(transaction, number, rule_set, reason, "resume")

    async def cancel(self, transaction: Transaction, number: int, rule_set: str, reason: str) -> Steps:
        """Ends a run for good."""
        return await self._step(transaction, number, rule_set, reason, "cancel")

    async def progress(self, transaction: Transaction, runs: Sequence[AudienceRun]) -> list[Progress]:
        """What came of these runs so far."""
        counts = await self._control.counted(transaction, [run.number for run in runs])
        return [self._progress(run, counts.get(run.number, {})) for run in runs]

    async def find(self, number: int) -> Progress:
        """One run with what came of it. Raises NotFoundError."""
        run = await self._control.find(number)
        if run is None:
            raise _unknown(number)
        async with self._database.transaction() as transaction:
            return (await self.progress(transaction, [run]))[0]

    async def _step(
        self, transaction: Transaction, number: int, rule_set: str, reason: str, word: str
    ) -> Steps:
        found = await self._locked(transaction, number, rule_set)
        if not found:
            return RunRefused(
                RunRefusing.NOTHING_RUNS,
                f"no run of {rule_set} is under way; see those that were, and start one",
            )
        befores, after_state = _STEPS[word]
        taken = [run for run in found if run.state in befores]
        if not taken:
            run = found[0]
            if run.state not in _UNDER_WAY:
                return RunRefused(
                    RunRefusing.ENDED, f"run {run.number} is {run.state}; there is nothing to {word}"
                )
            already = "paused already" if word == "pause" else "not paused"
            return RunRefused(RunRefusing.ALREADY, f"run {run.number} is {already}")
        now = self._clock.now_micros()
        if word == "resume":
            ended = next((run for run in taken if self._is_over(run, now)), None)
            if ended is not None:
                return RunRefused(
                    RunRefusing.NOT_ACTIVE,
                    f"{ended.rule_set} is not active any more, or not called so; cancel run {ended.number}",
                )
        done = []
        for run in taken:
            after = replace(
                run,
                state=after_state,
                # the time of the pause makes nothing late, and its pace goes on from here
                next_micros=max(run.next_micros, now) if word == "resume" else run.next_micros,
                marks=(),
                waits="",
                waits_for="",
                waits_micros=0,
                actor=current_caller().name,
                reason=reason,
                changed_micros=now,
            )
            await self._write(transaction, f"campaigns.{word}", after, run)
            done.append(after)
        return done

    async def _locked(self, transaction: Transaction, number: int, rule_set: str) -> list[AudienceRun]:
        if not number:
            return await self._control.lock_under_way(transaction, rule_set)
        run = await self._control.lock(transaction, number)
        if run is None:
            raise _unknown(number)
        return [run]

    async def _write(
        self, transaction: Transaction, action: str, run: AudienceRun, before: AudienceRun | None
    ) -> None:
        await self._control.change(transaction, run)
        told = {"rule_set": run.rule_set, "run": run.name, "asked": run.asked}
        await write_audit(
            transaction,
            Change(
                action,
                f"run/{run.number}",
                None if before is None else {**told, "state": before.state},
                {**told, "state": run.state, "reason": run.reason},
            ),
        )

    def _called(self, run: AudienceRun) -> Called | None:
        return next(
            (
                each
                for each in self._follow.occasions
                if each.rule_set == run.rule_set and bool(each.only) == run.canary
            ),
            None,
        )

    def _is_over(self, run: AudienceRun, now: int) -> bool:
        called = self._called(run)
        if called is None or called.kind != run.kind:
            return True
        return run.kind == "schedule" and not called.active_at(now)

    def _progress(self, run: AudienceRun, counts: Mapping[str, int]) -> Progress:
        called = self._called(run)
        most = 0.0 if called is None else called.per_second or 0.0
        if run.state != "open" or run.waits:
            return Progress(run, counts, most_per_second=most)
        now = self._clock.now_micros()
        per_second = rate(run.marks, now, run.asked)
        # until its rate is known, that of its pace; but a run that does not keep up has no end to be told
        expected = per_second or (most if now - run.next_micros < _KEEPS_UP_MICROS else 0.0)
        return Progress(run, counts, per_second, most, end_of(run.asked, run.walked, expected, now))


_STEPS: dict[str, tuple[frozenset[str], str]] = {
    "pause": (frozenset({"open"}), "paused"),
    "resume": (frozenset({"paused"}), "open"),
    "cancel": (_UNDER_WAY, "cancelled"),
}
_CALLED_BY = {"absence": "an absence", "thing": "an event of a thing", "pair": "a pair that stays open"}


def _unknown(number: int) -> NotFoundError:
    return NotFoundError(
        f"there is no run {number}", field="run", suggestion="take its number from the list of runs"
    )

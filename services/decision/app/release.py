"""What runs: a version met by a share of the customers, live, taken back, at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.decision.app.release_ports import NewProgram, Step, program_with
from services.decision.app.versions import (
    FAILED_TEST,
    any_error,
    failed_tests,
    find_version,
    problem_of,
    source_of,
    standing_of,
)
from services.decision.domain.canary import WHOLE
from services.decision.domain.errors import EngineDiedError
from services.decision.domain.problems import Problem, Severity
from services.decision.domain.release import (
    Refused,
    Refusing,
    ReleaseRules,
    State,
    may_canary,
    may_run,
)
from services.runtime.caller import current_caller
from services.runtime.errors import UnavailableError
from services.vocabulary.ids import derived_id
from services.vocabulary.values import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.ports import Listening, LiveProgram, RuleSetRow
    from services.decision.app.release_ports import Compiling, Lives, StepTaken
    from services.decision.domain.trial import TestResult
    from services.runtime.clock import Clock
    from services.runtime.database import Transaction


@dataclass(frozen=True, slots=True)
class Ready:
    """A version that may begin to run, and the program it is to run in.

    ``share`` 0: for everybody. ``step``: what is done and why. ``back``: the one that runs now was bad.
    """

    row: RuleSetRow
    program: NewProgram
    step: Step
    share: int = 0
    back: bool = False


@dataclass(frozen=True, slots=True)
class Tried:
    """What trying a version came to; ``ready`` is None when it may not run, ``refused`` or with problems."""

    ready: Ready | None
    problems: tuple[Problem, ...] = ()
    tests: tuple[TestResult, ...] = ()
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What runs without a version that is a canary or live; ``program`` None: it may not be taken away."""

    row: RuleSetRow
    program: NewProgram | None
    step: Step
    refused: Refused | None = None
    problems: tuple[Problem, ...] = ()


class ReleaseVersions:
    """The use cases that change what runs. What takes long comes before the transaction."""

    def __init__(
        self,
        lives: Lives,
        compiling: Compiling,
        listening: Listening,
        clock: Clock,
        catalogue_version: str,
        rules: ReleaseRules,
    ) -> None:
        self._lives = lives
        self._compiling = compiling
        self._listening = listening
        self._clock = clock
        self._catalogue_version = catalogue_version
        self.rules = rules

    async def find(self, name: str, version: int) -> RuleSetRow:
        """One version; 0: the newest. Raises NotFoundError."""
        return await find_version(self._lives, name, version)

    async def live_version(self, transaction: Transaction, name: str) -> RuleSetRow | None:
        """The version of a rule set that is live for everybody; None: none is."""
        return await self._lives.in_state(transaction, name, State.LIVE)

    async def live_now(self, name: str) -> int:
        """The number of the version that is live for everybody; 0: none is."""
        sources = (await self._lives.live()).sources
        return next((source.version for source in sources if source.name == name), 0)

    async def history(self, row: RuleSetRow) -> list[StepTaken]:
        """What became of a version, oldest first."""
        return await self._lives.steps(row.name, row.version)

    # what begins to run

    async def trial(self, name: str, version: int, share: int = 0) -> Tried:
        """Tries a version beside what is live, then has its event types listened to; ``share`` 0: all.

        Raises NotFoundError for a version that is not stored, UnavailableError when the profile service is
        away.
        """
        row = await self.find(name, version)
        live = await self._lives.live()
        refused = self._refused(row, live, share)
        if refused is not None:
            return Tried(None, refused=refused)
        beside = tuple(source for source in live.sources if source.name != name)
        try:
            checked = await self._compiling.trial(beside, row.source, row.file, row.version)
        except EngineDiedError as died:
            message = "the rules engine did not survive trying this rule set on made-up customers"
            suggestion = "it was not made live, what is live stays; split it, or simplify its conditions"
            return Tried(None, (problem_of(row, f"{message} ({died})", "trial-crash", suggestion),))
        problems = [*checked.problems]
        problems += [problem_of(row, difference, "trial-difference") for difference in checked.differences]
        problems += failed_tests(row, checked.tests)
        if any_error(problems) or checked.rule_set is None:
            return Tried(None, tuple(problems), checked.tests)
        program = _program(live, row, share)
        if program.canaries:
            compiled = await self._compiling.compile(program.whole)
            if compiled.errors:
                return Tried(None, (*problems, *compiled.problems), checked.tests)
            program = program.called_by(compiled)
        else:
            program = replace(
                program,
                listened=tuple(checked.listened),
                absences=checked.absences,
                schedules=checked.schedules,
            )
        await self._listen(live, program, row)
        waived = "" if row.state in {State.LIVE, State.CANARY} and not share else self._waived(row)
        step = Step("activate", waived)
        if share:
            step = Step(
                "canary",
                "; ".join(filter(None, (f"for {100 * share / WHOLE:.4g}% of the customers", waived))),
            )
        return Tried(Ready(row, program, step, share), tuple(problems), checked.tests)

    async def prepare_rollback(self, name: str, version: int, reason: str) -> Tried | Withdrawal:
        """What taking back the last step of a rule set comes to: its canary's end, or a version before."""
        live = await self._lives.live()
        canary = next((source for source in live.canaries if source.name == name), None)
        step = Step("rollback", reason)
        if canary is not None and not version:
            return self._without_canary(await self.find(name, canary.version), live, step)
        newest = await self.find(name, version)
        if version and not newest.activated_micros:
            refused = Refused(
                Refusing.NOTHING_BEFORE, f"{name} version {version} was never live", "activate it instead"
            )
            return Tried(None, refused=refused)
        if version and newest.state == State.LIVE:
            refused = Refused(Refusing.WRONG_STATE, f"{name} version {version} is live")
            return Tried(None, refused=refused)
        before = [newest] if version else await self._lives.good_before(name)
        if not before:
            refused = Refused(
                Refusing.NOTHING_BEFORE,
                f"no other version of {name} was live and good",
                "retire it instead",
            )
            return Tried(None, refused=refused)
        program, problems = await self._sound(before[0], live)
        if program is not None:
            await self._listen(live, program, before[0])
            return Tried(Ready(before[0], program, step, back=True))
        return Tried(None, problems, refused=await self._offering(before[0], live, problems))

    async def activate(self, transaction: Transaction, ready: Ready) -> RuleSetRow | Refused:
        """Has a version run that was tried; every worker hears of it with the commit.

        Raises UnavailableError when another program came in between.
        """
        row = await self._lives.hold(transaction, ready.row.name, ready.row.version)
        if not ready.back:
            refused = may_run(standing_of(row), self.rules, share=bool(ready.share))
            if refused is not None:
                return refused
        step = replace(ready.step, program=await self._begin(transaction, ready.program))
        other = await self._lives.in_state(transaction, row.name, State.CANARY)
        if other is not None and other.version != row.version:
            await self._end_canary(transaction, other, step)
        if ready.share:
            return await self._move(
                transaction, row, replace(row, state=State.CANARY, canary_share=ready.share), step
            )
        old = await self._lives.in_state(transaction, row.name, State.LIVE)
        after = replace(
            row,
            state=State.LIVE,
            canary_share=0,
            taken_back=False,
            activated_micros=self._clock.now_micros() or 1,  # 0: it never was
            scheduled_micros=0,
            scheduler="",
        )
        if old is not None and old.version != row.version:  # at most one is live
            gone = replace(old, state=State.RETIRED, taken_back=ready.back)
            action = step.action if ready.back else "retire"
            await self._move(transaction, old, gone, replace(step, action=action))
        return await self._move(transaction, row, after, replace(step, instead=old))

    async def activate_scheduled(self, transaction: Transaction, ready: Ready) -> RuleSetRow | Refused | None:
        """The same for a version whose time has come; None: it is no longer scheduled."""
        held = await self._lives.hold(transaction, ready.row.name, ready.row.version)
        return await self.activate(transaction, ready) if held.scheduled_micros else None

    # what no longer runs

    async def prepare_retirement(self, name: str, version: int, reason: str) -> Withdrawal:
        """What runs without a version that is live (0: which one is) or a canary."""
        live = await self._lives.live()
        step = Step("retire", reason)
        running = [source for source in live.whole if source.name == name]
        found = [
            source for source in running if source.version == version or (not version and not source.share)
        ]
        if not found:
            row = await self.find(name, version)
            which = (
                f"{name} version {row.version} is {row.state}" if version else f"no version of {name} is live"
            )
            refused = Refused(Refusing.WRONG_STATE, which, "what does not run need not be retired")
            return Withdrawal(row, None, step, refused)
        row = await self.find(name, found[0].version)
        if found[0].share:
            return self._without_canary(row, live, step)
        canary = next((source for source in live.canaries if source.name == name), None)
        program = program_with(live, name, None, canary)
        compiled = await self._compiling.compile(program.whole)
        if compiled.errors:
            names = ", ".join(sorted(compiled.errors))
            refused = Refused(
                Refusing.STILL_NEEDED,
                f"{names} would no longer compile without {name}",
                "change or retire those first",
            )
            return Withdrawal(row, None, step, refused, compiled.problems)
        return Withdrawal(row, program.called_by(compiled), step)

    async def withdraw(self, transaction: Transaction, ready: Withdrawal) -> RuleSetRow | Refused:
        """Takes a version out of use. Raises UnavailableError when another program came in between."""
        if ready.refused is not None or ready.program is None:
            assert ready.refused is not None
            return ready.refused
        row = await self._lives.hold(transaction, ready.row.name, ready.row.version)
        step = replace(ready.step, program=await self._begin(transaction, ready.program))
        after = replace(row, state=State.RETIRED, canary_share=0, scheduled_micros=0, scheduler="")
        return await self._move(transaction, row, after, step)

    # at a time

    async def schedule(
        self, transaction: Transaction, name: str, version: int, at_micros: int
    ) -> RuleSetRow | Refused:
        """Has a version go live at a time; 0: no longer."""
        row = await self._lives.hold(transaction, name, version)
        if not at_micros:
            if not row.scheduled_micros:
                return Refused(Refusing.WRONG_STATE, f"{name} version {version} is not planned to go live")
            after = replace(row, scheduled_micros=0, scheduler="")
            return await self._move(transaction, row, after, Step("unschedule"))
        refused = may_run(standing_of(row), self.rules, share=False)
        if refused is None and row.state == State.LIVE:
            refused = Refused(Refusing.WRONG_STATE, f"{name} version {version} is live")
        if refused is not None:
            return refused
        after = replace(row, scheduled_micros=at_micros, scheduler=current_caller().name)
        return await self._move(transaction, row, after, Step("schedule", f"for {format_time(at_micros)}"))

    async def give_up_schedule(self, transaction: Transaction, row: RuleSetRow, why: str) -> bool:
        """Notes that a scheduled activation was refused; False: it is no longer scheduled."""
        held = await self._lives.hold(transaction, row.name, row.version)
        if not held.scheduled_micros:
            return False
        after = replace(held, scheduled_micros=0, scheduler="")
        await self._move(transaction, held, after, Step("refused", why, actor=row.scheduler))
        return True

    # parts of these

    async def _move(
        self, transaction: Transaction, row: RuleSetRow, after: RuleSetRow, step: Step
    ) -> RuleSetRow:
        return await self._lives.move(transaction, row, after, step, self._clock.now_micros())

    async def _begin(self, transaction: Transaction, program: NewProgram) -> int:
        number = await self._lives.begin(
            transaction, program, self._catalogue_version, self._clock.now_micros()
        )
        if not number:
            raise UnavailableError(
                "another activation came in between",
                suggestion="try again: it is tried beside the new program",
            )
        return number

    async def _end_canary(self, transaction: Transaction, row: RuleSetRow, step: Step) -> None:
        state = State.APPROVED if row.approver else State.TESTED
        after = replace(row, state=state, canary_share=0, scheduled_micros=0, scheduler="")
        await self._move(transaction, row, after, replace(step, action="retire"))

    def _refused(self, row: RuleSetRow, live: LiveProgram, share: int) -> Refused | None:
        standing = standing_of(row)
        if not share:
            return may_run(standing, self.rules, share=False)
        others = tuple((each.name, each.version) for each in live.canaries)
        return may_canary(standing, self.rules, others)

    def _waived(self, row: RuleSetRow) -> str:
        rules = replace(self.rules, approval=self.rules.approval or bool(row.approver))
        return rules.waived

    def _without_canary(self, row: RuleSetRow, live: LiveProgram, step: Step) -> Withdrawal:
        source = next((each for each in live.sources if each.name == row.name), None)
        program = program_with(live, row.name, source, None)
        # what only the canary listens to goes with the next activation
        program = replace(program, listened=live.listened, absences=live.absences, schedules=live.schedules)
        return Withdrawal(row, program, step)

    async def _sound(
        self, row: RuleSetRow, live: LiveProgram
    ) -> tuple[NewProgram | None, tuple[Problem, ...]]:
        """The program with a version that was live before, if that compiles and its tests pass today."""
        beside = tuple(source for source in live.sources if source.name != row.name)
        checked = await self._compiling.check(beside, row.source, row.file)
        problems = (*checked.problems, *failed_tests(row, checked.tests))
        if any_error(problems):
            return None, problems
        program = _program(live, row, 0)
        compiled = await self._compiling.compile(program.whole)
        if compiled.errors:
            return None, compiled.problems
        return program.called_by(compiled), problems

    async def _offering(self, row: RuleSetRow, live: LiveProgram, problems: Sequence[Problem]) -> Refused:
        first = next(problem for problem in problems if problem.severity is Severity.ERROR)
        what = "its tests no longer pass" if first.check == FAILED_TEST else "it no longer compiles"
        detail = (
            f"the catalogue, or what runs beside it, has changed since {row.name} version {row.version} was "
            f"live: {what}: {first.message}"
        )
        for other in await self._lives.good_before(row.name):
            if other.version == row.version:
                continue
            program, _ = await self._sound(other, live)
            if program is not None:
                suggestion = f"roll back to version {other.version}, the newest that is sound today"
                return Refused(Refusing.NO_LONGER_COMPILES, detail, suggestion, other.version)
        return Refused(
            Refusing.NO_LONGER_COMPILES,
            detail,
            "what is live stays; no version before would do, so put one that does",
        )

    async def _listen(self, live: LiveProgram, program: NewProgram, row: RuleSetRow) -> None:
        """Before what runs changes, all that is listened to before or after is."""
        listened = tuple(sorted({*program.listened, *live.listened}))
        absences = tuple(sorted({*program.absences, *live.absences}))
        await self._listening.set_listened(
            listened,
            absences,
            derived_id("listened", live.version, row.name, row.version, *listened, "absences", *absences),
        )


def _program(live: LiveProgram, row: RuleSetRow, share: int) -> NewProgram:
    if not share:
        return program_with(live, row.name, source_of(row), None)
    source = next((each for each in live.sources if each.name == row.name), None)
    return program_with(live, row.name, source, source_of(row, share))

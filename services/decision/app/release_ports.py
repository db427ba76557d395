"""What the life of versions needs from outside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.app.jobs import Checked, Source
    from services.decision.app.ports import LiveProgram, RuleSetRow
    from services.decision.domain.problems import Problem
    from services.runtime.database import Transaction


@dataclass(frozen=True, slots=True)
class Step:
    """Something done with a version. ``actor`` empty: whoever asked; ``program``: what began to run by it.

    ``instead``: the version that was live until it went live.
    """

    action: str
    comment: str = ""
    program: int = 0
    actor: str = ""
    instead: RuleSetRow | None = None


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A line of a version's history; the time in micros."""

    action: str
    actor: str
    time_micros: int
    from_state: str
    to_state: str
    comment: str
    program: int


@dataclass(frozen=True)
class Compiled:
    """What compiling all that is to run came to: errors by rule set (name@version), and what calls for it."""

    errors: Mapping[str, tuple[Problem, ...]]
    listened: tuple[str, ...] = ()
    absences: tuple[str, ...] = ()
    schedules: int = 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them."""
        return tuple(problem for problems in self.errors.values() for problem in problems)


@dataclass(frozen=True, slots=True)
class NewProgram:
    """What is to run instead of the program ``after``; ``canaries`` with their shares."""

    after: int
    sources: tuple[Source, ...]
    canaries: tuple[Source, ...] = ()
    listened: tuple[str, ...] = ()
    absences: tuple[str, ...] = ()
    schedules: int = 0

    def called_by(self, compiled: Compiled) -> NewProgram:
        """The same with what calls for it, as it compiled."""
        return replace(
            self, listened=compiled.listened, absences=compiled.absences, schedules=compiled.schedules
        )

    @property
    def whole(self) -> tuple[Source, ...]:
        """What is live, then the canaries."""
        return (*self.sources, *self.canaries)


def program_with(live: LiveProgram, name: str, source: Source | None, canary: Source | None) -> NewProgram:
    """What runs, with this as the live version of one rule set and this as its canary; None: without."""
    sources = [each for each in live.sources if each.name != name]
    canaries = [each for each in live.canaries if each.name != name]
    return NewProgram(
        live.version,
        tuple(sorted([*sources, *([source] if source else [])], key=lambda each: each.name)),
        tuple(sorted([*canaries, *([canary] if canary else [])], key=lambda each: each.name)),
    )


class Lives(Protocol):
    """Versions of rule sets and their lives, as stored."""

    async def live(self, version: int | None = None) -> LiveProgram:
        """What is live now, or was as that version of the program."""
        ...

    async def before(self, version: int) -> LiveProgram:
        """What ran before a version of the program; version 0: nothing did."""
        ...

    async def find(self, name: str, version: int) -> RuleSetRow | None:
        """One version; 0: the newest."""
        ...

    async def hold(self, transaction: Transaction, name: str, version: int) -> RuleSetRow:
        """One version, which nobody else moves on before the transaction ends. Raises NotFoundError."""
        ...

    async def in_state(self, transaction: Transaction, name: str, state: str) -> RuleSetRow | None:
        """The version of a rule set that is live, or a canary, held as by `hold`."""
        ...

    async def move(
        self, transaction: Transaction, row: RuleSetRow, after: RuleSetRow, step: Step, now_micros: int
    ) -> RuleSetRow:
        """Writes what became of a version by a step, with its place in the history and the audit log."""
        ...

    async def begin(
        self, transaction: Transaction, program: NewProgram, catalogue: str, now_micros: int
    ) -> int:
        """Has another program run from now on; 0: another one came in between."""
        ...

    async def good_before(self, name: str) -> list[RuleSetRow]:
        """Versions that were live, are no longer, and were not taken back; the last one first."""
        ...

    async def steps(self, name: str, version: int) -> list[StepTaken]:
        """What became of a version, oldest first."""
        ...

    async def scheduled(self, now_micros: int) -> list[RuleSetRow]:
        """Versions whose time to go live has come, the longest due first."""
        ...

    async def trouble(self) -> Mapping[str, int]:
        """How many rule sets had a version replaced, or a scheduled activation refused, and nobody came."""
        ...


class Survives(Protocol):
    """Runs an event by itself in a process that is started for it alone."""

    async def __call__(self, program: LiveProgram, payload: bytes) -> bool:
        """Whether the engine comes through it with that program."""
        ...


class Compiling(Protocol):
    """Compiles in a process of its own."""

    async def compile(self, sources: Sequence[Source]) -> Compiled:
        """All that is to run together, canaries with their shares."""
        ...

    async def trial(self, context: Sequence[Source], text: str, file: str, version: int) -> Checked:
        """One version beside what is live, tested and tried. Raises EngineDiedError."""
        ...

    async def check(self, context: Sequence[Source], text: str, file: str) -> Checked:
        """One text beside what is live, tested."""
        ...

    async def differences(self, context: Sequence[Source], old: Source, new: Source) -> tuple[str, ...]:
        """What differs between two versions, a sentence each; empty when either does not compile."""
        ...

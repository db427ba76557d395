"""Compiles and tries rule sets in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.adapters.engine_process import EngineProcess
from services.decision.domain.errors import EngineDiedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.jobs import Checked, Loaded, Source
    from services.decision.app.ports import LiveProgram
    from services.decision.app.release_ports import Compiled

_TRIAL_SECONDS = 60.0


class ProcessSurvival:
    """The Survives port: a process is started for the event, and ended with it."""

    def __init__(self, command: Sequence[str], deadline: float) -> None:
        self._command = tuple(command)
        self._deadline = deadline

    async def __call__(self, program: LiveProgram, payload: bytes) -> bool:
        """Whether the engine comes through it with that program."""
        alone = EngineProcess(self._command, deadline=self._deadline, trial=True)
        try:
            loaded: Loaded = await alone.set_up("load", program.version, program.whole)
            if any(problem.severity == "error" for problem in loaded.problems):
                return False
            await alone.call("evaluate", (payload,), {})
        except EngineDiedError:
            return False
        finally:
            await alone.close()
        return True


class ProcessChecker:
    """The Checker and Compiling ports: in a process that stays, each trial in one of its own."""

    def __init__(self, process: EngineProcess, command: Sequence[str]) -> None:
        self._process = process
        self._command = tuple(command)

    async def check(self, context: Sequence[Source], text: str, file: str) -> Checked:
        """Compiles a text beside others and runs its tests."""
        checked: Checked = await self._process.call("check", tuple(context), text, file, 0, 0)
        return checked

    async def compile(self, sources: Sequence[Source]) -> Compiled:
        """All that is to run together, canaries with their shares."""
        compiled: Compiled = await self._process.call("compile", tuple(sources))
        return compiled

    async def differences(self, context: Sequence[Source], old: Source, new: Source) -> tuple[str, ...]:
        """What differs between two versions, a sentence each; empty when either does not compile."""
        found: tuple[str, ...] = await self._process.call("differences", tuple(context), old, new)
        return found

    async def trial(self, context: Sequence[Source], text: str, file: str, version: int) -> Checked:
        """The same, and engine against oracle on 1,000 generated snapshots a shard."""
        alone = EngineProcess(self._command, deadline=_TRIAL_SECONDS, trial=True)
        try:
            checked: Checked = await alone.call("check", tuple(context), text, file, version, 1_000)
        finally:
            await alone.close()
        return checked
